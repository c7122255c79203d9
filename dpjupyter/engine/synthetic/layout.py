"""What a twin of one table consists of: its columns' bins, its keys, and the table its rows hang on. From the policy alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dpjupyter.engine.model import INTEGER, Kind
from dpjupyter.engine.plan.pushdown import WEIGHT_ONE
from dpjupyter.engine.policy import Policy, Table
from dpjupyter.engine.synthetic.bins import Axis, axes
from dpjupyter.errors import AskRefused, NotFound

MAX_CELLS = 4096  # of one pair: a larger table would be noise
MAX_COLUMNS = 200
SINGLE_COUNTS = 12  # numbers of children that have a bin each; beyond them bins widen by a quarter


@dataclass(frozen=True, slots=True)
class Link:
    """How rows hang on their parents: rows of another table, or without one the units themselves."""

    column: str  # of the child
    parent: str | None
    parent_key: str  # column of the parent that the child's refers to
    children: Axis  # bins of the number of children per parent
    max_rows: int  # parents one unit has, at most
    weight: int  # of one parent in the statement's integers

    @property
    def largest(self) -> int:
        """Largest change of the histogram of children per parent by one unit, in sum over its bins."""
        return self.max_rows * self.weight


@dataclass(frozen=True, slots=True)
class Layout:
    """One table's twin before anything is measured. ``axes`` are the parent's (``given``), then the table's ``own``."""

    table: str
    given: tuple[Axis, ...]
    own: tuple[Axis, ...]
    left_out: Mapping[str, str]
    keys: tuple[str, ...]  # columns that are numbered: unique, or within one parent
    link: Link | None  # None: rows are units of their own, or one per unit
    max_rows: int  # rows of one unit counted, m
    weight: int  # of one row in the statements' integers
    tables: tuple[str, ...]  # private tables read: the rows to charge

    @property
    def axes(self) -> tuple[Axis, ...]:
        """All columns that statements group by."""
        return (*self.given, *self.own)

    @property
    def largest(self) -> int:
        """Largest change of any histogram of rows by one unit, in sum over its cells."""
        return self.max_rows * self.weight

    def causes(self) -> Iterator[int]:
        """The parent's columns on which the number of children may be found to depend."""
        if self.link is not None:
            yield from (n for n, axis in enumerate(self.given) if axis.size * self.link.children.size <= MAX_CELLS)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Pairs of axes whose joint table may be measured: every pair with a column of the table's own, if not too large."""
        for other in range(len(self.given), len(self.axes)):
            for one in range(other):
                if self.axes[one].size * self.axes[other].size <= MAX_CELLS:
                    yield one, other


def layout(table: str, policy: Policy) -> Layout:
    """The layout of a table's twin.

    Raises: NotFound: no such table. AskRefused: it is public, or has too many columns.
    """
    declared = policy.tables.get(table)
    if declared is None:
        raise NotFound(f"the policy declares no table {table!r}")
    if declared.unit is None:
        raise AskRefused(f"{table} is public: it needs no twin.")
    parent = parent_of(table, policy)
    structure = _structure(table, declared, parent)
    found = axes(declared, structure, policy)
    if len(found.axes) > MAX_COLUMNS:
        raise AskRefused(f"{table} has more than {MAX_COLUMNS} columns with bins.", hint="Declare fewer domains and bounds.")
    single = declared.unit.kind == "row" or _one_row(table, declared, policy)
    rows = 1 if single else declared.max_rows
    given: tuple[Axis, ...] = ()
    link = None
    if parent is not None:
        above = layout(parent.table, policy)
        given = above.own
        link = Link(
            parent.column, parent.table, parent.key, children_axis(declared.max_rows, least=0), max_rows=above.max_rows, weight=above.weight
        )
    elif not single:
        link = Link(declared.unit.column, None, declared.unit.column, children_axis(declared.max_rows, least=1), max_rows=1, weight=1)
    return Layout(
        table=table,
        given=given,
        own=found.axes,
        left_out=found.left_out,
        keys=tuple(name for name in declared.columns if name in structure and (parent is None or name != parent.column)),
        link=link,
        max_rows=rows,
        weight=1 if single else WEIGHT_ONE,
        tables=tuple(sorted({table, *([parent.table] if parent is not None else []), *_path(table, policy)})),
    )


@dataclass(frozen=True, slots=True)
class Parent:
    """The table a table's rows refer to on the way to their unit."""

    table: str
    key: str
    column: str  # of the child


def parent_of(table: str, policy: Policy) -> Parent | None:
    """The next table on the way to the unit: the first step of a path, or the table whose single key the unit is."""
    unit = policy.tables[table].unit
    assert unit is not None
    if unit.kind == "path":
        step = unit.path[0]
        return Parent(step.ref_table, step.ref_column, step.column)
    if unit.kind == "row" or (unit.column,) in policy.tables[table].keys:
        return None
    here = policy.tables[table].columns[unit.column].sql_type
    for name, other in policy.tables.items():
        if name == table or other.unit is None or other.unit.kind != "column" or (other.unit.column,) not in other.keys:
            continue
        there = other.columns[other.unit.column].sql_type
        if (here.kind, here.scale) == (there.kind, there.scale):
            return Parent(name, other.unit.column, unit.column)
    return None


def children_axis(most: int, *, least: int) -> Axis:
    """Bins of a number of children from ``least`` to ``most``: exact while small, then ranges that widen."""
    cuts = [float(least)]
    while cuts[-1] <= most:
        cuts.append(cuts[-1] + max(1, int(cuts[-1] / 4) if cuts[-1] >= SINGLE_COUNTS else 1))
    cuts[-1] = float(max(most + 1, least + 1))
    return Axis("", INTEGER, cuts=tuple(cuts))


def _one_row(table: str, declared: Table, policy: Policy) -> bool:
    """Whether a unit has one row because the warehouse enforces that the unit is a key."""
    assert declared.unit is not None
    return declared.unit.kind == "column" and policy.keys_hold(table) and (declared.unit.column,) in declared.keys


def _structure(table: str, declared: Table, parent: Parent | None) -> frozenset[str]:
    """Columns that name rows rather than describe them: units, references to the parent, keys that can be numbered."""
    del table
    assert declared.unit is not None
    names = {declared.unit.column} if declared.unit.kind == "column" else set[str]()
    if parent is not None:
        names.add(parent.column)
    for key in declared.keys:
        rest = [name for name in key if name not in names]
        # One number makes a row of its parent, or of the table, unique; further parts of a key keep their values.
        if len(rest) == 1 and declared.columns[rest[0]].sql_type.kind in (Kind.INT, Kind.TEXT):
            names.add(rest[0])
    return frozenset(names)


def _path(table: str, policy: Policy) -> set[str]:
    unit = policy.tables[table].unit
    assert unit is not None
    return {step.ref_table for step in unit.path}
