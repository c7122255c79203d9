"""Carry many replays of the noise through the finishing algebra at once.

Every released table is replaced by one with a ``replay`` column: number 0 is what was released, the others add fresh
noise to it. The algebra is rewritten so that no row ever meets a row of another replay: joins add an equality,
groupings a key, windows a partition. Each row also carries identities (rows of released tables, group keys), by
which the replays of one row of the answer are found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from sqlglot import exp

from dpjupyter.engine.model import (
    Aggregate,
    BoundSubquery,
    Call,
    Constants,
    Filter,
    Join,
    JoinKind,
    Noise,
    Plan,
    Project,
    Rel,
    Scan,
    SetOperation,
    Shared,
    Sort,
    Window,
)
from dpjupyter.engine.render import column

REPLAYS = "replays"  # table of the replay numbers
REPLAY, ROW = "replay", "row"  # columns of released tables: number of the replay, number of the row


def noisy_tables(plan: Plan, noise: Mapping[str, Noise]) -> Mapping[str, frozenset[str]]:
    """The released tables of a plan and, by column, what is noisy in them; saved tables without noise are left out."""
    tables = {m.name: frozenset(noise) for m in plan.measurements}
    for name, table in plan.saved.items():
        noisy = frozenset(f"{name}_{n}" for n, column in enumerate(table.columns) if column.noisy)
        if noisy:
            tables[name] = noisy
    return tables


def replayed_name(table: str) -> str:
    """Name of the replayed form of a released table."""
    return f"{table}_replayed"


@dataclass(frozen=True, slots=True)
class Carried:
    """A relation over all replays."""

    rel: Rel
    fields: tuple[str, ...]  # columns of the original relation
    replay: str | None  # column id of the replay number; None: the same rows in every replay
    rows: tuple[str, ...]  # column ids that tell the rows of one replay apart
    noisy: Mapping[str, frozenset[str]]  # field -> statistics and selections it is computed from
    chosen: frozenset[str]  # statistics that decide which rows there are

    @property
    def all(self) -> tuple[str, ...]:
        """Every column id in use."""
        return (*self.fields, *((self.replay,) if self.replay else ()), *self.rows)


@dataclass(slots=True)
class Carrier:
    """Rewrites one finishing tree. ``released`` names the tables with noise and, by column, what is noisy in them."""

    released: Mapping[str, frozenset[str]]
    numbers: count[int] = field(default_factory=count)

    def answer(self, rel: Rel) -> Carried:
        """The finishing tree over all replays, without what only decides which rows of the answer are shown.

        A row that was shown is asked how much its values move, whether or not each replay would have shown it.
        """
        return self.carry(self._shown(rel))

    def carry(self, rel: Rel) -> Carried:
        """One operator over all replays."""
        match rel:
            case Scan():
                return self._scan(rel)
            case Constants():
                return Carried(rel, rel.fields, None, rel.fields if len(rel.rows) > 1 else (), {}, frozenset())
            case Filter():
                inner, (predicate,) = self._with_subqueries(self.carry(rel.input), [rel.predicate])
                return replace(inner, rel=Filter(inner.rel, predicate), chosen=inner.chosen | _noisy_in([predicate], inner))
            case Project():
                return self._project(rel)
            case Join():
                return self._join(rel)
            case Aggregate():
                return self._aggregate(rel)
            case Window():
                return self._window(rel)
            case SetOperation():
                return self._set_operation(rel)
            case Sort():
                return self._sort(rel)
            case Shared():
                return self.carry(rel.input)

    # ------------------------------------------------------------ leaves and row-wise operators
    def _scan(self, rel: Scan) -> Carried:
        row, number = self._id(), self._id()
        noisy = {id_: frozenset({name}) for id_, name in rel.columns.items() if name in self.released.get(rel.table, ())}
        if rel.table not in self.released:
            return Carried(Scan(rel.table, {**rel.columns, row: ROW}), tuple(rel.columns), None, (row,), {}, frozenset())
        scan = Scan(replayed_name(rel.table), {**rel.columns, row: ROW, number: REPLAY})
        return Carried(scan, tuple(rel.columns), number, (row,), noisy, frozenset())

    def _project(self, rel: Project) -> Carried:
        inner, expressions = self._with_subqueries(self.carry(rel.input), rel.columns.values())
        columns = dict(zip(rel.columns, expressions, strict=True))
        noisy = {id_: _noisy_in([e], inner) for id_, e in columns.items()}
        kept = {id_: column(id_) for id_ in inner.all if id_ not in inner.fields}
        # Identities may be fields too (group keys): they travel under a name of their own.
        renamed = {id_: self._id() for id_ in inner.rows if id_ in inner.fields}
        extra: dict[str, exp.Expression] = {**kept, **{new: column(old) for old, new in renamed.items()}}
        rows = tuple(renamed.get(id_, id_) for id_ in inner.rows)
        return Carried(Project(inner.rel, {**columns, **extra}), tuple(columns), inner.replay, rows, noisy, inner.chosen)

    def _window(self, rel: Window) -> Carried:
        inner, expressions = self._with_subqueries(self.carry(rel.input), rel.columns.values())
        columns: dict[str, exp.Expression] = {}
        for id_, expression in zip(rel.columns, expressions, strict=True):
            for window in expression.find_all(exp.Window):
                if inner.replay:
                    window.set("partition_by", [*(window.args.get("partition_by") or []), column(inner.replay)])
            columns[id_] = expression
        noisy = dict(inner.noisy) | {id_: _noisy_in([e], inner) | inner.chosen for id_, e in columns.items()}
        return replace(inner, rel=Window(inner.rel, columns), fields=(*inner.fields, *columns), noisy=noisy)

    def _sort(self, rel: Sort) -> Carried:
        inner, order = self._with_subqueries(self.carry(rel.input), rel.order)
        if rel.limit is None and not rel.offset:
            return inner  # order alone changes no value
        if inner.replay is None:
            ordered = [o for o in order if isinstance(o, exp.Ordered)]
            return replace(inner, rel=Sort(inner.rel, tuple(ordered), rel.limit, rel.offset))
        rank = self._id()
        over = exp.Window(this=exp.RowNumber(), partition_by=[column(inner.replay)])
        if order:
            over.set("order", exp.Order(expressions=order))
        ranked = Window(inner.rel, {rank: over})
        within: exp.Expression = exp.GT(this=column(rank), expression=exp.Literal.number(rel.offset))
        if rel.limit is not None:
            within = exp.And(this=within, expression=exp.LTE(this=column(rank), expression=exp.Literal.number(rel.offset + rel.limit)))
        cut = Project(Filter(ranked, within), {id_: column(id_) for id_ in inner.all})
        return replace(inner, rel=cut, chosen=inner.chosen | _noisy_in(order, inner))

    # ------------------------------------------------------------ operators over several rows
    def _join(self, rel: Join) -> Carried:
        left, right = self.carry(rel.left), self.carry(rel.right)
        if right.replay and not left.replay and rel.kind not in ("inner", "cross", "right"):
            left = self._in_every_replay(left)
        if left.replay and not right.replay and rel.kind in ("right", "full"):
            right = self._in_every_replay(right)
        kind: JoinKind = rel.kind
        condition: exp.Expression | None = rel.condition.copy() if rel.condition is not None else None
        if left.replay and right.replay:
            same: exp.Expression = exp.EQ(this=column(left.replay), expression=column(right.replay))
            condition = exp.And(this=exp.paren(condition), expression=same) if condition is not None else same
            kind = "inner" if kind == "cross" else kind
        compared = [condition] if condition is not None else []
        matching = _noisy_in(compared, left) | _noisy_in(compared, right)
        chosen = left.chosen | right.chosen | matching
        joined = Join(left.rel, right.rel, kind, condition)
        if kind in ("semi", "anti"):
            return replace(left, rel=joined, chosen=chosen)
        fields, rows, noisy = (*left.fields, *right.fields), (*left.rows, *right.rows), {**left.noisy, **right.noisy}
        # Where the noise decides whether a kept row finds its match, the row is told by its own side alone.
        if kind == "left" and (right.chosen or matching):
            rows = left.rows
        if kind == "right" and (left.chosen or matching):
            rows = right.rows
        number = right.replay if kind == "right" else left.replay or right.replay
        if kind == "full" and left.replay and right.replay:
            number = self._id()
            either = exp.Coalesce(this=column(left.replay), expressions=[column(right.replay)])
            columns: dict[str, exp.Expression] = {**{id_: column(id_) for id_ in (*fields, *rows)}, number: either}
            return Carried(Project(joined, columns), fields, number, rows, noisy, chosen)
        return Carried(joined, fields, number, rows, noisy, chosen)

    def _aggregate(self, rel: Aggregate) -> Carried:
        arguments = [*rel.keys.values(), *(a for call in rel.calls.values() for a in call.arguments)]
        inner, expressions = self._with_subqueries(self.carry(rel.input), arguments)
        rest = iter(expressions)
        keys = {id_: next(rest) for id_ in rel.keys}
        calls = {id_: replace(call, arguments=tuple(next(rest) for _ in call.arguments)) for id_, call in rel.calls.items()}
        noisy = {id_: _noisy_in([e], inner) for id_, e in keys.items()}
        noisy |= {id_: _noisy_in(call.arguments, inner) | inner.chosen for id_, call in calls.items()}
        fields = (*rel.keys, *rel.calls, *rel.grouping)
        # Groups of noisy values are other groups in every replay: only steady keys tell rows apart.
        rows = tuple(id_ for id_ in (*rel.keys, *rel.grouping) if not noisy.get(id_))
        if inner.replay is None:
            return Carried(Aggregate(inner.rel, keys, calls, rel.sets, rel.grouping), fields, None, rows, noisy, inner.chosen)
        number = self._id()
        keys[number] = column(inner.replay)
        sets = None if rel.sets is None else tuple(chosen | {number} for chosen in rel.sets)
        grouped = Carried(Aggregate(inner.rel, keys, calls, sets, rel.grouping), fields, number, rows, noisy, inner.chosen)
        return grouped if rel.keys else self._even_without_rows(grouped, rel)

    def _even_without_rows(self, grouped: Carried, rel: Aggregate) -> Carried:
        """A grouping without keys has its one row even where nothing is left to count."""
        number = self._id()
        same = exp.EQ(this=column(number), expression=column(grouped.replay or ""))
        joined = Join(Scan(REPLAYS, {number: REPLAY}), grouped.rel, "left", same)
        columns: dict[str, exp.Expression] = {number: column(number)}
        for id_ in grouped.fields:
            counts = id_ in rel.calls and rel.calls[id_].function in ("COUNT", "COUNT_STAR", "COUNT_IF")
            columns[id_] = exp.Coalesce(this=column(id_), expressions=[exp.Literal.number(0)]) if counts else column(id_)
        return replace(grouped, rel=Project(joined, columns), replay=number)

    def _set_operation(self, rel: SetOperation) -> Carried:
        left, right = self.carry(rel.left), self.carry(rel.right)
        noisy: dict[str, frozenset[str]] = {}
        for new, a, b in zip(rel.fields, rel.left_fields, rel.right_fields, strict=True):
            noisy[new] = left.noisy.get(a, frozenset()) | right.noisy.get(b, frozenset())
        chosen = left.chosen | right.chosen
        if left.replay is None and right.replay is None:
            combined = SetOperation(rel.kind, rel.all, left.rel, right.rel, rel.left_fields, rel.right_fields, rel.fields)
            return Carried(combined, rel.fields, None, rel.fields, noisy, chosen)
        left, right = (side if side.replay else self._in_every_replay(side) for side in (left, right))
        number = self._id()
        ids: tuple[str, ...] = ()
        if rel.kind == "union" and rel.all:
            ids = tuple(self._id() for _ in range(1 + max(len(left.rows), len(right.rows))))
        first, first_fields = self._side(left, rel.left_fields, 0, len(ids))
        second, second_fields = self._side(right, rel.right_fields, 1, len(ids))
        combined = SetOperation(rel.kind, rel.all, first, second, first_fields, second_fields, (*rel.fields, number, *ids))
        rows = ids or tuple(id_ for id_ in rel.fields if not noisy[id_])
        return Carried(combined, rel.fields, number, rows, noisy, chosen)

    def _side(self, side: Carried, fields: tuple[str, ...], branch: int, width: int) -> tuple[Rel, tuple[str, ...]]:
        """One branch of a set operation: its fields, its replay, and its identities as text, padded to ``width``."""
        names = tuple(self._id() for _ in (*fields, "replay", *range(width)))
        identities: list[exp.Expression] = []
        if width:
            identities = [exp.Literal.string(str(branch)), *(exp.cast(column(id_), "VARCHAR") for id_ in side.rows)]
            identities += [exp.cast(exp.null(), "VARCHAR")] * (width - len(identities))
        expressions = [*(column(id_) for id_ in fields), column(side.replay or ""), *identities]
        return Project(side.rel, dict(zip(names, expressions, strict=True))), names

    # ------------------------------------------------------------ parts
    def _id(self) -> str:
        return f"r{next(self.numbers)}"

    def _in_every_replay(self, inner: Carried) -> Carried:
        number = self._id()
        return replace(inner, rel=Join(inner.rel, Scan(REPLAYS, {number: REPLAY}), "cross", None), replay=number)

    def _shown(self, rel: Rel) -> Rel:
        match rel:
            case Sort():
                return self._shown(rel.input)
            case Project():
                return replace(rel, input=self._shown(rel.input))
            case Filter() if _noisy_in([rel.predicate], self.carry(rel.input)):
                return self._shown(rel.input)
            case _:
                return rel

    def _with_subqueries(self, outer: Carried, expressions: Iterable[exp.Expression]) -> tuple[Carried, list[exp.Expression]]:
        """Expressions whose subqueries over released tables have become columns of ``outer``, joined by replay."""
        rewritten: list[exp.Expression] = []
        for original in expressions:
            expression = original.copy()
            for node in list(expression.find_all(BoundSubquery)):
                inner = self.carry(node.args["rel"])
                if inner.replay is None:
                    continue
                if outer.replay is None:
                    outer = self._in_every_replay(outer)
                outer, value = self._joined(outer, inner, node)
                if node is expression:
                    expression = value
                else:
                    node.replace(value)
            rewritten.append(expression)
        return outer, rewritten

    def _joined(self, outer: Carried, inner: Carried, node: BoundSubquery) -> tuple[Carried, exp.Expression]:
        number, found = self._id(), self._id()
        kind, name = node.args["kind"], node.args.get("field") or inner.fields[0]
        match kind:
            case "exists":
                call = Call("COUNT_STAR")
                rows = exp.Coalesce(this=column(found), expressions=[exp.Literal.number(0)])
                value: exp.Expression = exp.GT(this=rows, expression=exp.Literal.number(0))
            case "in":
                call = Call("LIST", (column(name),))
                listed = exp.Anonymous(this="LIST_CONTAINS", expressions=[column(found), node.this.copy()])
                value = exp.Coalesce(this=listed, expressions=[exp.false()])
            case _:
                call = Call("ANY_VALUE", (column(name),))
                value = column(found)
        single = Aggregate(inner.rel, {number: column(inner.replay or "")}, {found: call})
        same = exp.EQ(this=column(outer.replay or ""), expression=column(number))
        what = inner.chosen | inner.noisy.get(name, frozenset())
        return replace(outer, rel=Join(outer.rel, single, "left", same), noisy={**outer.noisy, found: what}), value


def _noisy_in(expressions: Iterable[exp.Expression], inner: Carried) -> frozenset[str]:
    """Statistics that expressions are computed from, subqueries that stay subqueries aside (they are public)."""
    found: frozenset[str] = frozenset()
    for expression in expressions:
        for node in expression.find_all(exp.Column):
            found |= inner.noisy.get(node.name, frozenset())
    return found
