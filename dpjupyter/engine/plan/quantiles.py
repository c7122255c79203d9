"""Quantiles: the grid of bins that one is chosen from, and where a value lies on it."""

from __future__ import annotations

import datetime as dt
import math
from fractions import Fraction

from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.model import TIMESTAMP, Call, Facts, Interval, Kind, Selection
from dpjupyter.engine.plan.fixed_point import compared, exact_bounds
from dpjupyter.engine.plan.pushdown import WEIGHT_ONE, Grouping
from dpjupyter.engine.plan.statistics import Bounds
from dpjupyter.errors import BoundsMissing

_BINS = 2048  # quantile grid of one group
_BINS_GROUPED = 1024
_LEVELS = {"MEDIAN": Fraction(1, 2), "MIN": Fraction(0), "MAX": Fraction(1)}


def level_of(call: Call) -> Fraction:
    """Which quantile an aggregate asks for: 0 is the smallest value, 1 the largest."""
    return _LEVELS.get(call.function, call.parameter) or Fraction(0)


def is_whole(facts: Facts) -> bool:
    """Whether values lie on whole numbers (days, for dates), so that a bin is a set of them."""
    return facts.type.kind in (Kind.INT, Kind.DATE, Kind.BOOL)


def selection(name: str, call: Call, facts: Facts, grouping: Grouping) -> Selection:
    """The choice of one quantile among the bins of a fixed grid over the value's bounds.

    Raises: BoundsMissing, UnsupportedSQL.
    """
    bounds = _bounds(call, facts)
    limit = _BINS_GROUPED if grouping.keys else _BINS
    if is_whole(facts):
        low, high = math.floor(bounds.lower), math.ceil(bounds.upper)
        width = max(1, math.ceil((high - low + 1) / limit))
        count = math.ceil((high - low + 1) / width)
        lower, upper = low - 0.5, low - 0.5 + width * count
    else:
        count = limit if bounds.upper > bounds.lower else 1
        lower, upper = bounds.lower, bounds.upper if bounds.upper > bounds.lower else bounds.lower + 1.0
    level = level_of(call)
    return Selection(
        name,
        level.numerator,
        level.denominator,
        lower,
        upper,
        count,
        grouping.max_rows,
        1 if grouping.single_row else WEIGHT_ONE,
        facts.type.kind in (Kind.INT, Kind.DATE, Kind.TIMESTAMP),
        facts.type,
        call.function in ("MEDIAN", "QUANTILE_CONT"),
    )


def _bounds(call: Call, facts: Facts) -> Interval:
    if facts.type.kind not in (Kind.DATE, Kind.TIMESTAMP):
        return Bounds(call, facts).interval
    if facts.interval is None or not facts.interval.finite:
        raise BoundsMissing(
            f"{call.text}: nothing bounds the dates.", hint="Ask the owner to declare bounds, or add WHERE column BETWEEN ... AND ..."
        )
    return facts.interval


def ordinal(value: exp.Expression, facts: Facts) -> exp.Expression:
    """A value as the number its bins count in."""
    epoch = exp.Cast(this=exp.Literal.string("1970-01-01"), to=exp.DataType.build("DATE"))
    if facts.type.kind is Kind.DATE:
        return exp.DateDiff(this=value, expression=epoch, unit=exp.Var(this="DAY"))
    if facts.type.kind is Kind.TIMESTAMP:
        start = exp.Cast(this=exp.Literal.string("1970-01-01 00:00:00"), to=exp.DataType.build("TIMESTAMP"))
        return exp.DateDiff(this=value, expression=start, unit=exp.Var(this="MICROSECOND"))
    return exp.Cast(this=value, to=exp.DataType.build("DOUBLE"))


def ends(chosen: Selection, facts: Facts) -> tuple[exp.Expression, exp.Expression]:
    """The grid's ends as values of the column's type."""
    inner = 0.5 if chosen.integral and facts.type.kind is not Kind.TIMESTAMP else 0.0
    return _end(chosen.lower + inner, facts), _end(chosen.upper - inner, facts)


def _end(bound: float, facts: Facts) -> exp.Expression:
    if facts.type.kind is Kind.DATE:
        return scalar.literal(_date(round(bound)), facts.type)
    if facts.type.kind is Kind.TIMESTAMP:
        return scalar.literal(_timestamp(round(bound)), TIMESTAMP)
    return compared(float(bound), exact=exact_bounds(facts.type))


def _date(days: int) -> str:
    return (dt.date(1970, 1, 1) + dt.timedelta(days=days)).isoformat()


def _timestamp(microseconds: int) -> str:
    return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=microseconds)).isoformat(sep=" ")  # noqa: DTZ001 - without time zone
