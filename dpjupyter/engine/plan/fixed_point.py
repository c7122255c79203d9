"""Values as integers on a grid: the CASE expressions of privacy.md section 2, step 1."""

from __future__ import annotations

import math
from fractions import Fraction

from sqlglot import exp

from dpjupyter.engine.model import Interval


def number(value: float) -> exp.Expression:
    """A numeric literal: integers exactly, floats as DOUBLE (never as a DECIMAL that would widen a product)."""
    if isinstance(value, int):
        literal: exp.Expression = exp.Literal.number(abs(value))
    else:
        text = repr(abs(value))
        literal = exp.Literal.number(text if "e" in text else f"{text}e0")
    return exp.Paren(this=exp.Neg(this=literal)) if value < 0 else literal


def bigint(expr: exp.Expression) -> exp.Cast:
    """CAST(... AS BIGINT)."""
    return exp.Cast(this=expr, to=exp.DataType.build("BIGINT"))


def double(expr: exp.Expression) -> exp.Cast:
    """CAST(... AS DOUBLE)."""
    return exp.Cast(this=expr, to=exp.DataType.build("DOUBLE"))


def is_missing(value: exp.Expression, *, floating: bool) -> exp.Expression:
    """Whether a value contributes nothing: NULL, and for DOUBLE NaN (which both warehouses hold equal to itself)."""
    null = exp.Is(this=value.copy(), expression=exp.null())
    if not floating:
        return null
    nan = exp.EQ(this=value.copy(), expression=exp.Cast(this=exp.Literal.string("NaN"), to=exp.DataType.build("DOUBLE")))
    return exp.Or(this=null, expression=nan)


def steps(bound: float, grid: float | Fraction) -> int:
    """``bound`` in whole grid steps, rounded to nearest: exact, whatever the size."""
    return round(Fraction(bound) / Fraction(grid))


def row_integer(value: exp.Expression, bounds: Interval, grid: float, *, floating: bool = True) -> exp.Case:
    """clamp(ROUND(x / g), lo, hi) as CASE; NULL where the value contributes nothing.

    The comparisons come first, so that nothing infinite or huge is ever cast.
    """
    low, high = steps(bounds.lower, grid), steps(bounds.upper, grid)
    scaled = exp.Mul(this=double(value.copy()), expression=number(1.0 / grid)) if grid != 1.0 else double(value.copy())
    rounded = bigint(exp.Round(this=scaled))
    ifs = [
        exp.If(this=is_missing(value, floating=floating), true=exp.null()),
        exp.If(this=exp.LTE(this=value.copy(), expression=number(low * grid)), true=bigint(number(low))),
        exp.If(this=exp.GTE(this=value.copy(), expression=number(high * grid)), true=bigint(number(high))),
    ]
    return exp.Case(ifs=ifs, default=rounded)


def clamp(value: exp.Expression, low: int, high: int) -> exp.Case:
    """Value limited to [low, high], NULL as 0: LEAST and GREATEST would turn NULL into a bound."""
    ifs = [
        exp.If(this=exp.Is(this=value.copy(), expression=exp.null()), true=number(0)),
        exp.If(this=exp.LT(this=value.copy(), expression=number(low)), true=number(low)),
        exp.If(this=exp.GT(this=value.copy(), expression=number(high)), true=number(high)),
    ]
    return exp.Case(ifs=ifs, default=value.copy())


def power_of_two_at_most(value: float) -> float:
    """Largest power of two not above ``value`` > 0."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(1.0, exponent - 1) if mantissa >= 0.5 else math.ldexp(1.0, exponent - 2)
