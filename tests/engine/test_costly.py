"""Questions that nobody pays for and that would cost the gateway dearly: asking for a price is free."""

from __future__ import annotations

import pytest

from dpjupyter.engine import policy as policies
from dpjupyter.engine.finish import finish, keep
from dpjupyter.engine.finish.redraw import redrawn
from dpjupyter.engine.intervals import REPLAY, ROW
from dpjupyter.engine.model import CONFIDENCES, Answer, Ask, NoisyRows
from dpjupyter.engine.road import MAX_READ, quote, saved_by
from dpjupyter.errors import FunctionRefused, UnsupportedSQL

POLICY = """
[database]
prefix = "local"
name = "t"
backend = "duckdb:///:memory:"
[tables.t]
unit = "row"
columns.g = { type = "VARCHAR", domain = ["easels", "weeds"], nullable = false }
columns.x = { type = "DOUBLE", bounds = [0, 100] }
"""
LONGER = "REPLACE({0}, 'e', 'eeeeeeee')"
DOUBLED = "CASE WHEN k = 'a' THEN k ELSE k || k END"


def nested(call: str, times: int) -> str:
    text = "g"
    for _ in range(times):
        text = call.format(text)
    return text


def stacked(call: str, times: int) -> str:
    text = "SELECT g AS k FROM t"
    for n in range(times):
        text = f"SELECT {call.format('k')} AS k FROM ({text}) t{n}"
    return text


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT {nested(LONGER, 20)} AS k, COUNT(*) AS n FROM t GROUP BY k",
        f"SELECT COUNT(*) AS n FROM t WHERE {nested(LONGER, 20)} = 'x'",
        f"SELECT COUNT(*) AS n FROM ({stacked(LONGER, 20)}) z WHERE k = 'x'",
        f"SELECT k, COUNT(*) AS n FROM ({stacked('CONCAT(k, k)', 24)}) z GROUP BY k",
        f"SELECT k, COUNT(*) AS n FROM ({stacked('k || k || 1', 12)}) z GROUP BY k",
        f"SELECT k, COUNT(*) AS n FROM ({stacked('CONCAT_WS(k, k, k, k)', 12)}) z GROUP BY k",
        f"SELECT COUNT(*) AS n FROM ({stacked(DOUBLED, 12)}) z WHERE k = 'x'",
        f"SELECT {nested(LONGER, 20)} AS k, n FROM (SELECT g, COUNT(*) AS n FROM t GROUP BY g) z",
        f"SELECT {nested(LONGER, 20)} AS k FROM (SELECT 'e' AS g) z",
        f"SELECT g, COUNT(*) AS n FROM t GROUP BY g HAVING {nested(LONGER, 20)} IN (SELECT 'e' FROM t GROUP BY g)",
    ],
)
def test_texts_do_not_grow_without_end(sql: str) -> None:
    with pytest.raises(FunctionRefused, match="too long"):
        quote(sql, Ask(), policies.parse(POLICY))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CONCAT(UPPER(LEFT(g, 1)), '-', REPLACE(g, 'e', 'ee'), LPAD(g, 30, ' ')) AS k, COUNT(*) AS n FROM t GROUP BY k",
        "SELECT COUNT(*) AS n FROM t WHERE g = '" + "a" * 50_000 + "'",
        "SELECT CASE " + " ".join(f"WHEN x > {n} THEN g" for n in range(100)) + " END AS k, COUNT(*) AS n FROM t GROUP BY 1",
        "SELECT g || ' (' || COUNT(*) || ', ' || ROUND(AVG(x), 1) || ')' AS shown FROM t GROUP BY g",
    ],
)
def test_texts_may_become_longer(sql: str) -> None:
    assert quote(sql, Ask(), policies.parse(POLICY)).plan.measurements


def _kept(rows: int, columns: int) -> str:
    """The content of a saved table of whole numbers with Laplace noise."""
    said = {"derived": False, "key": False, "mechanism": "discrete_laplace", "scale": 2.0, "epsilon": 1.0, "grid": 1.0}
    answer = Answer(
        columns=tuple((f"n{n}", "BIGINT") for n in range(columns)),
        rows=tuple(tuple(range(columns)) for _ in range(rows)),
        intervals={str(c): tuple((None,) * columns for _ in range(rows)) for c in CONFIDENCES},
        utility=tuple({"name": f"n{n}", **said} for n in range(columns)),
        cost={"tables": []},
        notes=(),
        kind="private",
    )
    return keep(answer, [], policies.parse(POLICY), unmetered=False)


def test_saved_tables_are_read_up_to_a_limit() -> None:
    content = _kept(1000, 200)
    tables = MAX_READ // len(content)
    sql = "SELECT COUNT(*) AS n FROM " + ", ".join(f"saved.s{n} s{n}" for n in range(tables))
    assert quote(sql, Ask(), policies.parse(POLICY), saved_by(lambda _: content)).plan.saved
    with pytest.raises(UnsupportedSQL, match="too large together"):
        quote(f"{sql}, saved.more", Ask(), policies.parse(POLICY), saved_by(lambda _: content))


def test_wide_saved_tables_are_replayed_within_limits() -> None:
    """A thousand columns in 1000 replays would be a gigabyte: what is not read is not drawn."""
    saved = saved_by(lambda _: _kept(50, 300))
    narrow = quote("SELECT n1 + 1 AS x FROM saved.wide", Ask(), policies.parse(POLICY), saved)
    table = next(iter(narrow.plan.saved.values()))
    assert set(redrawn("saved0", table, {"saved0_1"}, 10, 0)[0]) == {"saved0_1", ROW, REPLAY}
    assert all(cell is not None for row in finish(NoisyRows({}, {}), narrow).intervals["0.95"] for cell in row)


SUMS = ", ".join(f"SUM(LEAST(x, {n + 1})) AS s{n}" for n in range(99))
WAYS = ", ".join(f"(SELECT COUNT(*) AS n FROM t WHERE x > {n}) t{n}" for n in range(66))


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT g, FLOOR(x / 20) AS k, FLOOR(x / 30) AS l, {SUMS} FROM t GROUP BY CUBE(g, k, l)",
        f"SELECT * FROM {WAYS}",
        " UNION ALL ".join(f"SELECT COUNT(*) AS n FROM t WHERE x > {n}" for n in range(90)),
    ],
)
def test_a_query_holds_so_many_answers(sql: str) -> None:
    with pytest.raises(UnsupportedSQL, match="500 noisy answers"):
        quote(sql, Ask(), policies.parse(POLICY))
