"""Measurements: an aggregate over private rows becomes statements of integers and a released table to finish from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.algebra import columns_of, place_in
from dpjupyter.engine.model import (
    BIGINT,
    DOUBLE,
    NULLTYPE,
    Aggregate,
    Ask,
    Call,
    Constants,
    Facts,
    Interval,
    Item,
    Key,
    Kind,
    Measurement,
    Project,
    Rel,
    Scan,
    SetOperation,
    Value,
)
from dpjupyter.engine.place import at, place_of
from dpjupyter.engine.plan.canonical import Numbering, canonical
from dpjupyter.engine.plan.named import Named
from dpjupyter.engine.plan.parts import Group, finished
from dpjupyter.engine.plan.public import list_unique, public_only, row_bound
from dpjupyter.engine.plan.pushdown import Grouping
from dpjupyter.engine.plan.quantiles import is_whole, level_of, selection
from dpjupyter.engine.plan.relation import KeyList, Relation
from dpjupyter.engine.plan.statistics import Made, Statistics, as_number, made_of_sums
from dpjupyter.engine.plan.units import Units
from dpjupyter.engine.policy import Policy, Table
from dpjupyter.engine.render import column, substitute
from dpjupyter.errors import AskRefused, PrivacyUnitLost, UnsupportedSQL

_BINS = 2048  # quantile grid of one group
_BINS_GROUPED = 1024
MAX_ANSWERS = 500  # noisy answers of one query, over all grouping sets and subqueries: planning takes time for each, and prices are free
MAX_MEASUREMENTS = 64  # as many as a CUBE of six columns has

_QUANTILES = {"MEDIAN": Fraction(1, 2), "MIN": Fraction(0), "MAX": Fraction(1)}


class Measurements:
    """All measurements of one query. Aggregates over equal rows and keys share one, and its statistics."""

    def __init__(self, policy: Policy, ask: Ask, fresh: Callable[[], str], units: Units) -> None:
        self._policy = policy
        self._ask = ask
        self._fresh = fresh
        self._units = units
        self._groups: dict[str, Group] = {}
        self.publics: dict[str, tuple[Rel, Relation]] = {}
        self.notes: dict[str, None] = {}
        self.calls: dict[str, tuple[str, str]] = {}  # column id of a call -> (measurement, item key): for output columns
        self.released: dict[str, str] = {}  # column id -> statistic shown unchanged
        self.key_ids: set[str] = set()
        self._answers = 0
        asked = [e for e in (ask.epsilon, *ask.answers.values()) if e is not None and math.isfinite(e) and e > 0]
        self._epsilon = max([*asked, policy.limits.default_epsilon if ask.epsilon is None else policy.limits.min_epsilon])
        for what, limit in (("max_rows", ask.max_rows), ("max_groups", ask.max_groups)):
            if limit is not None and not 1 <= limit <= 2**31:
                raise AskRefused(f"{what} must lie between 1 and {2**31}.")

    # ------------------------------------------------------------ contribution bounds
    def max_rows(self, inner: Relation) -> int:
        """m: rows of one unit counted in one group."""
        return self._ask.max_rows or max(self._policy.tables[t].max_rows for t in inner.tables)

    def _max_groups(self, inner: Relation) -> int:
        return self._ask.max_groups or max(self._policy.tables[t].max_groups for t in inner.tables)

    def _tables(self, inner: Relation) -> list[Table]:
        return [self._policy.tables[t] for t in sorted(inner.tables)]

    # ------------------------------------------------------------ measure
    def measure(self, rel: Aggregate, inner: Relation) -> Relation:
        """Replace an aggregate over private rows by what is released of it.

        Raises: BoundsMissing, UnsupportedSQL, PrivacyUnitLost.
        """
        if rel.sets is not None:
            return self._grouping_sets(rel, inner)
        self._count(rel)
        inner = self._units.resolved(inner)
        keys = {id_: scalar.total(e, inner.facts, self._policy.dialect) for id_, e in rel.keys.items()}
        text, numbering = canonical(inner.rel)
        named = [numbering.text(e) for e in keys.values()]
        identity = f"{text} BY {', '.join(sorted(named))}"
        group = self._groups.get(identity)
        if group is None:
            group = self._new_group(rel, inner, keys, numbering)
            self._groups[identity] = group
            position = {t: k.name for t, k in zip(named, group.keys, strict=True)}
        else:
            mine = {numbering.name(id_): id_ for id_ in columns_of(inner.rel)}
            theirs = {name: id_ for id_, name in group.numbering.names.items()}
            translate = {id_: column(theirs[name]) for name, id_ in mine.items() if name in theirs}
            calls = {i: replace(c, arguments=tuple(substitute(a, translate) for a in c.arguments)) for i, c in rel.calls.items()}
            rel = replace(rel, calls=calls)
            position = {group.numbering.text(e): k for k, e in group.lowered.items()}
        read: dict[str, str] = {}
        facts: dict[str, Facts] = {}
        for text_, id_ in zip(named, rel.keys, strict=True):
            key = next(key for key in group.keys if key.name == position[text_])
            read[id_] = key.name
            nullable = key.facts.nullable if key.values is None else None in key.values
            facts[id_] = replace(key.facts, nullable=nullable, from_unit=False)
        self.key_ids |= rel.keys.keys()
        shown: dict[str, exp.Expression] = {id_: column(id_) for id_ in read}
        once = Named(self._fresh)
        for id_, call in rel.calls.items():
            with at(call.place):
                made, prefix = self._made(call, group)
            slots: dict[str, exp.Expression] = {}
            for need in made.needs:
                slot_id = self._fresh()
                read[slot_id] = f"{group.name}_{prefix}{need}"
                slots[need] = column(slot_id)
            shown[id_] = made.finish(slots, once.under(prefix))
            facts[id_] = made.facts
            if made.note:
                self.notes[made.note] = None
            if made.needs:
                item = f"{call.function}|{call.parameter}|{sorted(read[slots[n].name] for n in made.needs)}"
                shares = tuple((read[slots[n].name], share) for n, share in zip(made.needs, made.shares, strict=True))
                group.items.setdefault(item, (call.text or call.function, shares))
                self.calls[id_] = (group.name, item)
                if len(made.needs) == 1 and isinstance(shown[id_], exp.Column):
                    self.released[id_] = read[slots[made.needs[0]].name]
        for id_ in rel.grouping:  # without grouping sets every row groups by every key
            shown[id_] = exp.Literal.number(0)
            facts[id_] = Facts(BIGINT, Interval(0, 0), nullable=False, integral=True)
        cap = (
            math.prod(len(k.values) for k in group.keys if k.values is not None) if all(k.values is not None for k in group.keys) else None
        )
        unique = frozenset({frozenset(rel.keys)})
        return Relation(once.over(Scan(group.name, read), shown), facts, released=True, unique=unique, enforced=unique, cap=cap)

    def _count(self, rel: Aggregate) -> None:
        self._answers += len(rel.calls)
        if self._answers > MAX_ANSWERS or len(self._groups) > MAX_MEASUREMENTS:
            raise UnsupportedSQL(
                f"One query may hold {MAX_ANSWERS} noisy answers, counted once for each grouping set, in {MAX_MEASUREMENTS} groupings.",
                hint="Ask in parts: the price is the same.",
                place=place_in(rel),
            )

    def _grouping_sets(self, rel: Aggregate, inner: Relation) -> Relation:
        """One measurement per set, one below the other; a key that a set leaves out is NULL there."""
        assert rel.sets is not None
        parts: list[tuple[Relation, tuple[str, ...]]] = []
        for chosen in rel.sets:
            rename = {id_: self._fresh() for id_ in (*rel.keys, *rel.calls, *rel.grouping)}
            keys = {rename[id_]: e for id_, e in rel.keys.items() if id_ in chosen}
            calls = {rename[id_]: c for id_, c in rel.calls.items()}
            one = self.measure(Aggregate(rel.input, keys, calls), inner)
            facts = {id_: scalar.facts(e, inner.facts) for id_, e in rel.keys.items()}
            shown: dict[str, exp.Expression] = {}
            for id_ in rel.keys:
                missing = exp.Cast(this=exp.null(), to=exp.DataType.build(_type_name(facts[id_]), dialect="duckdb"))
                shown[rename[id_]] = column(rename[id_]) if id_ in chosen else missing
            shown |= {rename[id_]: column(rename[id_]) for id_ in rel.calls}
            shown |= {rename[id_]: exp.Literal.number(0 if key in chosen else 1) for id_, key in rel.grouping.items()}
            all_facts = {
                rename[i]: replace(one.facts.get(rename[i], facts.get(i, Facts(BIGINT))), nullable=True) for i in (*rel.keys, *rel.calls)
            }
            all_facts |= {rename[i]: Facts(BIGINT, Interval(0, 1), nullable=False, integral=True) for i in rel.grouping}
            parts.append((Relation(Project(one.rel, shown), all_facts, released=True), tuple(shown)))
        result, fields = parts[0]
        for other, other_fields in parts[1:]:
            names = tuple(self._fresh() for _ in fields)
            facts = {n: result.facts[a] for n, a in zip(names, fields, strict=True)}
            result = Relation(SetOperation("union", True, result.rel, other.rel, fields, other_fields, names), facts, released=True)
            for n, a, b in zip(names, fields, other_fields, strict=True):
                for side in (a, b):
                    if side in self.calls:
                        self.calls[n] = self.calls[side]
            fields = names
        ids = (*rel.keys, *rel.calls, *rel.grouping)
        facts = {id_: result.facts[f] for id_, f in zip(ids, fields, strict=True)}
        return Relation(Project(result.rel, {id_: column(f) for id_, f in zip(ids, fields, strict=True)}), facts, released=True)

    # ------------------------------------------------------------ a new measurement
    def _new_group(self, rel: Aggregate, inner: Relation, lowered: dict[str, exp.Expression], numbering: Numbering) -> Group:
        assert inner.unit is not None
        name = f"m{len(self._groups)}"
        limits = self._policy.limits
        # Group keys in a canonical order would surprise readers; the order written is kept.
        values: dict[str, tuple[Value, ...] | None] = {id_: scalar.domain(e, inner.facts, limits.domain_cap) for id_, e in rel.keys.items()}
        fetched, listed = self._lists(rel, inner, values)
        known = [values[id_] for id_ in rel.keys if id_ not in listed]
        product = math.prod(len(v) for v in known if v is not None)
        threshold = any(v is None for v in known)
        if not threshold and product > limits.domain_cap:
            threshold = True
            largest = max((id_ for id_ in rel.keys if id_ not in listed), key=lambda i: len(values[i] or ()))
            values[largest] = None
            self.notes[f"The keys have {product} combinations, over the cap of {limits.domain_cap}: rare ones stay hidden."] = None
        keys = tuple(Key(id_, scalar.facts(e, inner.facts), None if id_ in listed else values[id_]) for id_, e in rel.keys.items())
        m, k = (1 if inner.unit.rows == 1 else self.max_rows(inner)), self._max_groups(inner)
        proven = not rel.keys or inner.unit.rows == 1
        if proven:
            k = 1
        elif (not threshold and not listed and product <= k) or (not threshold and product < k and not listed):
            k, proven = product, True
        if threshold:
            self._check_threshold(rel, inner)
        unit = inner.unit.id if inner.unit.ids else None
        salt = int(self._policy.checksum[:7], 16)
        grouping = Grouping(inner.rel, unit, lowered, m, k, inner.unit.rows == 1, proven, salt, self._fresh, self._policy.dialect)
        statistics = Statistics(m, k, self._epsilon, numbering.text)
        if threshold:
            statistics.units()
        return Group(name, inner, numbering, keys, lowered, grouping, threshold, fetched, statistics)

    def _check_threshold(self, rel: Aggregate, inner: Relation) -> None:
        for table in sorted(inner.tables):
            if self._policy.tables[table].key_delta is None:
                raise UnsupportedSQL(
                    f"The values of this GROUP BY are not declared, and {table} does not allow open keys.",
                    hint="Group by a column with a declared domain or bounds, or ask the owner for a domain or a key_delta.",
                    place=next((p for e in rel.keys.values() if (p := place_of(e)) is not None), None),
                )

    def _lists(
        self, rel: Aggregate, inner: Relation, values: dict[str, tuple[Value, ...] | None]
    ) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], set[str]]:
        """Keys whose values a public table lists: those an outer join demands, and those nothing else bounds."""
        fetched: list[tuple[str, tuple[str, ...]]] = []
        listed: set[str] = set()
        for item in inner.lists:
            mine = {
                id_: item.columns[e.name]
                for id_, e in rel.keys.items()
                if isinstance(e, exp.Column) and e.name in item.columns and id_ not in listed
            }
            if item.required and not any(key <= set(mine.values()) for key in list_unique(item)):
                raise PrivacyUnitLost(
                    "An outer join that keeps public rows is answered as the list of keys of a GROUP BY only.",
                    hint="Make the public side SELECT DISTINCT key, and group by exactly that key.",
                )
            if not mine or (not item.required and all(values[id_] is not None for id_ in mine)):
                continue
            bound = row_bound(item.rel, self._policy)
            if bound is None or bound > self._policy.limits.domain_cap:
                if item.required:
                    raise UnsupportedSQL(
                        "The public list of keys may be too long.", hint="The owner can declare `rows` of the public table."
                    )
                continue
            fetched.append((self._public(item, mine), tuple(mine)))
            listed |= set(mine)
        return tuple(fetched), listed

    def _public(self, item: KeyList, mine: Mapping[str, str]) -> str:
        public_only(item.rel, self._policy)
        name = f"p{len(self.publics)}"
        ids = {id_: self._fresh() for id_ in mine}
        listed = Aggregate(item.rel, {ids[id_]: column(inside) for id_, inside in mine.items()}, {})
        facts = {ids[id_]: Facts(NULLTYPE) for id_ in mine}
        self.publics[name] = (listed, Relation(listed, facts))
        return name

    # ------------------------------------------------------------ aggregates
    def _made(self, call: Call, group: Group) -> tuple[Made, str]:
        inner = group.inner
        assert inner.unit is not None
        arguments = [(scalar.total(a, inner.facts, self._policy.dialect), scalar.facts(a, inner.facts)) for a in call.arguments]
        plain = arguments[0][0] if len(arguments) == 1 else None
        if call.function == "COUNT" and isinstance(plain, exp.Column) and plain.name in inner.unit.ids:
            if call.distinct:
                slot = group.statistics.units()
                return Made((slot,), (Fraction(1),), lambda s, _: s[slot], Facts(BIGINT, None, nullable=False, integral=True)), ""
            call, arguments = Call("COUNT_STAR", text=call.text), []
        if call.distinct:
            return self._distinct(call, arguments, group)
        if call.function in _QUANTILES or call.function in ("QUANTILE_CONT", "QUANTILE_DISC"):
            return self._quantile(call, arguments[0], group), ""
        made = made_of_sums(call, arguments, group.statistics)
        if made is None:
            raise UnsupportedSQL(
                f"{call.text} is not answered over many people's rows.",
                hint="Use COUNT, SUM, AVG, MEDIAN, MIN, MAX, VARIANCE, STDDEV, CORR or COUNT(DISTINCT ...).",
            )
        return made, ""

    def _distinct(self, call: Call, arguments: list[tuple[exp.Expression, Facts]], group: Group) -> tuple[Made, str]:
        values = [a for a, _ in arguments]
        for _, facts in arguments:
            if facts.type.kind is Kind.OTHER:
                raise UnsupportedSQL(f"{call.text}: values of type {facts.type.text} cannot be compared.")
        text = "|".join(group.numbering.text(v) for v in values)
        if text not in group.distinct:
            m = min([group.grouping.max_rows, *(len(f.domain) for _, f in arguments if f.domain is not None and len(arguments) == 1)])
            group.distinct[text] = (
                values,
                [f for _, f in arguments],
                Statistics(m, group.grouping.max_groups, self._epsilon, group.numbering.text),
            )
        prefix = f"d{list(group.distinct).index(text)}"
        statistics = group.distinct[text][2]
        plain = replace(call, distinct=False)
        if call.function == "COUNT":
            plain, used = Call("COUNT_STAR", text=call.text), list[tuple[exp.Expression, Facts]]()
        else:
            if arguments[0][1].type.kind is Kind.BOOL:
                raise UnsupportedSQL(f"{call.text} needs numbers.")
            used = [(arguments[0][0], replace(arguments[0][1], nullable=False))]  # distinct values are never NULL
        made = made_of_sums(plain, used, statistics)
        if made is None:
            raise UnsupportedSQL(f"{call.text} is not answered with DISTINCT.")
        return made, prefix

    def _quantile(self, call: Call, argument: tuple[exp.Expression, Facts], group: Group) -> Made:
        value, facts = as_number(*argument)
        text, level = group.numbering.text(value), level_of(call)
        place = list(group.binned).index(text) if text in group.binned else len(group.binned)
        slot = f"q{place}_{level.numerator}_{level.denominator}"
        chosen = selection(f"{group.name}_{slot}", call, facts, group.grouping)
        group.binned.setdefault(text, (value, facts, {}))[2].setdefault(slot, chosen)
        note = (
            f"{call.text} is answered as a quantile: a value near the {'smallest' if level == 0 else 'largest'}, not one person's."
            if call.function in ("MIN", "MAX")
            else ""
        )
        type_ = facts.type if facts.type.kind in (Kind.DATE, Kind.TIMESTAMP, Kind.INT) else DOUBLE
        shown = Facts(type_, facts.interval, nullable=False, integral=is_whole(facts))
        return Made((slot,), (Fraction(1),), lambda s, _: s[slot], shown, note)

    # ------------------------------------------------------------ the finished records
    def finished(self) -> tuple[Measurement, ...]:
        """Statements and statistics of every measurement."""
        return tuple(finished(group, self._policy) for group in self._groups.values())

    def tables(self) -> set[str]:
        """Private tables that any statement reads."""
        return {t for group in self._groups.values() for t in group.inner.tables}

    def items(self, outputs: Mapping[str, tuple[str, ...]]) -> tuple[Item, ...]:
        """Answers to be priced; ``outputs`` names the output columns of each (measurement, item)."""
        return tuple(
            Item(label, outputs.get(f"{group.name}|{key}", ()), group.name, shares)
            for group in self._groups.values()
            for key, (label, shares) in group.items.items()
        )

    def constant_domain(self, name: str) -> Constants | None:
        """A measurement that measures nothing: its rows are its keys' public domain, known without asking."""
        group = next(g for g in self._groups.values() if g.name == name)
        if group.statistics.slots or group.distinct or group.binned or group.fetched or any(k.values is None for k in group.keys):
            return None
        rows: list[tuple[exp.Expression, ...]] = [()]
        for key in group.keys:
            rows = [(*row, scalar.literal(v, key.facts.type)) for row in rows for v in key.values or ()]
        return Constants(tuple(k.name for k in group.keys), tuple(rows))


def _type_name(facts: Facts) -> str:
    return facts.type.text or "INTEGER" if facts.type.kind is not Kind.NULL else "INTEGER"
