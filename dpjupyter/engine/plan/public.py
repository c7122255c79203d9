"""Public relations: how many rows they may have, which of their columns are keys, and that they are public."""

from __future__ import annotations

from sqlglot import exp

from dpjupyter.engine.algebra import walk
from dpjupyter.engine.model import Aggregate, Constants, Filter, Join, Project, Rel, Scan, SetOperation, Shared, Sort, Window
from dpjupyter.engine.plan.relation import KeyList
from dpjupyter.engine.policy import Policy
from dpjupyter.errors import PrivacyUnitLost


def list_unique(item: KeyList) -> list[frozenset[str]]:
    """Column sets that a listed public relation has no duplicates in, by its own shape."""
    rel = item.rel
    while isinstance(rel, (Filter, Project)):
        if isinstance(rel, Project):
            passed = {e.name: id_ for id_, e in rel.columns.items() if isinstance(e, exp.Column)}
            nested = list_unique(KeyList(rel.input, {}, required=False))
            return [frozenset(passed[c] for c in key) for key in nested if all(c in passed for c in key)]
        rel = rel.input
    if isinstance(rel, Aggregate) and rel.sets is None:
        return [frozenset(rel.keys)]
    if isinstance(rel, SetOperation) and not rel.all:
        return [frozenset(rel.fields)]
    return []


def public_only(rel: Rel, policy: Policy) -> None:
    """The last look at what is fetched exactly: no private table anywhere in it, subqueries included.

    Raises: PrivacyUnitLost.
    """
    if any(isinstance(node, Scan) and (node.table not in policy.tables or policy.tables[node.table].private) for node in walk(rel)):
        raise PrivacyUnitLost("This would read private rows exactly.", hint="Aggregate them.")


def row_bound(rel: Rel, policy: Policy) -> int | None:
    """Most rows a public relation can have, by the policy; None: unknown."""
    match rel:
        case Scan():
            return policy.tables[rel.table].rows if rel.table in policy.tables else None
        case Constants():
            return len(rel.rows)
        case Filter() | Project():
            return row_bound(rel.input, policy)
        case Aggregate():
            return 1 if not rel.keys and rel.sets is None else row_bound(rel.input, policy) if rel.sets is None else None
        case SetOperation():
            left, right = row_bound(rel.left, policy), row_bound(rel.right, policy)
            return None if left is None or right is None else left + right
        case Join():
            left, right = row_bound(rel.left, policy), row_bound(rel.right, policy)
            if rel.kind in ("semi", "anti"):
                return left
            return None if left is None or right is None else max(left, 1) * max(right, 1)
        case Window() | Shared():
            return row_bound(rel.input, policy)
        case Sort():
            bound = row_bound(rel.input, policy)
            return bound if rel.limit is None else rel.limit if bound is None else min(rel.limit, bound)
