"""Sums beyond 2^53, which a DOUBLE would round, and beyond 2^63: the same integers from both warehouses, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from dpjupyter.engine import policy as policies
from dpjupyter.engine.backends import open_backend
from dpjupyter.engine.ledger.store import open_ledger
from dpjupyter.engine.model import Ask
from tests.contracts.emulator import Emulator
from tests.snowflake.conftest import House

PEOPLE = 300_000
TOP = 2**45  # the largest bound that noise of epsilon 5 leaves on a grid of whole numbers
POLICY = f"""
[database]
prefix = "local"
name = "wide"
backend = "{{backend}}"
unit_entity = "person"

[limits]
max_epsilon = 5.0
time_grid_ms = 0

[total]
total_budget = 9000.0

[analysts]
total_budget = 9000.0

[tables.wide]
unit = "person"
total_budget = 9000.0
max_rows = 1
columns.person = {{{{ type = "BIGINT", nullable = false }}}}
columns.side = {{{{ type = "VARCHAR", nullable = false, domain = ["a", "b"] }}}}
columns.x = {{{{ type = "BIGINT", bounds = [0, {TOP}] }}}}
columns.d = {{{{ type = "DECIMAL(18,2)", bounds = [0, 1000000000] }}}}
columns.f = {{{{ type = "DECIMAL(18,8)", bounds = [0, 10000] }}}}

[tables.rows]
unit = "row"
total_budget = 9000.0
columns.side = {{{{ type = "VARCHAR", nullable = false, domain = ["a", "b"] }}}}
columns.x = {{{{ type = "BIGINT", bounds = [0, {TOP}] }}}}
columns.f = {{{{ type = "DECIMAL(18,8)", bounds = [0, 10000] }}}}

[tables.prices]
private = false
rows = 5
columns.x = {{{{ type = "BIGINT" }}}}
columns.d = {{{{ type = "DECIMAL(18,2)" }}}}
"""
DATA = f"""
CREATE TABLE wide AS SELECT i AS person, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END AS side, CAST({TOP} - i % 7 AS BIGINT) AS x,
    CAST(999999999.98 + (i % 2) / 100.0 AS DECIMAL(18,2)) AS d,
    CAST(9999.12345678 AS DECIMAL(18,8)) AS f FROM range({PEOPLE}) AS t(i)
    UNION ALL SELECT -1, 'a', CAST({2**62 - 1} AS BIGINT), CAST(9999999999999999.99 AS DECIMAL(18,2)), CAST(9999999999.99999999 AS DECIMAL(18,8)) FROM range(9);
CREATE TABLE rows AS SELECT side, x, f FROM wide;
CREATE TABLE prices AS SELECT CAST({2**62} + i AS BIGINT) AS x, CAST(9999999999999999.98 AS DECIMAL(18,2)) AS d FROM range(5) AS t(i);
"""
TABLES = ("wide", "rows", "prices")
QUESTIONS = {
    "one row each": "SELECT side, SUM(x) AS s, SUM(f) AS f, AVG(f) AS m FROM rows GROUP BY side ORDER BY side",
    "whole numbers": "SELECT SUM(x) AS s, COUNT(*) AS n FROM wide",
    "by side": "SELECT side, SUM(x) AS s, SUM(d) AS d, SUM(f) AS f FROM wide GROUP BY side ORDER BY side",
    "mean": "SELECT side, AVG(x) AS m, AVG(d) AS d, AVG(f) AS f FROM wide GROUP BY side ORDER BY side",
    "distinct": "SELECT SUM(DISTINCT x) AS s FROM wide",
    "per person": "SELECT SUM(LEAST(s, 1000)) AS s FROM (SELECT person, SUM(x) AS s FROM wide GROUP BY person) AS t",
    "public": "SELECT SUM(x) AS s, SUM(d) AS d FROM prices",
}


@pytest.fixture(scope="module")
def wide(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, House]]:
    folder: Path = tmp_path_factory.mktemp("wide")
    with duckdb.connect(str(folder / "wide.duckdb")) as connection:
        connection.execute(DATA)
        for table in TABLES:
            connection.execute(f"COPY {table} TO '{folder / table}.parquet' (FORMAT parquet)")
    emulator.run(*(f"CREATE TABLE {table} AS SELECT * FROM read_parquet('{folder / table}.parquet')" for table in TABLES))
    houses: dict[str, House] = {}
    for kind, url in (("duckdb", f"duckdb:///{folder / 'wide.duckdb'}"), ("snowflake", emulator.url())):
        policy = policies.parse(POLICY.format(backend=url))
        ledger = open_ledger(f"sqlite:///{folder}/{kind}.db")
        ledger.ensure_rows(policy)
        houses[kind] = House(policy, open_backend(url), ledger)
    yield houses
    for house in houses.values():
        house.backend.close()
        house.ledger.close()


@pytest.mark.parametrize("sql", QUESTIONS.values(), ids=QUESTIONS)
def test_both_warehouses_give_the_same_integers(wide: dict[str, House], sql: str) -> None:
    ask = Ask(epsilon=5.0)
    ours, theirs = (wide[kind].ask(sql, ask).answer.rows for kind in ("snowflake", "duckdb"))
    assert ours == theirs


def test_a_sum_beyond_64_bits_is_exact(wide: dict[str, House]) -> None:
    """Every person's number, and the one who is far over the bound cut to it."""
    expected = sum(TOP - i % 7 for i in range(PEOPLE)) + TOP
    assert expected > 2**63
    ((found, people),) = wide["snowflake"].ask(QUESTIONS["whole numbers"], Ask(epsilon=5.0), skip_cache=True).answer.rows
    assert (found, people) == (expected, PEOPLE + 1)
