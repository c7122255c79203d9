"""Aggregate functions: from sqlglot nodes to Call records. What is not listed here is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

from sqlglot import exp

from dpjupyter.engine.model import Call
from dpjupyter.engine.place import place_of
from dpjupyter.errors import FunctionRefused, UnsupportedSQL

ONE_ARGUMENT: dict[type[exp.Expression], str] = {
    exp.Sum: "SUM",
    exp.Avg: "AVG",
    exp.Min: "MIN",
    exp.Max: "MAX",
    exp.Variance: "VAR_SAMP",
    exp.VariancePop: "VAR_POP",
    exp.Stddev: "STDDEV_SAMP",
    exp.StddevSamp: "STDDEV_SAMP",
    exp.StddevPop: "STDDEV_POP",
    exp.Median: "MEDIAN",
    exp.Mode: "MODE",
    exp.AnyValue: "ANY_VALUE",
    exp.LogicalAnd: "BOOL_AND",
    exp.LogicalOr: "BOOL_OR",
}
TWO_ARGUMENTS: dict[type[exp.Expression], str] = {
    exp.CovarPop: "COVAR_POP",
    exp.CovarSamp: "COVAR_SAMP",
    exp.Corr: "CORR",
}
NAMES = (
    "COUNT", "COUNT_IF", "SUM", "AVG", "MIN", "MAX", "VARIANCE", "VAR_POP", "VAR_SAMP", "STDDEV", "STDDEV_POP", "STDDEV_SAMP",
    "COVAR_POP", "COVAR_SAMP", "CORR", "MEDIAN", "PERCENTILE_CONT", "PERCENTILE_DISC", "APPROX_QUANTILE", "APPROX_COUNT_DISTINCT",
    "MODE", "ANY_VALUE", "BOOL_AND", "BOOL_OR", "GROUPING",
)  # fmt: skip


def is_aggregate(node: exp.Expression) -> bool:
    """Whether this node computes over the rows of a group (and is not part of a larger aggregate node)."""
    if isinstance(node, (exp.Filter, exp.WithinGroup)):
        return True
    if isinstance(node, (exp.IgnoreNulls, exp.RespectNulls)):
        return isinstance(node.this, exp.AggFunc)
    return isinstance(node, exp.AggFunc) and not isinstance(
        node,
        (
            exp.RowNumber,
            exp.Lag,
            exp.Lead,
            exp.FirstValue,
            exp.LastValue,
            exp.NthValue,
            exp.Rank,
            exp.DenseRank,
            exp.PercentRank,
            exp.CumeDist,
            exp.Ntile,
        ),
    )


def call_of(node: exp.Expression, text: str) -> Call:
    """Read one aggregate whose arguments are already bound.

    Raises: FunctionRefused, UnsupportedSQL.
    """
    if isinstance(node, exp.IgnoreNulls):
        return call_of(node.this, text)
    if isinstance(node, exp.Filter):
        return _filtered(call_of(node.this, text), node.expression.this)
    if isinstance(node, exp.WithinGroup):
        return _within_group(node, text)
    if isinstance(node, exp.Count):
        return _count(node, text)
    if isinstance(node, exp.CountIf):
        this, distinct = _plain(node)
        return Call("COUNT", (_case(this, exp.Literal.number(1)),), distinct, text=text)
    if isinstance(node, exp.ApproxDistinct):
        return Call("COUNT", (node.this,), distinct=True, text=text)
    if isinstance(node, (exp.PercentileCont, exp.PercentileDisc, exp.ApproxQuantile, exp.Quantile)):
        level = node.args.get("quantile") or node.args.get("expression")
        if level is None:
            raise UnsupportedSQL(f"{text} needs WITHIN GROUP (ORDER BY column).", place=place_of(node))
        function = "QUANTILE_DISC" if isinstance(node, (exp.PercentileDisc, exp.Quantile)) else "QUANTILE_CONT"
        return Call(function, (node.this,), parameter=_level(level, text), text=text)
    if type(node) in ONE_ARGUMENT:
        if node.args.get("expression") is not None or node.args.get("expressions"):
            raise UnsupportedSQL(f"{text} has an argument this version does not know.", place=place_of(node))
        this, distinct = _plain(node)
        return Call(
            ONE_ARGUMENT[type(node)],
            (this,),
            distinct and not isinstance(node, (exp.Min, exp.Max, exp.AnyValue, exp.LogicalAnd, exp.LogicalOr)),
            text=text,
        )
    if type(node) in TWO_ARGUMENTS:
        return Call(TWO_ARGUMENTS[type(node)], (node.this, node.expression), text=text)
    name = node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
    raise FunctionRefused(f"Aggregate {name} is not answered.", hint=f"Answered are {', '.join(NAMES)}.", place=place_of(node))


def _plain(node: exp.Expression) -> tuple[exp.Expression, bool]:
    this = node.this
    if isinstance(this, exp.Distinct):
        if len(this.expressions) != 1 or this.args.get("on"):
            raise UnsupportedSQL(f"{node.key.upper()}(DISTINCT ...) takes one expression.", place=place_of(node))
        return this.expressions[0], True
    if this is None or isinstance(this, (exp.Star, exp.Order, exp.Limit, exp.HavingMax)):
        raise UnsupportedSQL(f"{node.key.upper()} needs one expression, without ORDER BY or LIMIT.", place=place_of(node))
    return this, False


def _count(node: exp.Count, text: str) -> Call:
    this = node.this
    if node.expressions:
        raise UnsupportedSQL("COUNT takes one expression.", hint="COUNT(DISTINCT a, b) counts pairs.", place=place_of(node))
    if this is None or isinstance(this, exp.Star):
        return Call("COUNT_STAR", text=text)
    if isinstance(this, exp.Distinct):
        return Call("COUNT", tuple(this.expressions), distinct=True, text=text)
    if isinstance(this, (exp.Literal, exp.Boolean)):
        return Call("COUNT_STAR", text=text)
    this, _ = _plain(node)
    return Call("COUNT", (this,), text=text)


def _within_group(node: exp.WithinGroup, text: str) -> Call:
    inner, order = node.this, node.expression
    if not isinstance(inner, (exp.PercentileCont, exp.PercentileDisc)) or not isinstance(order, exp.Order) or len(order.expressions) != 1:
        raise UnsupportedSQL(f"{text}: only PERCENTILE_CONT and PERCENTILE_DISC take WITHIN GROUP.", place=place_of(node))
    ordered = order.expressions[0]
    level = _level(inner.this, text)
    if ordered.args.get("desc"):
        level = 1 - level
    function = "QUANTILE_CONT" if isinstance(inner, exp.PercentileCont) else "QUANTILE_DISC"
    return Call(function, (ordered.this,), parameter=level, text=text)


def _level(node: exp.Expression, text: str) -> Fraction:
    node = cast("exp.Expression", node.unnest())
    if not isinstance(node, exp.Literal) or node.is_string:
        raise UnsupportedSQL(f"{text}: the quantile must be a number between 0 and 1.", place=place_of(node))
    level = Fraction(node.name)
    if not 0 <= level <= 1 or level.denominator > 10_000:
        raise UnsupportedSQL(f"{text}: the quantile must lie between 0 and 1, with at most four decimals.", place=place_of(node))
    return level


def _case(condition: exp.Expression, value: exp.Expression) -> exp.Case:
    return exp.Case(ifs=[exp.If(this=condition.copy(), true=value)])


def _filtered(call: Call, condition: exp.Expression) -> Call:
    """agg(x) FILTER (WHERE p) is agg(CASE WHEN p THEN x END): every aggregate answered here ignores NULL."""
    if call.function == "COUNT_STAR":
        return Call("COUNT", (_case(condition, exp.Literal.number(1)),), text=call.text)
    arguments = tuple(_case(condition, a) for a in call.arguments)
    return Call(call.function, arguments, call.distinct, call.parameter, call.text)
