"""Two rewrites before planning: WHERE equalities become join conditions, and unused columns go away."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine.algebra import columns_of, conjunction, conjuncts, names_in, rebuilt
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


def push_filters(rel: Rel) -> Rel:
    """Move AND-ed conditions of a WHERE into the inner joins below it that see all their columns.

    A comma join with its equality in WHERE is then a join like any other.
    """
    match rel:
        case Filter(input=inner, predicate=predicate):
            inner, kept = push_filters(inner), list[exp.Expression]()
            for part in conjuncts(predicate):
                pushed = None if part.find(BoundSubquery) is not None else _into_join(inner, part)
                if pushed is None:
                    kept.append(part)
                else:
                    inner = pushed
            return Filter(inner, conjunction(*kept)) if kept else inner
        case Scan() | Constants():
            return rel
        case Join() | SetOperation():
            return replace(rel, left=push_filters(rel.left), right=push_filters(rel.right))
        case Project() | Aggregate() | Window() | Sort() | Shared():
            return replace(rel, input=push_filters(rel.input))


def _into_join(rel: Rel, part: exp.Expression) -> Rel | None:
    """``rel`` with a condition over both sides of one of its inner joins added there, or None."""
    match rel:
        case Join(left=left, right=right, kind="inner" | "cross", condition=condition):
            needed = names_in(part)
            for side in ("left", "right"):
                if needed <= set(columns_of(getattr(rel, side))):
                    inner = _into_join(getattr(rel, side), part)
                    return None if inner is None else replace(rel, **{side: inner})
            if needed <= set(columns_of(left)) | set(columns_of(right)):
                return replace(rel, kind="inner", condition=part if condition is None else conjunction(condition, part))
            return None
        case Filter(input=inner):
            pushed = _into_join(inner, part)
            return None if pushed is None else replace(rel, input=pushed)
        case Join(left=left, kind="semi" | "anti"):
            pushed = _into_join(left, part)
            return None if pushed is None else replace(rel, left=pushed)
        case _:
            return None


def prune(rel: Rel, needed: frozenset[str], keep: frozenset[str] = frozenset()) -> Rel:
    """Drop columns that nothing above reads. ``keep`` names policy columns that a scan always has (units and path keys)."""
    match rel:
        case Scan():
            kept = {id_: name for id_, name in rel.columns.items() if id_ in needed or name in keep}
            return replace(rel, columns=kept)
        case Constants():
            return rel
        case Filter():
            predicate = _subqueries(rel.predicate, keep)
            return replace(rel, input=prune(rel.input, needed | names_in(predicate), keep), predicate=predicate)
        case Project():
            columns = {id_: _subqueries(e, keep) for id_, e in rel.columns.items() if id_ in needed}
            inner = prune(rel.input, _names(columns), keep)
            return replace(rel, input=inner, columns=columns) if columns else inner
        case Join():
            needed |= names_in(rel.condition) if rel.condition is not None else frozenset()
            return replace(rel, left=prune(rel.left, needed, keep), right=prune(rel.right, needed, keep))
        case Aggregate():
            calls = {id_: c for id_, c in rel.calls.items() if id_ in needed}
            # All calls as written, used or not: two uses of one WITH item then read equal rows, and share what they measure.
            below = _names(rel.keys) | frozenset(n for c in rel.calls.values() for a in c.arguments for n in names_in(a))
            return replace(rel, input=prune(rel.input, below, keep), calls=calls)
        case Window():
            columns = {id_: e for id_, e in rel.columns.items() if id_ in needed}
            inner = prune(rel.input, needed | _names(columns), keep)
            return replace(rel, input=inner, columns=columns) if columns else inner
        case SetOperation():
            if not (rel.kind == "union" and rel.all):
                left, right = prune(rel.left, frozenset(rel.left_fields), keep), prune(rel.right, frozenset(rel.right_fields), keep)
                return replace(rel, left=left, right=right)
            kept = [i for i, id_ in enumerate(rel.fields) if id_ in needed]
            lefts, rights = tuple(rel.left_fields[i] for i in kept), tuple(rel.right_fields[i] for i in kept)
            return replace(
                rel,
                left=prune(rel.left, frozenset(lefts), keep),
                right=prune(rel.right, frozenset(rights), keep),
                left_fields=lefts,
                right_fields=rights,
                fields=tuple(rel.fields[i] for i in kept),
            )
        case Shared():
            return rel
        case Sort():
            return replace(rel, input=prune(rel.input, needed | frozenset(n for o in rel.order for n in names_in(o)), keep))


def _subqueries(expr: exp.Expression, keep: frozenset[str]) -> exp.Expression:
    """The expression with its subqueries normalised like the query itself."""
    if expr.find(BoundSubquery) is None:
        return expr

    def swap(node: exp.Expression) -> exp.Expression | None:
        if not isinstance(node, BoundSubquery):
            return None
        field = node.args.get("field")
        shown = frozenset({field}) if field and node.args["kind"] != "exists" else frozenset[str]()
        this = _subqueries(node.this, keep) if node.this is not None else None
        bound = BoundSubquery(this=this, rel=prune(push_filters(node.args["rel"]), shown, keep), kind=node.args["kind"], field=field)
        bound.meta.update(node.meta)
        return bound

    return rebuilt(expr, swap)


def _names(columns: object) -> frozenset[str]:
    return frozenset(n for e in columns.values() for n in names_in(e))  # type: ignore[attr-defined]
