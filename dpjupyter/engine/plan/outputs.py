"""The answer's columns, the public tables that finishing reads, and which answers each column shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from dpjupyter.engine.algebra import columns_of, expressions, inputs, names_in, place_in, subqueries, walk
from dpjupyter.engine.model import (
    Aggregate,
    Ask,
    BoundQuery,
    BoundSubquery,
    Constants,
    Facts,
    Filter,
    Join,
    Measurement,
    Output,
    Plan,
    Project,
    PublicTable,
    Rel,
    Scan,
    SetOperation,
    Shared,
    Sort,
    SqlType,
    Window,
)
from dpjupyter.engine.plan.public import public_only, row_bound
from dpjupyter.engine.plan.relation import Relation
from dpjupyter.engine.policy import RELEASED_NAME, Policy
from dpjupyter.engine.render import column, render
from dpjupyter.errors import UnsupportedSQL

if TYPE_CHECKING:
    from dpjupyter.engine.plan.relations import Planner


def assemble(planner: Planner, relation: Relation, bound: BoundQuery, policy: Policy, fingerprint: str) -> Plan:
    """Bring the parts of a plan together.

    Raises: UnsupportedSQL: a public table that would have to be fetched is too large.
    """
    measurements = planner.measurements
    finished = {m.name: m for m in measurements.finished()}
    constant = {name: rows for name in finished if (rows := measurements.constant_domain(name)) is not None}
    publics: dict[str, PublicTable] = {}
    for name, (rel, _) in measurements.publics.items():
        publics[name] = PublicTable(name, render(rel, policy.dialect), _types(rel, policy))
    fetch = _Fetch(policy, publics, relation.facts)
    finishing = fetch.rewritten(_with_constants(relation.rel, constant))
    _check_planned(finishing)
    shows = {f.id: _shown(relation.rel, f.id) for f in bound.outputs}
    by_item: dict[str, list[str]] = {}
    for f in bound.outputs:
        for id_ in _dependencies(relation.rel, f.id):
            if id_ in measurements.calls:
                name, item = measurements.calls[id_]
                by_item.setdefault(f"{name}|{item}", []).append(f.name)
    outputs = tuple(
        Output(
            f.name,
            f.id,
            relation.facts[f.id].type,
            next((measurements.released[i] for i in shows[f.id] if i in measurements.released), None),
            bool(shows[f.id] & measurements.key_ids),
        )
        for f in bound.outputs
    )
    kept = tuple(m for name, m in finished.items() if name not in constant)
    tables = set(measurements.tables()) if kept else set[str]()
    notes = [*measurements.notes, *_notes(kept), *planner.saved.notes(finishing, policy)]
    return Plan(
        kept,
        tuple(i for i in measurements.items({k: tuple(dict.fromkeys(v)) for k, v in by_item.items()}) if i.measurement not in constant),
        tuple(publics.values()),
        finishing,
        outputs,
        tuple(sorted(tables)),
        tuple(notes),
        fingerprint,
        planner.saved.read,
    )


def _check_planned(rel: Rel) -> None:
    """The last look at what is finished: every subquery went through the planner, every table is released or fetched.

    Raises: UnsupportedSQL.
    """
    for node in walk(rel):
        if isinstance(node, Scan) and not RELEASED_NAME.fullmatch(node.table):
            raise UnsupportedSQL("This query reads a table in a place that has no rule.")
        if any(not sub.args.get("planned") for sub in subqueries(node)):
            raise UnsupportedSQL("A subquery is not answered in this place.", hint="Join its result instead.")


def _notes(measurements: tuple[Measurement, ...]) -> list[str]:
    notes: list[str] = []
    for m in measurements:
        if m.max_rows > 1:
            notes.append(f"At most {m.max_rows} rows of one person are counted in a group.")
        if m.keys and m.max_groups > 1:
            notes.append(f"One person is counted in at most {m.max_groups} groups.")
        if m.threshold is not None:
            notes.append("Groups of few people are not shown: the values of the grouping are not public.")
    return list(dict.fromkeys(notes))


def _with_constants(rel: Rel, constant: dict[str, Constants]) -> Rel:
    """Scans of measurements that measured nothing, replaced by their public rows."""
    if isinstance(rel, Scan) and rel.table in constant:
        rows = constant[rel.table]
        return Project(rows, {id_: column(name) for id_, name in rel.columns.items()})
    return _replaced(rel, lambda r: _with_constants(r, constant))


def _replaced(rel: Rel, change: Callable[[Rel], Rel]) -> Rel:
    match rel:
        case Scan() | Constants():
            result = rel
        case Join() | SetOperation():
            result = replace(rel, left=change(rel.left), right=change(rel.right))
        case Filter() | Project() | Aggregate() | Window() | Sort() | Shared():
            result = replace(rel, input=change(rel.input))
    for sub in [s for e in _expressions(result) for s in e.find_all(BoundSubquery)]:
        sub.set("rel", change(sub.args["rel"]))
    return result


def _expressions(rel: Rel) -> list[exp.Expression]:
    return list(expressions(rel))


class _Fetch:
    """Replaces the largest subtrees over public tables alone by scans of tables that are fetched exactly."""

    def __init__(self, policy: Policy, publics: dict[str, PublicTable], facts: Mapping[str, Facts]) -> None:
        """``facts`` are those of the whole query's columns: what is fetched whole need not be planned once more."""
        self._policy = policy
        self._publics = publics
        self._facts = facts

    def rewritten(self, rel: Rel) -> Rel:
        """The finishing tree over released and fetched tables only."""
        scans = [r for r in walk(rel) if isinstance(r, Scan)]
        if not scans:
            return rel
        if not any(RELEASED_NAME.fullmatch(s.table) for s in scans):
            return self._fetched(rel)
        return _replaced(rel, self.rewritten)

    def _fetched(self, rel: Rel) -> Scan:
        public_only(rel, self._policy)
        bound = row_bound(rel, self._policy)
        cap = self._policy.limits.public_row_cap
        if bound is None or bound > cap:
            raise UnsupportedSQL(
                f"A public result of unknown size or more than {cap} rows would have to be fetched.",
                hint="Aggregate the public table or add LIMIT.",
                place=place_in(rel),
            )
        name = f"p{len(self._publics)}"
        self._publics[name] = PublicTable(name, render(rel, self._policy.dialect), self._types(rel))
        return Scan(name, {id_: id_ for id_ in columns_of(rel)})


    def _types(self, rel: Rel) -> tuple[tuple[str, SqlType], ...]:
        ids = columns_of(rel)
        if all(id_ in self._facts for id_ in ids):
            return tuple((id_, self._facts[id_].type) for id_ in ids)
        return _types(rel, self._policy)


def _types(rel: Rel, policy: Policy) -> tuple[tuple[str, SqlType], ...]:
    from dpjupyter.engine.plan.relations import Planner  # noqa: PLC0415

    facts = Planner(policy, Ask(), 1_000_000).visit(rel).facts
    return tuple((id_, facts[id_].type) for id_ in columns_of(rel))


def _shown(rel: Rel, id_: str) -> set[str]:
    """Ids whose value a column shows unchanged, from the top down to the released table."""
    found = {id_}
    match rel:
        case Project(input=inner, columns=columns):
            expr = columns.get(id_)
            if expr is not None and isinstance(expr.unnest(), exp.Column):
                found |= _shown(inner, expr.unnest().name)
        case Filter(input=inner) | Sort(input=inner) | Window(input=inner):
            if id_ in columns_of(inner):
                found |= _shown(inner, id_)
        case Join(left=left, right=right):
            side = left if id_ in columns_of(left) else right
            if id_ in columns_of(side):
                found |= _shown(side, id_)
        case Aggregate(input=inner, keys=keys, calls=calls) if not calls and id_ in keys and isinstance(keys[id_], exp.Column):
            found |= _shown(inner, keys[id_].name)
        case _:
            pass
    return found


def _dependencies(rel: Rel, id_: str) -> set[str]:
    """Ids that a column is computed from, at any depth."""
    found = {id_}
    exprs: list[exp.Expression] = []
    match rel:
        case Project(columns=columns) | Window(columns=columns) if id_ in columns:
            exprs = [columns[id_]]
        case Aggregate(keys=keys, calls=calls):
            exprs = [keys[id_]] if id_ in keys else list(calls[id_].arguments) if id_ in calls else []
        case SetOperation() if id_ in rel.fields:
            position = rel.fields.index(id_)
            return found | _dependencies(rel.left, rel.left_fields[position]) | _dependencies(rel.right, rel.right_fields[position])
        case _:
            pass
    names = {n for e in exprs for n in names_in(e)} or {id_}
    for sub in [s for e in exprs for s in e.find_all(BoundSubquery)]:
        if sub.args.get("field"):
            found |= _dependencies(sub.args["rel"], sub.args["field"])
    for inner in inputs(rel):
        for name in names & set(columns_of(inner)):
            found |= _dependencies(inner, name)
    return found
