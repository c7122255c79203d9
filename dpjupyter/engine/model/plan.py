"""A plan and its price: what is measured, with how much noise, at which cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from sqlglot import exp

from dpjupyter.engine.model.algebra import Rel
from dpjupyter.engine.model.asking import Ask, Noise, SavedTable
from dpjupyter.engine.model.values import Facts, Mechanism, SqlType, Value


@dataclass(frozen=True, slots=True)
class Key:
    """A grouping column of a measurement."""

    name: str  # column id, also its name in statements and released tables
    facts: Facts
    values: tuple[Value, ...] | None  # finite public domain incl. None if NULL may occur; None: open or fetched


@dataclass(frozen=True, slots=True)
class Statistic:
    """One integer column that a statement returns per group, before noise.

    Adding or removing one unit changes it by at most ``largest`` in a group and in at most
    the measurement's ``max_groups`` groups: Linf = largest, L1 = k*largest, L2^2 = k*largest^2.
    """

    name: str  # "m0_s1": column in the statement and, in units of ``grid``, in the released table
    kind: Literal["rows", "sum", "units", "distinct"]
    largest: int
    grid: Fraction = Fraction(1)  # real value of one integer step


@dataclass(frozen=True, slots=True)
class Selection:
    """A quantile chosen by the exponential mechanism from counts per bin.

    The statement returns rows (keys..., bin index, weighted count). Bins are ``count`` equal
    steps of [lower, upper]; the released value is an edge or midpoint of a bin.
    Source of the score: privacy.md section 2.
    """

    name: str
    numerator: int  # quantile numerator/denominator
    denominator: int
    lower: float
    upper: float
    bins: int
    max_rows: int  # rows of one unit counted in one group
    weight: int  # integer weight of one row (1, or 2^20 where rows are weighted)
    integral: bool  # values are whole numbers, days or microseconds: released values are rounded to them
    type: SqlType
    interpolated: bool = False  # PERCENTILE_CONT/MEDIAN rather than a value of the column


@dataclass(frozen=True, slots=True)
class Part:
    """One statement for the warehouse and the columns it returns after the keys."""

    statement: exp.Query
    statistics: tuple[Statistic, ...] = ()
    selections: tuple[Selection, ...] = ()  # all over the same bins and rows; then statistics is empty


@dataclass(frozen=True, slots=True)
class PublicTable:
    """Rows of public tables, read exactly: for key lists and for finishing."""

    name: str  # name of the released table it becomes: "p0"
    statement: exp.Query
    columns: tuple[tuple[str, SqlType], ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """The point where noise is added: sums per key over a private relation.

    Keys are complete (``fetched`` or every Key has values) or thresholded on ``units`` (a Statistic's name).
    """

    name: str  # "m0"; also the name of the released table in the finishing query
    keys: tuple[Key, ...]
    parts: tuple[Part, ...]
    max_groups: int  # k: groups one unit can be in, proven or enforced by the statement
    max_rows: int
    threshold: str | None  # statistic of unit counts that decides which open keys are released
    min_units: int = 1
    key_delta: float = 0.0
    fetched: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (public table, key names it lists)


@dataclass(frozen=True, slots=True)
class Item:
    """One answer in the sense of the price: a distinct aggregate and the statistics it needs."""

    label: str  # as the analyst wrote it: "AVG(fare)"
    columns: tuple[str, ...]  # output columns that show it, for per-answer epsilon
    measurement: str
    shares: tuple[tuple[str, Fraction], ...]  # statistic or selection name -> share of the answer's epsilon; sums to 1


@dataclass(frozen=True, slots=True)
class Output:
    """A column of the answer."""

    name: str
    id: str
    type: SqlType
    direct: str | None = None  # statistic whose noisy value, times grid, is shown unchanged
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will happen, before it is priced: statements, statistics and finishing SQL."""

    measurements: tuple[Measurement, ...]
    items: tuple[Item, ...]
    publics: tuple[PublicTable, ...]
    finishing: Rel  # algebra over Scan("m0"), Scan("p0"): rendered for DuckDB
    outputs: tuple[Output, ...]
    tables: tuple[str, ...]  # private tables read, including those of unit paths: the rows to charge
    notes: tuple[str, ...]  # said in the quote: clamped, thresholded, MAX as quantile, ...
    fingerprint: str  # sha256 of the canonical bound query
    saved: Mapping[str, SavedTable] = field(default_factory=dict[str, SavedTable])  # by its name in ``finishing``: "saved0"


@dataclass(frozen=True, slots=True)
class DpCall:
    """One answer as the requirement's budget parameters count it."""

    label: str
    epsilon: float
    delta: float
    mechanism: str


@dataclass(frozen=True, slots=True)
class Cost:
    """Privacy loss of one query, charged alike to each budget row. Integers are rounded up."""

    pico_epsilon: int  # 1e-12: sum of epsilons, basic branch
    pico_rho: int  # 1e-12: sum of rhos, zCDP branch
    atto_key_delta: int  # 1e-18: thresholds, both branches
    atto_gauss_delta: int  # 1e-18: Gaussians' deltas, basic branch only
    calls: tuple[DpCall, ...]


@dataclass(frozen=True, slots=True)
class Expectation:
    """Half-width of the interval to expect around an output column, by confidence."""

    column: str
    half_width: Mapping[str, float]  # "0.95" -> plus or minus
    derived: bool  # not shown unchanged: known only after the answer


@dataclass(frozen=True, slots=True)
class Quote:
    """A priced plan. Computed from text and policy alone: free, and leaks nothing."""

    plan: Plan
    ask: Ask
    checksum: str
    mechanism: Mechanism
    epsilon: float  # per answer, unless overridden
    delta: float
    noise: Mapping[str, Noise]  # by statistic or selection name
    thresholds: Mapping[str, int]  # by measurement name
    cost: Cost
    expectations: tuple[Expectation, ...]
    fingerprint: str  # plan's fingerprint + ask + checksum + data_version: same question, same answer
