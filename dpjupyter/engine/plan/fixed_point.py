"""Values as integers on a grid: the CASE expressions of privacy.md section 2, step 1."""

from __future__ import annotations

import math
from fractions import Fraction

from sqlglot import exp

from dpjupyter.engine.model import Interval, Kind, SqlType

_WHOLE = 1e15  # far below where integers and DOUBLE part
_MOST_SCALE = 20  # digits after the point that leave room for as many before it


def number(value: float) -> exp.Expression:
    """A numeric literal: integers exactly, floats as DOUBLE (never as a DECIMAL that would widen a product)."""
    if isinstance(value, int):
        literal: exp.Expression = exp.Literal.number(abs(value))
    else:
        text = repr(abs(value))
        literal = exp.Literal.number(text if "e" in text else f"{text}e0")
    return exp.Paren(this=exp.Neg(this=literal)) if value < 0 else literal


def exact_bounds(type_: SqlType) -> bool:
    """Whether values of a type can be compared with any integer that :func:`compared` writes: 38 digits hold both."""
    return type_.kind is Kind.INT or (type_.kind is Kind.DECIMAL and type_.scale <= _MOST_SCALE)


def compared(bound: float, *, exact: bool) -> exp.Expression:
    """A bound to compare a value with: whole ones of exact types as integers, so that no row is made a DOUBLE for it."""
    return number(int(bound) if exact and abs(bound) < _WHOLE and bound == int(bound) else bound)


def bigint(expr: exp.Expression) -> exp.Cast:
    """CAST(... AS BIGINT)."""
    return exp.Cast(this=expr, to=exp.DataType.build("BIGINT"))


def double(expr: exp.Expression) -> exp.Cast:
    """CAST(... AS DOUBLE)."""
    return exp.Cast(this=expr, to=exp.DataType.build("DOUBLE"))


def summand(value: exp.Expression, dialect: str, scale: int = 0) -> exp.Expression:
    """What SUM is given where it must be exact: on Snowflake NUMBER(38, scale), on DuckDB the integer itself (summed in 128 bits)."""
    return exp.Cast(this=value, to=exp.DataType.build(f"DECIMAL(38,{scale})")) if dialect == "snowflake" else value


def partial_summand(value: exp.Expression, dialect: str) -> exp.Expression:
    """The same for integers of one row below the last sum: BIGINT is NUMBER(38, 0) on Snowflake, and summed faster by the emulator."""
    told = dialect != "snowflake" or (isinstance(value, exp.Cast) and value.to.is_type("bigint"))
    return value if told else bigint(value)


def is_missing(value: exp.Expression, *, floating: bool) -> exp.Expression:
    """Whether a value contributes nothing: NULL, and for DOUBLE NaN (which both warehouses hold equal to itself)."""
    null = exp.Is(this=value.copy(), expression=exp.null())
    return exp.Or(this=null, expression=_is_nan(value)) if floating else null


def _is_nan(value: exp.Expression) -> exp.Expression:
    return exp.EQ(this=value.copy(), expression=exp.Cast(this=exp.Literal.string("NaN"), to=exp.DataType.build("DOUBLE")))


def steps(bound: float, grid: float | Fraction) -> int:
    """``bound`` in whole grid steps, rounded to nearest: exact, whatever the size."""
    return round(Fraction(bound) / Fraction(grid))


def row_integer(value: exp.Expression, bounds: Interval, grid: float, *, floating: bool = True, exact: bool = False) -> exp.Cast:
    """clamp(ROUND(x / g), lo, hi); NULL where the value contributes nothing.

    Limited as CASE to the grid points at the ends, then rounded and cast: nothing infinite or huge is ever cast, in whatever
    order an engine evaluates the branches. The ends are whole multiples of a grid that is a power of two, so that rounding
    leaves them where they are.
    """
    low, high = steps(bounds.lower, grid), steps(bounds.upper, grid)
    ifs = [exp.If(this=_is_nan(value), true=exp.null())] if floating else []  # a NULL meets no branch and stays one
    ifs += [
        exp.If(this=exp.LTE(this=value.copy(), expression=compared(low * grid, exact=exact)), true=number(float(low * grid))),
        exp.If(this=exp.GTE(this=value.copy(), expression=compared(high * grid, exact=exact)), true=number(float(high * grid))),
    ]
    limited: exp.Expression = exp.Case(ifs=ifs, default=double(value.copy()))
    scaled = exp.Mul(this=limited, expression=number(1.0 / grid)) if grid != 1.0 else limited
    return bigint(scaled)  # a cast to whole numbers rounds to nearest, on both warehouses; ROUND first would cost as much again


def clamp(value: exp.Expression, low: int, high: int) -> exp.Case:
    """Value limited to [low, high], NULL as 0: LEAST and GREATEST would turn NULL into a bound."""
    ifs = [
        exp.If(this=exp.Is(this=value.copy(), expression=exp.null()), true=number(0)),
        exp.If(this=exp.LT(this=value.copy(), expression=number(low)), true=number(low)),
        exp.If(this=exp.GT(this=value.copy(), expression=number(high)), true=number(high)),
    ]
    return exp.Case(ifs=ifs, default=value.copy())


def wide(value: exp.Expression, dialect: str) -> exp.Expression:
    """A count or a centre, so that the product of two fits: 18 digits each, as more would promise a product of 76."""
    return exp.Cast(this=value, to=exp.DataType.build("DECIMAL(18,0)" if dialect == "snowflake" else "INT128"))


def limited_decimal(total: exp.Expression, low: int, high: int, scale: int) -> exp.Expression:
    """DECIMAL sums are exact and fast; the few per-unit results are made integers after they are limited. Nothing sums to 0."""
    return decimal_steps(exp.Coalesce(this=total, expressions=[number(0)]), low, high, scale, width=38)


def decimal_steps(value: exp.Expression, low: int, high: int, scale: int, *, width: int) -> exp.Expression:
    """A DECIMAL(width, scale) in steps of its last digit, limited to low..high steps before it is multiplied; NULL stays NULL."""
    # A product of 64-bit DECIMALs stays one on DuckDB, and raises where it does not fit.
    digits = 18 if max(abs(low), abs(high)) * 10**scale < 10**18 else 38
    type_ = exp.DataType.build(f"DECIMAL({width},{scale})")
    least, most = (exp.Cast(this=exp.Literal.string(_decimal(v, scale)), to=type_.copy()) for v in (low, high))
    ifs = [
        exp.If(this=exp.LT(this=value.copy(), expression=least), true=least.copy()),
        exp.If(this=exp.GT(this=value.copy(), expression=most), true=most.copy()),
    ]
    limited = exp.Cast(this=exp.Case(ifs=ifs, default=value.copy()), to=exp.DataType.build(f"DECIMAL({digits},{scale})"))
    return bigint(exp.Mul(this=limited, expression=number(10**scale)))


def decimal_distance(total: exp.Expression, counted: exp.Expression, center: int, scale: int) -> exp.Expression:
    """A sum of DECIMALs less the centre of each, in steps of the last digit as DOUBLE.

    Exact below 2^53 steps. What is larger is beyond every limit, or the rows of one person alone and the same at every run.
    """
    steps_ = exp.Mul(this=double(total), expression=number(float(10**scale)))
    return exp.Paren(this=exp.Sub(this=steps_, expression=exp.Mul(this=number(float(center)), expression=double(counted.copy()))))


def _decimal(value: int, scale: int) -> str:
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


def power_of_two_at_most(value: float) -> float:
    """Largest power of two not above ``value`` > 0."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(1.0, exponent - 1) if mantissa >= 0.5 else math.ldexp(1.0, exponent - 2)
