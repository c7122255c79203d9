"""What a twin asks of the warehouse: integer GROUP BYs over bins, every unit's contribution limited in each of them.

Rows of a unit that has n > m = ``max_rows`` of them weigh floor(2^20*m/n) instead of 2^20 each. A unit's weights in one
histogram then sum to at most m*2^20 = ``largest`` (n*floor(W*m/n) <= W*m): adding or removing it changes the histogram's
cells by at most that in sum, so L1 <= largest, and L2 <= L1. That holds for the histogram of any columns, and so for
every pair of them. Where a unit has one row (unit = row, or an enforced key) m = 1 and nothing is weighed.

A parent's columns are joined to its children by key *and* unit, and a parent whose key nobody enforces is first grouped
by both: a child's bins depend on rows of its own unit alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from dpjupyter.engine.algebra import conjunction
from dpjupyter.engine.model import Aggregate, Call, Filter, Join, Project, Rel, Scan
from dpjupyter.engine.plan.fixed_point import bigint, double, number, summand
from dpjupyter.engine.plan.pushdown import WEIGHT_ONE
from dpjupyter.engine.plan.units import Units, scan
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.render import column, render
from dpjupyter.engine.synthetic.bins import Axis
from dpjupyter.engine.synthetic.layout import Layout

BLOCK = 10  # columns of one block: a statement pairs two blocks, 100 grouping sets (Snowflake allows 128)


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT and how its rows are read: bins of ``columns`` (NULL where a grouping set leaves one out), then the weight.

    One unit changes the counts of one grouping set by at most ``largest`` in sum.
    """

    kind: Literal["single", "pair", "children"]
    sql: exp.Query
    columns: tuple[int, ...]  # numbers of the layout's axes; "children": of the given ones, the number of children follows them
    largest: int


def statements(layout: Layout, policy: Policy) -> tuple[Statement, ...]:
    """Every statement of a twin, to be run in this order."""
    return tuple(_Writer(layout, policy).all())


class _Writer:
    def __init__(self, layout: Layout, policy: Policy) -> None:
        self._layout = layout
        self._policy = policy
        self._last = 0
        self._units = Units(policy, self._fresh)

    def _fresh(self) -> str:
        self._last += 1
        return f"c{self._last}"

    def all(self) -> Iterator[Statement]:
        layout = self._layout
        own = range(len(layout.given), len(layout.axes))
        if layout.link is not None:
            yield self._children()
        if not layout.own:
            return
        yield self._histogram("single", [(n,) for n in own])
        blocks = [tuple(own[start : start + BLOCK]) for start in range(0, len(own), BLOCK)]
        given = range(len(layout.given))
        blocks_given = [tuple(given[start : start + BLOCK]) for start in range(0, len(given), BLOCK)]
        allowed = set(layout.pairs())
        for one, other in [*itertools.product(blocks_given, blocks), *itertools.combinations_with_replacement(blocks, 2)]:
            sets = [pair for pair in itertools.product(one, other) if pair in allowed]
            if sets:
                yield self._histogram("pair", sets)

    # ------------------------------------------------------------ rows
    def _rows(self, table: str, columns: set[str]) -> tuple[Rel, str | None, dict[str, str]]:
        """A table's rows that belong to someone, its unit column, and ids of its columns."""
        declared = self._policy.tables[table]
        assert declared.unit is not None
        wanted = columns | {declared.unit.path[0].column if declared.unit.path else declared.unit.column} - {""}
        # Single keys are always read: where they are enforced they prove one row per unit.
        wanted |= {key[0] for key in declared.keys if len(key) == 1}
        ids = {name: self._fresh() for name in declared.columns if name in wanted}
        relation = scan(Scan(table, {id_: name for name, id_ in ids.items()}, declared.source), self._policy)
        if relation.unit is not None and relation.unit.row:
            return relation.rel, None, ids
        relation = self._units.resolved(relation)
        assert relation.unit is not None
        known = Filter(relation.rel, _present(relation.unit.id))
        return known, relation.unit.id, ids

    def _parents(self, axes: tuple[Axis, ...]) -> tuple[Rel, str, str, tuple[str, ...]]:
        """One row per (key, unit) of the parent table: its key, unit and bins."""
        link = self._layout.link
        assert link is not None
        assert link.parent is not None
        rel, unit, ids = self._rows(link.parent, {link.parent_key, *(a.name for a in axes)})
        assert unit is not None
        key, owner, bins = self._fresh(), self._fresh(), [self._fresh() for _ in axes]
        shown = {b: a.expression(ids[a.name]) for b, a in zip(bins, axes, strict=True)}
        rel = Project(rel, {key: column(ids[link.parent_key]), owner: column(unit), **shown})
        if self._policy.keys_hold(link.parent) and (link.parent_key,) in self._policy.tables[link.parent].keys:
            return rel, key, owner, tuple(bins)
        one, same, least = self._fresh(), self._fresh(), [self._fresh() for _ in axes]
        grouped = Aggregate(
            rel, {one: column(key), same: column(owner)}, {new: Call("MIN", (column(b),)) for new, b in zip(least, bins, strict=True)}
        )
        return grouped, one, same, tuple(least)

    # ------------------------------------------------------------ histograms of rows
    def _histogram(self, kind: Literal["single", "pair"], sets: list[tuple[int, ...]]) -> Statement:
        layout = self._layout
        numbers = tuple(sorted({n for chosen in sets for n in chosen}))
        own = [layout.axes[n] for n in numbers if n >= len(layout.given)]
        given = tuple(layout.axes[n] for n in numbers if n < len(layout.given))
        link = layout.link
        joined = link is not None and link.parent is not None
        names = {a.name for a in own} | ({link.column} if link is not None and joined else set())
        rel, unit, ids = self._rows(layout.table, names)
        bins = [self._fresh() for _ in own]
        shown: dict[str, exp.Expression] = {b: a.expression(ids[a.name]) for b, a in zip(bins, own, strict=True)}
        all_bins = list(bins)
        if unit is not None:
            owner, foreign = self._fresh(), self._fresh()
            shown = {owner: column(unit), **({foreign: column(ids[link.column])} if link is not None and joined else {}), **shown}
            rel, unit = Project(rel, shown), owner
            if joined:
                parents, key, same, given_bins = self._parents(given)
                condition = conjunction(
                    exp.EQ(this=column(foreign), expression=column(key)), exp.EQ(this=column(unit), expression=column(same))
                )
                rel = Join(rel, parents, "inner", condition)
                all_bins = [*given_bins, *bins]
        else:
            rel = Project(rel, shown)
        return Statement(kind, self._counted(rel, unit, all_bins, sets, numbers), numbers, layout.largest)

    def _counted(self, rel: Rel, unit: str | None, bins: list[str], sets: list[tuple[int, ...]], numbers: tuple[int, ...]) -> exp.Query:
        """Weights summed per grouping set."""
        weight, place = self._fresh(), dict(zip(numbers, bins, strict=True))
        call = Call("COUNT_STAR")
        if unit is not None and self._layout.weight > 1:
            rel, share = self._weighed(Project(rel, {id_: column(id_) for id_ in (unit, *bins)}), unit, self._layout.max_rows)
            call = Call("SUM", (summand(share, self._policy.dialect),))
        keys = {self._fresh(): column(place[n]) for n in numbers}
        by_number = dict(zip(numbers, keys, strict=True))
        grouped = tuple(frozenset(by_number[n] for n in chosen) for chosen in sets)
        return render(Aggregate(rel, keys, {weight: call}, grouped), self._policy.dialect)

    def _weighed(self, rows: Rel, unit: str, most: int) -> tuple[Rel, exp.Expression]:
        """Rows with their unit's weight beside them. Only units over their limit have one: few rows meet the join."""
        heavy, many, share = self._fresh(), self._fresh(), self._fresh()
        # The rows are read twice rather than kept: a twin of any number of rows takes no more memory.
        counted = Aggregate(rows, {heavy: column(unit)}, {many: Call("COUNT_STAR")})
        part = bigint(exp.Floor(this=exp.Div(this=number(float(WEIGHT_ONE * most)), expression=double(column(many)))))
        over = Project(Filter(counted, exp.GT(this=column(many), expression=number(most))), {heavy: column(heavy), share: part})
        joined = Join(rows, over, "left", exp.EQ(this=column(unit), expression=column(heavy)))
        return joined, exp.Coalesce(this=column(share), expressions=[number(WEIGHT_ONE)])

    # ------------------------------------------------------------ children per parent
    def _children(self) -> Statement:
        """How many parents have how many children; without a parent table a unit itself is the parent."""
        layout, link = self._layout, self._layout.link
        assert link is not None
        rows, unit, ids = self._rows(layout.table, {link.column} if link.parent is not None else set())
        assert unit is not None
        many, bin_, weight, key_bin = self._fresh(), self._fresh(), self._fresh(), self._fresh()
        if link.parent is None:
            owner = self._fresh()
            each = Project(Aggregate(rows, {owner: column(unit)}, {many: Call("COUNT_STAR")}), {bin_: link.children.expression(many)})
            grouped = Aggregate(each, {key_bin: column(bin_)}, {weight: Call("COUNT_STAR")})
            return Statement("children", render(grouped, self._policy.dialect), (), link.largest)
        numbers = tuple(layout.causes())
        parents, key, same, bins = self._parents(tuple(layout.given[n] for n in numbers))
        foreign, owner = self._fresh(), self._fresh()
        counted = Aggregate(rows, {foreign: column(ids[link.column]), owner: column(unit)}, {many: Call("COUNT_STAR")})
        condition = conjunction(exp.EQ(this=column(key), expression=column(foreign)), exp.EQ(this=column(same), expression=column(owner)))
        number_of = self._fresh()
        each = Project(
            Join(parents, counted, "left", condition),
            {**{id_: column(id_) for id_ in (same, *bins)}, number_of: exp.Coalesce(this=column(many), expressions=[number(0)])},
        )
        flat: Rel = Project(each, {**{id_: column(id_) for id_ in (same, *bins)}, bin_: link.children.expression(number_of)})
        call = Call("COUNT_STAR")
        if link.weight > 1:
            flat, share = self._weighed(flat, same, link.max_rows)
            call = Call("SUM", (summand(share, self._policy.dialect),))
        keys = {**{self._fresh(): column(b) for b in bins}, key_bin: column(bin_)}
        sets = tuple(frozenset({name, key_bin}) for name in keys)
        return Statement("children", render(Aggregate(flat, keys, {weight: call}, sets), self._policy.dialect), numbers, link.largest)


def _present(id_: str) -> exp.Expression:
    return exp.Not(this=exp.Is(this=column(id_), expression=exp.null()))
