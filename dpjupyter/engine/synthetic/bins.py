"""A column's finite bins, from the policy alone: the values of its domain, or ranges its bounds are cut into; NULL a bin of its own."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.model import Facts, Kind, SqlType, Value
from dpjupyter.engine.plan.fixed_point import double, number
from dpjupyter.engine.policy import MAX_BINS, Column, Policy, Table
from dpjupyter.engine.render import column
from dpjupyter.engine.scalar.values import at

DEFAULT_BINS = 16  # ranges of a column whose policy says nothing
OUTSIDE = -1  # bin of a value that the policy says cannot occur: such rows are left out
_EPOCH_STEP = {Kind.DATE: 1, Kind.TIMESTAMP: 1_000_000}  # days; microseconds in a second
_EXACT = 2.0**50  # whole numbers up to here keep a half beside them as doubles
_WHOLE = frozenset({Kind.INT, Kind.DATE, Kind.TIMESTAMP})


@dataclass(frozen=True, slots=True)
class Axis:
    """The bins of one column.

    Either ``values`` (a domain) or ``cuts`` (ends of ranges: ordinals, ascending; range j is cuts[j] <= x < cuts[j+1],
    the last one closed). With ``nullable`` one more bin, the last, holds NULL.
    """

    name: str
    type: SqlType
    values: tuple[Value, ...] = ()
    cuts: tuple[float, ...] = ()
    nullable: bool = False
    width: float | None = None  # of every range, where a division finds the bin: numbers cut into equal parts

    @property
    def ranges(self) -> int:
        """Number of bins that are not NULL's."""
        return len(self.values) or len(self.cuts) - 1

    @property
    def size(self) -> int:
        """Number of bins."""
        return self.ranges + self.nullable

    @property
    def ordered(self) -> bool:
        """Whether neighbouring bins are alike."""
        return bool(self.cuts) or self.type.kind in _WHOLE or self.type.kind in (Kind.DECIMAL, Kind.FLOAT)

    def expression(self, id_: str) -> exp.Expression:
        """The bin's number as SQL: total, whatever the column holds. Bounds and domain are limited here, never trusted."""
        value = column(id_)
        missing = exp.Literal.number(self.ranges) if self.nullable else exp.Neg(this=exp.Literal.number(-OUTSIDE))
        null: exp.Expression = exp.Is(this=value.copy(), expression=exp.null())
        if self.type.kind is Kind.FLOAT:
            nan = exp.EQ(this=value.copy(), expression=exp.Cast(this=exp.Literal.string("NaN"), to=exp.DataType.build("DOUBLE")))
            null = exp.Or(this=null, expression=nan)
        ifs = [exp.If(this=null, true=missing)]
        if self.values:
            ifs += [
                exp.If(this=exp.EQ(this=value.copy(), expression=scalar.literal(v, self.type)), true=exp.Literal.number(n))
                for n, v in enumerate(self.values)
            ]
            return exp.Case(ifs=ifs, default=exp.Neg(this=exp.Literal.number(-OUTSIDE)))
        if self.width is not None:
            return exp.Case(ifs=ifs, default=self._division(value))
        return exp.Case(ifs=ifs, default=self._search(value, 0, self.ranges - 1))

    def _division(self, value: exp.Expression) -> exp.Expression:
        # Limited before anything is computed: nothing infinite, huge or NaN is subtracted or cast, in whatever order branches run.
        low, high = self.cuts[0], self.cuts[-1] - (1 if self.type.kind is Kind.INT else 0)
        ends = [scalar.literal(at(end, self.type) if self.type.kind is Kind.INT else end, self.type) for end in (low, high)]
        limited = exp.Case(
            ifs=[
                exp.If(this=exp.LTE(this=value.copy(), expression=ends[0].copy()), true=ends[0]),
                exp.If(this=exp.GTE(this=value.copy(), expression=ends[1].copy()), true=ends[1]),
            ],
            default=value.copy(),
        )
        assert self.width is not None
        offset = exp.Paren(this=exp.Sub(this=double(limited), expression=number(self._start)))
        index = exp.Cast(this=exp.Floor(this=exp.Mul(this=offset, expression=number(1.0 / self.width))), to=exp.DataType.build("INT"))
        return exp.Anonymous(this="LEAST", expressions=[index, exp.Literal.number(self.ranges - 1)])

    @property
    def _start(self) -> float:
        # Whole numbers stand in the middle of their steps: rounding never moves one into a neighbouring range.
        return self.cuts[0] - (0.5 if self.type.kind is Kind.INT else 0.0)

    def _search(self, value: exp.Expression, low: int, high: int) -> exp.Expression:
        # Halving: five comparisons find one of 32 ranges. Values outside the bounds fall into the first and last range.
        if low == high:
            return exp.Literal.number(low)
        middle = (low + high + 1) // 2
        below = exp.LT(this=value.copy(), expression=scalar.literal(self._cut(middle), self.type))
        return exp.Case(ifs=[exp.If(this=below, true=self._search(value, low, middle - 1))], default=self._search(value, middle, high))

    def _cut(self, n: int) -> Value:
        place = self.cuts[n]
        if self.type.kind in _WHOLE:
            return at(math.ceil(place), self.type)
        return place

    def bin_of(self, value: Value) -> int:
        """The bin of one value, as :meth:`expression` finds it."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return self.ranges if self.nullable else OUTSIDE
        if self.values:
            return self.values.index(value) if value in self.values else OUTSIDE
        if self.width is not None:
            limited = min(max(scalar.ordinal(value, self.type), self.cuts[0]), self.cuts[-1])
            return min(math.floor((limited - self._start) * (1.0 / self.width)), self.ranges - 1)
        return min(max(bisect.bisect_right(self.cuts, scalar.ordinal(value, self.type)) - 1, 0), self.ranges - 1)


@dataclass(frozen=True, slots=True)
class Axes:
    """A table's columns as its twin has them."""

    axes: tuple[Axis, ...]
    left_out: Mapping[str, str]  # column -> why the twin holds NULL there


def axes(table: Table, structure: frozenset[str], policy: Policy) -> Axes:
    """Bins of every column but those of ``structure`` (units and keys, which are made up)."""
    found: list[Axis] = []
    left_out: dict[str, str] = {}
    for name, declared in table.columns.items():
        if name in structure:
            continue
        axis = _axis(name, declared, scalar.column_facts(declared))
        if isinstance(axis, str):
            left_out[name] = axis
        elif axis.size > policy.limits.domain_cap:
            left_out[name] = "its domain is too large"
        else:
            found.append(axis)
    return Axes(tuple(found), left_out)


def _axis(name: str, declared: Column, facts: Facts) -> Axis | str:
    kind = facts.type.kind
    if facts.domain is not None and len(facts.domain) <= MAX_BINS and declared.bins is None:
        return Axis(name, facts.type, values=facts.domain, nullable=declared.nullable)
    if facts.interval is None or not facts.interval.finite:
        return "it has no declared domain" if facts.domain is None else f"its domain has more than {MAX_BINS} values"
    low, high = facts.interval.lower, facts.interval.upper
    if declared.bins is not None and not isinstance(declared.bins, int):
        inner = [scalar.ordinal(cut, facts.type) for cut in declared.bins]
        return Axis(name, facts.type, cuts=(low, *inner, _end(high, kind)), nullable=declared.nullable)
    wanted = declared.bins or DEFAULT_BINS
    step = _EPOCH_STEP.get(kind, 1)
    if kind in _WHOLE:
        whole = math.floor((high - low) / step) + 1  # integers, days or seconds between the bounds
        limit = wanted if declared.bins else max(wanted, 24)  # a few integers more than the default keep a bin each
        width = 1 if whole <= limit else math.ceil(whole / wanted)
        count = math.ceil(whole / width)
        cuts = (*(low + n * width * step for n in range(count)), _end(high, kind))
        divided = float(width) if kind is Kind.INT and max(abs(low), abs(high)) < _EXACT else None
        return Axis(name, facts.type, cuts=cuts, nullable=declared.nullable, width=divided)
    if high <= low:
        return Axis(name, facts.type, cuts=(low, low + 1.0), nullable=declared.nullable)
    inner = (low + n * (high - low) / wanted for n in range(1, wanted))
    if kind is Kind.DECIMAL:
        inner = (round(cut, facts.type.scale) for cut in inner)  # a cut is a value of the column
    cuts = (low, *sorted({cut for cut in inner if low < cut < high}), high)
    divided = (high - low) / wanted if kind is Kind.FLOAT and len(cuts) == wanted + 1 and math.isfinite(wanted / (high - low)) else None
    return Axis(name, facts.type, cuts=cuts, nullable=declared.nullable, width=divided)


def _end(high: float, kind: Kind) -> float:
    """Where the last range ends: values are below it, whole ones at most one less."""
    return high + _EPOCH_STEP.get(kind, 1) if kind in _WHOLE else high
