"""Many answers finished at once, and finishing expressions that are written once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest
import sqlglot

from dpjupyter.engine import policy as policies
from dpjupyter.engine.finish.desk import Desk
from dpjupyter.engine.model import Ask
from dpjupyter.engine.render import render
from dpjupyter.engine.road import quote

POLICY = """
[database]
prefix = "local"
name = "t"
backend = "duckdb:///:memory:"
[tables.t]
unit = "row"
columns.g = { type = "VARCHAR", domain = ["a", "b"], nullable = false }
columns.x = { type = "DOUBLE", bounds = [0, 100] }
columns.y = { type = "DOUBLE", bounds = [0, 100] }
"""
GREEDY = sqlglot.parse_one("SELECT LENGTH(STRING_AGG(REPEAT('x', 1000) || range, '')) AS n FROM range(2000000)", dialect="duckdb")


def test_an_answer_that_needs_too_much_memory_fails_alone() -> None:
    def modest(n: int) -> list[tuple[object, ...]]:
        with Desk(30) as desk:
            desk.load("m0", [("c1", "BIGINT", list(range(10_000))), ("c2", "DOUBLE", [float(n)] * 10_000)])
            return desk.rows(sqlglot.parse_one("SELECT SUM(c1 + c2) AS s FROM m0"))[1]

    def greedy() -> str:
        with Desk(60) as desk, pytest.raises(duckdb.Error) as caught:
            desk.rows(GREEDY)  # type: ignore[arg-type]
        return type(caught.value).__name__

    with ThreadPoolExecutor(18) as pool:
        failing = [pool.submit(greedy) for _ in range(2)]
        answers = [pool.submit(modest, n) for n in range(64)]
        assert [a.result() for a in answers] == [[(49_995_000.0 + 10_000 * n,)] for n in range(64)]
        assert {f.result() for f in failing} == {"OutOfMemoryException"}
    assert modest(1) == [(50_005_000.0,)]


def test_two_answers_share_neither_tables_nor_an_instance() -> None:
    with Desk(10) as one, Desk(10) as other:
        one.load("m0", [("c1", "BIGINT", [1])])
        with pytest.raises(duckdb.CatalogException):
            other.rows(sqlglot.parse_one("SELECT c1 FROM m0"))  # type: ignore[arg-type]
    with Desk(10) as next_one, pytest.raises(duckdb.CatalogException):
        next_one.rows(sqlglot.parse_one("SELECT c1 FROM m0"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT STDDEV(x) AS s, VAR_POP(x) AS v, AVG(x) AS m, COUNT(x) AS n FROM t",
        "SELECT g, CORR(x, y) AS c, COVAR_SAMP(x, y) AS k, VARIANCE(x) AS v FROM t GROUP BY g HAVING STDDEV(y) >= 0",
    ],
)
def test_what_an_aggregate_uses_several_times_is_computed_once(sql: str) -> None:
    text = render(quote(sql, Ask(), policies.parse(POLICY)).plan.finishing, "duckdb").sql("duckdb")
    divisors = [
        node.sql()
        for node in sqlglot.parse_one(text, dialect="duckdb").find_all(sqlglot.exp.Greatest)
        if "1.0e0" in node.sql() and "-" not in node.sql()
    ]
    counts = {d: divisors.count(d) for d in divisors}
    assert len(text) < 2500
    assert max(counts.values()) <= 2, counts  # AVG names its own


NUMBERS = ", ".join(f"({n})" for n in range(100))
ENDLESS = "SELECT " + ", ".join(f"{t}.x AS {t}" for t in "abcde") + " FROM " + ", ".join(f"(VALUES {NUMBERS}) {t}(x)" for t in "abcde")


def test_an_answer_of_endless_rows_ends() -> None:
    """Joins of public values have as many rows as an analyst likes, for nothing: rows that are fetched are counted."""
    finishing = render(quote(ENDLESS, Ask(), policies.parse(POLICY)).plan.finishing, "duckdb")
    with Desk(60) as desk, pytest.raises(duckdb.OutOfRangeException, match="too long"):
        desk.rows(finishing)
    with Desk(60) as desk:
        desk.load("m0", [("c1", "VARCHAR", ["x" * 100_000] * 100)])
        with pytest.raises(duckdb.OutOfRangeException, match="too long"):
            desk.rows(sqlglot.parse_one("SELECT a.c1 FROM m0 a, m0 b", dialect="duckdb"))  # type: ignore[arg-type]
    with Desk(10) as desk:  # as long as what it reads: it may be
        desk.load("m0", [(f"c{n}", "BIGINT", list(range(60_000))) for n in range(20)])
        assert len(desk.rows(sqlglot.parse_one("SELECT * FROM m0"))[1]) == 60_000  # type: ignore[arg-type]


def test_time_runs_while_rows_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpjupyter.engine.finish.desk.MOST_VALUES", 10**12)
    slow = "SELECT a.c1 FROM m0 a, m0 b, m0 c WHERE (a.c1 * b.c1 + c.c1) % 1000003 = 1"  # a few rows, now and then, for hours
    with Desk(0.5) as desk:
        desk.load("m0", [("c1", "BIGINT", list(range(10_000)))])
        with pytest.raises(duckdb.InterruptException):
            desk.rows(sqlglot.parse_one(slow, dialect="duckdb"))  # type: ignore[arg-type]
