"""A measurement while it is collected, and the statements it is made of in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from sqlglot import exp

from dpjupyter.engine.algebra import names_in, subqueries, walk
from dpjupyter.engine.model import Facts, Key, Measurement, Part, Scan, Selection, Statistic
from dpjupyter.engine.plan.canonical import Numbering
from dpjupyter.engine.plan.eager import aggregated_early
from dpjupyter.engine.plan.normalise import prune
from dpjupyter.engine.plan.public import public_only
from dpjupyter.engine.plan.pushdown import Grouping, bins, distinct, sums
from dpjupyter.engine.plan.quantiles import ends, ordinal
from dpjupyter.engine.plan.relation import Relation
from dpjupyter.engine.plan.statistics import Statistics
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.render import render
from dpjupyter.errors import UnsupportedSQL


@dataclass(slots=True)
class Group:
    """One measurement while it is collected: statistics of several aggregates over the same rows and keys."""

    name: str
    inner: Relation
    numbering: Numbering
    keys: tuple[Key, ...]
    lowered: Mapping[str, exp.Expression]
    grouping: Grouping
    threshold: bool
    fetched: tuple[tuple[str, tuple[str, ...]], ...]
    statistics: Statistics
    distinct: dict[str, tuple[list[exp.Expression], list[Facts], Statistics]] = field(
        default_factory=dict[str, tuple[list[exp.Expression], list[Facts], Statistics]]
    )
    binned: dict[str, tuple[exp.Expression, Facts, dict[str, Selection]]] = field(
        default_factory=dict[str, tuple[exp.Expression, Facts, dict[str, Selection]]]
    )
    items: dict[str, tuple[str, tuple[tuple[str, Fraction], ...]]] = field(
        default_factory=dict[str, tuple[str, tuple[tuple[str, Fraction], ...]]]
    )


def finished(group: Group, policy: Policy) -> Measurement:
    """Statements and statistics of a measurement that nothing more is added to.

    Raises: PrivacyUnitLost, UnsupportedSQL: something in it was never planned.
    """
    dialect = policy.dialect
    for node in walk(group.inner.rel):
        if isinstance(node, Scan) and node.table not in policy.tables:
            raise UnsupportedSQL("Released numbers do not go to the warehouse.", hint="Join them to the result.")  # the last look
        for sub in subqueries(node):
            if not sub.args.get("planned"):
                raise UnsupportedSQL("A subquery is not answered in this place.", hint="Join its result instead.")
            public_only(sub.args["rel"], policy)
    parts: list[Part] = []
    threshold = None
    m = group.grouping.max_rows
    if group.statistics.slots:
        named = {f"{group.name}_{slot}": s for slot, s in group.statistics.slots.items()}
        read = [e for s in named.values() for e in (s.value, s.other, s.counted) if e is not None]
        statement = render(aggregated_early(sums(_pruned(group.grouping, read), named), policy), dialect)
        parts.append(
            Part(
                statement,
                tuple(_statistic(name, s.kind, m * s.row_largest if s.kind != "units" else 1, s.grid) for name, s in named.items()),
            )
        )
        threshold = next((name for name, s in named.items() if s.kind == "units"), None) if group.threshold else None
    for n, (values, facts, statistics) in enumerate(group.distinct.values()):
        named = {f"{group.name}_d{n}{slot}": s for slot, s in statistics.slots.items()}
        most = min([m, *(len(f.domain) for f in facts if f.domain is not None and len(values) == 1)])
        limited = replace(_pruned(group.grouping, values), max_rows=most)  # the statement keeps exactly as many values as M allows
        statement = render(distinct(limited, values, named), dialect)
        parts.append(
            Part(
                statement,
                tuple(
                    _statistic(name, "distinct" if s.kind == "rows" else s.kind, most * s.row_largest, s.grid) for name, s in named.items()
                ),
            )
        )
    for value, facts, selections in group.binned.values():
        first = next(iter(selections.values()))
        statement = render(
            bins(_pruned(group.grouping, [value]), value, first, lambda e, f=facts: ordinal(e, f), ends(first, facts)), dialect
        )  # type: ignore[misc, arg-type]
        parts.append(Part(statement, (), tuple(selections.values())))
    tables = [policy.tables[t] for t in sorted(group.inner.tables)]
    return Measurement(
        group.name,
        group.keys,
        tuple(parts),
        group.grouping.max_groups,
        m,
        threshold,
        max(t.min_units for t in tables),
        min((t.key_delta for t in tables if t.key_delta is not None), default=0.0) if group.threshold else 0.0,
        group.fetched,
    )


def _pruned(grouping: Grouping, read: list[exp.Expression]) -> Grouping:
    """The rows of a measurement with the columns that one statement reads."""
    names = {n for e in (*grouping.keys.values(), *read) for n in names_in(e)} | (
        {grouping.unit} if grouping.unit is not None else set[str]()
    )
    return replace(grouping, rel=prune(grouping.rel, frozenset(names)))


def _statistic(name: str, kind: str, largest: int, grid: Fraction) -> Statistic:
    return Statistic(name, kind, largest, grid)  # type: ignore[arg-type]
