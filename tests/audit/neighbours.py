"""Two databases that differ by one person, and a lower bound on how well releases tell them apart.

The warehouse runs once per neighbour; noise is laid over its exact rows again and again. The event is fixed before any
draw: that the likelihood ratio, computed from the exact values and the priced scales, is above half of what the sums can
reach. By Neyman and Pearson no other event of that size tells the two apart better.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import duckdb
import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from dpjupyter.engine.model import Ask, ExactRows, Measurement, Noise, Quote
from dpjupyter.engine.noise import NoiseSource, OpenDPNoise, noise
from dpjupyter.engine.policy import Policy, parse
from dpjupyter.engine.road import quote

CONFIDENCE = 1 - 1e-6  # of each bound: with a hundred audits a false alarm once in ten thousand runs

POLICY = """
[database]
prefix = "audit"
name = "audit"
backend = "duckdb:///:memory:"
[limits]
default_epsilon = 1.0
default_delta = 1e-5
[total]
delta = 0.5
[analysts]
delta = 0.5
[tables.t]
unit = "u"
delta = 0.5
max_rows = 2
max_groups = 2
key_delta = 0.01
[tables.t.columns]
u = { type = "BIGINT" }
g = { type = "VARCHAR", nullable = false, domain = ["a", "b", "c"] }
x = { type = "DOUBLE", bounds = [0, 10] }
y = { type = "DOUBLE", bounds = [-5, 5] }
i = { type = "INTEGER", bounds = [0, 20] }
name = { type = "VARCHAR" }
[tables.r]
unit = "row"
delta = 0.5
key_delta = 0.01
[tables.r.columns]
g = { type = "VARCHAR", nullable = false, domain = ["a", "b", "c"] }
x = { type = "DOUBLE", bounds = [0, 10] }
i = { type = "INTEGER", bounds = [0, 20] }
name = { type = "VARCHAR" }
"""


def audited_policy() -> Policy:
    return parse(POLICY)


def without() -> duckdb.DuckDBPyConnection:
    """Forty people with a few ordinary rows each."""
    connection = duckdb.connect(":memory:")
    connection.execute("CREATE TABLE t (u BIGINT, g VARCHAR, x DOUBLE, y DOUBLE, i INTEGER, name VARCHAR)")
    connection.execute("CREATE TABLE r (g VARCHAR, x DOUBLE, i INTEGER, name VARCHAR)")
    connection.execute("INSERT INTO t SELECT n % 40, chr((97 + n % 3)::INTEGER), n % 10, n % 7 - 3, 5 + n % 10, 'n' || (n % 4) FROM range(80) s(n)")
    connection.execute("INSERT INTO r SELECT chr((97 + n % 3)::INTEGER), n % 10, 5 + n % 10, 'n' || (n % 4) FROM range(60) s(n)")
    connection.execute("INSERT INTO t VALUES (NULL, 'a', 10, 5, 20, 'nobody'), (1, 'b', NULL, NULL, NULL, NULL)")
    return connection


def with_one_more(i: int = 20) -> duckdb.DuckDBPyConnection:
    """The same and one person who does everything bounds are there against: many rows, many groups, extreme values."""
    connection = without()
    rows = [(999, g, 1e9 if n % 2 else 10.0, 5.0, i, f"only {n}") for g in "abc" for n in range(7)]
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.execute("INSERT INTO r VALUES ('a', 1e9, ?, 'only one')", [i])
    return connection


@dataclass(slots=True)
class Batched:
    """The shipped samplers, asked for many draws at a time. ``shrink`` makes the noise too small, to see that it is noticed."""

    shrink: float = 1.0
    inner: NoiseSource = field(default_factory=OpenDPNoise)
    chosen: list[int] = field(default_factory=list[int])
    _stock: dict[tuple[str, float], list[int]] = field(default_factory=dict[tuple[str, float], list[int]])

    def laplace(self, scale: float, n: int) -> list[int]:
        return self._take("laplace", scale, n, self.inner.laplace)

    def gaussian(self, scale: float, n: int) -> list[int]:
        return self._take("gaussian", scale, n, self.inner.gaussian)

    def select(self, scores: list[int], scale: float) -> int:
        self.chosen.append(self.inner.select(scores, scale * self.shrink))
        return self.chosen[-1]

    def _take(self, kind: str, scale: float, n: int, draw: Callable[[float, int], list[int]]) -> list[int]:
        stock = self._stock.setdefault((kind, scale), [])
        if len(stock) < n:
            stock.extend(draw(scale * self.shrink, 10_000 + n))
        taken = stock[len(stock) - n :]
        del stock[len(stock) - n :]
        return taken


@dataclass(slots=True)
class Silent:
    """Adds nothing; keeps the scores it was shown."""

    scores: list[list[int]] = field(default_factory=list[list[int]])

    def laplace(self, scale: float, n: int) -> list[int]:
        del scale
        return [0] * n

    def gaussian(self, scale: float, n: int) -> list[int]:
        del scale
        return [0] * n

    def select(self, scores: list[int], scale: float) -> int:
        del scale
        self.scores.append(scores)
        return 0


@dataclass(frozen=True, slots=True)
class Exact:
    """A neighbour's exact values: every statistic of every group, and every selection's scores."""

    rows: ExactRows
    values: npt.NDArray[np.float64]
    scores: list[list[int]]


def exact_rows(priced: Quote, connection: duckdb.DuckDBPyConnection) -> ExactRows:
    """What the warehouse returns for a plan."""
    parts = {(m.name, n): connection.execute(p.statement.sql("duckdb")).fetchall() for m in priced.plan.measurements for n, p in enumerate(m.parts)}
    return ExactRows(parts, {})


def _places(m: Measurement) -> list[tuple[int, str]]:
    """Columns of a released table that hold statistics, with their names."""
    places, position = [], len(m.keys)
    for part in m.parts:
        for s in part.statistics:
            places.append((position, s.name))
            position += 1
        position += len(part.selections)
    return places


def _values(priced: Quote, rows: ExactRows, source: NoiseSource) -> npt.NDArray[np.float64]:
    tables = noise(rows, priced, source).tables
    return np.array([float(row[p]) for m in priced.plan.measurements for row in tables[m.name] for p, _ in _places(m)])  # type: ignore[arg-type]


def _exact(priced: Quote, connection: duckdb.DuckDBPyConnection) -> Exact:
    rows, silent = exact_rows(priced, connection), Silent()
    values = _values(priced, rows, silent)
    return Exact(rows, values, silent.scores)


def _logs(scores: list[int], scale: float) -> npt.NDArray[np.float64]:
    weights = np.array(scores) / scale
    return weights - weights.max() - math.log(np.exp(weights - weights.max()).sum())


@dataclass(frozen=True, slots=True)
class Audit:
    """How two neighbours' releases compared."""

    claimed: float  # epsilon paid
    delta: float
    measured: float  # lower bound on epsilon, at CONFIDENCE


def audit(sql: str, ask: Ask, *, runs: int, shrink: float = 1.0, policy: Policy | None = None) -> Audit:
    """Price, run once per neighbour, lay noise ``runs`` times over each, and bound epsilon from below."""
    priced = quote(sql, ask, policy or audited_policy())
    one, other = _exact(priced, with_one_more(0 if "MIN(" in sql else 20)), _exact(priced, without())
    assert not np.array_equal(one.values, other.values) or one.scores != other.scores, "the audit would see nothing"
    names = [name for m in priced.plan.measurements for _ in range(_groups(priced, m, one)) for _, name in _places(m)]
    noises: list[Noise] = [priced.noise[name] for name in names]
    selections = [s.name for m in priced.plan.measurements for p in m.parts for s in p.selections for _ in range(_groups(priced, m, one))]
    ratios = [
        _logs(a, priced.noise[s].scale) - _logs(b, priced.noise[s].scale) for a, b, s in zip(one.scores, other.scores, selections, strict=True)
    ]
    scales = np.array([n.scale for n in noises])
    gaussian = any(n.mechanism == "discrete_gaussian" for n in noises)
    moved = np.abs(one.values - other.values) / scales
    half = float((moved**2).sum() if gaussian else moved.sum()) / 2

    def rate(neighbour: Exact) -> int:
        source, hits = Batched(shrink), 0
        for _ in range(runs):
            source.chosen.clear()
            y = _values(priced, neighbour.rows, source)
            if gaussian:
                llr = (((y - other.values) / scales) ** 2 - ((y - one.values) / scales) ** 2).sum() / 2
            else:
                llr = ((np.abs(y - other.values) - np.abs(y - one.values)) / scales).sum()
            llr += sum(float(r[j]) for r, j in zip(ratios, source.chosen, strict=True))
            hits += llr >= half if half else llr > 0
        return hits

    cost = priced.cost
    delta = (cost.atto_gauss_delta + cost.atto_key_delta) / 1e18
    hit, other_hit = rate(one), rate(other)
    bounds = max(epsilon_below(hit, other_hit, runs, delta), epsilon_below(runs - other_hit, runs - hit, runs, delta))
    return Audit(cost.pico_epsilon / 1e12, delta, bounds)


def _groups(priced: Quote, m: Measurement, neighbour: Exact) -> int:
    return len(noise(neighbour.rows, priced, Silent()).tables[m.name])


def epsilon_below(hits: int, other_hits: int, runs: int, delta: float) -> float:
    """Clopper-Pearson lower bound on epsilon from how often an event happened on either side."""
    low = float(beta.ppf(1 - CONFIDENCE, hits, runs - hits + 1)) if hits else 0.0
    high = float(beta.ppf(CONFIDENCE, other_hits + 1, runs - other_hits)) if other_hits < runs else 1.0
    return math.log((low - delta) / high) if low > delta else 0.0


def at_most(hits: int, runs: int) -> float:
    """Clopper-Pearson lower bound on a rate."""
    return float(beta.ppf(1 - CONFIDENCE, hits, runs - hits + 1)) if hits else 0.0


