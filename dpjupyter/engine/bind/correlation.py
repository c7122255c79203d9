"""WHERE with EXISTS and IN: AND-ed ones become semi and anti joins, so that they can be reasoned about like joins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dpjupyter.engine.algebra import conjunction, conjuncts, expressions, inputs
from dpjupyter.engine.bind.expressions import bind_expression, find_aggregates
from dpjupyter.engine.bind.scope import Scope
from dpjupyter.engine.model import Filter, Join, Project, Rel, Sort
from dpjupyter.engine.place import place_of
from dpjupyter.engine.render import column
from dpjupyter.errors import UnsupportedSQL

if TYPE_CHECKING:
    from dpjupyter.engine.bind.relations import Binder


def bind_where(binder: Binder, rel: Rel, node: exp.Expression, scope: Scope) -> Rel:
    """WHERE over ``rel``: plain conditions first, then semi and anti joins.

    Raises: UnsupportedSQL: an aggregate or a window, or correlation of a kind that has no rule.
    """
    plain: list[exp.Expression] = []
    subqueries: list[tuple[exp.Expression, bool]] = []
    for part in conjuncts(node):
        inner, negated = part, False
        while isinstance(inner, (exp.Not, exp.Paren)):
            negated ^= isinstance(inner, exp.Not)
            inner = inner.this
        if isinstance(inner, exp.Exists) or (isinstance(inner, exp.In) and inner.args.get("query") is not None):
            subqueries.append((inner, negated))
            continue
        bound = bind_expression(part, scope, binder)
        if find_aggregates(bound) or bound.find(exp.Window) is not None:
            raise UnsupportedSQL(
                "WHERE cannot contain an aggregate or a window function.", hint="Use HAVING or QUALIFY.", place=place_of(part)
            )
        binder.check(bound)
        plain.append(bound)
    if plain:
        rel = Filter(rel, conjunction(*plain))
    for inner, negated in subqueries:
        rel = _semi_join(binder, rel, inner, scope, negated=negated)
    return rel


def _semi_join(binder: Binder, rel: Rel, node: exp.Expression, scope: Scope, *, negated: bool) -> Rel:
    if isinstance(node, exp.In) and isinstance(node.this.unnest(), exp.Tuple):
        raise UnsupportedSQL("IN compares one value here.", hint="Use EXISTS with one equality per column.", place=place_of(node.this))
    query = node.this if isinstance(node, exp.Exists) else node.args["query"]
    inner_scope = Scope(parent=scope)
    sub, fields = binder.query(query, parent=scope, probe=inner_scope)
    conditions: list[exp.Expression] = []
    if inner_scope.correlated:
        scope.correlated |= inner_scope.correlated - scope.ids()
        sub, conditions = _pull(sub, inner_scope.correlated)
        if _uses(sub, inner_scope.correlated):
            raise UnsupportedSQL(
                "This subquery uses the outer query's columns in a place that has no rule.",
                hint="Compare them in the subquery's WHERE, joined by AND.",
                place=place_of(node),
            )
    if isinstance(node, exp.In):
        if len(fields) != 1:
            raise UnsupportedSQL(f"IN needs a subquery with one column, this has {len(fields)}.", place=place_of(query))
        value = bind_expression(node.this, scope, binder)
        binder.check(value)
        equal = exp.EQ(this=_wrapped(value), expression=column(fields[0].id))
        # NOT IN keeps a row only if every comparison is false: NULL on either side drops it.
        conditions.append(exp.Coalesce(this=equal, expressions=[exp.true()]) if negated else equal)
    condition = conjunction(*conditions) if conditions else None
    return Join(rel, sub, "anti" if negated else "semi", condition)


def _wrapped(node: exp.Expression) -> exp.Expression:
    return exp.Paren(this=node) if isinstance(node, (exp.Binary, exp.Unary)) else node


def _mentions(expr: exp.Expression, ids: set[str]) -> bool:
    return any(node.name in ids for node in expr.find_all(exp.Column))


def _pull(rel: Rel, outer: set[str]) -> tuple[Rel, list[exp.Expression]]:
    """Take the conditions on outer columns out of a subquery's top filters; columns they need stay visible."""
    match rel:
        case Project(input=inner, columns=columns):
            inner, taken = _pull(inner, outer)
            needed = {n.name for c in taken for n in c.find_all(exp.Column)} - outer - set(columns)
            return Project(inner, {**columns, **{id_: column(id_) for id_ in sorted(needed)}}), taken
        case Filter(input=inner, predicate=predicate):
            inner, taken = _pull(inner, outer)
            parts = conjuncts(predicate)
            kept = [p for p in parts if not _mentions(p, outer)]
            taken = taken + [p for p in parts if _mentions(p, outer)]
            return (Filter(inner, conjunction(*kept)) if kept else inner), taken
        case Join(left=left, right=right, kind="semi" | "anti" as kind, condition=condition):
            left, taken = _pull(left, outer)
            return Join(left, right, kind, condition), taken
        case Sort(input=inner, limit=None, offset=0):
            return _pull(inner, outer)
        case _:
            return rel, []


def _uses(rel: Rel, ids: set[str]) -> bool:
    return any(_mentions(e, ids) for e in expressions(rel)) or any(_uses(i, ids) for i in inputs(rel))
