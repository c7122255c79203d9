"""Public relations: how many rows they may have, which of their columns are keys, and that they are public."""

from __future__ import annotations

from sqlglot import exp

from dpjupyter.engine.algebra import conjuncts, walk
from dpjupyter.engine.model import Aggregate, Constants, Filter, Join, Kind, Project, Rel, Scan, SetOperation, Shared, Sort, SqlType, Window
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


_NUMBERS = (Kind.INT, Kind.DECIMAL, Kind.FLOAT)
_TIMED = (Kind.DATE, Kind.TIMESTAMP)
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}  # of an integer type
_MOST = 38  # digits of the widest exact type


def unites(a: SqlType, b: SqlType, dialect: str) -> bool:
    """Whether a set operation of the two never fails, whatever the values: every value of each has a place in their common type."""
    kinds = {a.kind, b.kind} - {Kind.NULL}
    if Kind.OTHER in kinds:
        return len(kinds) == 1 and (a.text == b.text or Kind.NULL in (a.kind, b.kind))
    if len(kinds) <= 1 and kinds != {Kind.DECIMAL}:
        return True
    if Kind.DECIMAL in kinds and kinds <= {Kind.INT, Kind.DECIMAL}:
        return united(a, b) is not None
    if kinds <= set(_NUMBERS) or kinds <= set(_TIMED):
        return True
    # DuckDB shows anything as text and counts TRUE as 1; Snowflake would read the texts as the other type.
    return dialect == "duckdb" and (Kind.TEXT in kinds or kinds <= {Kind.BOOL, *_NUMBERS})


def united(a: SqlType, b: SqlType) -> SqlType | None:
    """The DECIMAL that holds every value of two exact types; None: there is none, or neither is a DECIMAL."""
    typed = [t for t in (a, b) if t.kind is not Kind.NULL]
    if not any(t.kind is Kind.DECIMAL for t in typed) or not all(t.kind in (Kind.INT, Kind.DECIMAL) for t in typed):
        return None
    whole = max(t.precision - t.scale if t.precision else _DIGITS.get(t.bits, _MOST) for t in typed)
    scale = max(t.scale for t in typed)
    return SqlType.parse(f"DECIMAL({whole + scale},{scale})") if whole + scale <= _MOST else None


def public_only(rel: Rel, policy: Policy) -> None:
    """The last look at what is fetched exactly: no private table anywhere in it, subqueries included.

    Raises: PrivacyUnitLost.
    """
    if any(isinstance(node, Scan) and (node.table not in policy.tables or policy.tables[node.table].private) for node in walk(rel)):
        raise PrivacyUnitLost("This would read private rows exactly.", hint="Aggregate them.")


def single_row(rel: Rel, policy: Policy, fixed: frozenset[str] = frozenset()) -> bool:
    """Whether a relation has at most one row: by its shape, or because constants fix a key of it.

    ``fixed``: columns that a filter above holds to one value.
    """
    match rel:
        case Filter():
            equal = [c for c in conjuncts(rel.predicate) if isinstance(c, exp.EQ)]
            sides = [(e.this, e.expression) for e in equal] + [(e.expression, e.this) for e in equal]
            held = {a.name for a, b in sides if isinstance(a, exp.Column) and b.find(exp.Column) is None}
            return single_row(rel.input, policy, fixed | held)
        case Project():
            passed = {id_: e.name for id_, e in rel.columns.items() if isinstance(e, exp.Column)}
            return single_row(rel.input, policy, frozenset(passed[id_] for id_ in fixed if id_ in passed))
        case Window() | Shared():
            return single_row(rel.input, policy, fixed)
        case Sort():
            return (rel.limit is not None and rel.limit <= 1) or single_row(rel.input, policy, fixed)
        case Aggregate():
            return rel.sets is None and set(rel.keys) <= fixed
        case Scan() if rel.table in policy.tables:
            names = {rel.columns[id_] for id_ in fixed if id_ in rel.columns}
            table = policy.tables[rel.table]
            return table.rows == 1 or any(set(key) <= names for key in table.keys)
        case _:
            return row_bound(rel, policy) in (0, 1)


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
