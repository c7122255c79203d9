"""Catalogue to skeleton: declared facts arrive, data never does, and nothing loads before the owner has decided."""

from __future__ import annotations

import tomllib
from pathlib import Path

import duckdb
import pytest

from dpjupyter.engine import policy
from dpjupyter.engine.backends.describe import ForeignKey, TableDescription, describe, from_snowflake_rows
from dpjupyter.engine.backends.skeleton import skeleton
from dpjupyter.errors import PolicyError

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, email VARCHAR UNIQUE, born DATE, tier ENUM('gold', 'o''neil'));
CREATE TABLE orders (oid BIGINT PRIMARY KEY, customer INTEGER REFERENCES customers(id), paid DECIMAL(10,2) NOT NULL, tags VARCHAR[]);
CREATE TABLE lines (oid BIGINT REFERENCES orders(oid), "line no" INTEGER, odd BIGNUM, UNIQUE (oid, "line no"));
CREATE VIEW totals AS SELECT customer, SUM(paid) AS paid FROM orders GROUP BY customer;
CREATE SCHEMA archive; CREATE TABLE archive.orders (oid BIGINT); CREATE TABLE archive.notes (t VARCHAR);
COMMENT ON TABLE orders IS 'one row "per" order
two lines'; COMMENT ON COLUMN orders.paid IS 'EUR';
INSERT INTO customers VALUES (4711, 'patient@example.org', '1900-01-01', 'gold');
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(SHOP)
    return f"duckdb:///{tmp_path / 'shop.duckdb'}"


def by_name(tables: list[TableDescription]) -> dict[str, TableDescription]:
    return {table.name: table for table in tables}


def test_duckdb_declares_columns_keys_and_comments(url: str) -> None:
    tables = by_name(describe(url))
    assert sorted(tables) == ["archive_orders", "customers", "lines", "notes", "orders", "totals"]
    orders = tables["orders"]
    assert orders.columns == (("oid", "BIGINT", False), ("customer", "INTEGER", True), ("paid", "DECIMAL(10,2)", False), ("tags", "VARCHAR[]", True))
    assert orders.primary_key == ("oid",)
    assert orders.foreign_keys == (ForeignKey(("customer",), "customers", ("id",)),)
    assert orders.comment == 'one row "per" order two lines'
    assert orders.column_comments == {"paid": "EUR"}
    assert orders.enforced
    assert tables["lines"].unique_keys == (("oid", "line no"),)
    assert tables["totals"].view
    assert tables["archive_orders"].source == "archive.orders"
    assert tables["notes"].source == "archive.notes"


def test_the_skeleton_holds_no_value_of_the_data(url: str) -> None:
    text = skeleton(describe(url), "p", "shop", url)
    for value in ("4711", "patient", "1900"):
        assert value not in text


def test_the_skeleton_loads_only_after_the_units_are_chosen(url: str) -> None:
    text = skeleton(describe(url), prefix="p", name="shop", url=url)
    with pytest.raises(PolicyError) as caught:
        policy.parse(text)
    assert caught.value.message.count("unit column '?'") == 6
    filled = text.replace('unit = "?"', 'unit = "row"')
    loaded = policy.parse(filled)
    assert loaded.database.name == "shop"
    assert loaded.tables["customers"].keys == (("id",), ("email",))
    assert loaded.tables["customers"].enforced_keys
    assert loaded.tables["customers"].columns["tier"].domain == ("gold", "o'neil")
    assert loaded.tables["orders"].description == 'one row "per" order two lines'
    assert loaded.tables["orders"].columns["paid"].description == "EUR"
    assert not loaded.tables["orders"].columns["paid"].nullable
    assert "odd" not in loaded.tables["lines"].columns
    assert loaded.tables["lines"].columns["line no"].type == "INTEGER"
    assert loaded.tables["archive_orders"].source == "archive.orders"


def test_declared_foreign_keys_are_offered_as_units(url: str) -> None:
    text = skeleton(describe(url), "p", "shop", url)
    sections = {part.partition("]")[0]: part for part in text.split("[tables.")}
    assert '#   unit = "oid -> orders.oid -> customer -> customers.id"' in sections["lines"]
    assert '#   unit = "customer"' in sections["orders"]
    assert '#   unit = "id"' in sections["customers"]


def test_names_that_toml_would_misread_are_quoted() -> None:
    odd = TableDescription('a"b.c\x7f', (("x y", "INTEGER", True), ("ü", "VARCHAR", True), ("a.b", "DATE", False)), comment='back\\slash "q"')
    text = skeleton([odd], "p", "n", "duckdb:///x")
    (table,) = tomllib.loads(text)["tables"].items()
    assert table[0] == 'a"b.c\x7f'
    assert sorted(table[1]["columns"]) == ["a.b", "x y", "ü"]
    assert table[1]["description"] == 'back\\slash "q"'


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(PolicyError, match="not known"):
        describe("oracle://x")


def _column(table: str, name: str, kind: str, nullable: str = "YES", **more: object) -> dict[str, object]:
    return {"s": "PUBLIC", "t": table, "n": name, "d": kind, "p": None, "q": None, "z": nullable, "c": None} | more


def test_snowflake_rows_become_descriptions() -> None:
    """Rows in the form that Snowflake documents for INFORMATION_SCHEMA and SHOW ... KEYS."""
    tables = [
        {"s": "PUBLIC", "t": "CUSTOMERS", "c": "people", "k": "BASE TABLE"},
        {"s": "PUBLIC", "t": "ORDERS", "c": None, "k": "BASE TABLE"},
        {"s": "PUBLIC", "t": "Mixed Case", "c": "", "k": "VIEW"},
    ]
    columns = [
        _column("CUSTOMERS", "ID", "NUMBER", "NO", p=38, q=0),
        _column("CUSTOMERS", "NAME", "TEXT", c="full name"),
        _column("ORDERS", "ORDER_ID", "NUMBER", "NO", p=10, q=0),
        _column("ORDERS", "CUSTOMER_ID", "NUMBER", p=38, q=0),
        _column("ORDERS", "AMOUNT", "NUMBER", p=10, q=2),
        _column("ORDERS", "SCORE", "FLOAT"),
        _column("ORDERS", "AT", "TIMESTAMP_NTZ"),
        _column("ORDERS", "PAYLOAD", "VARIANT"),
        _column("ORDERS", "SHAPE", "VECTOR"),
        _column("Mixed Case", "camelCase", "BOOLEAN"),
    ]
    key = {"database_name": "DB", "schema_name": "PUBLIC", "comment": None, "rely": "false"}
    primary = [
        {**key, "table_name": "ORDERS", "column_name": "ORDER_ID", "key_sequence": 1, "constraint_name": "SYS_1"},
        {**key, "table_name": "CUSTOMERS", "column_name": "ID", "key_sequence": 1, "constraint_name": "SYS_2"},
        {**key, "table_name": "GONE", "column_name": "ID", "key_sequence": 1, "constraint_name": "SYS_3"},
    ]
    unique = [
        {**key, "table_name": "ORDERS", "column_name": "AT", "key_sequence": 2, "constraint_name": "U"},
        {**key, "table_name": "ORDERS", "column_name": "CUSTOMER_ID", "key_sequence": 1, "constraint_name": "U"},
    ]
    imported = [
        {
            "pk_schema_name": "PUBLIC", "pk_table_name": "CUSTOMERS", "pk_column_name": "ID", "fk_schema_name": "PUBLIC", "fk_table_name": "ORDERS",
            "fk_column_name": "CUSTOMER_ID", "key_sequence": 1, "fk_name": "FK_1",
        },
        {
            "pk_schema_name": "", "pk_table_name": "", "pk_column_name": "", "fk_schema_name": "PUBLIC", "fk_table_name": "ORDERS",
            "fk_column_name": "ORDER_ID", "key_sequence": 1, "fk_name": "FK_2",
        },
    ]  # fmt: skip
    found = by_name(from_snowflake_rows(tables, columns, primary, unique, imported))
    assert sorted(found) == ["Mixed Case", "customers", "orders"]
    orders = found["orders"]
    assert orders.columns[:3] == (("order_id", "NUMBER(10,0)", False), ("customer_id", "NUMBER(38,0)", True), ("amount", "NUMBER(10,2)", True))
    assert orders.columns[3] == ("score", "DOUBLE", True)
    assert orders.primary_key == ("order_id",)
    assert orders.unique_keys == (("customer_id", "at"),)
    assert orders.foreign_keys == (ForeignKey(("customer_id",), "customers", ("id",)),)
    assert not orders.enforced
    assert found["customers"].comment == "people"
    assert found["customers"].column_comments == {"name": "full name"}
    assert found["Mixed Case"].view
    text = skeleton(sorted(found.values(), key=lambda t: t.name), "p", "n", "snowflake://shop").replace('unit = "?"', 'unit = "row"')
    loaded = policy.parse(text)
    assert loaded.dialect == "snowflake"
    assert "shape" not in loaded.tables["orders"].columns  # a VECTOR cannot be used
    assert loaded.tables["Mixed Case"].columns["camelCase"].type == "BOOLEAN"
