"""Walking relational algebra: inputs, expressions, columns. Shared by every stage that reads trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from sqlglot import exp

from dpjupyter.engine.model import (
    Aggregate,
    BoundSubquery,
    Constants,
    Filter,
    Join,
    Project,
    Rel,
    Scan,
    SetOperation,
    Shared,
    Sort,
    Window,
)
from dpjupyter.engine.place import place_of
from dpjupyter.errors import Place


def inputs(rel: Rel) -> tuple[Rel, ...]:
    """The relations an operator reads directly (subqueries in expressions aside)."""
    match rel:
        case Scan() | Constants():
            return ()
        case Join() | SetOperation():
            return (rel.left, rel.right)
        case Filter() | Project() | Aggregate() | Window() | Sort() | Shared():
            return (rel.input,)


def expressions(rel: Rel) -> Iterator[exp.Expression]:
    """The scalar expressions of an operator."""
    match rel:
        case Filter():
            yield rel.predicate
        case Project() | Window():
            yield from rel.columns.values()
        case Join():
            if rel.condition is not None:
                yield rel.condition
        case Aggregate():
            yield from rel.keys.values()
            for call in rel.calls.values():
                yield from call.arguments
        case Sort():
            yield from rel.order
        case Constants():
            for row in rel.rows:
                yield from row
        case Scan() | SetOperation() | Shared():
            return


def subqueries(rel: Rel) -> Iterator[BoundSubquery]:
    """Subqueries inside the expressions of one operator."""
    for expr in expressions(rel):
        yield from expr.find_all(BoundSubquery)


def columns_of(rel: Rel) -> tuple[str, ...]:
    """Ids of the columns a relation has, in order."""
    match rel:
        case Scan() | Project():
            return tuple(rel.columns)
        case Constants() | SetOperation():
            return rel.fields
        case Filter() | Sort() | Shared():
            return columns_of(rel.input)
        case Window():
            return (*columns_of(rel.input), *rel.columns)
        case Aggregate():
            return (*rel.keys, *rel.calls, *rel.grouping)
        case Join():
            if rel.kind in ("semi", "anti"):
                return columns_of(rel.left)
            return (*columns_of(rel.left), *columns_of(rel.right))


def conjuncts(node: exp.Expression) -> list[exp.Expression]:
    """The AND-ed parts of a condition."""
    if isinstance(node, exp.Paren):
        return conjuncts(node.this)
    if isinstance(node, exp.And):
        return conjuncts(node.this) + conjuncts(node.expression)
    return [node]


def conjunction(*parts: exp.Expression) -> exp.Expression:
    """The parts AND-ed."""
    return cast("exp.Expression", exp.and_(*parts, copy=False))


def names_in(expr: exp.Expression) -> set[str]:
    """Column ids an expression reads."""
    return {node.name for node in expr.find_all(exp.Column)}


def walk(rel: Rel) -> Iterator[Rel]:
    """This relation and everything below it, subqueries in expressions included."""
    yield rel
    for sub in subqueries(rel):
        yield from walk(sub.args["rel"])
    for inner in inputs(rel):
        yield from walk(inner)


def place_in(rel: Rel) -> Place | None:
    """Where a relation stands in the analyst's text: its own expressions, else its table, else what it reads."""
    match rel:
        case Aggregate():
            first = next((c.place for c in rel.calls.values() if c.place is not None), None)
            if first is not None:
                return first
        case Scan() | SetOperation() if rel.place is not None:
            return rel.place
        case _:
            pass
    own = (place_of(e) for e in expressions(rel))
    below = (place_in(inner) for inner in reversed(inputs(rel)))
    return next((place for places in (own, below) for place in places if place is not None), None)


def signature(node: exp.Expression, name: Callable[[str], str] = str, subquery: Callable[[BoundSubquery], str] | None = None) -> str:
    """A text that is equal for equal expressions, cheaper than SQL. ``name`` renames column ids on the way."""
    if isinstance(node, exp.Column) and not node.table:
        return f"#{name(node.name)}"
    if isinstance(node, BoundSubquery):
        inside = subquery(node) if subquery is not None else str(id(node.args["rel"]))
        return f"SUBQUERY({node.args['kind']}:{signature(node.this, name, subquery) if node.this is not None else ''}:{inside})"
    if isinstance(node, exp.Literal):
        return repr(node.this) if node.is_string else node.this
    parts: list[str] = []
    for key, value in sorted(node.args.items()):
        if value is None or value is False or value == []:
            continue
        if isinstance(value, exp.Expression):
            shown = signature(value, name, subquery)
        elif isinstance(value, list):
            shown = "[" + ",".join(signature(v, name, subquery) if isinstance(v, exp.Expression) else repr(v) for v in value) + "]"
        else:
            shown = repr(value)
        parts.append(f"{key}={shown}")
    return f"{type(node).__name__}({';'.join(parts)})"


def rebuilt(node: exp.Expression, swap: Callable[[exp.Expression], exp.Expression | None]) -> exp.Expression:
    """A copy of ``node`` in which every node for which ``swap`` returns another stands replaced, in one pass."""
    other = swap(node)
    if other is not None:
        return other
    copy = type(node)()
    if node.meta:
        copy.meta.update(node.meta)
    for key, value in node.args.items():
        if isinstance(value, exp.Expression):
            copy.set(key, rebuilt(value, swap))
        elif isinstance(value, list):
            copy.set(key, [rebuilt(v, swap) if isinstance(v, exp.Expression) else v for v in value])
        else:
            copy.set(key, value)
    return copy
