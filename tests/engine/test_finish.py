"""From released tables to the answer: post-processing, intervals, filing."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from fractions import Fraction
from pathlib import Path

import duckdb
import numpy as np
import pytest
from sqlglot import exp

from dpjupyter import demo
from dpjupyter.engine import policy as policies
from dpjupyter.engine.finish import finish, from_json, to_json
from dpjupyter.engine.finish.desk import Desk
from dpjupyter.engine.intervals import half_width, quantiles
from dpjupyter.engine.model import (
    BIGINT,
    CONFIDENCES,
    DATE,
    DOUBLE,
    TEXT,
    Aggregate,
    Answer,
    Ask,
    BoundSubquery,
    Call,
    Constants,
    ExactRows,
    Facts,
    Filter,
    Join,
    Key,
    Noise,
    NoisyRows,
    Output,
    Plan,
    Project,
    PublicTable,
    Receipt,
    Scan,
    SetOperation,
    Sort,
    Window,
)
from dpjupyter.engine.noise import OpenDPNoise, noise
from dpjupyter.engine.price import price
from dpjupyter.engine.road import quote
from dpjupyter.errors import UnsupportedSQL
from tests.engine import plans
from tests.engine.plans import sql

RECEIPT = Receipt("r1", "alice", ("*", "t"), (), "2026-01-01 00:00:00", {"*": 9.1, "t": 9.1})
STEP = 2**20
M0 = Scan("m0", {"c1": "c1", "c2": "m0_s0", "c3": "m0_s1"})


def finished(plan: Plan, rows, *, ask: Ask | None = None, publics=None) -> Answer:
    quote = price(plan, ask or Ask(), plans.policy())
    tables = rows if isinstance(rows, dict) else {"m0": rows}
    return finish(NoisyRows(tables, publics or {}), quote)


def shaped(finishing, *outputs: Output, **changes) -> Plan:
    """The hand-made averages with another finishing query."""
    return dataclasses.replace(plans.averages(), finishing=finishing, outputs=outputs, **changes)


TWO = [("a", 100, 5000 * STEP), ("b", 50, 1000 * STEP)]


def test_an_answer_holds_columns_rows_cost_and_notes():
    answer = finished(plans.averages(), TWO)
    assert answer.columns == (("g", "VARCHAR"), ("n", "BIGINT"), ("total", "DOUBLE"), ("mean", "DOUBLE"))
    assert answer.rows == (("a", 100, 5000.0, 50.0), ("b", 50, 1000.0, 20.0))
    assert answer.notes == ("x is clamped to 0..100",)
    assert answer.cost["epsilon"] == pytest.approx(1.8)
    assert answer.cost["tables"] == [{"table": name, "epsilon": 1.8, "delta": 0.0} for name in ("t",)]
    assert [u["mechanism"] for u in answer.utility[1:]] == ["discrete_laplace"] * 3
    assert [u["derived"] for u in answer.utility] == [False, False, False, True]
    assert answer.utility[2]["scale"] == pytest.approx(100 / 0.9)


def test_direct_columns_have_the_exact_interval_of_their_noise():
    answer = finished(plans.averages(), TWO, ask=Ask(epsilon=0.5))
    assert [answer.intervals[str(c)][0][1] for c in CONFIDENCES] == [(99, 101), (97, 103), (95, 105), (94, 106), (91, 109)]
    assert answer.intervals["0.95"][0][0] is None
    low, high = answer.intervals["0.95"][1][2]
    assert high - 1000 == 1000 - low == pytest.approx(200 * math.log(20), rel=1e-3)


def test_derived_columns_have_nested_intervals_around_the_value():
    answer = finished(plans.averages(), TWO)
    cells = [answer.intervals[str(c)][0][3] for c in CONFIDENCES]
    for (low, high), (wider_low, wider_high) in itertools.pairwise(cells):
        assert wider_low <= low <= 50 <= high <= wider_high
    assert answer.utility[3]["replays"] == 1000


def test_the_same_answer_always_gets_the_same_intervals():
    assert finished(plans.averages(), TWO).intervals == finished(plans.averages(), TWO).intervals


def test_intervals_follow_their_rows_whatever_the_order_and_the_columns_shown():
    scan = Project(M0, {"c4": sql("c3 / c2"), "c5": sql("c2 + 0")})
    ordered = Sort(scan, (exp.Ordered(this=sql("c4"), nulls_first=False),), limit=1)
    plan = shaped(ordered, Output("mean", "c4", DOUBLE), Output("n", "c5", BIGINT))
    answer = finished(plan, TWO)
    assert answer.rows == ((20.0, 50),)
    low, high = answer.intervals["0.9"][0][0]
    assert low < 20 < high
    low, high = answer.intervals["0.9"][0][1]
    assert 45 < low < 50 < high < 55


def test_rows_that_a_replay_would_not_have_shown_still_have_their_whole_interval():
    kept = Filter(Project(M0, {"c1": sql("c1"), "c5": sql("c2 + 0")}), sql("c5 > 99"))
    plan = shaped(kept, Output("g", "c1", TEXT, is_key=True), Output("n", "c5", BIGINT))
    answer = finished(plan, TWO)
    low, high = answer.intervals["0.95"][0][1]
    assert low < 99 < high


def test_a_count_of_groups_above_a_limit_varies_with_the_noise():
    answer = finished(plans.above(50), [("a", 100), ("b", 50)])
    assert answer.rows == ((1,),)
    assert answer.intervals["0.9"][0][0] == (1, 2)
    assert finished(plans.above(2000), [("a", 100), ("b", 50)]).intervals["0.99"][0][0] == (0, 0)


def test_a_share_of_the_total_is_replayed_through_window_functions():
    window = Window(M0, {"c7": sql("SUM(c2) OVER ()")})
    share = Project(window, {"c1": sql("c1"), "c8": sql("c2 / c7")})
    answer = finished(shaped(share, Output("g", "c1", TEXT, is_key=True), Output("share", "c8", DOUBLE)), TWO)
    low, high = answer.intervals["0.95"][0][1]
    # The naive width of n/150 is +-0.022; what the total shares with n takes a third of it away.
    assert 0.005 < high - low < 0.04
    assert low < 2 / 3 < high


def test_a_union_of_results_keeps_each_branch_apart():
    first = Project(M0, {"c1": sql("'first ' || c1"), "c5": sql("c2 * 1")})
    second = Project(Scan("m0", {"c11": "c1", "c12": "m0_s0"}), {"c13": sql("'second ' || c11"), "c14": sql("c12 * 10")})
    union = SetOperation("union", True, first, second, ("c1", "c5"), ("c13", "c14"), ("c20", "c21"))
    answer = finished(shaped(union, Output("what", "c20", TEXT), Output("n", "c21", BIGINT)), TWO)
    widths = {row[0]: cell[1][1] - cell[1][0] for row, cell in zip(answer.rows, answer.intervals["0.9"], strict=True)}
    assert widths["second a"] == pytest.approx(10 * widths["first a"])
    assert len(answer.rows) == 4


@pytest.mark.parametrize("kind", ["union", "intersect", "except"])
def test_set_operations_that_compare_rows_run_in_every_replay(kind):
    first = Project(M0, {"c1": sql("c1"), "c5": sql("c2 * 1")})
    second = Constants(("c13", "c14"), ((sql("'z'"), sql("CAST(1 AS BIGINT)")),))
    both = SetOperation(kind, False, first, second, ("c1", "c5"), ("c13", "c14"), ("c20", "c21"))
    answer = finished(shaped(both, Output("g", "c20", TEXT), Output("n", "c21", BIGINT)), TWO)
    widths = {row[0]: cells[1] for row, cells in zip(answer.rows, answer.intervals["0.9"], strict=True)}
    assert set(widths) == {"union": {"a", "b", "z"}, "intersect": set(), "except": {"a", "b"}}[kind]
    if "a" in widths:
        assert widths["a"][0] < 100 < widths["a"][1]


def test_released_tables_joined_to_each_other_replay_together():
    second = plans.measurement(name="m1", parts=(plans.Part(plans.statement("SELECT 1"), (dataclasses.replace(plans.UNITS, name="m1_s0"),)),))
    for kind in ("inner", "left", "right", "full"):
        joined = Join(M0, Scan("m1", {"c11": "c1", "c12": "m1_s0"}), kind, sql("c1 = c11"))
        ratio = Project(joined, {"c1": sql("c1"), "c15": sql("c2 / c12")})
        base = plans.averages()
        item = dataclasses.replace(base.items[0], measurement="m1", shares=(("m1_s0", Fraction(1)),))
        plan = shaped(ratio, Output("g", "c1", TEXT), Output("r", "c15", DOUBLE), measurements=(*base.measurements, second), items=(*base.items, item))
        answer = finished(plan, {"m0": TWO, "m1": [("a", 200), ("b", 500)]})
        assert sorted(answer.rows) == [("a", 0.5), ("b", 0.1)]
        by_key = {row[0]: cells[1] for row, cells in zip(answer.rows, answer.intervals["0.95"], strict=True)}
        assert 0.46 < by_key["a"][0] < 0.5 < by_key["a"][1] < 0.54


def test_public_rows_that_find_no_match_are_kept_in_every_replay():
    table = PublicTable("p0", plans.statement("SELECT 1"), (("c30", TEXT), ("c31", TEXT)))
    joined = Join(Scan("p0", {"c30": "c30", "c31": "c31"}), Filter(M0, sql("c2 > 50")), "left", sql("c30 = c1"))
    shown = Project(joined, {"c31": sql("c31"), "c40": sql("COALESCE(c2 + 0, 0)")})
    plan = shaped(shown, Output("name", "c31", TEXT), Output("n", "c40", BIGINT), publics=(table,))
    answer = finished(plan, TWO, publics={"p0": [("a", "Anna"), ("b", "Bert"), ("x", "Xaver")]})
    assert sorted(answer.rows) == [("Anna", 100), ("Bert", 0), ("Xaver", 0)]
    cells = {row[0]: c[1] for row, c in zip(answer.rows, answer.intervals["0.8"], strict=True)}
    assert cells["Xaver"] == (0, 0)
    assert cells["Bert"][0] == 0
    assert cells["Bert"][1] > 50


@pytest.mark.parametrize(
    ("predicate", "shown"),
    [
        (lambda sub: exp.GT(this=sql("c2"), expression=sub("scalar")), ["a"]),
        (lambda sub: sub("exists"), ["a", "b"]),
        (lambda sub: sub("in", sql("c2")), []),
    ],
)
def test_subqueries_over_released_tables_meet_their_own_replay(predicate, shown):
    mean = Aggregate(Scan("m0", {"c52": "m0_s0"}), {}, {"c53": Call("AVG", (sql("c52"),))})

    def sub(kind, this=None):
        return BoundSubquery(this=this, rel=mean, kind=kind, field="c53")

    counted = Aggregate(Filter(M0, predicate(sub)), {}, {"c60": Call("COUNT_STAR")})
    answer = finished(shaped(counted, Output("groups", "c60", BIGINT)), TWO)
    assert answer.rows == ((len(shown),),)
    assert answer.intervals["0.95"][0][0] == (len(shown), len(shown))


def test_columns_that_a_quantile_enters_have_no_interval():
    answer = finished(plans.median(), [(50.5,)])
    assert answer.rows == ((50.5,),)
    assert answer.intervals["0.95"] == ((None,),)
    assert answer.utility[0]["mechanism"] == "exponential"


def test_rows_that_cannot_be_told_apart_have_no_interval():
    grouped = Aggregate(Project(M0, {"c5": sql("CAST(FLOOR(c2 / 1000.0) AS BIGINT)")}), {"c5": sql("c5")}, {"c6": Call("COUNT_STAR")})
    answer = finished(shaped(grouped, Output("bin", "c5", BIGINT), Output("n", "c6", BIGINT)), [("a", 100, 0), ("b", 1500, 0)])
    assert sorted(answer.rows) == [(0, 1), (1, 1)]
    assert answer.intervals["0.95"] == ((None, None), (None, None))


def test_no_released_group_gives_an_answer_without_rows():
    answer = finished(plans.averages(plans.thresholded()), [])
    assert answer.rows == ()
    assert answer.intervals["0.5"] == ()


def test_null_and_typed_keys_survive():
    key = Key("c1", Facts(DATE), ("2020-01-31", None))
    plan = plans.averages(plans.measurement(keys=(key,)))
    plan = dataclasses.replace(plan, outputs=(Output("d", "c1", DATE, is_key=True), *plan.outputs[1:]))
    answer = finished(plan, [("2020-01-31", 10, 10 * STEP), (None, 5, 5 * STEP)])
    assert [row[0] for row in answer.rows] == ["2020-01-31", None]
    assert answer.intervals["0.95"][1][3] is not None


def test_sums_beyond_64_bits_and_nonsense_floats_are_shown_as_what_json_can_say():
    plan = shaped(Project(M0, {"c2": sql("c2"), "c9": sql("c3 / (c2 - c2)")}), Output("n", "c2", BIGINT, direct="m0_s0"), Output("q", "c9", DOUBLE))
    answer = finished(plan, [("a", 2**80, STEP)])
    assert answer.rows == ((2**80, None),)
    assert answer.intervals["0.95"][0][1] is None


def test_large_answers_get_fewer_replays_and_very_large_ones_none() -> None:
    def replays(groups: int, finishing=None) -> object:
        key = Key("c1", Facts(TEXT), tuple(f"k{n}" for n in range(groups)))
        plan = plans.averages(plans.measurement(keys=(key,)))
        plan = dataclasses.replace(plan, finishing=finishing or plan.finishing)
        answer = finished(plan, [(f"k{n}", 100, 5000 * STEP) for n in range(groups)])
        known = answer.intervals["0.5"][0][3] is not None
        assert known == bool(answer.utility[3]["replays"])
        return answer.utility[3]["replays"]

    assert replays(400) == 1000
    assert replays(1000) == 400
    assert replays(4100) == 0
    crossed = Join(Scan("m0", {"c1": "c1", "c2": "m0_s0", "c3": "m0_s1"}), Scan("m0", {"c11": "c1"}), "cross", None)
    assert replays(100, Project(crossed, {"c1": sql("c1"), "c2": sql("c2"), "c3": sql("c3"), "c4": sql("c3 / c2")})) == 0


def test_an_answer_is_given_without_intervals_where_replays_fail(caplog) -> None:
    # Where the noise makes it 100 or less, the replay fails: error() stands for anything that can go wrong there.
    fragile = sql("CASE WHEN c2 < 100 THEN error('a secret') ELSE c2 END")
    answer = finished(shaped(Project(M0, {"c9": fragile}), Output("n", "c9", BIGINT)), [("a", 100, 0)])
    assert answer.rows == ((100,),)
    assert answer.intervals["0.95"] == ((None,),)
    assert "secret" not in caplog.text


# ---------------------------------------------------------------- filing
def test_a_filed_answer_is_read_back_unchanged():
    answer = finished(plans.averages(), [("Zoë \"'\n", 2**70, -1), ("b", -3, 0)])
    again, receipt = from_json(to_json(answer, RECEIPT))
    assert again == answer
    assert receipt == RECEIPT
    assert from_json(to_json(answer, None)) == (answer, None)


def test_another_version_of_a_filed_answer_is_not_guessed_at():
    with pytest.raises(ValueError):
        from_json('{"version": 2}')


# ---------------------------------------------------------------- the desk
@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM secret_rows", "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "COPY m0 TO 'stolen.csv'",
        "INSTALL httpfs", "LOAD httpfs", "ATTACH 'x.db'", "SET threads=8", "SET lock_configuration=false", "SELECT getenv('HOME')",
        "SELECT * FROM read_text('/proc/self/environ')", "SELECT * FROM glob('/*')",
    ],
)
def test_the_desk_reaches_nothing_but_released_tables(text):
    secret_rows = {"x": np.array([1])}
    with Desk(10) as desk:
        desk.load("m0", [("c1", "VARCHAR", ["a"])])
        with pytest.raises(duckdb.Error):
            desk._connection.execute(text).fetchall()
    assert secret_rows


def test_a_finishing_query_that_runs_too_long_is_interrupted():
    endless = sql("(SELECT COUNT(*) FROM range(100000000) a, range(100000) b)")
    plan = shaped(Project(M0, {"c9": endless}), Output("n", "c9", BIGINT))
    quote = price(plan, Ask(), plans.policy())
    started = time.monotonic()
    with pytest.raises(duckdb.Error):
        finish(NoisyRows({"m0": TWO}, {}), quote, timeout_s=0.3)
    assert time.monotonic() - started < 5


# ---------------------------------------------------------------- how far noise strays
@pytest.mark.parametrize("mechanism", ["discrete_laplace", "discrete_gaussian"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 7.3, 40.0, 1999.0, 2001.0])
def test_half_widths_are_the_smallest_that_hold(mechanism, scale):
    reach = math.ceil(scale * 40) + 2
    power = 1 if mechanism == "discrete_laplace" else 2
    x = np.arange(-reach, reach + 1)
    masses = np.exp(-((np.abs(x) / scale) ** power) / power)
    masses /= masses.sum()
    noise_ = Noise(mechanism, scale, 1.0)
    for confidence in CONFIDENCES:
        h = half_width(noise_, confidence)
        assert masses[np.abs(x) <= h].sum() >= confidence - 1e-7
        if h:
            assert masses[np.abs(x) <= h - 1].sum() < confidence + 1e-7
    cumulated = masses.cumsum()
    drawn = quantiles(noise_, 101)
    assert drawn == tuple(-v for v in reversed(drawn))
    for n, value in enumerate(drawn):
        p = (n + 0.5) / 101
        exact = x[np.searchsorted(cumulated, p)]
        assert abs(value - exact) <= 1 + 1e-6 * scale


def test_intervals_hold_the_truth_as_often_as_they_say():
    plan = plans.averages(plans.measurement(parts=(plans.Part(plans.statement("SELECT 1"), (plans.UNITS, plans.TOTAL)),)))
    quote = price(plan, Ask(epsilon=1.0), plans.policy())
    exact = [("a", 60, 60 * 40 * STEP), ("b", 400, 400 * 70 * STEP)]
    truth, held, cells = {"a": (60, 2400, 40), "b": (400, 28000, 70)}, dict.fromkeys(CONFIDENCES, 0), 0
    for _ in range(150):
        answer = finish(noise(ExactRows({("m0", 0): exact}, {}), quote, OpenDPNoise()), quote)
        for n, row in enumerate(answer.rows):
            for column, true in enumerate(truth[row[0]], 1):
                cells += 1
                for c in CONFIDENCES:
                    low, high = answer.intervals[str(c)][n][column]
                    held[c] += low <= true <= high
    for c in CONFIDENCES:
        # Cells of one row share noise: four standard deviations of a third as many independent cells.
        slack = 4 * math.sqrt(c * (1 - c) / (cells / 3))
        assert held[c] / cells >= c - slack
    assert held[0.5] / cells <= 0.5 + 4 * math.sqrt(0.25 / (cells / 3)) + 0.06  # discrete counts hold a little more


# ---------------------------------------------------------------- before it is paid
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sex, COUNT(*), SUM(sex) OVER () FROM passengers GROUP BY sex",
        "SELECT AVG(s) FROM (SELECT sex AS s, COUNT(*) AS n FROM passengers GROUP BY sex)",
    ],
)
def test_what_cannot_be_finished_is_refused_at_the_quote(sql: str) -> None:
    policy = policies.load(Path(demo.__file__).parent / "policies" / "titanic.toml")
    with pytest.raises(UnsupportedSQL):
        quote(sql, Ask(), policy)
    assert quote("SELECT sex, COUNT(*) FROM passengers GROUP BY sex ORDER BY NULL, 'x' DESC", Ask(), policy).plan.measurements
    assert quote("SELECT sex, COUNT(*), SUM(COUNT(*)) OVER () FROM passengers GROUP BY sex ORDER BY 2", Ask(), policy).plan.measurements
