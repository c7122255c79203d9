"""How long a query can make its texts: functions that lengthen texts, each over the result of the last, must come to an end.

Twenty nested REPLACE of one letter by eight make a text of one letter longer than any memory, in the warehouse, in finishing
and already where planning computes the values of a domain. DuckDB's memory limit does not cover texts in the making.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from dpjupyter.engine.algebra import columns_of, expressions, inputs
from dpjupyter.engine.model import Aggregate, BoundSubquery, Constants, Join, Project, Rel, SetOperation, Window
from dpjupyter.engine.place import place_of
from dpjupyter.errors import FunctionRefused

MOST_TIMES = 64  # as long as the longest text of a table
MOST_MORE = 10_000  # characters on top of it
_OTHER = 64  # characters of a number, a date or a time as text

Length = tuple[int, int]  # (a, b): at most a times the longest text of a table, and b characters more
_NO_TEXT = (exp.Predicate, exp.Connector, exp.Not)


def check_texts(root: Rel) -> None:
    """Refuse a query that can make a table's texts longer than is of use to anyone.

    Raises: FunctionRefused.
    """
    _lengths(root, {})


def _lengths(rel: Rel, outer: Mapping[str, Length]) -> dict[str, Length]:
    """How long each column's texts can be."""
    below: dict[str, Length] = {}
    for inner in inputs(rel):
        below.update(_lengths(inner, outer))
    known = {**outer, **below}
    # Once each: a subquery in an expression holds expressions with subqueries.
    seen = {id(expr): _length(expr, known) for expr in expressions(rel)}
    match rel:
        case Project(columns=columns) | Window(columns=columns):
            made = {id_: seen[id(e)] for id_, e in columns.items()}
            return made if isinstance(rel, Project) else {**below, **made}
        case Aggregate():
            keys = {id_: seen[id(e)] for id_, e in rel.keys.items()}
            calls = {id_: _most([seen[id(a)] for a in call.arguments]) for id_, call in rel.calls.items()}
            return {**keys, **calls}
        case Constants():
            return {id_: _most([seen[id(row[n])] for row in rel.rows]) for n, id_ in enumerate(rel.fields)}
        case SetOperation():
            sides = zip(rel.fields, rel.left_fields, rel.right_fields, strict=True)
            return {new: _most([below.get(a, (1, 0)), below.get(b, (1, 0))]) for new, a, b in sides}
        case Join():
            return below
        case _:
            return {id_: below.get(id_, (1, 0)) for id_ in columns_of(rel)}


def _length(node: exp.Expression, known: Mapping[str, Length]) -> Length:
    match node:
        case exp.Column():
            return known.get(node.name, (1, 0))
        case exp.Literal():
            return (0, len(node.name))
        case BoundSubquery():
            made = _lengths(node.args["rel"], known)
            if node.this is not None:
                _length(node.this, known)
            return made.get(node.args.get("field") or "", (0, _OTHER))
        case _:
            pass
    parts = [_length(child, known) for child in node.iter_expressions() if not isinstance(child, exp.DataType)]
    match node:
        case exp.Concat() | exp.DPipe() | exp.ConcatWs():
            between = max(0, len(parts) - 2) * parts[0][1] if isinstance(node, exp.ConcatWs) else 0
            made = sum(a for a, _ in parts), sum(b for _, b in parts) + between
        case exp.Replace():
            # Not found at all, a text stays as long as it is.
            longer = max(1, -(-len(_text(node.args.get("replacement"))) // max(1, len(_text(node.expression)))))
            made = parts[0][0] * longer, parts[0][1] * longer
        case exp.Pad():
            made = parts[0][0], max(parts[0][1], _whole(node.expression))
        case _ if isinstance(node, _NO_TEXT):
            return (0, _OTHER)
        case _:
            a, b = _most(parts)
            return a, max(b, _OTHER)
    if made[0] > MOST_TIMES or made[1] > MOST_MORE:
        raise FunctionRefused(
            "This makes texts too long: repeated in one another, such functions have no end.",
            hint=f"A text may become {MOST_TIMES} times as long as a column's, and {MOST_MORE:,} characters longer.",
            place=place_of(node),
        )
    return made


def _most(lengths: list[Length]) -> Length:
    return max((a for a, _ in lengths), default=0), max((b for _, b in lengths), default=0)


def _text(node: exp.Expression | None) -> str:
    return node.name if isinstance(node, exp.Literal) else ""


def _whole(node: exp.Expression | None) -> int:
    return int(node.name) if isinstance(node, exp.Literal) and node.name.isdigit() else MOST_MORE
