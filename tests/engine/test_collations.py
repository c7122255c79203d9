"""Columns under a collation that holds two spellings equal: neither keys nor units of different people may meet."""

from __future__ import annotations

import duckdb
import pytest

from dpjupyter.engine import policy as policies
from dpjupyter.engine.model import Ask
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import quote

POLICY = """
[database]
prefix = "local"
name = "people"
backend = "{backend}"
unit_entity = "person"

[tables.people]
unit = "login"
keys = [["login"]]
key_delta = 1e-7
columns.login = {{ type = "VARCHAR", nullable = false }}
columns.city = {{ type = "VARCHAR", nullable = false }}
columns.side = {{ type = "VARCHAR", nullable = false, domain = ["left", "right"] }}

[tables.orders]
unit = "login"
max_rows = 9
columns.login = {{ type = "VARCHAR", nullable = false }}
columns.code = {{ type = "VARCHAR", nullable = false }}

[tables.parts]
unit = "code -> orders.code -> login"
max_rows = 9
columns.code = {{ type = "VARCHAR", nullable = false }}
columns.kind = {{ type = "VARCHAR", nullable = false }}

[tables.kinds]
private = false
rows = 2
keys = [["kind"]]
columns.kind = {{ type = "VARCHAR", nullable = false }}
"""
TABLES = {
    "people": "login VARCHAR COLLATE NOCASE, city VARCHAR COLLATE NOCASE, side VARCHAR COLLATE NOCASE",
    "orders": "login VARCHAR COLLATE NOCASE, code VARCHAR COLLATE NOCASE",
    "parts": "code VARCHAR COLLATE NOCASE, kind VARCHAR COLLATE NOCASE",
    "kinds": "kind VARCHAR COLLATE NOCASE",
}
THIRTY = {
    "people": "SELECT 'p' || i, 'Bern', 'left' FROM range(30) AS t(i)",
    "orders": "SELECT 'p' || i, 'o' || i FROM range(30) AS t(i)",
    "parts": "SELECT 'o' || i, 'nut' FROM range(30) AS t(i)",
    "kinds": "VALUES ('nut'), ('NUT')",
}
ONE_MORE = {"people": "VALUES ('P0', 'BERN', 'LEFT')", "orders": "VALUES ('P0', 'O0')", "parts": "VALUES ('O0', 'NUT')"}


def policy(backend: str = "duckdb:///x") -> Policy:
    return policies.parse(POLICY.format(backend=backend))


def neighbours() -> tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]:
    """Thirty people, and the same thirty with one who spells everything in capitals, stored first in every table."""
    both = duckdb.connect(config={"threads": 1}), duckdb.connect(config={"threads": 1})
    for connection, first in zip(both, ({}, ONE_MORE), strict=True):
        for table, columns in TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({columns})")
            for rows in ([first[table]] if table in first else []) + [THIRTY[table]]:
                connection.execute(f"INSERT INTO {table} {rows}")
    return both


@pytest.mark.parametrize(
    ("sql", "added"),
    [
        ("SELECT city, COUNT(*) AS n FROM people GROUP BY city", ("BERN",)),
        ("SELECT side, COUNT(*) AS n FROM people GROUP BY side", ("LEFT",)),
        ("SELECT city || '!' AS c, COUNT(*) AS n FROM people GROUP BY 1", ("BERN!",)),
        ("SELECT COALESCE(city, 'x') AS c, COUNT(*) AS n FROM people GROUP BY 1", ("BERN",)),
    ],
)
def test_a_spelling_that_one_person_uses_is_a_group_of_its_own(sql: str, added: tuple[str, ...]) -> None:
    """Else the shown spelling of thirty people's group would tell that the one is there."""
    (part,) = quote(sql, Ask(), policy()).plan.measurements[0].parts
    before, after = ({row[0]: row[1:] for row in c.execute(part.statement.sql("duckdb")).fetchall()} for c in neighbours())
    assert {key: row for key, row in after.items() if key not in added} == before
    assert set(after) - set(before) == set(added)
    assert all(value == 1 for key in added for value in after[key])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(DISTINCT login) AS n FROM people",
        "SELECT COUNT(*) AS n FROM people p JOIN orders o ON p.login = o.login",
        "SELECT COUNT(*) AS n FROM people p WHERE EXISTS (SELECT 1 FROM orders o WHERE o.login = p.login)",
        "SELECT COUNT(*) AS n FROM parts",
        "SELECT COUNT(*) AS n FROM parts t JOIN kinds k ON t.kind = k.kind",
        "SELECT SUM(LEAST(n, 9)) AS n FROM (SELECT login, COUNT(*) AS n FROM orders GROUP BY login) AS t",
    ],
)
def test_units_and_keys_of_two_spellings_never_meet(sql: str) -> None:
    """Each of the thirty counts as before; the one who came counts for itself alone."""
    (part,) = quote(sql, Ask(), policy()).plan.measurements[0].parts
    before, after = (c.execute(part.statement.sql("duckdb")).fetchone() for c in neighbours())
    assert before is not None
    assert after is not None
    assert before[0] == 30
    assert after[0] == 31


def test_snowflake_is_asked_for_texts_without_collation() -> None:
    sql = "SELECT city, COUNT(*) AS n FROM people WHERE side = 'left' GROUP BY city"
    (part,) = quote(sql, Ask(), policy("snowflake://x")).plan.measurements[0].parts
    statement = part.statement.sql("snowflake")
    for name in ("LOGIN", "CITY", "SIDE"):
        assert f"""COLLATE(t1."{name}", '')""" in statement
        assert f'"{name}"' not in statement.replace(f"""COLLATE(t1."{name}", '')""", "")


def test_text_stored_as_enum_or_uuid_is_answered() -> None:
    (part,) = quote("SELECT side, COUNT(*) AS n FROM people GROUP BY side", Ask(), policy()).plan.measurements[0].parts
    connection = duckdb.connect()
    connection.execute("CREATE TABLE people (login UUID, city VARCHAR, side ENUM ('left', 'right'))")
    connection.execute("INSERT INTO people SELECT uuid(), 'Bern', 'left' FROM range(5)")
    assert connection.execute(part.statement.sql("duckdb")).fetchall() == [("left", 5)]
