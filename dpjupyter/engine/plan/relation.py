"""What planning knows of a relation: whose rows they are, how often a unit may occur, and what values its columns take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from dpjupyter.engine.model import Facts, Rel, SqlType


@dataclass(frozen=True, slots=True)
class Unit:
    """How each row names its privacy unit.

    ``ids`` are columns that all hold the unit. They are empty while it is not needed yet (``path``) or
    where every row is a unit of its own (``row``).
    """

    ids: frozenset[str] = frozenset()
    type: SqlType | None = None
    rows: int | None = None  # most rows one unit has here, where that is proven; None: not proven
    row: bool = False
    row_key: str | None = None  # unit = row: an enforced key column that can serve as unit once rows multiply
    row_of: str | None = None  # the table whose row key this is; None where the unit is the policy's person
    path: tuple[str, str, str] | None = None  # (column id, table, column): the unit of that table's row with this key
    links: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])  # id -> (table, key column) it refers to or is

    @property
    def id(self) -> str:
        """One of the unit's columns."""
        return min(self.ids, key=lambda i: (len(i), i))


@dataclass(frozen=True, slots=True)
class KeyList:
    """A public relation whose rows list the values that some columns may take."""

    rel: Rel
    columns: Mapping[str, str]  # visible id -> id in ``rel``
    required: bool  # it was the preserved side of an outer join: grouping must be by exactly its key


@dataclass(frozen=True, slots=True)
class Relation:
    """A planned relation. ``unit`` None means public; ``released`` that it reads a released table."""

    rel: Rel
    facts: Mapping[str, Facts]
    unit: Unit | None = None
    tables: frozenset[str] = frozenset()  # private tables read below
    released: bool = False
    lists: tuple[KeyList, ...] = ()
    unique: frozenset[frozenset[str]] = frozenset()  # column sets without duplicates (proven, or declared for a public table)
    enforced: frozenset[frozenset[str]] = frozenset()  # the part of ``unique`` that does not rest on a declaration alone
    cap: int | None = None  # public: most rows

    @property
    def private(self) -> bool:
        """Whether rows belong to privacy units."""
        return self.unit is not None

    def with_unit(self, **changes: object) -> Relation:
        """The same relation with changed unit fields."""
        assert self.unit is not None
        return replace(self, unit=replace(self.unit, **changes))  # type: ignore[arg-type]


def renamed(columns: Mapping[str, exp.Expression]) -> dict[str, str]:
    """For a projection: new id -> old id, where a column is passed on unchanged."""
    return {new: e.unnest().name for new, e in columns.items() if isinstance(e.unnest(), exp.Column)}
