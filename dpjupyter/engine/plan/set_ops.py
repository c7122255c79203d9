"""UNION, INTERSECT and EXCEPT: of rows that keep their person, or of public rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dpjupyter.engine.model import NULLTYPE, Facts, Interval, Kind, SetOperation
from dpjupyter.engine.plan.joins import row_key_as_unit
from dpjupyter.engine.plan.public import united, unites
from dpjupyter.engine.plan.relation import Relation, Unit
from dpjupyter.engine.plan.units import Units
from dpjupyter.engine.policy import Policy
from dpjupyter.errors import PrivacyUnitLost, UnsupportedSQL


class SetOperations:
    """The rules of set operations."""

    def __init__(self, policy: Policy, units: Units, fresh: Callable[[], str]) -> None:
        self._policy = policy
        self._units = units
        self._fresh = fresh

    def operation(self, rel: SetOperation, left: Relation, right: Relation) -> Relation:
        """UNION, INTERSECT or EXCEPT of two planned relations.

        Raises: PrivacyUnitLost, UnsupportedSQL.
        """
        what = f"{rel.kind.upper()}{' ALL' if rel.all else ''}"
        if left.private != right.private:
            raise PrivacyUnitLost(
                f"{what} of private and public rows: some rows would belong to nobody.", hint="Aggregate the private side first."
            )
        facts = {
            new: hull([left.facts[a], right.facts[b]]) if rel.kind != "except" else left.facts[a]
            for new, a, b in zip(rel.fields, rel.left_fields, rel.right_fields, strict=True)
        }
        if left.unit is None or right.unit is None:
            return self._public(rel, left, right, facts)
        if left.unit.row or right.unit.row:
            if not (rel.kind == "union" and rel.all):
                raise PrivacyUnitLost(f"{what} lets equal rows of different people meet.", hint="Aggregate first.")
            if not (left.unit.row and right.unit.row and left.tables == right.tables and len(left.tables) == 1):
                raise PrivacyUnitLost(f"{what} of tables whose rows belong to different kinds of units.", hint="Aggregate each side first.")
            left, right = row_key_as_unit(left, None), row_key_as_unit(right, None)
        for side in (left, right):
            no_outer_rows(side)
        left, right = self._units.resolved(left), self._units.resolved(right)
        assert left.unit is not None
        assert right.unit is not None
        if left.unit.type is None or right.unit.type is None or left.unit.type.kind is not right.unit.type.kind:
            raise PrivacyUnitLost(f"The sides of {what} have privacy units of different types.")
        for a, b in zip(rel.left_fields, rel.right_fields, strict=True):
            one, two = left.facts[a].type, right.facts[b].type
            if (one.kind, one.scale) != (two.kind, two.scale) and Kind.NULL not in (one.kind, two.kind):
                raise UnsupportedSQL(f"The sides of {what} have columns of different types.", hint="CAST both to one type.")
        tables = left.tables | right.tables
        if rel.kind == "union" and rel.all:
            id_ = self._fresh()
            facts[id_] = replace(hull([left.facts[left.unit.id], right.facts[right.unit.id]]), from_unit=True)
            wide = replace(
                rel,
                left=left.rel,
                right=right.rel,
                left_fields=(*rel.left_fields, left.unit.id),
                right_fields=(*rel.right_fields, right.unit.id),
                fields=(*rel.fields, id_),
            )
            same = {
                n
                for n, a, b in zip(rel.fields, rel.left_fields, rel.right_fields, strict=True)
                if a in left.unit.ids and b in right.unit.ids
            }
            return Relation(wide, facts, Unit(frozenset({id_, *same}), left.unit.type), tables)
        same = frozenset(
            n for n, a, b in zip(rel.fields, rel.left_fields, rel.right_fields, strict=True) if a in left.unit.ids and b in right.unit.ids
        )
        if not same:
            raise PrivacyUnitLost(
                f"{what} compares rows of different people.", hint="Select the privacy unit in the same place on both sides."
            )
        return Relation(replace(rel, left=left.rel, right=right.rel), facts, Unit(same, left.unit.type), tables)

    def _public(self, rel: SetOperation, left: Relation, right: Relation, facts: dict[str, Facts]) -> Relation:
        dialect = "duckdb" if left.released or right.released else self._policy.dialect
        for new, a, b in zip(rel.fields, rel.left_fields, rel.right_fields, strict=True):
            one, two = left.facts[a].type, right.facts[b].type
            if not unites(one, two, dialect):
                names = " and ".join(sorted({one.text or one.kind.value, two.text or two.kind.value}))
                said = f"The sides of {rel.kind.upper()} have columns of different types: {names}."
                raise UnsupportedSQL(said, hint="CAST both to one type.")
            facts[new] = replace(facts[new], type=united(one, two) or hull([left.facts[a], right.facts[b]]).type)
        cap = None if left.cap is None or right.cap is None else left.cap + right.cap
        unique = frozenset[frozenset[str]]() if rel.all else frozenset({frozenset(rel.fields)})
        return Relation(
            replace(rel, left=left.rel, right=right.rel),
            facts,
            released=left.released or right.released,
            unique=unique,
            enforced=unique,
            cap=cap,
        )


def no_outer_rows(relation: Relation) -> None:
    """Refuse an operator that would silently lose the public rows an outer join was asked to keep.

    Raises: PrivacyUnitLost.
    """
    if any(item.required for item in relation.lists):
        raise PrivacyUnitLost(
            "The outer join below keeps public rows that belong to nobody.",
            hint="Group by the public key right away, or use an inner join.",
        )


def hull(each: list[Facts]) -> Facts:
    """Facts that hold for every one of several expressions."""
    typed = [f for f in each if f.type.kind is not Kind.NULL]
    if not typed:
        return Facts(NULLTYPE, nullable=True)
    order = [Kind.BOOL, Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.DATE, Kind.TIMESTAMP, Kind.TEXT, Kind.TIME, Kind.OTHER]
    widest = max((f.type for f in typed), key=lambda t: (order.index(t.kind), t.bits, t.precision))
    intervals = [f.interval for f in typed]
    interval = Interval(min(i.lower for i in intervals if i), max(i.upper for i in intervals if i)) if all(intervals) else None
    domain = None
    if all(f.domain is not None for f in typed):
        domain = tuple(dict.fromkeys(v for f in typed for v in f.domain or ()))
    return Facts(
        widest,
        interval,
        any(f.nullable for f in each) or len(typed) < len(each),
        domain,
        any(f.from_unit for f in each),
        all(f.integral for f in typed),
    )
