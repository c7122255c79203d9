"""Scans of declared tables and the joins that reach a unit through foreign keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from dpjupyter.engine import scalar
from dpjupyter.engine.model import Aggregate, Call, Facts, Filter, Join, Kind, Project, Rel, Scan
from dpjupyter.engine.plan.relation import Relation, Unit
from dpjupyter.engine.policy import Policy, Table
from dpjupyter.engine.render import column


def scan(rel: Scan, policy: Policy) -> Relation:
    """One table's rows with what its policy declares."""
    table = policy.tables[rel.table]
    facts = {id_: scalar.column_facts(table.columns[name]) for id_, name in rel.columns.items()}
    by_name = {name: id_ for id_, name in rel.columns.items()}
    declared = frozenset(frozenset(by_name[c] for c in key) for key in table.keys if all(c in by_name for c in key))
    enforced = declared if policy.keys_hold(rel.table) else frozenset[frozenset[str]]()
    rel = replace(rel, texts=_texts(rel, table))
    if not table.private:
        return Relation(rel, facts, unique=declared, enforced=enforced, cap=table.rows)
    unit = _unit(rel, table, policy, by_name)
    for id_ in unit.ids | ({unit.path[0]} if unit.path else set()):
        facts[id_] = replace(facts[id_], from_unit=True)
    return Relation(rel, facts, unit, frozenset({rel.table}), unique=declared, enforced=enforced)


def _texts(rel: Scan, table: Table) -> frozenset[str]:
    """Text columns: under a collation that holds 'Bern' and 'BERN' equal, keys and units of different people would meet."""
    return frozenset(id_ for id_, name in rel.columns.items() if table.columns[name].sql_type.kind is Kind.TEXT)


def _unit(rel: Scan, table: Table, policy: Policy, by_name: dict[str, str]) -> Unit:
    declared = table.unit
    assert declared is not None
    links = {by_name[key[0]]: (rel.table, key[0]) for key in table.keys if len(key) == 1 and key[0] in by_name}
    if declared.kind == "row":
        single = [by_name[key[0]] for key in table.keys if len(key) == 1 and key[0] in by_name]
        return Unit(row=True, rows=1, row_key=single[0] if single and policy.keys_hold(rel.table) else None)
    if declared.kind == "column":
        id_ = by_name[declared.column]
        alone = policy.keys_hold(rel.table) and (declared.column,) in table.keys
        return Unit(frozenset({id_}), table.columns[declared.column].sql_type, rows=1 if alone else None, links=links)
    first = declared.path[0]
    links[by_name[first.column]] = (first.ref_table, first.ref_column)
    end = policy.tables[declared.path[-1].ref_table].columns[declared.column]
    return Unit(frozenset(), end.sql_type, path=(by_name[first.column], first.ref_table, first.ref_column), links=links)


class Units:
    """Adds the joins of foreign-key paths, and only where a query needs the unit and did not write them itself."""

    def __init__(self, policy: Policy, fresh: Callable[[], str]) -> None:
        self._policy = policy
        self._fresh = fresh

    def resolved(self, relation: Relation) -> Relation:
        """The relation with its unit as a column; unchanged where it already is, public, or unit = row."""
        unit = relation.unit
        if unit is None or unit.path is None:
            return relation
        start, table, key = unit.path
        dimension, key_id, unit_id, tables = self._dimension(table, key)
        condition = exp.EQ(this=column(start), expression=column(key_id))
        joined = Join(relation.rel, dimension, "inner", condition)
        facts = {**relation.facts, unit_id: Facts(unit.type, nullable=True, from_unit=True)}  # type: ignore[arg-type]
        rel = Project(joined, {id_: column(id_) for id_ in facts})
        resolved = replace(unit, ids=frozenset({unit_id}), path=None)
        return replace(relation, rel=rel, facts=facts, unit=resolved, tables=relation.tables | tables)

    def _dimension(self, name: str, key: str) -> tuple[Rel, str, str, frozenset[str]]:
        """(key, unit) of a table on the path, one row per key: by the warehouse's constraint or by grouping."""
        table = self._policy.tables[name]
        assert table.unit is not None
        unit_column = table.unit.path[0].column if table.unit.path else table.unit.column
        key_id, link_id = self._fresh(), self._fresh()
        names = {key_id: key, link_id: unit_column} if key != unit_column else {key_id: key}
        scanned = Scan(name, names, table.source)
        rel: Rel = replace(scanned, texts=_texts(scanned, table))
        link_id = link_id if link_id in names else key_id
        tables = frozenset({name})
        if table.unit.path:
            step = table.unit.path[0]
            inner, inner_key, unit_id, more = self._dimension(step.ref_table, step.ref_column)
            rel = Join(rel, inner, "inner", exp.EQ(this=column(link_id), expression=column(inner_key)))
            tables |= more
        else:
            unit_id = link_id
        if self._policy.keys_hold(name) and (key,) in table.keys:
            return Project(rel, {key_id: column(key_id), unit_id: column(unit_id)}), key_id, unit_id, tables
        # A declared key is no fact: grouping makes it one, and gives each key exactly one unit.
        grouped_key, grouped_unit = self._fresh(), self._fresh()
        known = Filter(rel, exp.Not(this=exp.Is(this=column(unit_id), expression=exp.null())))
        grouped = Aggregate(known, {grouped_key: column(key_id)}, {grouped_unit: Call("MIN", (column(unit_id),))})
        return grouped, grouped_key, grouped_unit, tables
