"""Numeric functions: ABS, ROUND and kin, roots, logarithms, trigonometry, LEAST and GREATEST, WIDTH_BUCKET."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine.model import DOUBLE, INTEGER, Interval, Kind, SqlType
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.terms import (
    NUMERIC,
    Rule,
    Scope,
    Term,
    as_double,
    cast,
    decimal,
    int_digits,
    integer,
    maybe_nan,
    number,
    operand,
    refused,
    strict,
    tainted,
    unify,
    when,
    whole_literal,
    within,
    wrap,
)

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
            exp.If(this=exp.GT(this=wrap(a.tree.copy()), expression=zero), true=exp.Literal.number("1")),
            exp.If(this=exp.LT(this=wrap(a.tree.copy()), expression=zero.copy()), true=number(-1)),
            exp.If(this=exp.EQ(this=wrap(a.tree.copy()), expression=zero.copy()), true=zero.copy()),
        ]
    )
    interval, proven = span(a.span), span(a.sure)
    if a.nan:
        interval = Interval(interval.lower, 1.0)  # NaN counts as greater than every number
    if a.type.kind is Kind.FLOAT:
        proven = Interval(proven.lower, 1.0)
    return Term(tree, INTEGER, interval, proven, a.nullable, integral=True, from_unit=a.from_unit)


# ---------------------------------------------------------------- rounding
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
        tree = type(node)(this=a.tree.copy())
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
    tree = exp.Div(
        this=type(node)(this=exp.Mul(this=wrap(a.tree.copy()), expression=factor)), expression=factor.copy(), typed=False, safe=False
    )
    scale = iv.of_exact(__import__("fractions").Fraction(10) ** digits)

    def span(x: Interval) -> Interval:
        return iv.outward(iv.div(image(iv.outward(iv.mul(x, scale))), scale))

    return Term(tree, DOUBLE, span(a.span), span(a.sure), a.nullable, integral=digits < 0 and a.integral, from_unit=a.from_unit, nan=maybe_nan([a]))


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
            type_ = decimal(precision, scale) if scale else SqlType(Kind.INT, bits=128 if precision > 18 else 64, precision=precision, text=f"DECIMAL({precision},0)")
    args: dict[str, exp.Expression] = {"this": a.tree.copy()}
    if node.args.get("decimals") is not None:
        args["decimals"] = number(digits)
    integral = digits <= 0 or a.integral
    return Term(exp.Round(**args), type_, iv.rounded(a.span, digits), iv.rounded(a.sure, digits), a.nullable, integral, a.from_unit, nan=a.nan)


def trunc(node: exp.Expression, scope: Scope) -> Term:
    """``TRUNC(x[, digits])``: towards zero."""
    if isinstance(node.args.get("decimals"), exp.Literal) and node.args["decimals"].is_string:
        from dpjupyter.engine.scalar.rules import dates

        return dates.truncate(node, node.this, node.args["decimals"].name, scope)
    a = operand(node.this, scope)
    digits = _digits(node, "decimals") if node.args.get("decimals") is not None else 0
    if a.type.kind is Kind.INT and digits >= 0:
        return replace(a, domain=None)
    if digits == 0 and a.type.kind is Kind.DECIMAL:
        width = max(a.type.precision, 1)
        type_ = SqlType(Kind.INT, bits=128 if width > 18 else 64, precision=width, text=f"DECIMAL({width},0)")
        return Term(exp.Trunc(this=a.tree.copy()), type_, iv.truncated(a.span), iv.truncated(a.sure), a.nullable, True, a.from_unit)
    if digits == 0:
        return Term(exp.Trunc(this=a.tree.copy()), DOUBLE, iv.truncated(a.span), iv.truncated(a.sure), a.nullable, True, a.from_unit, nan=a.nan)
    return _scaled(node, a, digits, iv.truncated, scope)


# ---------------------------------------------------------------- real functions
_TURN = Interval(iv.below(-math.pi / 2), iv.above(math.pi / 2))


def _sine(x: Interval) -> Interval:
    del x
    return Interval(-1.0, 1.0)


def _exp(x: Interval) -> Interval:
    found = iv.monotone(lambda v: math.exp(v) if v < 710 else iv.INF, x)
    return Interval(max(found.lower, 0.0), found.upper)


def _ln(x: Interval) -> Interval:
    return iv.monotone(lambda v: math.log(v) if v > 0 else -iv.INF, x)


def _sqrt(x: Interval) -> Interval:
    found = iv.monotone(lambda v: math.sqrt(v) if v > 0 else 0.0, x)
    return Interval(max(found.lower, 0.0), found.upper)


def _inverse_sine(x: Interval) -> Interval:
    del x
    return iv.outward(_TURN)


def _inverse_cosine(x: Interval) -> Interval:
    del x
    return Interval(0.0, iv.above(iv.above(math.pi)))


def _everything(x: Interval) -> Interval:
    del x
    return iv.ALL


def _scaled_by(factor: float) -> Callable[[Interval], Interval]:
    return lambda x: iv.outward(iv.mul(x, Interval(factor, factor)))


def _real(image: Callable[[Interval], Interval], inside: Interval = iv.ALL, *, open_at: float | None = None, least: float | None = None) -> Rule:
    """A DOUBLE function. ``inside``: where Snowflake does not raise; elsewhere DuckDB gives NaN or an infinity."""

    def rule(node: exp.Expression, scope: Scope) -> Term:
        a = as_double(operand(node.this, scope), scope)
        tree = type(node)(this=a.tree.copy())
        ok = iv.inside(a.sure, inside) and (open_at is None or not iv.holds(a.sure, open_at))
        promised = iv.inside(a.span, inside) and (open_at is None or not iv.holds(a.span, open_at))
        if scope.snowflake and not ok:
            tree = when(_condition(a.tree, inside, open_at), tree)
        if not scope.snowflake and least is not None and not ok:
            tree = when(_condition(a.tree, inside, open_at), tree)
        nan = maybe_nan([a]) or not promised
        return Term(tree, DOUBLE, image(a.span), image(a.sure), a.nullable or not promised, from_unit=a.from_unit, nan=nan)

    return rule


def _condition(tree: exp.Expression, inside: Interval, open_at: float | None) -> exp.Expression:
    if inside.lower == -iv.INF:
        return exp.LTE(this=wrap(tree.copy()), expression=number(inside.upper))
    if inside.upper == iv.INF:
        zero = number(inside.lower)
        return exp.GT(this=wrap(tree.copy()), expression=zero) if open_at == inside.lower else exp.GTE(this=wrap(tree.copy()), expression=zero)
    return exp.Between(this=wrap(tree.copy()), low=number(inside.lower), high=number(inside.upper))


def log(node: exp.Expression, scope: Scope) -> Term:
    """``LOG(x)`` (base 10 on DuckDB) and ``LOG(base, x)``; LOG10 and LOG2 are read as the latter."""
    if node.args.get("expression") is None:
        base, value = 10.0, node.this
    else:
        stated = operand(node.this, scope)
        if stated.sure.lower != stated.sure.upper or not 0 < stated.sure.lower < iv.INF or stated.sure.lower == 1:
            raise refused(node, "The base of LOG must be a positive literal other than 1.", "Write LOG(10, x) or LN(x).")
        base, value = stated.sure.lower, node.expression
    a = as_double(operand(value, scope), scope)

    def span(x: Interval) -> Interval:
        found = iv.outward(iv.div(_ln(x), Interval(math.log(base), math.log(base))), 8)
        return found

    literal = number(base) if base.is_integer() else exp.Literal.number(repr(base))
    if scope.snowflake or base not in (2.0, 10.0):
        tree: exp.Expression = exp.Log(this=literal, expression=a.tree.copy())
    else:
        tree = exp.Anonymous(this="LOG10" if base == 10.0 else "LOG2", expressions=[a.tree.copy()])
    if scope.snowflake and a.sure.lower <= 0:
        tree = when(exp.GT(this=wrap(a.tree.copy()), expression=number(0)), tree)
    return Term(tree, DOUBLE, span(a.span), span(a.sure), a.nullable or a.span.lower <= 0, from_unit=a.from_unit, nan=a.nan or a.span.lower < 0)


def power(node: exp.Expression, scope: Scope) -> Term:
    """``POWER(x, y)``: a DOUBLE. On Snowflake NULL where x < 0 with a broken y, or 0 to a negative power."""
    a, b = as_double(operand(node.this, scope), scope), as_double(operand(node.expression, scope), scope)
    tree: exp.Expression = exp.Pow(this=a.tree.copy(), expression=b.tree.copy())
    fixed = b.sure.lower == b.sure.upper and b.sure.lower.is_integer()
    safe = (a.sure.lower > 0) or (a.sure.lower >= 0 and b.sure.lower >= 0) or (fixed and b.sure.lower >= 0)
    promised = (a.span.lower > 0) or (a.span.lower >= 0 and b.span.lower >= 0) or (fixed and b.sure.lower >= 0)
    if scope.snowflake and not safe:
        tree = when(exp.GT(this=wrap(a.tree.copy()), expression=number(0)), tree)
    interval, proven = iv.power(a.span, b.span), iv.power(a.sure, b.sure)
    return Term(tree, DOUBLE, interval, proven, strict((a, b)) or not promised, from_unit=tainted((a, b)), nan=maybe_nan((a, b)) or not promised)


def atan2(node: exp.Expression, scope: Scope) -> Term:
    """``ATAN2(y, x)``."""
    a, b = as_double(operand(node.this, scope), scope), as_double(operand(node.expression, scope), scope)
    turn = iv.outward(Interval(-math.pi, math.pi))
    return Term(exp.Atan2(this=a.tree.copy(), expression=b.tree.copy()), DOUBLE, turn, turn, strict((a, b)), from_unit=tainted((a, b)), nan=a.nan or b.nan)


def pi(node: exp.Expression, scope: Scope) -> Term:
    """``PI()``."""
    del scope
    spot = Interval(math.pi, math.pi)
    return Term(node.copy(), DOUBLE, spot, spot, nullable=False, domain=(math.pi,))


def test_of_double(node: exp.Expression, scope: Scope) -> Term:
    """``ISNAN(x)``, ``ISINF(x)``."""
    if scope.snowflake:
        raise refused(node)
    a = as_double(operand(node.this, scope), scope)
    from dpjupyter.engine.model import BOOL

    return Term(type(node)(this=a.tree.copy()), BOOL, iv.BOOLEAN, iv.BOOLEAN, a.nullable, True, a.from_unit)


# ---------------------------------------------------------------- choosing among arguments
def _extreme(node: exp.Expression, scope: Scope) -> Term:
    """LEAST and GREATEST: DuckDB passes over NULL, Snowflake returns NULL; NaN counts as the greatest number."""
    nodes = [node.this, *node.expressions]
    type_, args = unify([_number_or_any(n, scope) for n in nodes], scope, node)
    least = isinstance(node, exp.Least)
    ignore = bool(node.args.get("ignore_nulls"))
    tree = type(node)(this=args[0].tree.copy(), expressions=[a.tree.copy() for a in args[1:]], ignore_nulls=ignore)
    nullable = all(a.nullable for a in args) if ignore else any(a.nullable for a in args)

    def span(parts: list[tuple[Interval | None, bool, bool]]) -> Interval | None:
        known = [i for i, _, _ in parts if i is not None]
        if len(known) != len(parts):
            return None
        # An argument that may be NULL (passed over) or NaN leaves the choice to the others.
        firm = [i for i, null, nan in parts if not (null and ignore) and not (nan and least)]
        steady = [i for i, null, nan in parts if not (null and ignore) and not nan]
        if least:
            return Interval(min(i.lower for i in known), min((i.upper for i in firm), default=max(i.upper for i in known)))
        return Interval(max((i.lower for i in steady), default=min(i.lower for i in known)), max(i.upper for i in known))

    ordered = type_.kind is not Kind.TEXT
    interval = span([(a.interval, a.nullable, a.nan) for a in args]) if ordered else None
    # NOT NULL is a promise too: what is proven rests on literals only.
    proven = span([(a.proven, not a.literal, a.type.kind is Kind.FLOAT and not a.literal) for a in args]) if ordered else None
    return Term(tree, type_, interval, proven, nullable, all(a.integral for a in args), tainted(args), nan=any(a.nan for a in args))


def _number_or_any(node: exp.Expression, scope: Scope) -> Term:
    term = scope.term(node)
    return operand(node, scope) if term.type.kind in NUMERIC else term


def width_bucket(node: exp.Expression, scope: Scope) -> Term:
    """``WIDTH_BUCKET(x, low, high, n)`` as CASE and FLOOR: DuckDB and an emulator of Snowflake lack it."""
    a = as_double(operand(node.this, scope), scope)
    low, high = (operand(node.args[name], scope) for name in ("min_value", "max_value"))
    count = whole_literal(node.args["num_buckets"])
    for end in (low, high):
        if end.sure.lower != end.sure.upper:
            raise refused(node, "The ends of WIDTH_BUCKET must be literals.")
    least, most = low.sure.lower, high.sure.lower
    if count is None or not 0 < count <= 10**6 or not least < most or not math.isfinite(most - least):
        raise refused(node, "WIDTH_BUCKET needs low < high and a literal number of buckets up to a million.")

    def at(value: float) -> exp.Expression:
        return cast(exp.Literal.string(repr(value)), DOUBLE, scope.dialect)

    x = wrap(a.tree.copy())
    step = (most - least) / count
    offset = exp.Paren(this=exp.Sub(this=x.copy(), expression=at(least)))
    inner = exp.Floor(this=exp.Div(this=offset, expression=at(step), typed=False, safe=False))
    bucket = exp.Add(this=cast(inner, INTEGER, scope.dialect), expression=number(1))
    tree = exp.Case(
        ifs=[
            exp.If(this=exp.LT(this=x.copy(), expression=at(least)), true=number(0)),
            exp.If(this=exp.LT(this=x.copy(), expression=at(most)), true=exp.Least(this=bucket, expressions=[number(count)], ignore_nulls=True)),
            exp.If(this=exp.LTE(this=x.copy(), expression=at(iv.INF)), true=number(count + 1)),  # not NaN
        ]
    )

    everywhere = Interval(0.0, float(count + 1))
    interval = everywhere
    if a.span.finite:
        lo = 0.0 if a.span.lower < least else 1.0
        hi = float(count + 1) if a.span.upper >= most else float(count)
        interval = Interval(lo, hi)
    return Term(tree, INTEGER, interval, everywhere, a.nullable or a.nan, True, a.from_unit)


RULES: dict[type[exp.Expression], Rule] = {
    exp.Abs: absolute,
    exp.Sign: sign,
    exp.Floor: _rounding(iv.floored),
    exp.Ceil: _rounding(iv.ceiled),
    exp.Round: round_,
    exp.Trunc: trunc,
    exp.Sqrt: _real(_sqrt, iv.NOT_NEGATIVE),
    exp.Cbrt: _real(lambda x: iv.monotone(lambda v: math.copysign(abs(v) ** (1 / 3), v), x, 8)),
    exp.Exp: _real(_exp, Interval(-iv.INF, 709.0)),
    exp.Ln: _real(_ln, iv.NOT_NEGATIVE, open_at=0.0),
    exp.Log: log,
    exp.Pow: power,
    exp.Sin: _real(_sine),
    exp.Cos: _real(_sine),
    exp.Tan: _real(_everything),
    exp.Cot: _real(_everything, open_at=0.0),
    exp.Asin: _real(_inverse_sine, Interval(-1.0, 1.0)),
    exp.Acos: _real(_inverse_cosine, Interval(-1.0, 1.0)),
    exp.Atan: _real(_inverse_sine),
    exp.Atan2: atan2,
    exp.Sinh: _real(_everything),
    exp.Cosh: _real(_everything),
    exp.Tanh: _real(_sine),
    exp.Degrees: _real(_scaled_by(180 / math.pi)),
    exp.Radians: _real(_scaled_by(math.pi / 180)),
    exp.Pi: pi,
    exp.Least: _extreme,
    exp.Greatest: _extreme,
    exp.WidthBucket: width_bucket,
    exp.IsNan: test_of_double,
    exp.IsInf: test_of_double,
}
