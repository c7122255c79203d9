"""Literals, ``+ - * / // %``, unary minus: types wide enough that nothing overflows.

DuckDB computes integers in the wider type of the operands and raises on overflow; literals take the type of their
company. DECIMAL products above 18 digits raise too. Each operator therefore compares the proven interval of its
result with the type it would get, and widens an operand only where the result might not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from math import isqrt

from sqlglot import exp

from dpjupyter.engine.model import BOOL, DOUBLE, NULLTYPE, TEXT, Interval, Kind
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.rules import dates
from dpjupyter.engine.scalar.terms import (
    TIMED,
    Rule,
    Scope,
    Term,
    as_double,
    bits_for,
    cast,
    decimal,
    int_digits,
    integer,
    number,
    operand,
    refused,
    strict,
    tainted,
    when,
    within,
    wrap,
)

_LONG = 18  # digits of a 64-bit DECIMAL
_MOST = 38  # digits of the widest exact type of both warehouses


# ---------------------------------------------------------------- literals
def literal(node: exp.Expression, scope: Scope) -> Term:
    """A number or a string as written."""
    del scope
    if node.args.get("is_string"):
        return Term(node.copy(), TEXT, nullable=False, domain=(node.name,))
    value = Decimal(node.name)
    spot = iv.of_exact(_fraction(value))
    if "e" in node.name.lower():
        type_ = DOUBLE
    elif "." in node.name:
        digits = node.name.replace(".", "").lstrip("0")
        scale = len(node.name.partition(".")[2])
        precision = max(len(digits), scale, 1)
        type_ = decimal(precision, scale) if precision <= _MOST else DOUBLE
    else:
        bits = max(bits_for(spot), 32) if abs(value) < 2**63 else 128
        type_ = integer(bits) if abs(value) < 10**_MOST else DOUBLE
    whole = value == value.to_integral_value()
    known = int(value) if type_.kind is Kind.INT else float(value)
    return Term(node.copy(), type_, spot, spot, nullable=False, integral=whole, domain=(known,))


def _fraction(value: Decimal):  # noqa: ANN202
    from fractions import Fraction

    return Fraction(value)


def boolean(node: exp.Expression, scope: Scope) -> Term:
    """TRUE or FALSE."""
    del scope
    value = bool(node.this)
    spot = Interval(float(value), float(value))
    return Term(node.copy(), BOOL, spot, spot, nullable=False, integral=True, domain=(value,))


def null(node: exp.Expression, scope: Scope) -> Term:
    """NULL."""
    del node, scope
    return Term(exp.null(), NULLTYPE, nullable=True, domain=())


# ---------------------------------------------------------------- exact numbers
def natural_bits(a: Term, b: Term) -> int:
    """Width DuckDB computes in; literals take the type of their company."""
    widths = [t.type.bits if not t.literal else bits_for(t.sure) for t in (a, b)]
    return max(*widths, 8)


def _exact(node: exp.Expression, a: Term, b: Term, scope: Scope, span: Callable[[Interval, Interval], Interval]) -> Term:
    """``+ - *`` of integers and DECIMALs."""
    product = isinstance(node, exp.Mul)
    whole = a.type.kind is Kind.INT and b.type.kind is Kind.INT
    if whole and int_digits(span(a.sure, b.sure)) > _MOST:
        top = isqrt(10**_MOST) - 1 if product else 10**_MOST // 2 - 1
        a, b = within(a, top), within(b, top)
    proven, interval = span(a.sure, b.sure), span(a.span, b.span)
    if whole:
        left, type_ = _integers(a, b, proven, scope)
        return _binary(node, left, b.tree, type_, interval, proven, (a, b))
    scales = (a.type.scale, b.type.scale)
    scale = sum(scales) if product else max(scales)
    digits = max(int_digits(proven), int_digits(a.sure), int_digits(b.sure)) if not product else int_digits(proven)
    if digits + scale > _MOST or scale > 30:
        a, b = as_double(a, scope), as_double(b, scope)
        return _binary(node, a.tree, b.tree, DOUBLE, interval, proven, (a, b))
    left = a.tree
    if scope.snowflake:
        return _binary(node, left, b.tree, decimal(_MOST, scale), interval, proven, (a, b))
    if product and digits + scale > _LONG:
        # With an operand above 18 digits DuckDB multiplies in 128 bits.
        left = cast(a.tree, decimal(max(_LONG + 1, int_digits(a.sure) + scales[0]), scales[0]), scope.dialect)
        return _binary(node, left, b.tree, decimal(_MOST, scale), interval, proven, (a, b))
    width = _LONG if product else min(_MOST, max(digits, int_digits(a.sure), int_digits(b.sure), 10) + scale + 1)
    return _binary(node, left, b.tree, decimal(max(width, 1), scale), interval, proven, (a, b))


def _integers(a: Term, b: Term, proven: Interval, scope: Scope) -> tuple[exp.Expression, object]:
    if scope.snowflake:
        return a.tree, integer(max(bits_for(proven), 64))
    have = natural_bits(a, b)
    need = bits_for(proven)
    if need <= have:
        return a.tree, integer(max(have, 32))
    wide = integer(64 if need <= 64 else 128)
    return cast(a.tree, wide, scope.dialect), wide


def _binary(node: exp.Expression, left: exp.Expression, right: exp.Expression, type_, interval, proven, args: tuple[Term, Term]) -> Term:  # noqa: ANN001
    tree = type(node)(this=wrap(left.copy()), expression=wrap(right.copy()))
    whole = all(t.integral for t in args)
    return Term(tree, type_, interval, proven, strict(args), integral=whole, from_unit=tainted(args))


def _operator(span: Callable[[Interval, Interval], Interval]) -> Rule:
    def rule(node: exp.Expression, scope: Scope) -> Term:
        timed = dates.arithmetic(node, scope)
        if timed is not None:
            return timed
        a, b = operand(node.this, scope), operand(node.expression, scope)
        if Kind.FLOAT in (a.type.kind, b.type.kind):
            return _binary(node, a.tree, b.tree, DOUBLE, span(a.span, b.span), span(a.sure, b.sure), (a, b))
        return _exact(node, a, b, scope, span)

    return rule


def negate(node: exp.Expression, scope: Scope) -> Term:
    """``-x``. Of an integer one step wider where the type's least value would not fit."""
    a = operand(node.this, scope)
    interval, proven = iv.neg(a.span), iv.neg(a.sure)
    tree, type_ = a.tree, a.type
    if a.type.kind is Kind.INT and not a.literal and not scope.snowflake:
        need = bits_for(proven)
        if need == 0 or need > a.type.bits:
            a = within(a, 10**_MOST - 1) if a.type.bits == 128 else a
            type_ = integer(64 if a.type.bits < 64 else 128)
            tree = cast(a.tree, type_, scope.dialect)
    domain = (-value for value in a.domain) if a.literal and a.domain else None  # type: ignore[operator]
    return Term(exp.Neg(this=wrap(tree.copy())), type_, interval, proven, a.nullable, a.integral, a.from_unit, tuple(domain) if domain else None)


# ---------------------------------------------------------------- division
def divide(node: exp.Expression, scope: Scope) -> Term:
    """``x / y``: always a DOUBLE. Zero divisors: as DuckDB has it (infinity or NaN), NULL on Snowflake."""
    a, b = operand(node.this, scope), operand(node.expression, scope)
    zero = iv.holds(b.sure, 0.0)
    interval, proven = iv.div(a.span, b.span), iv.div(a.sure, b.sure)
    left, right = a.tree, b.tree
    if scope.snowflake:
        left = as_double(a, scope).tree
        if zero:
            right = exp.Nullif(this=b.tree.copy(), expression=exp.Literal.number("0"))
    tree = exp.Div(this=wrap(left.copy()), expression=wrap(right.copy()), typed=False, safe=False)
    return Term(tree, DOUBLE, interval, proven, strict((a, b)) or iv.holds(b.span, 0.0), from_unit=tainted((a, b)))


def _nonzero(b: Term) -> exp.Expression:
    if iv.holds(b.sure, 0.0):
        return exp.Nullif(this=b.tree.copy(), expression=exp.Literal.number("0"))
    return b.tree.copy()


def int_divide(node: exp.Expression, scope: Scope) -> Term:
    """``x // y``: towards zero for integers, floor for others; NULL for a zero divisor."""
    a, b = operand(node.this, scope), operand(node.expression, scope)
    nullable = strict((a, b)) or iv.holds(b.span, 0.0)

    def span(x: Interval, y: Interval) -> Interval:
        if iv.holds(y, 0.0) and a.integral and b.integral:
            most = iv.absolute(x).upper
            return Interval(-most if x.lower < 0 or y.lower < 0 else 0.0, most)
        found = iv.div(x, y)
        return Interval(iv.floored(found).lower, iv.ceiled(found).upper)

    interval, proven = span(a.span, b.span), span(a.sure, b.sure)
    if a.type.kind is Kind.INT and b.type.kind is Kind.INT:
        left, type_ = _integers(a, b, iv.absolute(a.sure), scope)
        if type_.bits == 128 and int_digits(a.sure) > _MOST:
            left = within(a, 10**_MOST - 1).tree
    else:
        a, b, type_ = as_double(a, scope), as_double(b, scope), DOUBLE
        left = a.tree
    if scope.snowflake:
        quotient = exp.Div(this=wrap(left.copy()), expression=_nonzero(b), typed=False, safe=False)
        tree: exp.Expression = exp.Trunc(this=quotient)
    else:
        tree = exp.IntDiv(this=wrap(left.copy()), expression=wrap(_nonzero(b)))
    return Term(tree, type_, interval, proven, nullable, integral=True, from_unit=tainted((a, b)))


def modulo(node: exp.Expression, scope: Scope) -> Term:
    """``x % y`` with the sign of x; NULL for a zero divisor."""
    a, b = operand(node.this, scope), operand(node.expression, scope)
    whole = a.integral and b.integral
    interval, proven = iv.mod(a.span, b.span, integral=whole), iv.mod(a.sure, b.sure, integral=whole)
    nullable = strict((a, b)) or iv.holds(b.span, 0.0)
    left, type_ = a.tree, DOUBLE
    if a.type.kind is Kind.INT and b.type.kind is Kind.INT:
        # The least integer modulo -1 raises like its quotient.
        left, type_ = _integers(a, b, iv.hull((a.sure, iv.neg(a.sure))) or a.sure, scope) if b.sure.lower <= -1 else (a.tree, integer(max(natural_bits(a, b), 32)))
    elif Kind.FLOAT not in (a.type.kind, b.type.kind):
        scale = max(a.type.scale, b.type.scale)
        if max(int_digits(a.sure), int_digits(b.sure)) + scale <= _MOST:
            type_ = decimal(_MOST, scale)
        else:
            a, b = as_double(a, scope), as_double(b, scope)
            left = a.tree
    tree = exp.Mod(this=wrap(left.copy()), expression=wrap(_nonzero(b)))
    return Term(tree, type_, interval, proven, nullable, integral=whole, from_unit=tainted((a, b)))


RULES: dict[type[exp.Expression], Rule] = {
    exp.Literal: literal,
    exp.Boolean: boolean,
    exp.Null: null,
    exp.Add: _operator(iv.add),
    exp.Sub: _operator(iv.sub),
    exp.Mul: _operator(iv.mul),
    exp.Div: divide,
    exp.IntDiv: int_divide,
    exp.Mod: modulo,
    exp.Neg: negate,
}
