"""Literals, ``+ - * / // %``, unary minus: types wide enough that nothing overflows.

DuckDB computes integers in the wider type of the operands and raises on overflow; literals take the type of their
company. DECIMAL products above 18 digits raise too. Each operator therefore compares the proven interval of its
result with the type it would get, and widens an operand only where the result might not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import ceil, isqrt

from sqlglot import exp

from dpjupyter.engine.model import BOOL, DOUBLE, NULLTYPE, TEXT, Interval, Kind, SqlType
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import as_double, operand
from dpjupyter.engine.scalar.rules import shifts
from dpjupyter.engine.scalar.sqltypes import bits_for, decimal, int_digits, integer, limits
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, TooWideError, maybe_nan, strict, tainted, within
from dpjupyter.engine.scalar.trees import between, cast, number, substituted, when, wrap

_LONG = 18  # digits of a 64-bit DECIMAL
_MOST = 38  # digits of the widest exact type of both warehouses
Span = Callable[[Interval, Interval], Interval]


# ---------------------------------------------------------------- literals
def literal(node: exp.Expression, scope: Scope) -> Term:
    """A number or a string as written."""
    del scope
    if node.args.get("is_string"):
        return Term(node.copy(), TEXT, nullable=False, domain=(node.name,))
    value = Decimal(node.name)
    spot = iv.of_exact(Fraction(value))
    if "e" in node.name.lower():
        type_ = DOUBLE
    elif "." in node.name:
        digits = node.name.replace(".", "").lstrip("0")
        scale = len(node.name.partition(".")[2])
        precision = max(len(digits), scale, 1)
        type_ = decimal(precision, scale) if precision <= _MOST else DOUBLE
    else:
        type_ = integer(max(_literal_bits(int(value)), 32)) if abs(value) < 10**_MOST else DOUBLE
    whole = value == value.to_integral_value()
    known = int(value) if type_.kind is Kind.INT else float(value)
    return Term(node.copy(), type_, spot, spot, nullable=False, integral=whole, domain=(known,))


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
def _literal_bits(value: int) -> int:
    return next((bits for bits in (8, 16, 32, 64) if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)), 128)


def natural_bits(a: Term, b: Term) -> int:
    """Width DuckDB computes in; literals take the type of their company."""
    return max(_literal_bits(int(t.domain[0] or 0)) if t.literal and t.domain else t.type.bits for t in (a, b))


def digits_of(term: Term) -> int:
    """Digits before the point that the term's values need, from its proven interval and from its type."""
    by_value = int_digits(term.sure)
    return min(by_value, term.type.precision - term.type.scale) if term.type.precision else by_value


def width_of(term: Term) -> int:
    """Digits of the DECIMAL that DuckDB computes with; integers count by their type."""
    if term.type.kind is Kind.DECIMAL or term.type.precision:
        return term.type.precision
    return {8: 3, 16: 5, 32: 10, 64: 19}.get(term.type.bits, _MOST)


def _exact(node: exp.Expression, a: Term, b: Term, scope: Scope, span: Span) -> Term:
    """``+ - *`` of integers and DECIMALs."""
    whole = a.type.kind is Kind.INT and b.type.kind is Kind.INT
    done = _whole(node, a, b, scope, span) if whole else _fractional(node, a, b, scope, span)
    if done is not None:
        return done
    if scope.assumed is not None:
        raise TooWideError
    guarded = _guarded(node, scope)
    if guarded is not None:
        return guarded
    return _widened_whole(node, a, b, scope, span) if whole else _widened_fractional(node, a, b, scope, span)


def _whole(node: exp.Expression, a: Term, b: Term, scope: Scope, span: Span) -> Term | None:
    """Integers that fit 64 bits (on Snowflake 38 digits)."""
    proven = span(a.sure, b.sure)
    need = bits_for(proven)
    if scope.snowflake:
        return _binary(node, a.tree, b.tree, integer(max(need, 64)), span, (a, b)) if need else None
    have = natural_bits(a, b)
    if have <= 64 and not 0 < need <= 64:
        return None
    if 0 < need <= have:
        return _binary(node, a.tree, b.tree, integer(max(have, 32)), span, (a, b))
    if 0 < need <= 64:
        return _binary(node, cast(a.tree, integer(64), scope.dialect), b.tree, integer(64), span, (a, b))
    return None


def _widened_whole(node: exp.Expression, a: Term, b: Term, scope: Scope, span: Span) -> Term:
    """38 digits; operands so large that even these do not suffice become NULL."""
    if int_digits(span(a.sure, b.sure)) > _MOST:
        top = isqrt(10**_MOST) - 1 if isinstance(node, exp.Mul) else 10**_MOST // 2 - 1
        a, b = within(a, top), within(b, top)
    left = a.tree if scope.snowflake or natural_bits(a, b) == 128 else cast(a.tree, integer(128), scope.dialect)
    return _binary(node, left, b.tree, integer(128), span, (a, b))


def _fractional(node: exp.Expression, a: Term, b: Term, scope: Scope, span: Span) -> Term | None:
    """DECIMALs whose product fits 18 digits and whose sum fits 38 (on Snowflake: both 38)."""
    product = isinstance(node, exp.Mul)
    scale = a.type.scale + b.type.scale if product else max(a.type.scale, b.type.scale)
    parts = (digits_of(a), digits_of(b))
    digits = min(int_digits(span(a.sure, b.sure)), sum(parts) if product else max(parts) + 1)
    if scope.snowflake:
        # Beyond 12 digits after the point Snowflake would round a product.
        fits = max(digits, *parts) + scale <= _MOST and (not product or scale <= max(12, a.type.scale, b.type.scale))
        return _binary(node, a.tree, b.tree, decimal(_MOST, scale), span, (a, b)) if fits else None
    widths = (width_of(a), width_of(b))
    if product:
        if digits + scale > _LONG or max(widths) > _LONG or scale > _LONG:
            return None
        return _binary(node, a.tree, b.tree, decimal(max(min(sum(widths), _LONG), 1), scale), span, (a, b))
    if max(digits, *parts) + scale > _MOST:
        return None
    natural = max(w - t.type.scale for w, t in zip(widths, (a, b), strict=True)) + scale + 1
    return _binary(node, a.tree, b.tree, decimal(min(natural, _MOST), scale), span, (a, b))


def _widened_fractional(node: exp.Expression, a: Term, b: Term, scope: Scope, span: Span) -> Term:
    """DECIMAL products of up to 38 digits in 128 bits, everything else as DOUBLE."""
    scale = a.type.scale + b.type.scale
    parts = (digits_of(a), digits_of(b))
    digits = min(int_digits(span(a.sure, b.sure)), sum(parts))
    if isinstance(node, exp.Mul) and not scope.snowflake and digits + scale <= _MOST and scale <= 30:
        left = a.tree
        if max(width_of(a), width_of(b)) <= _LONG:
            # With an operand above 18 digits DuckDB multiplies in 128 bits.
            left = cast(a.tree, decimal(max(_LONG + 1, digits_of(a) + a.type.scale), a.type.scale), scope.dialect)
        return _binary(node, left, b.tree, decimal(_MOST, scale), span, (a, b))
    a, b = as_double(a, scope), as_double(b, scope)
    return _binary(node, a.tree, b.tree, DOUBLE, span, (a, b))


_PLAIN = (exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Paren, exp.Column, exp.Identifier, exp.Literal)


def _guarded(node: exp.Expression, scope: Scope) -> Term | None:
    """The bare arithmetic over ``CASE WHEN column is about within its bounds THEN column END``.

    Rows outside become NULL instead of being computed in a wider and slower type. The guard is as far from the
    promised bounds as the fast type allows, up to a millionfold.
    """
    if not all(isinstance(part, _PLAIN) for part in node.walk()):
        return None
    promised: dict[str, float] = {}
    for column in node.find_all(exp.Column):
        known = scope.columns[column.name]
        if known.interval is not None and known.interval.finite and known.type.kind in (Kind.INT, Kind.DECIMAL):
            promised[column.name] = max(abs(known.interval.lower), abs(known.interval.upper), 1.0)
    for factor in (1e6, 1e3, 1e1, 1.0) if promised else ():
        assumed = {name: Interval(-float(ceil(most * factor)), float(ceil(most * factor))) for name, most in promised.items()}
        assumed = {
            name: room for name, room in assumed.items() if not iv.inside(limits(scope.columns[name].type, scope.dialect) or iv.ALL, room)
        }
        if not assumed:
            continue
        try:
            inner = scope.assuming(assumed).term(node)
        except TooWideError:
            continue
        # The columns are guarded, not the whole: an engine may evaluate a branch that it does not take.
        kept = {
            name: when(between(exp.column(name), number(room.lower), number(room.upper)), exp.column(name))
            for name, room in sorted(assumed.items())
        }
        return replace(inner, tree=substituted(inner.tree, kept))
    return None


def _dividend(a: Term, b: Term, scope: Scope) -> tuple[Term, SqlType]:
    """The least integer divided by -1 does not fit its type: one step wider where both may occur."""
    if scope.snowflake:
        return a, integer(max(bits_for(a.sure), 64))
    have = natural_bits(a, b)
    if not iv.holds(b.sure, -1.0) or 0 < bits_for(iv.hull((a.sure, iv.neg(a.sure))) or a.sure) <= have:
        return a, integer(max(have, 32))
    if have == 128:
        return within(a, 10**_MOST - 1), integer(128)
    wide = integer(64 if have < 64 else 128)
    return replace(a, tree=cast(a.tree, wide, scope.dialect)), wide


def _binary(node: exp.Expression, left: exp.Expression, right: exp.Expression, type_: SqlType, span: Span, args: tuple[Term, Term]) -> Term:
    tree = type(node)(this=wrap(left), expression=wrap(right))
    interval, proven = span(args[0].span, args[1].span), span(args[0].sure, args[1].sure)
    whole = all(t.integral for t in args)
    nan = type_.kind is Kind.FLOAT and any(t.type.kind is Kind.FLOAT for t in args) and maybe_nan(args)
    return Term(tree, type_, interval, proven, strict(args), integral=whole, from_unit=tainted(args), nan=nan)


def _operator(span: Span) -> Rule:
    def rule(node: exp.Expression, scope: Scope) -> Term:
        timed = shifts.arithmetic(node, scope)
        if timed is not None:
            return timed
        a, b = operand(node.this, scope), operand(node.expression, scope)
        if Kind.FLOAT in (a.type.kind, b.type.kind):
            return _binary(node, a.tree, b.tree, DOUBLE, span, (a, b))
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
    return Term(
        exp.Neg(this=wrap(tree)),
        type_,
        interval,
        proven,
        a.nullable,
        a.integral,
        a.from_unit,
        tuple(domain) if domain else None,
        a.nan,
    )


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
            right = exp.Nullif(this=b.tree, expression=exp.Literal.number("0"))
    tree = exp.Div(this=wrap(left), expression=wrap(right), typed=False, safe=False)
    nan = maybe_nan((a, b)) or (iv.holds(a.span, 0.0) and iv.holds(b.span, 0.0))
    return Term(tree, DOUBLE, interval, proven, strict((a, b)) or iv.holds(b.span, 0.0), from_unit=tainted((a, b)), nan=nan)


def _nonzero(b: Term) -> exp.Expression:
    if iv.holds(b.sure, 0.0):
        return exp.Nullif(this=b.tree, expression=exp.Literal.number("0"))
    return b.tree


def int_divide(node: exp.Expression, scope: Scope) -> Term:
    """``x // y``: towards zero for integers, like ``/`` for others; NULL for a zero divisor."""
    a, b = operand(node.this, scope), operand(node.expression, scope)
    nullable = strict((a, b)) or iv.holds(b.span, 0.0)
    whole = a.type.kind is Kind.INT and b.type.kind is Kind.INT

    def span(x: Interval, y: Interval) -> Interval:
        if not whole:
            return iv.div(x, y)
        if iv.holds(y, 0.0):
            most = iv.absolute(x).upper
            return Interval(-most if x.lower < 0 or y.lower < 0 else 0.0, most)
        found = iv.div(x, y)
        return Interval(iv.floored(found).lower, iv.ceiled(found).upper)

    interval, proven = span(a.span, b.span), span(a.sure, b.sure)
    if whole:
        a, type_ = _dividend(a, b, scope)
    else:
        a, b, type_ = as_double(a, scope), as_double(b, scope), DOUBLE
    left = a.tree
    if scope.snowflake:
        quotient = exp.Div(this=wrap(left), expression=_nonzero(b), typed=False, safe=False)
        tree: exp.Expression = exp.Trunc(this=quotient) if whole else quotient
    else:
        tree = exp.IntDiv(this=wrap(left), expression=wrap(_nonzero(b)))
    nan = type_.kind is Kind.FLOAT and maybe_nan((a, b))
    return Term(tree, type_, interval, proven, nullable, integral=whole, from_unit=tainted((a, b)), nan=nan)


def modulo(node: exp.Expression, scope: Scope) -> Term:
    """``x % y`` with the sign of x; NULL for a zero divisor."""
    a, b = operand(node.this, scope), operand(node.expression, scope)
    whole = a.integral and b.integral
    interval, proven = iv.mod(a.span, b.span, integral=whole), iv.mod(a.sure, b.sure, integral=whole)
    nullable = strict((a, b)) or iv.holds(b.span, 0.0)
    left, type_ = a.tree, DOUBLE
    if a.type.kind is Kind.INT and b.type.kind is Kind.INT:
        a, type_ = _dividend(a, b, scope)
        left = a.tree
    elif Kind.FLOAT not in (a.type.kind, b.type.kind):
        scale = max(a.type.scale, b.type.scale)
        if max(int_digits(a.sure), int_digits(b.sure)) + scale <= _MOST:
            type_ = decimal(_MOST, scale)
        else:
            a, b = as_double(a, scope), as_double(b, scope)
            left = a.tree
    # Of DOUBLEs by zero it is NaN on DuckDB.
    divisor = b.tree if type_.kind is Kind.FLOAT and not scope.snowflake else _nonzero(b)
    tree = exp.Mod(this=wrap(left), expression=wrap(divisor))
    nan = type_.kind is Kind.FLOAT and (maybe_nan((a, b)) or iv.holds(b.span, 0.0))
    return Term(tree, type_, interval, proven, nullable, integral=whole, from_unit=tainted((a, b)), nan=nan)


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
