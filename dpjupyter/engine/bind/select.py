"""One SELECT: WHERE, GROUP BY, HAVING, windows, QUALIFY, DISTINCT, ORDER BY, LIMIT, in the order they are computed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from sqlglot import exp

from dpjupyter.engine.bind.correlation import bind_where
from dpjupyter.engine.bind.expressions import Lift, bind_expression, find_aggregates, text_of
from dpjupyter.engine.bind.scope import Scope
from dpjupyter.engine.model import Aggregate, Field_, Filter, Project, Rel, Sort, Window
from dpjupyter.engine.place import at, place_of
from dpjupyter.engine.render import column
from dpjupyter.errors import UnsupportedSQL

if TYPE_CHECKING:
    from dpjupyter.engine.bind.relations import Binder, Cte

_SELECT = (
    "expressions",
    "from_",
    "joins",
    "where",
    "group",
    "having",
    "qualify",
    "windows",
    "order",
    "limit",
    "offset",
    "distinct",
    "with_",
)
MAX_SETS = 64


def bind_select(binder: Binder, node: exp.Select, visible: Mapping[str, Cte], scope: Scope) -> tuple[Rel, tuple[Field_, ...]]:
    """Bind one SELECT.

    Raises: UnknownName, FunctionRefused, UnsupportedSQL.
    """
    _only_known(node)
    scope.visible = visible
    rel = binder.from_clause(node, visible, scope)
    scope.bind_alias = lambda e: bind_expression(e, scope, binder)
    for item in node.expressions:
        if isinstance(item, exp.Alias):
            scope.aliases.setdefault(item.alias.casefold(), item.this)
    for window in node.args.get("windows") or []:
        scope.windows[window.this.name.casefold()] = window
    where = node.args.get("where")
    if where is not None:
        rel = bind_where(binder, rel, where.this, scope)

    items = [item for e in node.expressions for item in _items(binder, e, scope)]
    having = _bound(binder, node.args.get("having"), scope)
    qualify = _bound(binder, node.args.get("qualify"), scope)
    orders = [_order(binder, o, items, scope) for o in _order_items(node, items)]

    every = [e for _, e in items] + [e for e in (having, qualify) if e is not None] + [o.this for o in orders]
    if node.args.get("group") is not None or having is not None or any(find_aggregates(e) for e in every):
        rel, lift = _grouped(binder, node, rel, items, scope, every)
        items = [(name, lift(e)) for name, e in items]
        orders = [_ordered(o, lift(o.this)) for o in orders]
        if having is not None:
            condition = lift(having)
            binder.check(condition)
            rel = Filter(rel, condition)
        qualify = lift(qualify) if qualify is not None else None
    rel, items, orders, qualify = _windows(binder, rel, items, orders, qualify)
    if qualify is not None:
        binder.check(qualify)
        rel = Filter(rel, qualify)
    return _projected(binder, node, rel, items, orders)


def bind_tail(binder: Binder, node: exp.Expression, rel: Rel, fields: tuple[Field_, ...]) -> tuple[Rel, tuple[Field_, ...]]:
    """ORDER BY, LIMIT, OFFSET over a finished query (set operations, parentheses): they see its output columns only."""
    limit, offset = _limit(node)
    items: list[tuple[str, exp.Expression]] = [(f.name, column(f.id)) for f in fields]
    scope = Scope()
    orders: list[exp.Ordered] = []
    for order in _order_items(node, items):
        match = next(
            (
                f
                for f in fields
                if isinstance(order.this, exp.Column) and not order.this.table and f.name.casefold() == order.this.name.casefold()
            ),
            None,
        )
        if match is not None:
            orders.append(_ordered(order, column(match.id)))
        else:
            orders.append(_order(binder, order, items, scope))
    if not orders and limit is None and not offset:
        return rel, fields
    return Sort(rel, tuple(orders), limit, offset), fields


def _only_known(node: exp.Select) -> None:
    for key, value in node.args.items():
        if value and key not in _SELECT:
            raise UnsupportedSQL(f"{key.rstrip('_').replace('_', ' ').upper()} is not answered.", place=place_of(node))
    distinct = node.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        raise UnsupportedSQL("DISTINCT ON is not answered.", hint="Use GROUP BY.", place=place_of(distinct))


# ---------------------------------------------------------------- select list and order
def _items(binder: Binder, node: exp.Expression, scope: Scope) -> list[tuple[str, exp.Expression]]:
    star = node if isinstance(node, exp.Star) else node.this if isinstance(node, exp.Column) and isinstance(node.this, exp.Star) else None
    if star is not None:
        if any(value for key, value in star.args.items() if key != "except_"):
            raise UnsupportedSQL("* takes EXCLUDE only.", place=place_of(node))
        table = node.args.get("table") if isinstance(node, exp.Column) else None
        dropped = {e.name.casefold() for e in star.args.get("except_") or []}
        with at(place_of(star)):
            return [(f.name, _at(column(f.id), star)) for f in scope.star(table) if f.name.casefold() not in dropped]
    inner = node.this if isinstance(node, exp.Alias) else node
    name = (
        node.alias
        if isinstance(node, exp.Alias)
        else inner.name
        if isinstance(inner, exp.Column)
        else inner.sql("duckdb", comments=False)[:120]
    )
    return [(name, bind_expression(inner, scope, binder))]


def _at(node: exp.Column, star: exp.Expression) -> exp.Column:
    node.meta.update(star.meta)  # what is wrong with a column of * is shown at the *
    return node


def _order_items(node: exp.Expression, items: list[tuple[str, exp.Expression]]) -> list[exp.Ordered]:
    order = node.args.get("order")
    if order is None:
        return []
    ordered: list[exp.Ordered] = []
    for item in order.expressions:
        if not isinstance(item, exp.Ordered) or item.args.get("with_fill"):
            raise UnsupportedSQL("This ORDER BY is not known.", place=place_of(item))
        if isinstance(item.this, exp.Null) or (isinstance(item.this, exp.Literal) and item.this.is_string):
            continue  # orders nothing, and DuckDB refuses it
        if isinstance(item.this, exp.Var) and item.this.name.upper() == "ALL":
            ordered += [_ordered(item, exp.Literal.number(i + 1)) for i in range(len(items))]
        else:
            ordered.append(item)
    return ordered


def _order(binder: Binder, node: exp.Ordered, items: list[tuple[str, exp.Expression]], scope: Scope) -> exp.Ordered:
    """A position, an output name, or any expression of the scope."""
    this = node.this
    if isinstance(this, exp.Literal) and not this.is_string:
        if not this.name.isdigit() or not 1 <= int(this.name) <= len(items):
            raise UnsupportedSQL(f"ORDER BY {this.name}: there are {len(items)} columns.", place=place_of(node))
        return _ordered(node, items[int(this.name) - 1][1].copy())
    if isinstance(this, exp.Column) and not this.table:
        named = [e for name, e in items if name.casefold() == this.name.casefold()]
        if named and (len(named) == 1 or this.name.casefold() not in {f.name.casefold() for s in scope.sources for f in s.fields}):
            return _ordered(node, named[0].copy())
    return _ordered(node, bind_expression(this, scope, binder))


def _ordered(node: exp.Ordered, this: exp.Expression) -> exp.Ordered:
    return exp.Ordered(this=this, desc=node.args.get("desc"), nulls_first=node.args.get("nulls_first"))


def _bound(binder: Binder, node: exp.Expression | None, scope: Scope) -> exp.Expression | None:
    return bind_expression(node.this, scope, binder) if node is not None else None


# ---------------------------------------------------------------- grouping
def _grouped(
    binder: Binder, node: exp.Select, rel: Rel, items: list[tuple[str, exp.Expression]], scope: Scope, every: list[exp.Expression]
) -> tuple[Rel, Lift]:
    keys, sets = _keys(binder, node, items, scope)
    lift = Lift(binder, keys)
    for expr in every:
        lift(expr)  # collects the calls
    for expr in keys.values():
        binder.check(expr)
    return Aggregate(rel, keys, lift.calls, sets, lift.grouping), lift


def _keys(
    binder: Binder, node: exp.Select, items: list[tuple[str, exp.Expression]], scope: Scope
) -> tuple[dict[str, exp.Expression], tuple[frozenset[str], ...] | None]:
    group = node.args.get("group")
    keys: dict[str, exp.Expression] = {}
    if group is None:
        return keys, None
    known = {"expressions", "grouping_sets", "cube", "rollup", "all"}
    if any(value and key not in known for key, value in group.args.items()):
        raise UnsupportedSQL("This GROUP BY is not known.", place=place_of(group))
    texts: dict[str, str] = {}

    def key(item: exp.Expression) -> str:
        expr, name = _key(binder, item, items, scope)
        if find_aggregates(expr) or expr.find(exp.Window) is not None:
            raise UnsupportedSQL("GROUP BY cannot contain an aggregate.", place=place_of(item))
        text = text_of(expr)
        if text not in texts:
            texts[text] = binder.fresh(name)
            keys[texts[text]] = expr
        return texts[text]

    if group.args.get("all"):
        for position, (_, expr) in enumerate(items, 1):
            if not find_aggregates(expr) and expr.find(exp.Column) is not None:
                key(exp.Literal.number(position))
        return keys, None
    parts: list[list[frozenset[str]]] = []
    grouped = list(group.expressions) + [e for name in ("grouping_sets", "cube", "rollup") for e in group.args.get(name) or []]
    for item in grouped:
        match item:
            case exp.Rollup():
                ids = [_set(e, key) for e in item.expressions]
                parts.append([frozenset[str]().union(*ids[:n]) for n in range(len(ids), -1, -1)])
            case exp.Cube():
                ids = [_set(e, key) for e in item.expressions]
                if len(ids) > 6:
                    raise UnsupportedSQL("CUBE takes up to six columns.", place=place_of(item))
                parts.append(
                    [frozenset[str]().union(*chosen) for n in range(len(ids), -1, -1) for chosen in itertools.combinations(ids, n)]
                )
            case exp.GroupingSets():
                parts.append([_set(e, key) for e in item.expressions])
            case _:
                parts.append([frozenset({key(item)})])
    if not any(isinstance(item, (exp.Rollup, exp.Cube, exp.GroupingSets)) for item in grouped):
        return keys, None
    sets = [frozenset[str]().union(*chosen) for chosen in itertools.product(*parts)]
    if len(sets) > MAX_SETS:
        raise UnsupportedSQL(f"{len(sets)} grouping sets are too many.", place=place_of(group))
    return keys, tuple(sets)


def _set(node: exp.Expression, key: object) -> frozenset[str]:
    members = node.expressions if isinstance(node, exp.Tuple) else [node.this if isinstance(node, exp.Paren) else node]
    if any(isinstance(m, (exp.Rollup, exp.Cube, exp.GroupingSets)) for m in members):
        raise UnsupportedSQL("Nested grouping sets are not answered.", place=place_of(node))
    return frozenset(key(m) for m in members)  # type: ignore[operator]


def _key(binder: Binder, node: exp.Expression, items: list[tuple[str, exp.Expression]], scope: Scope) -> tuple[exp.Expression, str]:
    if isinstance(node, exp.Literal) and not node.is_string:
        if not node.name.isdigit() or not 1 <= int(node.name) <= len(items):
            raise UnsupportedSQL(f"GROUP BY {node.name}: there are {len(items)} columns.", place=place_of(node))
        name, expr = items[int(node.name) - 1]
        return expr.copy(), name
    bound = bind_expression(node, scope, binder)
    return cast("exp.Expression", bound.unnest()), binder.shown(bound)


# ---------------------------------------------------------------- windows, projection, order
def _windows(
    binder: Binder, rel: Rel, items: list[tuple[str, exp.Expression]], orders: list[exp.Ordered], qualify: exp.Expression | None
) -> tuple[Rel, list[tuple[str, exp.Expression]], list[exp.Ordered], exp.Expression | None]:
    found: dict[str, exp.Expression] = {}
    texts: dict[str, str] = {}

    def extract(expr: exp.Expression) -> exp.Expression:
        def swap(node: exp.Expression) -> exp.Expression:
            if not isinstance(node, exp.Window):
                return node
            if any(inner is not node for inner in node.find_all(exp.Window)):
                raise UnsupportedSQL("A window function cannot stand inside another.", place=place_of(node))
            text = text_of(node)
            if text not in texts:
                texts[text] = binder.fresh(binder.shown(node))
                found[texts[text]] = node.copy()
            return column(texts[text])

        return expr.copy().transform(swap, copy=False)

    items = [(name, extract(e)) for name, e in items]
    orders = [_ordered(o, extract(o.this)) for o in orders]
    qualify = extract(qualify) if qualify is not None else None
    for window in found.values():
        for part in (
            *window.this.iter_expressions(),
            *(window.args.get("partition_by") or []),
            *(o.this for o in (window.args["order"].expressions if window.args.get("order") else [])),
        ):
            if not isinstance(part, exp.Star):
                binder.check(part)
    return (Window(rel, found) if found else rel), items, orders, qualify


def _projected(
    binder: Binder, node: exp.Select, rel: Rel, items: list[tuple[str, exp.Expression]], orders: list[exp.Ordered]
) -> tuple[Rel, tuple[Field_, ...]]:
    for _, expr in items:
        binder.check(expr)
    if not items:
        raise UnsupportedSQL("The select list is empty.", place=place_of(node))
    columns: dict[str, exp.Expression] = {}
    fields: list[Field_] = []
    by_text: dict[str, str] = {}
    for name, expr in items:
        id_ = binder.fresh(name)
        columns[id_] = expr
        by_text.setdefault(text_of(expr), id_)
        fields.append(Field_(id_, name, place_of(expr) if expr.find(exp.Column) is not None else None))
    sort: list[exp.Ordered] = []
    for order in orders:
        binder.check(order.this)
        text = text_of(order.this)
        if text not in by_text:
            if node.args.get("distinct") is not None:
                raise UnsupportedSQL("With DISTINCT, ORDER BY takes columns of the select list.", place=place_of(order))
            by_text[text] = binder.fresh("order")
            columns[by_text[text]] = order.this
        sort.append(_ordered(order, column(by_text[text])))
    rel = Project(rel, columns)
    if node.args.get("distinct") is not None:
        fresh = {f.id: Field_(binder.fresh(f.name), f.name, f.place) for f in fields}
        rel = Aggregate(rel, {fresh[f.id].id: column(f.id) for f in fields}, {})
        sort = [_ordered(o, column(fresh[o.this.name].id)) for o in sort]
        fields = [fresh[f.id] for f in fields]
    limit, offset = _limit(node)
    if sort or limit is not None or offset:
        rel = Sort(rel, tuple(sort), limit, offset)
    if len(columns) > len(fields):
        rel = Project(rel, {f.id: column(f.id) for f in fields}) if node.args.get("distinct") is None else rel
    return rel, tuple(fields)


def _limit(node: exp.Expression) -> tuple[int | None, int]:
    limit, offset = node.args.get("limit"), node.args.get("offset")
    count: int | None = None
    if isinstance(limit, exp.Fetch):
        if (
            any(value for key, value in limit.args.items() if key not in ("direction", "count"))
            and (limit.args.get("limit_options") or None) is not None
        ):
            raise UnsupportedSQL("FETCH takes a number of rows only.", place=place_of(limit))
        count = _whole(limit.args.get("count"), "FETCH")
    elif limit is not None:
        if any(value for key, value in limit.args.items() if key not in ("expression", "this")):
            raise UnsupportedSQL("LIMIT takes a number of rows only.", place=place_of(limit))
        count = _whole(limit.expression, "LIMIT")
    return count, _whole(offset.expression, "OFFSET") if offset is not None else 0


def _whole(node: exp.Expression | None, what: str) -> int:
    if not isinstance(node, exp.Literal) or node.is_string or not node.name.isdigit() or len(node.name) > 18:
        raise UnsupportedSQL(f"{what} takes a whole number.", place=place_of(node) if node is not None else None)
    return int(node.name)
