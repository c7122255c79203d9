"""Writes the demo's databases as DuckDB files, with the keys that the policies declare enforced."""

from __future__ import annotations

import os
from importlib.resources import as_file, files
from pathlib import Path

import duckdb
import pandas as pd

from dpjupyter.demo.shop import make_shop

_PASSENGERS = """
CREATE TABLE passengers (
    passenger_id INTEGER PRIMARY KEY, survived INTEGER NOT NULL, pclass INTEGER NOT NULL, name VARCHAR NOT NULL, sex VARCHAR,
    age DOUBLE, sibsp INTEGER NOT NULL, parch INTEGER NOT NULL, fare DOUBLE NOT NULL, deck VARCHAR, embarked VARCHAR
)"""

_SHOP = {
    "customers": """
CREATE TABLE customers (
    customer_id BIGINT PRIMARY KEY, segment VARCHAR NOT NULL, city VARCHAR NOT NULL, birth_year INTEGER,
    signed_up DATE NOT NULL, newsletter BOOLEAN NOT NULL
)""",
    "orders": """
CREATE TABLE orders (
    order_id BIGINT PRIMARY KEY, customer_id BIGINT, ordered_at TIMESTAMP NOT NULL, status VARCHAR NOT NULL,
    channel VARCHAR NOT NULL, shipping DECIMAL(8,2) NOT NULL
)""",
    "products": """
CREATE TABLE products (
    product_id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, category VARCHAR NOT NULL, list_price DECIMAL(10,2) NOT NULL
)""",
    "order_lines": """
CREATE TABLE order_lines (
    order_id BIGINT NOT NULL, line_no INTEGER NOT NULL, product_id INTEGER NOT NULL, quantity INTEGER NOT NULL,
    unit_price DECIMAL(10,2) NOT NULL, discount DOUBLE, PRIMARY KEY (order_id, line_no)
)""",
}


def build_titanic(path: Path) -> None:
    """Write the Titanic database. An existing file is left as it is."""
    if path.exists():
        return
    fresh = _beside(path)
    with duckdb.connect(str(fresh)) as connection, as_file(files("dpjupyter.demo") / "data" / "titanic.csv") as csv:
        connection.execute(_PASSENGERS)
        connection.execute("INSERT INTO passengers SELECT * FROM read_csv(?, header = true)", [str(csv)])
    fresh.replace(path)


def build_shop(path: Path) -> None:
    """Write the shop's database. An existing file is left as it is."""
    if path.exists():
        return
    fresh, shop = _beside(path), make_shop()
    with duckdb.connect(str(fresh)) as connection:
        for name, create in _SHOP.items():
            connection.execute(create)
            rows = pd.DataFrame(getattr(shop, name), dtype=object)
            connection.register("made", rows)
            connection.execute(f"INSERT INTO {name} SELECT * FROM made")  # noqa: S608 - names are the keys above
            connection.unregister("made")
    fresh.replace(path)


def build_all(folder: Path) -> None:
    """Write both databases and a policy for each into ``folder``, ready for a gateway to serve.

    Gives ``folder/titanic.duckdb``, ``folder/shop.duckdb`` and ``folder/policies/*.toml``.
    """
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    build_titanic(folder / "titanic.duckdb")
    build_shop(folder / "shop.duckdb")
    for source in (files("dpjupyter.demo") / "policies").iterdir():
        # The shipped policies name the file alone; a gateway may be started from anywhere.
        text = source.read_text(encoding="utf-8").replace("duckdb:///", f"duckdb:///{folder.resolve()}/", 1)
        (policies / source.name).write_text(text, encoding="utf-8")


def _beside(path: Path) -> Path:
    """A fresh name in the same folder: a half-written database never takes the real one's place."""
    fresh = path.with_name(f"{path.stem}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    return fresh
