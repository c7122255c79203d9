"""Joins: which of them keep each row with exactly one privacy unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.algebra import conjunction, conjuncts, place_in
from dpjupyter.engine.model import Facts, Filter, Join, Kind, Project, SqlType, Window
from dpjupyter.engine.place import place_of
from dpjupyter.engine.plan.relation import KeyList, Relation, Unit
from dpjupyter.engine.plan.units import Units
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.render import column
from dpjupyter.errors import Place, PrivacyUnitLost, UnsupportedSQL

_MIRROR = {"right": "left", "left": "right"}


def equalities(condition: exp.Expression | None, left: Relation, right: Relation) -> list[tuple[str, str]]:
    """AND-ed ``left column = right column`` parts: bare columns only, so that no cast or sum can pose as a unit."""
    found: list[tuple[str, str]] = []
    for part in conjuncts(condition) if condition is not None else []:
        if isinstance(part, exp.EQ):
            a, b = part.this.unnest(), part.expression.unnest()
            if isinstance(a, exp.Column) and isinstance(b, exp.Column):
                if a.name in left.facts and b.name in right.facts:
                    found.append((a.name, b.name))
                elif b.name in left.facts and a.name in right.facts:
                    found.append((b.name, a.name))
    return found


class Joins:
    """The join rules of privacy.md section 1."""

    def __init__(self, policy: Policy, units: Units, fresh: Callable[[], str], dialect: Callable[[Relation], str]) -> None:
        self._policy = policy
        self._units = units
        self._fresh = fresh
        self._dialect = dialect

    def join(self, rel: Join, left: Relation, right: Relation) -> Relation:
        """Join two planned relations.

        Raises: PrivacyUnitLost: rows of different units would meet. UnsupportedSQL: no rule.
        """
        if (left.private and right.released) or (left.released and right.private):
            raise UnsupportedSQL(
                "A released result cannot be joined to private rows.",
                hint="Compute both aggregates first and join their results, or write the number as a literal.",
                place=_place(rel),
            )
        if rel.kind in ("semi", "anti"):
            return self._semi(rel, left, right)
        if left.private and right.private:
            return self._private(rel, left, right)
        if left.private or right.private:
            return self._public(rel, left, right)
        return self._both_public(rel, left, right)

    # ------------------------------------------------------------ private with private
    def _private(self, rel: Join, left: Relation, right: Relation) -> Relation:
        assert left.unit is not None
        assert right.unit is not None
        if left.unit.row or right.unit.row:
            raise PrivacyUnitLost(
                "Tables whose unit is the row cannot be joined to one another.",
                hint="Each row is a person of its own there: aggregate them apart.",
                place=_place(rel),
            )
        pairs = equalities(rel.condition, left, right)
        if rel.kind in ("inner", "cross"):
            followed = self._along_path(rel, left, right, pairs)
            if followed is not None:
                return followed
        linked = [(a, b) for a, b in pairs if left.unit.links.get(a) is not None and left.unit.links.get(a) == right.unit.links.get(b)]
        left, right = self._units.resolved(left), self._units.resolved(right)
        assert left.unit is not None
        assert right.unit is not None
        equal = [(a, b) for a, b in pairs if a in left.unit.ids and b in right.unit.ids]
        condition = rel.condition
        if not equal and linked:
            # The keys agree; that the units do too is made true by the statement, not taken from a declaration.
            condition = conjunction(
                *([condition] if condition is not None else []), exp.EQ(this=column(left.unit.id), expression=column(right.unit.id))
            )
            equal = [(left.unit.id, right.unit.id)]
        if not equal:
            raise PrivacyUnitLost(
                "This join lets rows of different people meet.",
                hint=f"Join on the privacy unit: {self._advice(left)} = {self._advice(right)}, AND-ed with the rest.",
                place=_place(rel),
            )
        if not _comparable(left.unit, right.unit):
            raise PrivacyUnitLost(
                "The unit columns joined here have different types.", hint="Units are compared only within one type.", place=_place(rel)
            )
        rows = 1 if left.unit.rows == 1 and right.unit.rows == 1 else None
        facts = _joined_facts(rel.kind, left, right)
        condition = self._narrowed(condition, rel.kind, left, right, facts)
        links = {**left.unit.links, **right.unit.links}
        result = Join(left.rel, right.rel, "inner" if rel.kind == "cross" else rel.kind, condition)
        base = Relation(result, facts, tables=left.tables | right.tables, lists=_lists(rel.kind, left, right))
        match rel.kind:
            case "inner" | "cross":
                unit = Unit(left.unit.ids | right.unit.ids, left.unit.type, rows, links=links)
            case "left":
                unit = Unit(left.unit.ids, left.unit.type, rows, links=left.unit.links)
            case "right":
                unit = Unit(right.unit.ids, right.unit.type, rows, links=right.unit.links)
            case "full":
                both = self._fresh()
                project: dict[str, exp.Expression] = {id_: column(id_) for id_ in facts}
                project[both] = exp.Coalesce(this=column(left.unit.id), expressions=[column(right.unit.id)])
                facts = {**facts, both: Facts(left.unit.type, nullable=True, from_unit=True)}  # type: ignore[arg-type]
                base = replace(base, rel=Project(result, project), facts=facts)
                unit = Unit(frozenset({both}), left.unit.type, rows)
            case _:
                raise UnsupportedSQL(f"{rel.kind} join is not answered.", place=_place(rel))
        return replace(base, unit=unit)

    def _along_path(self, rel: Join, left: Relation, right: Relation, pairs: list[tuple[str, str]]) -> Relation | None:
        """A join the query wrote that is itself a step of a foreign-key path over an enforced key: no further join is needed."""
        assert left.unit is not None
        assert right.unit is not None
        for one, other, ends in ((left, right, pairs), (right, left, [(b, a) for a, b in pairs])):
            assert one.unit is not None
            assert other.unit is not None
            if one.unit.path is None:
                continue
            start, table, key = one.unit.path
            for a, b in ends:
                if a != start or other.unit.links.get(b) != (table, key):
                    continue
                same_path = other.unit.path is not None and other.unit.path == (b, table, key)
                enforced = self._policy.keys_hold(table) and (key,) in self._policy.tables[table].keys
                if not same_path and not (enforced and frozenset({b}) in other.enforced):
                    continue
                facts = _joined_facts(rel.kind, left, right)
                condition = self._narrowed(rel.condition, "inner", left, right, facts)
                unit = replace(other.unit, rows=None, links={**one.unit.links, **other.unit.links})
                return Relation(
                    Join(left.rel, right.rel, "inner", condition),
                    facts,
                    unit,
                    left.tables | right.tables,
                    lists=left.lists + right.lists,
                    enforced=one.enforced,
                )
        return None

    def _advice(self, relation: Relation) -> str:
        for name in sorted(relation.tables):
            unit = self._policy.tables[name].unit
            if unit is not None:
                return f"{name}.{unit.path[0].column if unit.path else unit.column}"
        return "unit"

    # ------------------------------------------------------------ private with public
    def _public(self, rel: Join, left: Relation, right: Relation) -> Relation:
        private, public = (left, right) if left.private else (right, left)
        assert private.unit is not None
        side = rel.kind if left.private else _MIRROR.get(rel.kind, rel.kind)  # as if the private side were on the left
        if side == "full":
            raise PrivacyUnitLost(
                "A FULL JOIN keeps public rows that belong to nobody.", hint="Use LEFT JOIN from the private table.", place=_place(rel)
            )
        pairs = equalities(rel.condition, private, public)
        # A comparison that casts the public side may match several of its keys: '1' and '01' are one number.
        met = frozenset(b for a, b in pairs if _one_to_one(private.facts[a].type, public.facts[b].type))
        keyed = any(key <= met for key in public.unique)
        proven = any(key <= met for key in public.enforced)
        if not keyed and not self._small(public):
            raise UnsupportedSQL(
                "This join to a public table is neither on a unique key of it nor to a small table.",
                hint=f"Join on its declared key, or declare rows <= {self._policy.limits.public_row_cap} in the policy.",
                place=_place(rel),
            )
        if private.unit.row and not proven:
            private, public = self._single(private, public, met, rel, keyed=keyed)
            proven = private.unit.row if private.unit is not None else False
        assert private.unit is not None
        lists = private.lists
        if side in ("inner", "cross", "right") and not public.lists:
            lists = (*lists, KeyList(public.rel, {id_: id_ for id_ in public.facts}, required=side == "right"))
        kind = "left" if side == "left" else "inner"
        facts = _joined_facts(kind, private, public)
        condition = self._narrowed(rel.condition, kind, private, public, facts)
        unit = replace(private.unit, rows=private.unit.rows if proven else None)
        return Relation(
            Join(private.rel, public.rel, kind if condition is not None else "cross", condition), facts, unit, private.tables, lists=lists
        )

    def _small(self, public: Relation) -> bool:
        return public.cap is not None and public.cap <= self._policy.limits.public_row_cap

    def _single(self, private: Relation, public: Relation, met: frozenset[str], rel: Join, *, keyed: bool) -> tuple[Relation, Relation]:
        """Unit = row: make the public side's declared key true, or take the row key as unit."""
        assert private.unit is not None
        if keyed:
            key = min((k for k in public.unique if k <= met), key=sorted)
            number = self._fresh()
            order = exp.Order(expressions=[exp.Ordered(this=column(id_)) for id_ in sorted(public.facts)])
            window = exp.Window(this=exp.RowNumber(), partition_by=[column(id_) for id_ in sorted(key)], order=order, over="OVER")
            first = Filter(Window(public.rel, {number: window}), exp.EQ(this=column(number), expression=exp.Literal.number(1)))
            rel_ = Project(first, {id_: column(id_) for id_ in public.facts})
            return private, replace(public, rel=rel_, enforced=public.enforced | {key})
        return row_key_as_unit(private, _place(rel)), public

    # ------------------------------------------------------------ semi, anti, public
    def _semi(self, rel: Join, left: Relation, right: Relation) -> Relation:
        condition = rel.condition
        if right.private:
            if not left.private:
                raise PrivacyUnitLost(
                    "Whether a private row exists decides which public rows are kept.",
                    hint="Count the private rows per key instead.",
                    place=_place(rel),
                )
            assert left.unit is not None
            assert right.unit is not None
            if left.unit.row or right.unit.row:
                raise PrivacyUnitLost("Tables whose unit is the row cannot be compared with one another.", place=_place(rel))
            left, right = self._units.resolved(left), self._units.resolved(right)
            assert left.unit is not None
            assert right.unit is not None
            condition, not_in = _plain_not_in(condition)
            pairs = equalities(condition, left, right)
            if not any(a in left.unit.ids and b in right.unit.ids for a, b in pairs) or not _comparable(left.unit, right.unit):
                raise PrivacyUnitLost(
                    "EXISTS or IN over private rows must compare the privacy unit of both sides.",
                    hint=f"Add ... = {self._advice(right)} to the subquery's WHERE.",
                    place=_place(rel),
                )
            if not_in:
                left = replace(left, rel=Filter(left.rel, exp.Not(this=exp.Is(this=column(left.unit.id), expression=exp.null()))))
        elif left.private and condition is not None and not equalities(condition, left, right) and not self._small(right):
            raise UnsupportedSQL(
                "This EXISTS compares every private row with a large public table.", hint="Compare with an equality.", place=_place(rel)
            )
        facts = {**left.facts, **right.facts}
        if condition is not None:
            condition = scalar.total(condition, facts, self._dialect(left))
        released = left.released or right.released
        return replace(left, rel=Join(left.rel, right.rel, rel.kind, condition), tables=left.tables | right.tables, released=released)

    def _both_public(self, rel: Join, left: Relation, right: Relation) -> Relation:
        facts = _joined_facts(rel.kind, left, right)
        released = left.released or right.released
        both = Relation(rel, facts, released=released)
        condition = self._narrowed(rel.condition, rel.kind, left, right, facts, both)
        cap = None if left.cap is None or right.cap is None else (left.cap or 1) * (right.cap or 1)
        pairs = equalities(rel.condition, left, right)
        unique = frozenset[frozenset[str]]()
        if rel.kind in ("inner", "left") and any(key <= {b for _, b in pairs} for key in right.unique):
            unique, cap = left.unique, left.cap
        return replace(both, rel=Join(left.rel, right.rel, rel.kind, condition), unique=unique, cap=cap)

    def _narrowed(
        self,
        condition: exp.Expression | None,
        kind: str,
        left: Relation,
        right: Relation,
        facts: dict[str, Facts],
        where: Relation | None = None,
    ) -> exp.Expression | None:
        """Lower the condition; what it says narrows both sides of an inner join and the joined side of a left join."""
        if condition is None:
            return None
        narrowed = scalar.narrow(condition, facts)
        ids = (
            set(facts)
            if kind in ("inner", "cross")
            else set(right.facts)
            if kind == "left"
            else set(left.facts)
            if kind == "right"
            else set[str]()
        )
        lowered = scalar.total(condition, facts, self._dialect(where or left))
        for id_ in ids & set(narrowed):
            keep_null = kind in ("left", "right")
            facts[id_] = replace(narrowed[id_], nullable=True) if keep_null else narrowed[id_]
        return lowered


def row_key_as_unit(relation: Relation, place: Place | None) -> Relation:
    """Where rows of a unit = row table multiply, its declared key becomes the unit.

    Raises: PrivacyUnitLost: the table declares no single-column key.
    """
    unit = relation.unit
    assert unit is not None
    assert unit.row
    if unit.row_key is None or unit.row_key not in relation.facts:
        raise PrivacyUnitLost(
            "Each row is a person here, and this operation multiplies rows.",
            hint="The owner can declare a key that the warehouse enforces.",
            place=place,
        )
    key = unit.row_key
    facts = {**relation.facts, key: replace(relation.facts[key], from_unit=True)}
    return replace(relation, facts=facts, unit=Unit(frozenset({key}), relation.facts[key].type, rows=None, row_of=min(relation.tables)))


def _comparable(a: Unit, b: Unit) -> bool:
    return a.type is not None and b.type is not None and a.row_of == b.row_of and _one_to_one(a.type, b.type)


def _one_to_one(a: SqlType, b: SqlType) -> bool:
    """Whether equality between the types needs no cast that could make two values one."""
    return a.kind is b.kind and a.scale == b.scale and a.kind not in (Kind.FLOAT, Kind.OTHER, Kind.NULL)


def _joined_facts(kind: str, left: Relation, right: Relation) -> dict[str, Facts]:
    facts = {**left.facts, **right.facts}
    loose = set[str]()
    if kind in ("left", "full"):
        loose |= set(right.facts)
    if kind in ("right", "full"):
        loose |= set(left.facts)
    return {id_: replace(f, nullable=True) if id_ in loose else f for id_, f in facts.items()}


def _lists(kind: str, left: Relation, right: Relation) -> tuple[KeyList, ...]:
    if kind in ("inner", "cross"):
        return left.lists + right.lists
    return left.lists if kind == "left" else right.lists if kind == "right" else ()


def _plain_not_in(condition: exp.Expression | None) -> tuple[exp.Expression | None, bool]:
    """NOT IN arrives as COALESCE(a = b, TRUE); units are never NULL on either side of a private comparison."""
    parts = conjuncts(condition) if condition is not None else []
    plain = [p.this if isinstance(p, exp.Coalesce) and isinstance(p.this, exp.EQ) else p for p in parts]
    return (conjunction(*plain) if plain else None), any(a is not b for a, b in zip(parts, plain, strict=True))


def _place(rel: Join) -> Place | None:
    return (place_of(rel.condition) if rel.condition is not None else None) or place_in(rel.right)
