"""Scalar expressions: names become column ids, subqueries become BoundSubquery, aggregates and windows stay in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from sqlglot import exp

from dpjupyter.engine.algebra import signature
from dpjupyter.engine.bind.calls import call_of, is_aggregate
from dpjupyter.engine.bind.scope import Scope, suggest
from dpjupyter.engine.model import BoundSubquery, Call
from dpjupyter.engine.place import place_of
from dpjupyter.engine.render import column
from dpjupyter.errors import UnknownName, UnsupportedSQL

if TYPE_CHECKING:
    from dpjupyter.engine.bind.relations import Binder

WINDOW_FUNCTIONS = (
    exp.RowNumber, exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist, exp.Ntile, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue,
    exp.Sum, exp.Avg, exp.Count, exp.Min, exp.Max, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop,
)  # fmt: skip


MAX_ALIAS_NODES = 200  # aliases that use each other twice would grow without bound
MAX_CALLS = 100  # different aggregates of one SELECT


def bind_expression(node: exp.Expression, scope: Scope, binder: Binder) -> exp.Expression:
    """A copy of ``node`` whose columns are ids. The shape of aggregates and windows is checked later.

    Raises: UnknownName, UnsupportedSQL.
    """
    match node:
        case exp.Column():
            return _column(node, scope)
        case exp.Star():
            raise UnsupportedSQL("* stands alone in a select list or in COUNT(*).", place=place_of(node))
        case exp.Count() if isinstance(node.this, exp.Star):
            if any(node.this.args.values()):
                raise UnsupportedSQL("COUNT(*) takes no options.", place=place_of(node))
            return node.copy()
        case exp.Exists():
            return _subquery(node, node.this, "exists", None, scope, binder)
        case exp.In() if node.args.get("query") is not None:
            if isinstance(node.this.unnest(), exp.Tuple):
                raise UnsupportedSQL(
                    "IN compares one value here.", hint="Use EXISTS with one equality per column.", place=place_of(node.this)
                )
            return _subquery(node, node.args["query"], "in", bind_expression(node.this, scope, binder), scope, binder)
        case exp.Subquery() | exp.Select() | exp.SetOperation():
            return _subquery(node, node, "scalar", None, scope, binder)
        case exp.Window():
            return _window(node, scope, binder)
        case exp.Alias():
            raise UnsupportedSQL("An alias may only stand in a select list.", place=place_of(node))
        case exp.DataType() | exp.Identifier() | exp.Var():
            return node.copy()
        case _:
            return _rebuilt(node, lambda child: bind_expression(child, scope, binder))


def _rebuilt(node: exp.Expression, change: Callable[[exp.Expression], exp.Expression]) -> exp.Expression:
    """``node`` with every child expression passed through ``change``."""
    copy = type(node)()
    copy.meta.update(node.meta)
    for key, value in node.args.items():
        if isinstance(value, exp.Expression):
            copy.set(key, change(value))
        elif isinstance(value, list):
            copy.set(key, [change(v) if isinstance(v, exp.Expression) else v for v in value])
        else:
            copy.set(key, value)
    return copy


def _column(node: exp.Column, scope: Scope) -> exp.Expression:
    if isinstance(node.this, exp.Star):
        raise UnsupportedSQL("table.* stands alone in a select list.", place=place_of(node))
    if node.args.get("join_mark"):
        raise UnsupportedSQL("(+) joins are not known.", hint="Write LEFT JOIN ... ON.", place=place_of(node))
    here: Scope | None = scope
    while here is not None:
        found = here.find(node)
        if found is not None:
            if here is not scope:
                scope.correlated.add(found.id)
            result = column(found.id)
            result.meta.update(node.this.meta)
            return result
        if here is scope and not node.table:
            alias = _alias(node, scope)
            if alias is not None:
                return alias
        here = here.parent
    if node.table and not any(s.alias.casefold() == node.table.casefold() for s in scope.sources):
        raise UnknownName(
            f"There is no table {node.table!r} in FROM.", hint=suggest(node.table, [s.alias for s in scope.sources]), place=place_of(node)
        )
    raise UnknownName(f"There is no column {node.name!r}.", hint=suggest(node.name, scope.all_names()), place=place_of(node))


def _alias(node: exp.Column, scope: Scope) -> exp.Expression | None:
    """A name of the select list used elsewhere in the same SELECT, replaced by its expression."""
    name = node.name.casefold()
    if name not in scope.aliases or scope.bind_alias is None or name in scope.expanding:
        return None
    scope.expanding.add(name)
    try:
        bound = scope.bind_alias(scope.aliases[name])
    finally:
        scope.expanding.discard(name)
    if sum(1 for _ in bound.walk()) > MAX_ALIAS_NODES:
        raise UnsupportedSQL(
            f"Alias {node.name!r} stands for too long an expression.", hint="Compute it in a subquery.", place=place_of(node)
        )
    return exp.Paren(this=bound) if isinstance(bound, (exp.Binary, exp.Unary, exp.Between)) else bound


def _subquery(
    node: exp.Expression, query: exp.Expression, kind: str, this: exp.Expression | None, scope: Scope, binder: Binder
) -> BoundSubquery:
    inner = Scope(parent=scope)
    rel, outputs = binder.query(query, parent=scope, probe=inner)
    if inner.correlated:
        raise UnsupportedSQL(
            "A subquery that uses columns of the outer query is answered only as AND-ed EXISTS or IN in WHERE.",
            hint="Write it as a JOIN, or as WHERE EXISTS (...).",
            place=place_of(node),
        )
    if kind != "exists" and len(outputs) != 1:
        raise UnsupportedSQL(f"This subquery must have one column, it has {len(outputs)}.", place=place_of(query))
    bound = BoundSubquery(this=this, rel=rel, kind=kind, field=outputs[0].id if outputs else None)
    place = place_of(node)
    if place is not None:
        bound.meta.update({"line": place.line, "col": place.column + place.length - 1, "start": 0, "end": place.length - 1})
    return bound


def _window(node: exp.Window, scope: Scope, binder: Binder) -> exp.Expression:
    named = node.args.get("alias")
    if named is not None:
        base = scope.windows.get(named.name.casefold())
        if base is None:
            raise UnknownName(f"There is no window {named.name!r}.", place=place_of(node))
        merged = node.copy()
        merged.set("alias", None)
        for key in ("partition_by", "order", "spec"):
            if base.args.get(key) and not merged.args.get(key):
                value = base.args[key]
                merged.set(key, [v.copy() for v in value] if isinstance(value, list) else value.copy())
        node = merged
    function = node.this
    if isinstance(function, (exp.IgnoreNulls, exp.RespectNulls)):
        function = function.this
    if not isinstance(function, WINDOW_FUNCTIONS):
        raise UnsupportedSQL(f"{function.key.upper()} is not answered as a window function.", place=place_of(function))
    if any(node.args.get(key) for key in node.args if key not in ("this", "partition_by", "order", "spec", "over")):
        raise UnsupportedSQL("This window has an option that is not known.", place=place_of(node))
    return _rebuilt(node, lambda child: _window_part(child, scope, binder))


def _window_part(node: exp.Expression, scope: Scope, binder: Binder) -> exp.Expression:
    if isinstance(node, exp.WindowSpec):
        for key in ("start", "end"):
            bound = node.args.get(key)
            if isinstance(bound, exp.Expression) and not isinstance(bound, exp.Literal):
                raise UnsupportedSQL("A window frame takes literal numbers.", place=place_of(bound))
        return node.copy()
    return bind_expression(node, scope, binder)


def find_aggregates(node: exp.Expression) -> bool:
    """Whether an aggregate of this SELECT occurs (inside window functions too, but not the window function itself)."""
    if isinstance(node, exp.Query):
        return False
    if isinstance(node, exp.Window):
        own = node.this.this if isinstance(node.this, (exp.IgnoreNulls, exp.RespectNulls)) else node.this
        inner = list(own.iter_expressions())
        rest = [child for child in node.iter_expressions() if child is not node.this]
        return any(find_aggregates(child) for child in inner + rest)
    return is_aggregate(node) or any(find_aggregates(child) for child in node.iter_expressions())


class Lift:
    """Replaces aggregates and grouping keys in bound expressions by the columns of the Aggregate that computes them."""

    def __init__(self, binder: Binder, keys: dict[str, exp.Expression]) -> None:
        self._binder = binder
        self._keys = {text_of(expr): id_ for id_, expr in keys.items() if not isinstance(expr, exp.Literal)}
        self._ids = set(keys)
        self._calls: dict[str, str] = {}
        self.calls: dict[str, Call] = {}
        self.grouping: dict[str, str] = {}

    def __call__(self, node: exp.Expression) -> exp.Expression:
        """The expression over the Aggregate's columns."""
        if not isinstance(node, exp.Window) and text_of(node) in self._keys:
            result = column(self._keys[text_of(node)])
            result.meta.update(node.meta)
            return result
        if isinstance(node, exp.Window):
            return _rebuilt(node, self._inside_window)
        if isinstance(node, exp.Grouping):
            return self._grouping(node)
        if is_aggregate(node):
            return self._aggregate(node)
        if isinstance(node, exp.Column):
            if node.name in self._ids or node.name in self.calls:
                return node.copy()
            name = self._binder.name_of(node.name)
            raise UnsupportedSQL(
                f"Column {name!r} is neither grouped nor aggregated.",
                hint=f"Add {name} to GROUP BY, or aggregate it.",
                place=place_of(node),
            )
        if isinstance(node, (BoundSubquery, exp.DataType, exp.Identifier, exp.Var)):
            if isinstance(node, BoundSubquery) and node.this is not None:
                return _rebuilt(node, self)
            return node.copy()
        return _rebuilt(node, self)

    def _inside_window(self, node: exp.Expression) -> exp.Expression:
        if isinstance(node, (exp.IgnoreNulls, exp.RespectNulls)):
            return _rebuilt(node, self._inside_window)
        if is_aggregate(node) and isinstance(node.parent, (exp.Window, exp.IgnoreNulls, exp.RespectNulls)):
            return _rebuilt(node, lambda c: c.copy() if isinstance(c, exp.Star) else self(c))
        if isinstance(node, exp.WindowSpec):
            return node.copy()
        return self(node)

    def _aggregate(self, node: exp.Expression) -> exp.Column:
        if any(
            is_aggregate(inner) or isinstance(inner, exp.Window) for child in node.iter_expressions() for inner in _own_nodes(child, node)
        ):
            raise UnsupportedSQL(
                "An aggregate cannot stand inside an aggregate.", hint="Compute the inner one in a subquery.", place=place_of(node)
            )
        text = text_of(node)
        if text not in self._calls:
            if len(self._calls) >= MAX_CALLS:
                raise UnsupportedSQL(
                    f"One SELECT may hold {MAX_CALLS} different aggregates.",
                    hint="Ask in parts: the price is the same.",
                    place=place_of(node),
                )
            call = replace(call_of(node, self._binder.shown(node)), place=place_of(node))
            for argument in call.arguments:
                self._binder.check(argument)
            id_ = self._binder.fresh(call.text)
            self._calls[text] = id_
            self.calls[id_] = call
        return column(self._calls[text])

    def _grouping(self, node: exp.Grouping) -> exp.Column:
        if len(node.expressions) != 1 or text_of(node.expressions[0]) not in self._keys:
            raise UnsupportedSQL("GROUPING takes one column of GROUP BY.", place=place_of(node))
        key = self._keys[text_of(node.expressions[0])]
        id_ = next((i for i, k in self.grouping.items() if k == key), None)
        if id_ is None:
            id_ = self._binder.fresh("GROUPING")
            self.grouping[id_] = key
        return column(id_)


def _own_nodes(child: exp.Expression, whole: exp.Expression) -> list[exp.Expression]:
    """Nodes below an aggregate node, less the node that is the aggregate itself under FILTER or WITHIN GROUP."""
    wrapped = isinstance(whole, (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)) and child is whole.this
    nodes = cast("list[exp.Expression]", list(child.walk()))
    return [
        n for n in nodes if not (wrapped and (n is child or (isinstance(child, (exp.WithinGroup, exp.IgnoreNulls)) and n is child.this)))
    ]


def text_of(node: exp.Expression) -> str:
    """Canonical text of a bound expression: equal texts mean equal expressions."""
    return signature(node)
