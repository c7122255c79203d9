"""LEAST, GREATEST, WIDTH_BUCKET."""

from __future__ import annotations

import math

from sqlglot import exp

from dpjupyter.engine.model import (
    DOUBLE,
    INTEGER,
    Interval,
    Kind,
)
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import as_double, operand, unify
from dpjupyter.engine.scalar.sqltypes import (
    NUMERIC,
)
from dpjupyter.engine.scalar.terms import Rule, Scope, Term, refused, tainted
from dpjupyter.engine.scalar.trees import cast, whole_literal, wrap


def _extreme(node: exp.Expression, scope: Scope) -> Term:
    """LEAST and GREATEST: DuckDB passes over NULL, Snowflake returns NULL; NaN counts as the greatest number."""
    nodes = [node.this, *node.expressions]
    type_, args = unify([_number_or_any(n, scope) for n in nodes], scope, node)
    least = isinstance(node, exp.Least)
    ignore = bool(node.args.get("ignore_nulls"))
    tree = type(node)(this=args[0].tree, expressions=[a.tree for a in args[1:]], ignore_nulls=ignore)
    nullable = all(a.nullable for a in args) if ignore else any(a.nullable for a in args)

    def span(found: list[tuple[Interval | None, bool, bool]]) -> Interval | None:
        parts = [(i, null, nan) for i, null, nan in found if i is not None]
        known = [i for i, _, _ in parts]
        if len(known) != len(found):
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
    if any(node.args.get(name) is None for name in ("min_value", "max_value", "num_buckets")):
        raise refused(node, "WIDTH_BUCKET takes a value, two ends and a number of buckets.")
    low, high = (operand(node.args[name], scope) for name in ("min_value", "max_value"))
    count = whole_literal(node.args["num_buckets"])
    for end in (low, high):
        if end.sure.lower != end.sure.upper:
            raise refused(node, "The ends of WIDTH_BUCKET must be literals.")
    least, most = low.sure.lower, high.sure.lower
    if count is None or not 0 < count <= 10**6 or not least < most or not 0 < (most - least) / count < math.inf:
        raise refused(node, "WIDTH_BUCKET needs low < high and a literal number of buckets up to a million.")

    def at(value: float) -> exp.Expression:
        return cast(exp.Literal.string(repr(value)), DOUBLE, scope.dialect)

    x = wrap(a.tree)
    step = (most - least) / count
    offset = exp.Paren(this=exp.Sub(this=x.copy(), expression=at(least)))
    inner = exp.Floor(this=exp.Div(this=offset, expression=at(step), typed=False, safe=False))
    bucket = exp.Least(this=exp.Add(this=inner, expression=at(1.0)), expressions=[at(float(count))], ignore_nulls=True)
    limited = exp.Case(
        ifs=[
            exp.If(this=exp.LT(this=x.copy(), expression=at(least)), true=at(0.0)),
            exp.If(this=exp.LT(this=x.copy(), expression=at(most)), true=bucket),
            exp.If(this=exp.LTE(this=x.copy(), expression=at(iv.INF)), true=at(count + 1.0)),  # not NaN
        ]
    )
    tree = cast(limited, INTEGER, scope.dialect)  # outside: an engine may evaluate a branch that it does not take

    everywhere = Interval(0.0, float(count + 1))
    interval = everywhere
    if a.span.finite:
        lo = 0.0 if a.span.lower < least else 1.0
        hi = float(count + 1) if a.span.upper >= most else float(count)
        interval = Interval(lo, hi)
    return Term(tree, INTEGER, interval, everywhere, a.nullable or a.nan, True, a.from_unit)


RULES: dict[type[exp.Expression], Rule] = {
    exp.Least: _extreme,
    exp.Greatest: _extreme,
    exp.WidthBucket: width_bucket,
}
