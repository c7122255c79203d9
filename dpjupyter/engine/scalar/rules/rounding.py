"""ABS, SIGN, ROUND, FLOOR, CEIL, TRUNC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from sqlglot import exp

from dpjupyter.engine.model import (
    DOUBLE,
    INTEGER,
    Interval,
    Kind,
    SqlType,
)
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import as_double, operand
from dpjupyter.engine.scalar.rules import dates
from dpjupyter.engine.scalar.sqltypes import (
    decimal,
    int_digits,
    integer,
)
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, maybe_nan, refused, within
from dpjupyter.engine.scalar.trees import cast, number, whole_literal, wrap

_MOST = 10**38 - 1


def absolute(node: exp.Expression, scope: Scope) -> Term:
    """``ABS(x)``: one step wider where the least integer would raise."""
    a = operand(node.this, scope)
    tree, type_ = a.tree, a.type
    if type_.kind is Kind.INT and not scope.snowflake and not a.literal and a.sure.lower <= -(2.0 ** (type_.bits - 1)):
        if type_.bits == 128:
            a = within(a, _MOST)
            tree = a.tree
        else:
            type_ = integer(64 if type_.bits < 64 else 128)
            tree = cast(tree, type_, scope.dialect)
    return Term(exp.Abs(this=tree.copy()), type_, iv.absolute(a.span), iv.absolute(a.sure), a.nullable, a.integral, a.from_unit, nan=a.nan)


def sign(node: exp.Expression, scope: Scope) -> Term:
    """``SIGN(x)`` as CASE: missing on an emulator of Snowflake."""
    a = operand(node.this, scope)

    def span(x: Interval) -> Interval:
        return Interval(-1.0 if x.lower < 0 else 0.0 if x.lower == 0 else 1.0, 1.0 if x.upper > 0 else 0.0 if x.upper == 0 else -1.0)

    zero = exp.Literal.number("0")
    tree = exp.Case(
        ifs=[
            exp.If(this=exp.GT(this=wrap(a.tree), expression=zero), true=exp.Literal.number("1")),
            exp.If(this=exp.LT(this=wrap(a.tree), expression=zero.copy()), true=number(-1)),
            exp.If(this=exp.EQ(this=wrap(a.tree), expression=zero.copy()), true=zero.copy()),
        ]
    )
    interval, proven = span(a.span), span(a.sure)
    if a.nan:
        interval = Interval(interval.lower, 1.0)  # NaN counts as greater than every number
    if a.type.kind is Kind.FLOAT:
        proven = Interval(proven.lower, 1.0)
    return Term(tree, INTEGER, interval, proven, a.nullable, integral=True, from_unit=a.from_unit)


def _rounding(image: Callable[[Interval], Interval]) -> Rule:
    """FLOOR and CEIL, with the optional digits written out for DuckDB."""

    def rule(node: exp.Expression, scope: Scope) -> Term:
        a = operand(node.this, scope)
        if node.args.get("decimals") is not None:
            digits = _digits(node, "decimals")
            if digits != 0:
                return _scaled(node, a, digits, image, scope)
        if a.type.kind is Kind.INT:
            # Whole already; DuckDB would turn it into a DOUBLE.
            tree = cast(a.tree, DOUBLE, scope.dialect)
            return Term(tree, DOUBLE, a.span, a.sure, a.nullable, integral=True, from_unit=a.from_unit)
        type_ = a.type
        if type_.kind is Kind.DECIMAL:
            precision = min(38, max(type_.precision - type_.scale + 1, 1))
            type_ = SqlType(Kind.INT, bits=128 if precision > 18 else 64, precision=precision, text=f"DECIMAL({precision},0)")
            if int_digits(a.sure) > 37:
                a = as_double(a, scope)
                type_ = DOUBLE
        tree = type(node)(this=a.tree)
        return Term(tree, type_, image(a.span), image(a.sure), a.nullable, integral=True, from_unit=a.from_unit, nan=a.nan)

    return rule


def _digits(node: exp.Expression, argument: str) -> int:
    digits = whole_literal(node.args.get(argument))
    if digits is None or abs(digits) > 30:
        raise refused(node, "The number of digits must be a literal between -30 and 30.")
    return digits


def _scaled(node: exp.Expression, a: Term, digits: int, image: Callable[[Interval], Interval], scope: Scope) -> Term:
    """``FLOOR(x, digits)`` as ``FLOOR(x * 10^d) / 10^d``."""
    a = as_double(a, scope)
    factor = cast(exp.Literal.string(f"1e{digits}"), DOUBLE, scope.dialect)
    tree = exp.Div(this=type(node)(this=exp.Mul(this=wrap(a.tree), expression=factor)), expression=factor.copy(), typed=False, safe=False)
    scale = iv.of_exact(Fraction(10) ** digits)

    def span(x: Interval) -> Interval:
        return iv.outward(iv.div(image(iv.outward(iv.mul(x, scale))), scale))

    return Term(
        tree, DOUBLE, span(a.span), span(a.sure), a.nullable, integral=digits < 0 and a.integral, from_unit=a.from_unit, nan=maybe_nan([a])
    )


def round_(node: exp.Expression, scope: Scope) -> Term:
    """``ROUND(x[, digits])``, half away from zero."""
    a = operand(node.this, scope)
    digits = _digits(node, "decimals") if node.args.get("decimals") is not None else 0
    type_ = a.type
    if a.type.kind is Kind.INT:
        if digits >= 0:
            return replace(a, domain=None)
        a = within(a, 9 * 10**36) if scope.snowflake or a.type.bits > 64 or a.type.precision else a
        if not scope.snowflake and a.type.bits <= 64 and not a.type.precision:
            # Rounding up may leave the type: one step wider.
            type_ = integer(128 if a.type.bits == 64 else 64)
            a = replace(a, tree=cast(a.tree, type_, scope.dialect))
    elif a.type.kind is Kind.DECIMAL:
        if digits >= a.type.scale:
            return replace(a, domain=None)
        if int_digits(a.sure) + max(digits, 0) + 1 > 38:
            a = as_double(a, scope)
            type_ = DOUBLE
        else:
            scale = max(digits, 0)
            precision = min(38, max(a.type.precision + 1, 1))
            type_ = (
                decimal(precision, scale)
                if scale
                else SqlType(Kind.INT, bits=128 if precision > 18 else 64, precision=precision, text=f"DECIMAL({precision},0)")
            )
    args: dict[str, exp.Expression] = {"this": a.tree}
    if node.args.get("decimals") is not None:
        args["decimals"] = number(digits)
    integral = digits <= 0 or a.integral
    return Term(
        exp.Round(**args), type_, iv.rounded(a.span, digits), iv.rounded(a.sure, digits), a.nullable, integral, a.from_unit, nan=a.nan
    )


def trunc(node: exp.Expression, scope: Scope) -> Term:
    """``TRUNC(x[, digits])``: towards zero."""
    if isinstance(node.args.get("decimals"), exp.Literal) and node.args["decimals"].is_string:
        return dates.truncate(node, node.this, node.args["decimals"].name, scope)
    a = operand(node.this, scope)
    digits = _digits(node, "decimals") if node.args.get("decimals") is not None else 0
    if a.type.kind is Kind.INT and digits >= 0:
        return replace(a, domain=None)
    if digits == 0 and a.type.kind is Kind.DECIMAL:
        width = max(a.type.precision, 1)
        type_ = SqlType(Kind.INT, bits=128 if width > 18 else 64, precision=width, text=f"DECIMAL({width},0)")
        return Term(exp.Trunc(this=a.tree), type_, iv.truncated(a.span), iv.truncated(a.sure), a.nullable, True, a.from_unit)
    if digits == 0:
        return Term(exp.Trunc(this=a.tree), DOUBLE, iv.truncated(a.span), iv.truncated(a.sure), a.nullable, True, a.from_unit, nan=a.nan)
    return _scaled(node, a, digits, iv.truncated, scope)


RULES: dict[type[exp.Expression], Rule] = {
    exp.Abs: absolute,
    exp.Sign: sign,
    exp.Floor: _rounding(iv.floored),
    exp.Ceil: _rounding(iv.ceiled),
    exp.Round: round_,
    exp.Trunc: trunc,
}
