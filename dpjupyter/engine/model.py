"""The nouns that travel the road: frozen records, no behaviour beyond what their fields say.

    Query -> BoundQuery -> Plan -> Quote -> Receipt -> ExactRows -> NoisyRows -> Answer

Scalar expressions are sqlglot trees. After binding, every column in them is ``exp.Column`` named
``c<n>`` without a table: column numbers are unique in a query, so names can no longer be confused.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Literal

from sqlglot import exp

from dpjupyter.errors import Place

Mechanism = Literal["laplace", "gauss"]
AnswerKind = Literal["private", "public", "synthetic"]
Value = None | bool | int | float | str  # dates and timestamps travel as ISO strings


# ---------------------------------------------------------------- types and facts about values
class Kind(enum.Enum):
    """Families of SQL types that the rules distinguish."""

    BOOL = "boolean"
    INT = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    TEXT = "text"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIME = "time"
    NULL = "null"
    OTHER = "other"  # arrays, structs, blobs: may be counted and carried, not computed with


_INT_BITS = {
    "TINYINT": 8,
    "SMALLINT": 16,
    "INT": 32,
    "INTEGER": 32,
    "MEDIUMINT": 32,
    "BIGINT": 64,
    "HUGEINT": 128,
    "INT128": 128,
    "UTINYINT": 16,
    "USMALLINT": 32,
    "UINT": 64,
    "UINTEGER": 64,
    "UBIGINT": 128,
    "BYTEINT": 8,
}


@dataclass(frozen=True, slots=True)
class SqlType:
    """A column's type: its family and, for exact numbers, its size."""

    kind: Kind
    bits: int = 0  # INT: width
    precision: int = 0  # DECIMAL: digits in all
    scale: int = 0  # DECIMAL: digits after the point
    text: str = ""  # as declared, for showing

    @classmethod
    def parse(cls, text: str) -> SqlType:
        """Read a warehouse type name such as ``DECIMAL(15,2)`` or ``NUMBER``.

        Raises: ValueError: not a type name.
        """
        match = re.fullmatch(r"\s*([A-Za-z_0-9 ]+?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*((?:\[\])*)\s*", text)
        if match is None:
            if re.fullmatch(r"\s*(STRUCT|MAP|UNION|OBJECT|ARRAY|ENUM)\b.*", text, re.IGNORECASE | re.DOTALL):
                return cls(Kind.OTHER, text=text.strip())
            raise ValueError(f"{text!r} is not a type name")
        name, first, second, array = match[1].upper(), match[2], match[3], match[4]
        shown = text.strip().upper()
        if array:
            return cls(Kind.OTHER, text=shown)
        if name in _INT_BITS:
            return cls(Kind.INT, bits=_INT_BITS[name], text=shown)
        if name in ("DECIMAL", "NUMERIC", "NUMBER", "DEC"):
            precision = int(first) if first else (38 if name == "NUMBER" else 18)
            scale = int(second) if second else (0 if first or name == "NUMBER" else 3)
            if not 1 <= precision <= 38 or scale > precision:
                raise ValueError(f"{text!r}: precision must be 1..38 and scale at most that")
            if scale == 0:
                return cls(Kind.INT, bits=128 if precision > 18 else 64, precision=precision, text=shown)
            return cls(Kind.DECIMAL, precision=precision, scale=scale, text=shown)
        families = {
            Kind.BOOL: ("BOOLEAN", "BOOL", "LOGICAL"),
            Kind.FLOAT: ("DOUBLE", "FLOAT", "REAL", "FLOAT4", "FLOAT8", "DOUBLE PRECISION"),
            Kind.TEXT: ("VARCHAR", "TEXT", "STRING", "CHAR", "CHARACTER", "BPCHAR", "NVARCHAR", "UUID"),
            Kind.DATE: ("DATE",),
            Kind.TIMESTAMP: ("TIMESTAMP", "DATETIME", "TIMESTAMP_NTZ", "TIMESTAMPNTZ", "TIMESTAMP_S", "TIMESTAMP_MS"),
            Kind.TIME: ("TIME",),
            Kind.OTHER: (
                "BLOB",
                "BINARY",
                "VARBINARY",
                "BYTEA",
                "JSON",
                "VARIANT",
                "ARRAY",
                "OBJECT",
                "INTERVAL",
                "BIT",
                "GEOGRAPHY",
                "TIMESTAMPTZ",
                "TIMESTAMP_TZ",
                "TIMESTAMP_LTZ",
                "TIMESTAMP WITH TIME ZONE",
                "TIMETZ",
            ),
        }
        for kind, names in families.items():
            if name in names:
                return cls(kind, text=shown)
        raise ValueError(f"{text!r} is not a type this version knows")


BOOL = SqlType(Kind.BOOL, text="BOOLEAN")
INTEGER = SqlType(Kind.INT, bits=32, text="INTEGER")
BIGINT = SqlType(Kind.INT, bits=64, text="BIGINT")
HUGEINT = SqlType(Kind.INT, bits=128, text="HUGEINT")
DOUBLE = SqlType(Kind.FLOAT, text="DOUBLE")
TEXT = SqlType(Kind.TEXT, text="VARCHAR")
DATE = SqlType(Kind.DATE, text="DATE")
TIMESTAMP = SqlType(Kind.TIMESTAMP, text="TIMESTAMP")
TIME = SqlType(Kind.TIME, text="TIME")
NULLTYPE = SqlType(Kind.NULL, text="NULL")


@dataclass(frozen=True, slots=True)
class Interval:
    """Closed interval that a non-NULL, non-NaN value lies in.

    Numbers as themselves, booleans as 0/1, dates as days and timestamps as microseconds since 1970-01-01.
    Rounded outward; infinite ends mean unbounded.
    """

    lower: float
    upper: float

    @property
    def finite(self) -> bool:
        """Whether both ends are finite."""
        return -float("inf") < self.lower and self.upper < float("inf")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is publicly known of an expression's values.

    The bounds are promises only as far as the data keeps the policy: statements clamp again with the same numbers.
    """

    type: SqlType
    interval: Interval | None = None  # None: not an ordered number, date or timestamp, or nothing is known
    nullable: bool = True
    domain: tuple[Value, ...] | None = None  # every non-NULL value that may occur, sorted, distinct
    from_unit: bool = False  # computed from a unit column: may be counted, never shown or grouped by
    integral: bool = False  # every value is a whole number, whatever the type (FLOOR of a DOUBLE)


# ---------------------------------------------------------------- asking
@dataclass(frozen=True, slots=True)
class Ask:
    """What the analyst is willing to pay for each answer, and how contributions are bounded."""

    epsilon: float | None = None  # per answer; None: the policy's default
    delta: float | None = None  # per answer, Gauss only
    mechanism: Mechanism | None = None
    answers: Mapping[str, float] = field(default_factory=dict[str, float])  # output column name -> its epsilon
    max_rows: int | None = None
    max_groups: int | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])  # :name placeholders


@dataclass(frozen=True, slots=True)
class Query:
    """One parsed SELECT with its parameters bound as literals."""

    text: str
    dialect: str
    tree: exp.Query


# ---------------------------------------------------------------- released before
@dataclass(frozen=True, slots=True)
class SavedColumn:
    """A column of a saved table and what is known of its noise: the noise itself, or intervals of its cells, or nothing."""

    name: str
    type: SqlType
    values: tuple[Value, ...]  # DECIMALs as text: no digit is lost
    mechanism: str = ""  # "": exact (a key, a public value)
    noise: Noise | None = None  # of every cell, in steps of ``grid``
    grid: float = 1.0
    cells: tuple[tuple[tuple[float, float] | None, ...], ...] = ()  # per row, one interval per confidence

    @property
    def noisy(self) -> bool:
        """Whether noise entered it."""
        return bool(self.mechanism)

    @property
    def replayable(self) -> bool:
        """Whether it is known how far its numbers stray."""
        return self.noise is not None or bool(self.cells)


@dataclass(frozen=True, slots=True)
class SavedTable:
    """A released table that its analyst kept: read as ``saved.NAME`` above measurements, never sent to the warehouse."""

    name: str
    columns: tuple[SavedColumn, ...]  # names are unique
    rows: int
    tables: tuple[str, ...]  # private tables it was computed from
    kind: AnswerKind
    unmetered: bool
    checksum: str  # of the policy it was released under
    data_version: str
    sha256: str  # of its content: part of a question's fingerprint


Saved = Callable[[str], SavedTable | None]  # an analyst's saved table by folded name


def nothing_saved(_: str) -> None:
    """For questions of nobody in particular: no table is saved."""
    return


# ---------------------------------------------------------------- relational algebra (bind's result)
@dataclass(frozen=True, slots=True)
class Field_:  # noqa: N801 - dataclasses.field and Field are taken
    """A column of a relation: its number in this query, and the name it is shown under."""

    id: str  # "c12"
    name: str
    place: Place | None = field(default=None, compare=False)  # in the analyst's text


@dataclass(frozen=True, slots=True)
class Scan:
    """Rows of one declared table. ``columns`` maps column ids to names in the policy."""

    table: str
    columns: Mapping[str, str]
    source: str = ""  # its name in the warehouse, where that differs
    place: Place | None = field(default=None, compare=False)  # in the analyst's text
    texts: frozenset[str] = frozenset()  # ids of text columns, compared byte for byte whatever their collation


@dataclass(frozen=True, slots=True)
class Constants:
    """Literal rows: SELECT without FROM, VALUES, UNNEST of a literal list."""

    fields: tuple[str, ...]
    rows: tuple[tuple[exp.Expression, ...], ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows for which ``predicate`` is true."""

    input: Rel
    predicate: exp.Expression


@dataclass(frozen=True, slots=True)
class Project:
    """New columns computed row by row; nothing else is kept visible."""

    input: Rel
    columns: Mapping[str, exp.Expression]


JoinKind = Literal["inner", "left", "right", "full", "cross", "semi", "anti"]


@dataclass(frozen=True, slots=True)
class Join:
    """Two relations side by side. ``condition`` is over the columns of both."""

    left: Rel
    right: Rel
    kind: JoinKind
    condition: exp.Expression | None


@dataclass(frozen=True, slots=True)
class Call:
    """One aggregate function call over the rows of a group."""

    function: str  # COUNT_STAR, COUNT, SUM, AVG, VAR_POP, ... (names in plan/aggregates)
    arguments: tuple[exp.Expression, ...] = ()
    distinct: bool = False
    parameter: Fraction | None = None  # quantile level
    text: str = ""  # as the analyst wrote it, for showing
    place: Place | None = field(default=None, compare=False)  # in the analyst's text


@dataclass(frozen=True, slots=True)
class Aggregate:
    """GROUP BY ``keys`` computing ``calls``; with ``sets``, one grouping per set of key ids."""

    input: Rel
    keys: Mapping[str, exp.Expression]
    calls: Mapping[str, Call]
    sets: tuple[frozenset[str], ...] | None = None
    grouping: Mapping[str, str] = field(default_factory=dict[str, str])  # GROUPING(key) columns -> key id


@dataclass(frozen=True, slots=True)
class Window:
    """Window functions; ``columns`` are sqlglot Window expressions."""

    input: Rel
    columns: Mapping[str, exp.Expression]


@dataclass(frozen=True, slots=True)
class SetOperation:
    """UNION, INTERSECT or EXCEPT by position; ``fields`` are the result's columns."""

    kind: Literal["union", "intersect", "except"]
    all: bool
    left: Rel
    right: Rel
    left_fields: tuple[str, ...]
    right_fields: tuple[str, ...]
    fields: tuple[str, ...]
    place: Place | None = field(default=None, compare=False)  # of its right side in the analyst's text


@dataclass(frozen=True, slots=True)
class Sort:
    """ORDER BY, LIMIT, OFFSET."""

    input: Rel
    order: tuple[exp.Ordered, ...]
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """A relation computed once and read in several places of one statement: a materialised CTE."""

    input: Rel


Rel = Scan | Constants | Filter | Project | Join | Aggregate | Window | SetOperation | Sort | Shared


class BoundSubquery(exp.Expression):
    """Subquery inside an expression. args: ``rel`` (Rel), ``kind`` (scalar|exists|in), ``field`` id, ``this`` for IN."""

    arg_types: ClassVar = {"this": False, "rel": True, "kind": True, "field": False, "planned": False}


@dataclass(frozen=True, slots=True)
class BoundQuery:
    """The query with every name resolved against the policy."""

    query: Query
    root: Rel
    outputs: tuple[Field_, ...]
    saved: Mapping[str, SavedTable] = field(default_factory=dict[str, SavedTable])  # by the name its scans have: "saved.NAME"


# ---------------------------------------------------------------- plan
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


# ---------------------------------------------------------------- price
@dataclass(frozen=True, slots=True)
class Noise:
    """How one statistic or selection is made private."""

    mechanism: Literal["discrete_laplace", "discrete_gaussian", "exponential"]
    scale: float  # grid units; for "exponential" the Gumbel scale in score units
    epsilon: float  # paid for it
    delta: float = 0.0


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


# ---------------------------------------------------------------- running
@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of a committed debit."""

    request_id: str
    analyst: str
    debited: tuple[str, ...]  # names of the budget rows that paid
    unmetered: tuple[str, ...]  # rows with strategy `allow` that could not pay: their promise is void
    time: str  # the ledger database's clock, UTC
    balances: Mapping[str, float]  # residual budget per row after the debit
    before: Mapping[str, float] = field(default_factory=dict[str, float])  # residual budget per row before it


@dataclass(frozen=True, slots=True, repr=False)
class ExactRows:
    """Un-noised integers from the warehouse. One consumer: noise(). Never shown, logged or kept."""

    parts: Mapping[tuple[str, int], list[tuple[object, ...]]]  # (measurement, part index) -> rows
    publics: Mapping[str, list[tuple[object, ...]]]

    def __repr__(self) -> str:
        return "ExactRows(...)"


@dataclass(frozen=True, slots=True)
class NoisyRows:
    """Released tables: per measurement the key values and the noisy integers or selected values."""

    tables: Mapping[str, list[tuple[Value, ...]]]  # columns: keys, then statistics and selections in order of parts
    publics: Mapping[str, list[tuple[object, ...]]]


CONFIDENCES = (0.5, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Answer:
    """A released result: post-processing of NoisyRows only; safe to keep, file and send."""

    columns: tuple[tuple[str, str], ...]  # (name, type)
    rows: tuple[tuple[Value, ...], ...]
    intervals: Mapping[str, tuple[tuple[tuple[float, float] | None, ...], ...]]  # "0.95" -> row -> cell
    utility: tuple[Mapping[str, Value], ...]  # per column: mechanism, scale, epsilon, derived
    cost: Mapping[str, object]  # epsilon, rho, delta, per answer and per table
    notes: tuple[str, ...]
    kind: AnswerKind = "private"
    unmetered: bool = False  # it was drawn from a saved table that a budget row did not pay for
    drawn_from: tuple[str, ...] = ()  # private tables behind the saved tables it was drawn from
    decimals: Mapping[str, tuple[str | None, ...]] = field(  # column number -> its DECIMALs as text, where a float would lose digits
        default_factory=dict[str, tuple[str | None, ...]]
    )
