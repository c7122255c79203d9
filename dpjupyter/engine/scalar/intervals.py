"""Interval arithmetic over closed intervals of doubles, rounded outward.

A value may be an exact number (integer, DECIMAL) or an IEEE double, so an end that came from a decimal literal
is read both ways and the hull is kept; whatever is not exact is widened by one step.
NaN is in no interval: it is the one value that bounds say nothing about.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from dpjupyter.engine.model import Interval

INF = math.inf
ALL = Interval(-INF, INF)
BOOLEAN = Interval(0.0, 1.0)
NOT_NEGATIVE = Interval(0.0, INF)
_EXACT = 2.0**53  # beyond this, doubles no longer hold every whole number


def hull(parts: Iterable[Interval]) -> Interval | None:
    """Smallest interval that holds all parts; None if there are none."""
    found = list(parts)
    if not found:
        return None
    return Interval(min(p.lower for p in found), max(p.upper for p in found))


def meet(a: Interval, b: Interval) -> Interval | None:
    """Intersection; None where it is empty."""
    lower, upper = max(a.lower, b.lower), min(a.upper, b.upper)
    return Interval(lower, upper) if lower <= upper else None


def inside(inner: Interval, outer: Interval) -> bool:
    """Whether every value of ``inner`` is in ``outer``."""
    return outer.lower <= inner.lower and inner.upper <= outer.upper


def holds(interval: Interval, value: float) -> bool:
    """Whether ``value`` is in the interval."""
    return interval.lower <= value <= interval.upper


def whole(interval: Interval) -> Interval:
    """The interval of the whole numbers in ``interval`` (itself where there are none)."""
    lower = interval.lower if math.isinf(interval.lower) else float(math.ceil(interval.lower))
    upper = interval.upper if math.isinf(interval.upper) else float(math.floor(interval.upper))
    return Interval(lower, upper) if lower <= upper else interval


def below(value: float) -> float:
    """Next double towards minus infinity."""
    return math.nextafter(value, -INF)


def above(value: float) -> float:
    """Next double towards plus infinity."""
    return math.nextafter(value, INF)


def outward(interval: Interval, steps: int = 4) -> Interval:
    """Widened by a few steps: for functions that libraries do not round correctly."""
    lower, upper = interval.lower, interval.upper
    for _ in range(steps):
        # Zero is met exactly: LN(1), SQRT(0).
        lower, upper = lower and below(lower), upper and above(upper)
    return Interval(lower, upper)


def of_exact(value: Fraction) -> Interval:
    """Interval of one exact number."""
    near = _float(value)
    if math.isinf(near):
        return Interval(math.nextafter(INF, 0.0), INF) if near > 0 else Interval(-INF, -math.nextafter(INF, 0.0))
    if exact(near) == value:
        return Interval(near, near)
    return Interval(below(near), above(near))


def exact(value: float) -> Fraction:
    """What a finite end means as an exact number: 0.1 is one tenth."""
    value = float(value)
    return Fraction(value) if abs(value) >= _EXACT or value.is_integer() else Fraction(repr(value))


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return INF if value > 0 else -INF


def _ends(a: float, b: float, operation: Callable[[Any, Any], Any], at_nan: float) -> tuple[float, float]:
    """Lowest and highest reading of ``operation(a, b)``."""
    a, b = float(a), float(b)
    try:
        near = float(operation(a, b))
    except OverflowError:
        near = INF
    if math.isnan(near):
        return at_nan, at_nan
    if math.isinf(a) or math.isinf(b):
        return near, near
    if operation is not operator.truediv and abs(near) < _EXACT and a.is_integer() and b.is_integer():
        return near, near
    true = operation(exact(a), exact(b))
    assert isinstance(true, Fraction)
    if math.isfinite(near) and abs(near) < _EXACT and exact(near) == true:
        return near, near
    other = of_exact(true)
    low, high = min(near, other.lower), max(near, other.upper)
    # Far out the ends themselves may have been rounded.
    return (below(low), above(high)) if abs(near) >= _EXACT else (low, high)


def add(a: Interval, b: Interval) -> Interval:
    """``x + y``."""
    return Interval(_ends(a.lower, b.lower, operator.add, -INF)[0], _ends(a.upper, b.upper, operator.add, INF)[1])


def neg(a: Interval) -> Interval:
    """``-x``."""
    return Interval(0.0 - a.upper, 0.0 - a.lower)


def sub(a: Interval, b: Interval) -> Interval:
    """``x - y``."""
    return add(a, neg(b))


def mul(a: Interval, b: Interval) -> Interval:
    """``x * y``. Zero times an unbounded end counts as zero: the product of an infinity and zero is NaN."""
    ends = [_ends(x, y, operator.mul, 0.0) for x in (a.lower, a.upper) for y in (b.lower, b.upper)]
    return Interval(min(e[0] for e in ends), max(e[1] for e in ends))


def div(a: Interval, b: Interval) -> Interval:
    """``x / y``: everything where the divisor may be zero."""
    if b.lower <= 0.0 <= b.upper:
        return ALL
    ends: list[tuple[float, float]] = []
    for x in (a.lower, a.upper):
        for y in (b.lower, b.upper):
            if math.isinf(x) and math.isinf(y):
                # The quotient of two unbounded values may be anything of that sign.
                far = math.copysign(INF, x) * math.copysign(1, y)
                ends += [(0.0, 0.0), (far, far)]
            else:
                ends.append(_ends(x, y, operator.truediv, 0.0))
    return Interval(min(e[0] for e in ends), max(e[1] for e in ends))


def absolute(a: Interval) -> Interval:
    """``ABS(x)``."""
    if a.lower >= 0:
        return a
    return Interval(0.0 if a.upper >= 0 else -a.upper, max(-a.lower, a.upper))


def mod(a: Interval, b: Interval, *, integral: bool) -> Interval:
    """``x % y`` with the sign of the dividend, as both warehouses compute it."""
    most = max(abs(b.lower), abs(b.upper))
    if integral and math.isfinite(most):
        most = max(most - 1.0, 0.0)
    return Interval(0.0 if a.lower >= 0 else max(-most, a.lower), 0.0 if a.upper <= 0 else min(most, a.upper))


def monotone(function: Callable[[float], float], a: Interval, steps: int = 4) -> Interval:
    """Image under an increasing function, widened by ``steps``; its errors mean the matching infinity."""

    def at(x: float, otherwise: float) -> float:
        try:
            y = function(x)
        except (OverflowError, ValueError):
            return otherwise
        return otherwise if math.isnan(y) else y

    return outward(Interval(at(a.lower, -INF), at(a.upper, INF)), steps)


def power(a: Interval, b: Interval) -> Interval:
    """``POWER(x, y)``: extremes are at the corners for x >= 0 and y >= 0 or x > 0, and for whole constant y."""

    def at(x: float, y: float) -> float:
        try:
            return math.pow(x, y)
        except OverflowError:
            return INF

    corners = [at(x, y) for x in (a.lower, a.upper) for y in (b.lower, b.upper)] if a.lower > 0 or (a.lower >= 0 and b.lower >= 0) else []
    if corners:
        # 0**0 = 1 and 0**y = 0 meet at a corner.
        more = ([0.0, 1.0] if a.lower == 0 else []) + ([1.0] if b.lower <= 0 <= b.upper else [])
        found = _power_outward(Interval(min(corners + more), max(corners + more)), a, b)
        return Interval(max(found.lower, 0.0), found.upper)
    n = b.lower
    if b.lower == b.upper and n.is_integer() and n >= 0:
        if n % 2 == 0:
            top = absolute(a)
            found = _power_outward(Interval(at(top.lower, n), at(top.upper, n)), a, b)
            return Interval(max(found.lower, 0.0), found.upper)
        return monotone(lambda x: math.copysign(at(abs(x), n), x), a, 8)
    return ALL


def _power_outward(found: Interval, a: Interval, b: Interval) -> Interval:
    # Powers of whole numbers that a double holds exactly are computed exactly.
    whole = b.lower >= 0 and all(float(v).is_integer() for v in (a.lower, a.upper, b.lower, b.upper) if math.isfinite(v))
    return found if whole and found.upper < _EXACT else outward(found, 8)


def rounded(a: Interval, digits: int) -> Interval:
    """``ROUND(x, digits)``, half away from zero, of decimals and of doubles."""
    return Interval(min(_round(a.lower, digits)), max(_round(a.upper, digits)))


def _round(value: float, digits: int) -> tuple[float, float]:
    if math.isinf(value) or abs(value) >= _EXACT:
        # Far out, rounding moves by at most half a unit of the last kept digit.
        step = 10.0**-digits if digits < 0 else 1.0
        return value - step, value + step
    as_decimal = float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)) if -30 < digits < 30 else value
    if digits > 300 or digits < -300:
        return min(value, 0.0), max(value, 0.0)
    scale = 10.0**digits
    scaled = value * scale
    as_double = math.copysign(math.floor(abs(scaled) + 0.5), value) / scale if math.isfinite(scaled) else value
    return min(as_decimal, as_double), max(as_decimal, as_double)


def floored(a: Interval) -> Interval:
    """``FLOOR(x)``."""
    return Interval(_keep(math.floor, a.lower), _keep(math.floor, a.upper))


def ceiled(a: Interval) -> Interval:
    """``CEIL(x)``."""
    return Interval(_keep(math.ceil, a.lower), _keep(math.ceil, a.upper))


def truncated(a: Interval) -> Interval:
    """``TRUNC(x)``: towards zero."""
    return Interval(_keep(math.trunc, a.lower), _keep(math.trunc, a.upper))


def _keep(function: Callable[[float], int], value: float) -> float:
    return value if math.isinf(value) else float(function(value))
