"""The recursive function of privacy.md section 1: operator by operator, whose rows are these? What has no rule is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.algebra import conjunction, names_in, place_in, subqueries
from dpjupyter.engine.model import (
    BIGINT,
    BOOL,
    Aggregate,
    Ask,
    BoundSubquery,
    Call,
    Constants,
    Facts,
    Filter,
    Interval,
    Join,
    Kind,
    Project,
    Rel,
    Scan,
    SetOperation,
    Sort,
    Window,
)
from dpjupyter.engine.place import place_of
from dpjupyter.engine.plan.fixed_point import summand
from dpjupyter.engine.plan.joins import Joins
from dpjupyter.engine.plan.measure import Measurements
from dpjupyter.engine.plan.per_unit import aggregate_per_unit
from dpjupyter.engine.plan.public import single_row
from dpjupyter.engine.plan.relation import KeyList, Relation, Unit, renamed
from dpjupyter.engine.plan.saved import SavedScans
from dpjupyter.engine.plan.set_ops import SetOperations, hull, no_outer_rows
from dpjupyter.engine.plan.units import Units, scan
from dpjupyter.engine.plan.windows import check_arguments, check_private, order_of, order_totally, public_call, window_facts
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.render import column, substitute
from dpjupyter.errors import PrivacyUnitLost, Refused, UnsupportedSQL


@dataclass(frozen=True, slots=True)
class _Opened:
    """An expression whose subqueries stand aside as columns, so that the scalar rules see plain values."""

    expr: exp.Expression
    facts: Mapping[str, Facts]
    aside: Mapping[str, BoundSubquery]
    released: bool

    def lowered(self, dialect: str) -> exp.Expression:
        """The expression made total, its subqueries back in place."""
        return (
            substitute(scalar.total(self.expr, self.facts, dialect), self.aside)
            if self.aside
            else scalar.total(self.expr, self.facts, dialect)
        )


class Planner:
    """Walks a bound query bottom-up, rewriting it into what the warehouse runs and what is finished here."""

    def __init__(self, policy: Policy, ask: Ask, first: int, saved: SavedScans | None = None) -> None:
        self._policy = policy
        self.saved = saved or SavedScans({})
        self._next = first
        self.units = Units(policy, self.fresh)
        self.joins = Joins(policy, self.units, self.fresh, self.dialect_of)
        self.sets = SetOperations(policy, self.units, self.fresh)
        self.measurements = Measurements(policy, ask, self.fresh, self.units)

    def fresh(self) -> str:
        """A new column id."""
        self._next += 1
        return f"c{self._next}"

    def dialect_of(self, relation: Relation) -> str:
        """Where the relation is computed: what reads a released table is finished in DuckDB, all else in the warehouse."""
        return "duckdb" if relation.released else self._policy.dialect

    # ------------------------------------------------------------ the walk
    def visit(self, rel: Rel) -> Relation:
        """Plan one operator.

        Raises: Refused: PrivacyUnitLost, BoundsMissing, UnsupportedSQL; with the place in the text.
        """
        try:
            return self._visit(rel)
        except Refused as refused:
            refused.place = refused.place or place_in(rel)
            raise

    def _visit(self, rel: Rel) -> Relation:
        if isinstance(rel, (Window, Constants, Join)) and (found := next(subqueries(rel), None)) is not None:
            raise UnsupportedSQL(
                "A subquery is not answered in a window, VALUES or ON.", hint="Join its result instead.", place=place_of(found)
            )
        match rel:
            case Scan():
                return self.saved.scan(rel) if rel.table in self.saved else scan(rel, self._policy)
            case Constants():
                return self._constants(rel)
            case Filter():
                return self._filter(rel)
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
            case _:
                raise UnsupportedSQL(f"{type(rel).__name__} is not answered.")

    def lowered(self, expr: exp.Expression, relation: Relation) -> exp.Expression:
        """An expression that cannot fail at run time, its subqueries planned."""
        return self._opened(expr, relation).lowered(self.dialect_of(relation))

    def _opened(self, expr: exp.Expression, relation: Relation) -> _Opened:
        """The expression with each subquery planned and set aside under a column id of its own.

        Raises: PrivacyUnitLost, UnsupportedSQL: a subquery reads private rows, or a released number would select private rows.
        """
        facts = dict(relation.facts)
        aside: dict[str, BoundSubquery] = {}
        released = False
        if expr.find(BoundSubquery) is None:
            return _Opened(expr, facts, aside, released)
        expr = expr.copy()
        for node in list(expr.find_all(BoundSubquery)):
            inner = self.visit(node.args["rel"])
            if inner.private:
                raise PrivacyUnitLost(
                    "This subquery reads private rows without aggregating them.",
                    hint="Aggregate them, or compare the privacy unit with EXISTS or IN.",
                    place=place_of(node),
                )
            if inner.released and relation.private:
                raise UnsupportedSQL(
                    "A released number cannot select private rows in the same query.",
                    hint="Ask for it first and write it as a literal.",
                    place=place_of(node),
                )
            if node.args["kind"] == "scalar" and not single_row(node.args["rel"], self._policy):
                raise UnsupportedSQL(
                    "This subquery may have several rows where one value is needed.",
                    hint="Aggregate it (MAX, SUM), add LIMIT 1, or use IN.",
                    place=place_of(node),
                )
            released |= inner.released
            this = self.lowered(node.this, relation) if node.this is not None else None
            id_ = self.fresh()
            aside[id_] = BoundSubquery(this=this, rel=inner.rel, kind=node.args["kind"], field=node.args.get("field"), planned=True)
            scalar_value = node.args["kind"] == "scalar"
            facts[id_] = (
                replace(inner.facts[node.args["field"]], nullable=True, domain=None)
                if scalar_value
                else Facts(BOOL, Interval(0, 1), domain=(False, True))
            )
            if node is expr:
                expr = column(id_)
            else:
                node.replace(column(id_))
        return _Opened(expr, facts, aside, released)

    def _join(self, rel: Join) -> Relation:
        left, right = self.visit(rel.left), self.visit(rel.right)
        return self.joins.join(rel, left, right)

    # ------------------------------------------------------------ row by row
    def _constants(self, rel: Constants) -> Relation:
        facts: dict[str, Facts] = {}
        for position, id_ in enumerate(rel.fields):
            each = [scalar.facts(row[position], {}) for row in rel.rows]
            facts[id_] = hull(each)
        return Relation(rel, facts, cap=len(rel.rows))

    def _filter(self, rel: Filter) -> Relation:
        inner = self.visit(rel.input)
        opened = self._opened(rel.predicate, inner)
        inner = replace(inner, released=inner.released or opened.released)
        narrowed = {id_: f for id_, f in {**opened.facts, **scalar.narrow(opened.expr, opened.facts)}.items() if id_ not in opened.aside}
        lowered = opened.lowered(self.dialect_of(inner))
        predicate = opened.expr
        lists = tuple(self._filtered_list(item, predicate, lowered) for item in inner.lists)
        return replace(inner, rel=Filter(inner.rel, lowered), facts=narrowed, lists=lists)

    @staticmethod
    def _filtered_list(item: KeyList, predicate: exp.Expression, lowered: exp.Expression) -> KeyList:
        """A condition on listed columns alone shortens the list; any other drops the outer join's unmatched rows."""
        if names_in(predicate) <= set(item.columns) and lowered.find(BoundSubquery) is None:
            moved = substitute(lowered, {id_: column(inside) for id_, inside in item.columns.items()})
            return replace(item, rel=Filter(item.rel, moved))
        return replace(item, required=False)

    def _project(self, rel: Project) -> Relation:
        inner = self.visit(rel.input)
        opened = {id_: self._opened(e, inner) for id_, e in rel.columns.items()}
        inner = replace(inner, released=inner.released or any(o.released for o in opened.values()))
        dialect = self.dialect_of(inner)
        facts = {id_: scalar.facts(o.expr, o.facts) for id_, o in opened.items()}
        passed = {id_: old for id_, old in renamed({i: o.expr for i, o in opened.items()}).items() if old in inner.facts}
        for id_, old in passed.items():
            facts[id_] = inner.facts[old]
        lowered = {id_: o.lowered(dialect) for id_, o in opened.items()}
        result = replace(inner, facts=facts, unique=_mapped(inner.unique, passed), enforced=_mapped(inner.enforced, passed))
        if inner.unit is not None:
            carried = _unit_columns(inner.unit) - set(lowered)
            lowered |= {id_: column(id_) for id_ in sorted(carried)}
            result = replace(
                result, facts={**facts, **{id_: inner.facts[id_] for id_ in carried}}, unit=_renamed_unit(inner.unit, passed, carried)
            )
        lists = tuple(
            replace(
                item,
                columns={new: item.columns[old] for new, old in passed.items() if old in item.columns}
                | {i: c for i, c in item.columns.items() if i in lowered},
            )
            for item in inner.lists
        )
        return replace(result, rel=Project(inner.rel, lowered), lists=lists)

    # ------------------------------------------------------------ groups
    def _aggregate(self, rel: Aggregate) -> Relation:
        inner = self.visit(rel.input)
        if not inner.private:
            return self._public_aggregate(rel, inner)
        assert inner.unit is not None
        keys = dict(rel.keys)
        for expr in [*keys.values(), *(a for c in rel.calls.values() for a in c.arguments)]:
            if self._opened(expr, inner).aside:
                raise UnsupportedSQL(
                    "A subquery inside an aggregate or GROUP BY is not answered.", hint="Join its result instead.", place=place_of(expr)
                )
        plain = {e.name for e in keys.values() if isinstance(e, exp.Column)}
        if inner.unit.path is not None and any(scalar_from_unit(e, inner) for e in keys.values()):
            inner = self.units.resolved(inner)
            assert inner.unit is not None
        if plain & inner.unit.ids:
            no_outer_rows(inner)
            return aggregate_per_unit(replace(rel, keys=keys), inner, self._policy, self.measurements.max_rows(inner), self.fresh)
        for id_, expr in keys.items():
            if scalar_from_unit(expr, inner):
                raise PrivacyUnitLost(
                    "GROUP BY uses a function of the privacy unit: its groups would point at people.",
                    hint="Group by something that many people share.",
                    place=place_of(expr) or place_of(rel.keys[id_]),
                )
        return self._with_modes(replace(rel, keys=keys), inner)

    def _with_modes(self, rel: Aggregate, inner: Relation) -> Relation:
        """MODE(x) is the most frequent x of a released count per x: post-processing of one more measurement."""
        modes = {id_: c for id_, c in rel.calls.items() if c.function == "MODE"}
        if not modes:
            return self.measurements.measure(rel, inner)
        if rel.sets is not None or any(c.distinct for c in modes.values()):
            raise UnsupportedSQL("MODE is not answered with DISTINCT or grouping sets.", hint="Use it in a GROUP BY of its own.")
        result = self.measurements.measure(replace(rel, calls={i: c for i, c in rel.calls.items() if i not in modes}), inner)
        for id_, call in modes.items():
            result = self._joined_mode(result, rel, id_, call, inner)
        return result

    def _joined_mode(self, result: Relation, rel: Aggregate, id_: str, call: Call, inner: Relation) -> Relation:
        value = call.arguments[0]
        if scalar_from_unit(value, inner):
            raise PrivacyUnitLost(f"{call.text} would show a value of the privacy unit.", place=place_of(value))
        keys = {self.fresh(): (old, e) for old, e in rel.keys.items()}
        shown, count, rank = self.fresh(), self.fresh(), self.fresh()
        present = Filter(
            inner.rel, exp.Not(this=exp.Is(this=scalar.total(value, inner.facts, self._policy.dialect), expression=exp.null()))
        )
        known = replace(
            inner, rel=present, facts={**inner.facts, **scalar.narrow(exp.Not(this=exp.Is(this=value, expression=exp.null())), inner.facts)}
        )
        counted = self.measurements.measure(
            Aggregate(present, {**{new: e for new, (_, e) in keys.items()}, shown: value}, {count: Call("COUNT_STAR", text=call.text)}),
            known,
        )
        self.measurements.calls[id_] = self.measurements.calls[count]
        order = exp.Order(expressions=[exp.Ordered(this=column(count), desc=True), exp.Ordered(this=column(shown))])
        window = exp.Window(this=exp.RowNumber(), partition_by=[column(k) for k in keys], order=order, over="OVER")
        first = Filter(Window(counted.rel, {rank: window}), exp.EQ(this=column(rank), expression=exp.Literal.number(1)))
        best = Project(first, {**{k: column(k) for k in keys}, id_: column(shown)})
        same = [exp.NullSafeEQ(this=column(old), expression=column(new)) for new, (old, _) in keys.items()]
        joined = Join(result.rel, best, "left", conjunction(*same) if same else exp.true())
        facts = {**result.facts, id_: replace(counted.facts[shown], nullable=True)}
        return replace(result, rel=Project(joined, {i: column(i) for i in facts}), facts=facts)

    def _public_aggregate(self, rel: Aggregate, inner: Relation) -> Relation:
        opened = [self._opened(e, inner) for e in [*rel.keys.values(), *(a for c in rel.calls.values() for a in c.arguments)]]
        inner = replace(inner, released=inner.released or any(o.released for o in opened))
        keys = {id_: self.lowered(e, inner) for id_, e in rel.keys.items()}
        calls = {id_: replace(c, arguments=tuple(self.lowered(a, inner) for a in c.arguments)) for id_, c in rel.calls.items()}
        facts = {id_: scalar.facts(o.expr, o.facts) for id_, o in zip(rel.keys, opened, strict=False)}
        if rel.sets is not None:
            facts = {id_: replace(f, nullable=True) for id_, f in facts.items()}
        for id_, call in rel.calls.items():
            first = self._opened(call.arguments[0], inner) if call.arguments else None
            argument = scalar.facts(first.expr, first.facts) if first is not None else None
            facts[id_] = public_call(call.function, argument)
            if call.function == "SUM" and argument is not None and argument.type.kind in (Kind.INT, Kind.DECIMAL):
                exact = summand(calls[id_].arguments[0], self.dialect_of(inner), argument.type.scale)
                calls[id_] = replace(calls[id_], arguments=(exact,))
        facts |= {id_: Facts(BIGINT, Interval(0, 1), nullable=False, integral=True) for id_ in rel.grouping}
        unique = frozenset({frozenset(keys)}) if rel.sets is None else frozenset[frozenset[str]]()
        cap = 1 if not keys and rel.sets is None else inner.cap if rel.sets is None else None
        return Relation(
            replace(rel, input=inner.rel, keys=keys, calls=calls), facts, released=inner.released, unique=unique, enforced=unique, cap=cap
        )

    def _window(self, rel: Window) -> Relation:
        inner = self.visit(rel.input)
        if inner.private:
            no_outer_rows(inner)
            inner = self.units.resolved(inner)
        columns: dict[str, exp.Expression] = {}
        facts = dict(inner.facts)
        dialect = self.dialect_of(inner)
        for id_, node in rel.columns.items():
            assert isinstance(node, exp.Window)
            window = node.copy()
            check_arguments(window)
            if inner.unit is not None:
                check_private(window, inner)
            facts[id_] = window_facts(window, inner)
            for part in [*(window.args.get("partition_by") or []), *(o.this for o in order_of(window)), *window.this.iter_expressions()]:
                if not isinstance(part, (exp.Star, exp.Column)):
                    part.replace(scalar.total(part.copy(), inner.facts, dialect))
            if inner.unit is not None:
                order_totally(window, inner)
            columns[id_] = window
        return replace(inner, rel=Window(inner.rel, columns), facts=facts)

    # ------------------------------------------------------------ sets and order
    def _set_operation(self, rel: SetOperation) -> Relation:
        return self.sets.operation(rel, self.visit(rel.left), self.visit(rel.right))

    def _sort(self, rel: Sort) -> Relation:
        inner = self.visit(rel.input)
        if inner.private:
            if rel.limit is not None or rel.offset:
                raise PrivacyUnitLost(
                    "LIMIT over private rows picks particular people.",
                    hint="Aggregate first; LIMIT the result.",
                    place=place_of(rel.order[0]) if rel.order else None,
                )
            return inner  # the order of private rows has no effect on any aggregate answered here
        order = tuple(
            exp.Ordered(this=self.lowered(o.this, inner), desc=o.args.get("desc"), nulls_first=o.args.get("nulls_first")) for o in rel.order
        )
        cap = inner.cap if rel.limit is None else rel.limit if inner.cap is None else min(rel.limit, inner.cap)
        return replace(inner, rel=replace(rel, input=inner.rel, order=order), cap=cap)


def scalar_from_unit(expr: exp.Expression, relation: Relation) -> bool:
    """Whether an expression is computed from the privacy unit."""
    ids = relation.unit.ids if relation.unit is not None else frozenset[str]()
    return any(name in ids or relation.facts[name].from_unit for name in names_in(expr) if name in relation.facts)


def _unit_columns(unit: Unit) -> set[str]:
    carried = {unit.id} if unit.ids else set[str]()
    if unit.path is not None:
        carried.add(unit.path[0])
    if unit.row and unit.row_key is not None:
        carried.add(unit.row_key)
    return carried


def _renamed_unit(unit: Unit, passed: dict[str, str], carried: set[str]) -> Unit:
    ids = frozenset(new for new, old in passed.items() if old in unit.ids) | (unit.ids & carried)
    links = {new: unit.links[old] for new, old in passed.items() if old in unit.links} | {
        i: unit.links[i] for i in carried if i in unit.links
    }
    path, row_key = unit.path, unit.row_key
    if path is not None and path[0] not in carried:
        path = (next(new for new, old in passed.items() if old == unit.path[0]), *path[1:])  # type: ignore[index]
    return replace(unit, ids=ids, links=links, path=path, row_key=row_key)


def _mapped(keys: frozenset[frozenset[str]], passed: dict[str, str]) -> frozenset[frozenset[str]]:
    new_of: dict[str, str] = {}
    for new, old in passed.items():
        new_of.setdefault(old, new)
    return frozenset(frozenset(new_of[c] for c in key) for key in keys if all(c in new_of for c in key))
