"""The shipped policies say nothing about the shipped data that is not so."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
import pytest

from dpjupyter.demo.build import build_all
from dpjupyter.demo.shop import make_shop
from dpjupyter.engine.policy import Column, Policy, load

NAMES = ["titanic", "shop"]
TABLES = [("titanic", "passengers"), ("shop", "customers"), ("shop", "orders"), ("shop", "order_lines"), ("shop", "products")]


def policy_of(folder: Path, name: str) -> Policy:
    return load(folder / "policies" / f"{name}.toml")


def database(folder: Path, name: str) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(folder / f"{name}.duckdb"), read_only=True)


def wrong_values(connection: duckdb.DuckDBPyConnection, table: str, name: str, column: Column) -> list[tuple[object, ...]]:
    """Values of a column that its declaration does not allow."""
    tests = ["false"]
    if not column.nullable:
        tests.append(f"{name} IS NULL")
    if column.bounds is not None:
        tests.append(f"{name} NOT BETWEEN $low::{column.type} AND $high::{column.type}")
    if column.domain is not None:
        tests.append(f"NOT list_contains($domain::{column.type}[], {name})")
    values: dict[str, object] = {}
    if column.bounds is not None:
        values |= {"low": column.bounds[0], "high": column.bounds[1]}
    if column.domain is not None:
        values |= {"domain": list(column.domain)}
    return connection.execute(f"SELECT {name} FROM {table} WHERE {' OR '.join(tests)} LIMIT 5", values).fetchall()


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_every_value_is_inside_its_declared_bounds_and_domain(demo_folder: Path, name: str, table: str) -> None:
    declared = policy_of(demo_folder, name).tables[table]
    with database(demo_folder, name) as connection:
        for column_name, column in declared.columns.items():
            assert wrong_values(connection, table, column_name, column) == [], column_name


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_declared_columns_and_types_are_the_warehouses(demo_folder: Path, name: str, table: str) -> None:
    declared = policy_of(demo_folder, name).tables[table]
    with database(demo_folder, name) as connection:
        found = connection.execute(
            "SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns WHERE table_name = ?", [table]
        ).fetchall()
    assert [(n, c.type, c.nullable) for n, c in declared.columns.items()] == [(n, t.replace(", ", ","), null) for n, t, null in found]


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_declared_keys_are_enforced_by_the_warehouse(demo_folder: Path, name: str, table: str) -> None:
    declared = policy_of(demo_folder, name).tables[table]
    with database(demo_folder, name) as connection:
        found = connection.execute(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE table_name = ? AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')",
            [table],
        ).fetchall()
    assert declared.enforced_keys
    assert {tuple(key) for key in declared.keys} == {tuple(row[0]) for row in found}


def test_every_order_line_leads_to_an_order_and_a_product(demo_folder: Path) -> None:
    with database(demo_folder, "shop") as connection:
        for ref, key in (("orders", "order_id"), ("products", "product_id")):
            lost = connection.execute(f"SELECT count(*) FROM order_lines ANTI JOIN {ref} USING ({key})").fetchone()
            assert lost == (0,)
        lost = connection.execute("SELECT count(*) FROM orders ANTI JOIN customers USING (customer_id) WHERE customer_id IS NOT NULL").fetchone()
        assert lost == (0,)


def test_the_shop_is_skewed_and_has_guests(demo_folder: Path) -> None:
    with database(demo_folder, "shop") as connection:
        most, typical = connection.execute(
            "SELECT max(n), median(n) FROM (SELECT count(*) AS n FROM orders WHERE customer_id IS NOT NULL GROUP BY customer_id)"
        ).fetchone() or (0, 0)
        guests = connection.execute("SELECT count(*) FROM orders WHERE customer_id IS NULL").fetchone() or (0,)
    assert most > 100
    assert typical <= 3
    assert guests[0] > 100


def test_the_shop_is_the_same_everywhere() -> None:
    """A changed generator changes every stored notebook output: change this number knowingly."""
    shop = make_shop()
    digest = hashlib.sha256(repr((shop.customers, shop.orders, shop.order_lines, shop.products)).encode()).hexdigest()
    assert digest[:16] == "9584a4c0ee0d3b74"
    assert len(shop.customers) == 3000


@pytest.mark.parametrize("name", NAMES)
def test_policies_have_a_database_wide_row_and_open_keys(demo_folder: Path, name: str) -> None:
    policy = policy_of(demo_folder, name)
    assert policy.total is not None
    assert all(table.key_delta for table in policy.tables.values() if table.private)


def test_the_shop_has_one_unit_reached_through_foreign_keys(demo_folder: Path) -> None:
    tables = policy_of(demo_folder, "shop").tables
    assert {name: str(table.unit) for name, table in tables.items()} == {
        "customers": "customer_id",
        "orders": "customer_id",
        "order_lines": "order_id -> orders.order_id -> customer_id",
        "products": "None",
    }


def test_building_again_changes_nothing(demo_folder: Path) -> None:
    before = (demo_folder / "shop.duckdb").stat().st_mtime_ns
    build_all(demo_folder)
    assert (demo_folder / "shop.duckdb").stat().st_mtime_ns == before
    assert not list(demo_folder.glob("*.new"))
