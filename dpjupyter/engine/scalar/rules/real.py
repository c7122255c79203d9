"""Functions of real numbers: roots, powers, logarithms, trigonometry. All are DOUBLE."""

from __future__ import annotations

import math
from collections.abc import Callable

from sqlglot import exp

from dpjupyter.engine.model import (
    BOOL,
    DOUBLE,
    Interval,
)
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import as_double, operand
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, maybe_nan, refused, strict, tainted
from dpjupyter.engine.scalar.trees import number, when, wrap

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


def _real(image: Callable[[Interval], Interval], inside: Interval = iv.ALL, *, open_at: float | None = None) -> Rule:
    """A DOUBLE function. ``inside``: where Snowflake does not raise; elsewhere DuckDB gives NaN or an infinity."""

    def rule(node: exp.Expression, scope: Scope) -> Term:
        a = as_double(operand(node.this, scope), scope)
        ok = iv.inside(a.sure, inside) and (open_at is None or not iv.holds(a.sure, open_at))
        promised = iv.inside(a.span, inside) and (open_at is None or not iv.holds(a.span, open_at))
        # The guard stands inside: an engine may evaluate a branch that it does not take.
        tree = type(node)(this=when(_condition(a.tree, inside, open_at), a.tree.copy()) if scope.snowflake and not ok else a.tree)
        nan = maybe_nan([a]) or not promised
        return Term(tree, DOUBLE, image(a.span), image(a.sure), a.nullable or not promised, from_unit=a.from_unit, nan=nan)

    return rule


def _condition(tree: exp.Expression, inside: Interval, open_at: float | None) -> exp.Expression:
    if inside == iv.ALL and open_at is not None:
        return exp.NEQ(this=wrap(tree), expression=number(open_at))
    if inside.lower == -iv.INF:
        return exp.LTE(this=wrap(tree), expression=number(inside.upper))
    if inside.upper == iv.INF:
        zero = number(inside.lower)
        return exp.GT(this=wrap(tree), expression=zero) if open_at == inside.lower else exp.GTE(this=wrap(tree), expression=zero)
    return exp.Between(this=wrap(tree), low=number(inside.lower), high=number(inside.upper))


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
        return iv.outward(iv.div(_ln(x), Interval(math.log(base), math.log(base))), 8)

    literal = number(base) if base.is_integer() else exp.Literal.number(repr(base))
    inner = when(exp.GT(this=wrap(a.tree), expression=number(0)), a.tree.copy()) if scope.snowflake and a.sure.lower <= 0 else a.tree
    if scope.snowflake or base not in (2.0, 10.0):
        tree: exp.Expression = exp.Log(this=literal, expression=inner)
    else:
        tree = exp.Anonymous(this="LOG10" if base == 10.0 else "LOG2", expressions=[inner])
    return Term(
        tree, DOUBLE, span(a.span), span(a.sure), a.nullable or a.span.lower <= 0, from_unit=a.from_unit, nan=a.nan or a.span.lower < 0
    )


def power(node: exp.Expression, scope: Scope) -> Term:
    """``POWER(x, y)``: a DOUBLE. On Snowflake NULL where x < 0 with a broken y, or 0 to a negative power."""
    a, b = as_double(operand(node.this, scope), scope), as_double(operand(node.expression, scope), scope)
    fixed = b.sure.lower == b.sure.upper and b.sure.lower.is_integer()
    safe = (a.sure.lower > 0) or (a.sure.lower >= 0 and b.sure.lower >= 0) or (fixed and b.sure.lower >= 0)
    promised = (a.span.lower > 0) or (a.span.lower >= 0 and b.span.lower >= 0) or (fixed and b.sure.lower >= 0)
    base = when(exp.GT(this=wrap(a.tree), expression=number(0)), a.tree.copy()) if scope.snowflake and not safe else a.tree
    tree = exp.Pow(this=base, expression=b.tree)
    interval, proven = iv.power(a.span, b.span), iv.power(a.sure, b.sure)
    return Term(
        tree, DOUBLE, interval, proven, strict((a, b)) or not promised, from_unit=tainted((a, b)), nan=maybe_nan((a, b)) or not promised
    )


def atan2(node: exp.Expression, scope: Scope) -> Term:
    """``ATAN2(y, x)``."""
    a, b = as_double(operand(node.this, scope), scope), as_double(operand(node.expression, scope), scope)
    turn = iv.outward(Interval(-math.pi, math.pi))
    return Term(
        exp.Atan2(this=a.tree, expression=b.tree),
        DOUBLE,
        turn,
        turn,
        strict((a, b)),
        from_unit=tainted((a, b)),
        nan=a.nan or b.nan,
    )


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
    return Term(type(node)(this=a.tree), BOOL, iv.BOOLEAN, iv.BOOLEAN, a.nullable, True, a.from_unit)


RULES: dict[type[exp.Expression], Rule] = {
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
    exp.IsNan: test_of_double,
    exp.IsInf: test_of_double,
}
