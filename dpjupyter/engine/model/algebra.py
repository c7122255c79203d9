"""Relational algebra: what bind makes of a query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Literal

from sqlglot import exp

from dpjupyter.engine.model.asking import Query, SavedTable
from dpjupyter.errors import Place


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
