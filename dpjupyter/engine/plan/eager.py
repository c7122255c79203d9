"""Aggregation before a join: the rows of a group are added up first, and only the sums meet the other table.

The rewriting changes no result, whatever the data: the join column is a grouping key, the other side has at most one row for
each of its values, and everything summed comes from this side. (Yan and Larson 1995, "Eager aggregation and lazy aggregation".)
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine.algebra import columns_of, conjunction, conjuncts, names_in, rebuilt
from dpjupyter.engine.model import Aggregate, BoundSubquery, Filter, Join, Kind, Project, Rel, Scan
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.render import column


def aggregated_early(rel: Rel, policy: Policy) -> Rel:
    """The same relation, each aggregation below which an inner join only adds columns of its key done before that join."""
    match rel:
        case Project() | Filter():
            return replace(rel, input=aggregated_early(rel.input, policy))
        case Aggregate():
            inner = aggregated_early(rel.input, policy)
            early = _early(replace(rel, input=inner), policy) if rel.sets is None else None
            return early or replace(rel, input=inner)
        case _:
            return rel


def _early(rel: Aggregate, policy: Policy) -> Rel | None:
    """None where the rewriting does not apply."""
    rows, filters, computed = _opened(rel.input)
    if not isinstance(rows, Join) or rows.kind != "inner" or rows.condition is None:
        return None
    for ours, theirs in ((rows.left, rows.right), (rows.right, rows.left)):
        early = _of_one_side(rel, ours, theirs, rows.condition, filters, computed, policy)
        if early is not None:
            return early
    return None


def _of_one_side(
    rel: Aggregate,
    ours: Rel,
    theirs: Rel,
    condition: exp.Expression,
    filters: list[exp.Expression],
    computed: dict[str, exp.Expression],
    policy: Policy,
) -> Rel | None:
    here, there = set(columns_of(ours)), set(columns_of(theirs))
    pair = _equal_columns(condition, here, there)
    if pair is None or not one_row_per(theirs, pair[1], policy):
        return None
    mine, other = pair
    keys = {id_: _in_terms(e, computed) for id_, e in rel.keys.items()}
    link = next((id_ for id_, e in keys.items() if isinstance(e, exp.Column) and e.name == mine), None)
    late = {id_: e for id_, e in keys.items() if names_in(e) & there}
    read = {name: computed.get(name, column(name)) for c in rel.calls.values() for a in c.arguments for name in names_in(a)}
    early = [*(e for id_, e in keys.items() if id_ not in late), *filters, *read.values()]
    # A condition on the other table drops groups: that is better done by the join, before anything is added up.
    if link is None or not late or not all(names_in(e) <= here for e in early) or any(names_in(e) & here for e in late.values()):
        return None
    if any(e.find(BoundSubquery, exp.Window) for e in (*early, *late.values())):
        return None
    source: Rel = Filter(ours, conjunction(*filters)) if filters else ours
    if any(name not in here for name in read):
        # Values that several sums read are computed once per row.
        source = Project(source, {**{id_: column(id_) for id_ in columns_of(ours)}, **read})
    summed = Aggregate(source, {id_: e for id_, e in keys.items() if id_ not in late}, rel.calls)
    joined = Join(summed, theirs, "inner", exp.EQ(this=column(link), expression=column(other)))
    return Project(joined, {**{id_: late.get(id_, column(id_)) for id_ in keys}, **{id_: column(id_) for id_ in rel.calls}})


def _opened(rel: Rel) -> tuple[Rel, list[exp.Expression], dict[str, exp.Expression]]:
    """What lies below filters and projections; the conditions, and the computed columns, in terms of its columns."""
    match rel:
        case Filter():
            below, filters, computed = _opened(rel.input)
            return below, [*filters, *(_in_terms(c, computed) for c in conjuncts(rel.predicate))], computed
        case Project():
            below, filters, computed = _opened(rel.input)
            return below, filters, {id_: _in_terms(e, computed) for id_, e in rel.columns.items()}
        case _:
            return rel, [], {}


def _in_terms(expr: exp.Expression, computed: dict[str, exp.Expression]) -> exp.Expression:
    return rebuilt(expr, lambda node: computed[node.name].copy() if isinstance(node, exp.Column) and node.name in computed else None)


def _equal_columns(condition: exp.Expression, here: set[str], there: set[str]) -> tuple[str, str] | None:
    """(this side's, the other side's) column of a join on one equality and nothing else."""
    (only, *more) = conjuncts(condition)
    if more or not isinstance(only, exp.EQ) or not isinstance(only.this, exp.Column) or not isinstance(only.expression, exp.Column):
        return None
    left, right = only.this.name, only.expression.name
    if left in there and right in here:
        left, right = right, left
    return (left, right) if left in here and right in there else None


def one_row_per(rel: Rel, id_: str, policy: Policy) -> bool:
    """Whether a relation has at most one row for each value of a column: by a constraint that holds, or by grouping."""
    match rel:
        case Scan():
            name, table = rel.columns[id_], policy.tables[rel.table]
            # Texts that differ may still be equal to a join: collations.
            return policy.keys_hold(rel.table) and (name,) in table.keys and table.columns[name].sql_type.kind is Kind.INT
        case Filter():
            return one_row_per(rel.input, id_, policy)
        case Project():
            value = rel.columns[id_]
            return isinstance(value, exp.Column) and one_row_per(rel.input, value.name, policy)
        case Aggregate():
            return rel.sets is None and set(rel.keys) == {id_}
        case _:
            return False
