"""Bounds of a CASE whose conditions say something of the column its branches return."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine.model import Facts, Interval, Kind, SqlType
from dpjupyter.engine.scalar import intervals as iv
from dpjupyter.engine.scalar.arguments import to_type
from dpjupyter.engine.scalar.narrowing import Known, assume, bare
from dpjupyter.engine.scalar.sqltypes import NUMERIC, limits
from dpjupyter.engine.scalar.terms import Scope


def branches(node: exp.Expression, type_: SqlType, scope: Scope) -> tuple[Interval | None, Interval | None] | None:
    """Promised and proven interval of a CASE whose conditions say something of the column its branches return.

    Only where all conditions are about one column and are NULL only if it is: then a branch is reached with the
    earlier conditions FALSE, or with that column NULL, which has no interval.
    """
    if node.this is not None:
        return None
    ifs = node.args["ifs"]
    conditions = [branch.this for branch in ifs]
    names = {c.name for condition in conditions for c in condition.find_all(exp.Column)}
    if len(names) != 1 or not all(_strict_only(c) for c in conditions):
        return None
    name = next(iter(names))
    if name not in scope.columns:
        return None
    default = node.args.get("default")
    results = [branch.args["true"] for branch in ifs] + ([default] if default is not None else [])
    if any(isinstance(n, (exp.Case, exp.If, exp.Coalesce)) for result in results for n in result.walk()):
        return None
    facts = scope.columns[name]
    typed = Facts(facts.type, limits(facts.type, scope.dialect), integral=facts.integral)
    spans: list[Interval | None] = []
    for start in (facts, typed):
        known: Known = {**scope.columns, name: replace(start, domain=None)} if start is facts else {
            other: Facts(f.type, limits(f.type, scope.dialect), integral=f.integral) for other, f in scope.columns.items()
        }  # fmt: skip
        parts: list[Interval] = []
        for position, result in enumerate(results):
            here = assume(conditions[position], known, scope, holds=True) if position < len(conditions) else known
            term = scope.on(here).term(result)
            if term.type.kind is not Kind.NULL:
                if term.type.kind is not type_.kind and type_.kind not in NUMERIC:
                    term = to_type(term, type_, scope, result)
                if term.interval is None:
                    return None
                parts.append(term.interval)
            if position < len(conditions):
                known = {**known, name: replace(assume(conditions[position], known, scope, holds=False)[name], nullable=True, domain=None)}
        spans.append(iv.hull(parts))
    return spans[0], spans[1]


def _strict_only(node: exp.Expression) -> bool:
    """Comparisons of the column with literals, AND-ed, OR-ed or negated."""
    node = bare(node)
    if isinstance(node, (exp.And, exp.Or)):
        return _strict_only(node.this) and _strict_only(node.expression)
    if isinstance(node, exp.Not):
        return _strict_only(node.this)
    if isinstance(node, (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between)):
        return all(
            isinstance(n, (exp.Column, exp.Identifier, exp.Literal, exp.Neg, exp.Paren))
            for child in node.iter_expressions()
            for n in child.walk()
        )
    return False
