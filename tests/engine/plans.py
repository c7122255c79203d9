"""Hand-made plans, noise sources without randomness, and one policy: for tests of the back half of the road."""

from __future__ import annotations

from fractions import Fraction

import sqlglot
from sqlglot import exp

from dpjupyter.engine.model import (
    BIGINT,
    DOUBLE,
    TEXT,
    Aggregate,
    Call,
    Facts,
    Filter,
    Item,
    Key,
    Measurement,
    Output,
    Part,
    Plan,
    Project,
    Rel,
    Scan,
    Selection,
    Sort,
    Statistic,
)
from dpjupyter.engine.policy import Policy, parse

POLICY = """
[database]
prefix = "local"
name = "shop"
backend = "duckdb:///:memory:"
[tables.t]
unit = "row"
columns.g = {type = "VARCHAR", domain = ["a", "b"], nullable = false}
columns.x = {type = "DOUBLE", bounds = [0, 100]}
"""


def policy(extra: str = "") -> Policy:
    return parse(POLICY + extra)


class ZeroNoise:
    """A source that adds nothing and picks the middle of the best candidates; it remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, int]] = []

    def laplace(self, scale: float, n: int) -> list[int]:
        self.asked.append(("laplace", scale, n))
        return [0] * n

    def gaussian(self, scale: float, n: int) -> list[int]:
        self.asked.append(("gaussian", scale, n))
        return [0] * n

    def select(self, scores: list[int], scale: float) -> int:
        self.asked.append(("select", scale, len(scores)))
        highest = max(scores)
        best = [n for n, score in enumerate(scores) if score == highest]
        return best[len(best) // 2]


class Fixed(ZeroNoise):
    """Adds the same constant to everything."""

    def __init__(self, value: int) -> None:
        super().__init__()
        self.value = value

    def laplace(self, scale: float, n: int) -> list[int]:
        return [self.value] * n

    def gaussian(self, scale: float, n: int) -> list[int]:
        return [self.value] * n


def sql(text: str) -> exp.Expression:
    return sqlglot.parse_one(text, read="duckdb")


def statement(text: str) -> exp.Query:
    parsed = sqlglot.parse_one(text, read="duckdb")
    assert isinstance(parsed, exp.Query)
    return parsed


UNITS = Statistic("m0_s0", "units", 1)
TOTAL = Statistic("m0_s1", "sum", 100 * 2**20, Fraction(1, 2**20))
DOMAIN = Key("c1", Facts(TEXT, nullable=False, domain=("a", "b")), ("a", "b"))
OPEN = Key("c1", Facts(TEXT), None)
SELECT = "SELECT g AS c1, COUNT(*) AS m0_s0, SUM(CAST(ROUND(x * 1048576) AS BIGINT)) AS m0_s1 FROM t GROUP BY g"


def measurement(**changes: object) -> Measurement:
    given: dict[str, object] = {
        "name": "m0", "keys": (DOMAIN,), "parts": (Part(statement(SELECT), (UNITS, TOTAL)),),
        "max_groups": 1, "max_rows": 1, "threshold": None,
    }
    return Measurement(**(given | changes))  # type: ignore[arg-type]


def thresholded(**changes: object) -> Measurement:
    return measurement(**({"keys": (OPEN,), "threshold": "m0_s0", "key_delta": 1e-6} | changes))


def averages(m: Measurement | None = None) -> Plan:
    """SELECT g, COUNT(*) AS n, SUM(x) AS total, AVG(x) AS mean FROM t GROUP BY g ORDER BY g."""
    scan = Scan("m0", {"c1": "c1", "c2": "m0_s0", "c3": "m0_s1"})
    mean = sql("CASE WHEN c2 > 0 THEN LEAST(100.0, GREATEST(0.0, c3 / c2)) END")
    finishing: Rel = Project(scan, {"c1": sql("c1"), "c2": sql("c2"), "c3": sql("c3"), "c4": mean})
    return Plan(
        measurements=(m or measurement(),),
        items=(
            Item("COUNT(*)", ("n",), "m0", (("m0_s0", Fraction(1)),)),
            Item("SUM(x)", ("total",), "m0", (("m0_s1", Fraction(1)),)),
            Item("AVG(x)", ("mean",), "m0", (("m0_s1", Fraction(1, 2)), ("m0_s0", Fraction(1, 2)))),
        ),
        publics=(),
        finishing=Sort(finishing, (exp.Ordered(this=sql("c1"), nulls_first=False),)),
        outputs=(
            Output("g", "c1", TEXT, is_key=True),
            Output("n", "c2", BIGINT, direct="m0_s0"),
            Output("total", "c3", DOUBLE, direct="m0_s1"),
            Output("mean", "c4", DOUBLE),
        ),
        tables=("t",),
        notes=("x is clamped to 0..100",),
        fingerprint="f" * 64,
    )


def median(**changes: object) -> Plan:
    """SELECT MEDIAN(x) AS m FROM t, 100 bins of [0, 100]."""
    given: dict[str, object] = {
        "name": "m0_q0", "numerator": 1, "denominator": 2, "lower": 0.0, "upper": 100.0, "bins": 100, "max_rows": 1, "weight": 1,
        "integral": False, "type": DOUBLE,
    }
    selection = Selection(**(given | changes))  # type: ignore[arg-type]
    select = f"SELECT LEAST(99, CAST(FLOOR(x) AS INTEGER)) AS bin, {selection.weight} * COUNT(*) AS n FROM t WHERE x IS NOT NULL GROUP BY ALL"
    m = Measurement("m0", (), (Part(statement(select), selections=(selection,)),), 1, 1, None)
    return Plan(
        (m,), (Item("MEDIAN(x)", ("m",), "m0", (("m0_q0", Fraction(1)),)),), (), Scan("m0", {"c1": "m0_q0"}),
        (Output("m", "c1", selection.type),), ("t",), (), "e" * 64,
    )


def above(limit: int) -> Plan:
    """SELECT COUNT(*) AS groups FROM (SELECT g, COUNT(*) AS n FROM t GROUP BY g HAVING COUNT(*) > limit)."""
    plan = averages()
    kept = Filter(Scan("m0", {"c1": "c1", "c2": "m0_s0"}), sql(f"c2 > {limit}"))
    finishing = Aggregate(kept, {}, {"c9": Call("COUNT_STAR")})
    part = Part(statement("SELECT g AS c1, COUNT(*) AS m0_s0 FROM t GROUP BY g"), (UNITS,))
    return Plan((measurement(parts=(part,)),), plan.items[:1], (), finishing, (Output("groups", "c9", BIGINT),), ("t",), (), "d" * 64)
