"""Remove one privacy unit and run the statements again: no statistic may change by more than was declared.

The test that decides whether the compiler is right (privacy.md section 6.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from dpjupyter.engine.model import Plan
from dpjupyter.engine.policy import Policy, Table


def _name(table: str, spec: Table) -> str:
    return ".".join(f'"{part}"' for part in (spec.source or table).split("."))


def _unit_of(policy: Policy, table: str) -> str | None:
    """A scalar SQL expression for the unit of a row of ``table`` aliased t0; None for unit = row."""
    spec = policy.tables[table]
    unit = spec.unit
    assert unit is not None
    if unit.kind == "row":
        return None
    if unit.kind == "column":
        return f't0."{unit.column}"'
    sql, here = "", 't0."' + unit.path[0].column + '"'
    for n, step in enumerate(unit.path, 1):
        last = unit.column if n == len(unit.path) else unit.path[n].column
        sql = f'(SELECT MIN(t{n}."{last}") FROM {_name(step.ref_table, policy.tables[step.ref_table])} t{n} WHERE t{n}."{step.ref_column}" = {here})'
        here = sql
    return sql


Victim = tuple[str | None, object]  # (table, row number) for unit = row; (None, unit) otherwise


def units(connection: duckdb.DuckDBPyConnection, policy: Policy, tables: list[str], count: int, seed: int) -> list[Victim]:
    """Some units to remove: the heaviest one of each table and a few picked by hash."""
    found: list[Victim] = []
    for table in tables:
        name, unit = _name(table, policy.tables[table]), _unit_of(policy, table)
        if unit is None:
            rows = connection.execute(f"SELECT rowid FROM {name} ORDER BY hash(rowid, {seed}) LIMIT {count}").fetchall()
        else:
            ranked = f"SELECT u FROM (SELECT {unit} AS u FROM {name} t0) WHERE u IS NOT NULL GROUP BY u"
            rows = connection.execute(
                f"({ranked} ORDER BY COUNT(*) DESC, u LIMIT 1) UNION ALL ({ranked} ORDER BY hash(u, {seed}) LIMIT {count})"
            ).fetchall()
        found += [(table if unit is None else None, r[0]) for r in rows]
    return list(dict.fromkeys(found))[: count + 1]


@contextmanager
def without(connection: duckdb.DuckDBPyConnection, policy: Policy, tables: list[str], victim: Victim) -> Iterator[None]:
    """The neighbouring database: every row of one unit removed, in all private tables that are read."""
    connection.execute("BEGIN")
    try:
        doomed: list[tuple[str, list[int]]] = []
        for table in tables:
            name, of = _name(table, policy.tables[table]), _unit_of(policy, table)
            if (of is None) != (victim[0] is not None) or victim[0] not in (None, table):
                continue
            condition = "t0.rowid = ?" if of is None else f"CAST({of} AS VARCHAR) = CAST(? AS VARCHAR)"
            ids = [r[0] for r in connection.execute(f"SELECT t0.rowid FROM {name} t0 WHERE {condition}", [victim[1]]).fetchall()]
            doomed.append((name, ids))
        for name, ids in doomed:
            if ids:
                connection.execute(f"DELETE FROM {name} WHERE rowid IN ({', '.join(map(str, ids))})")
        yield
    finally:
        connection.execute("ROLLBACK")


def results(plan: Plan, connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], dict[tuple[object, ...], tuple[int, ...]]]:
    """Per statement: key -> integers. Bins of a quantile count as part of the key."""
    found: dict[tuple[str, int], dict[tuple[object, ...], tuple[int, ...]]] = {}
    for m in plan.measurements:
        for n, part in enumerate(m.parts):
            width = len(m.keys) + (1 if part.selections else 0)
            rows = connection.execute(part.statement.sql("duckdb")).fetchall()
            table = {tuple("0.0" if v == 0.0 and isinstance(v, float) else str(v) for v in r[:width]): tuple(int(v or 0) for v in r[width:]) for r in rows}
            assert len(table) == len(rows), "a statement returned a key twice"
            found[m.name, n] = table
    return found


def violations(
    plan: Plan,
    before: dict[tuple[str, int], dict[tuple[object, ...], tuple[int, ...]]],
    after: dict[tuple[str, int], dict[tuple[object, ...], tuple[int, ...]]],
) -> list[str]:
    """Where removing the unit changed more than the plan declares: Linf, number of groups (so L1 and L2 too)."""
    found: list[str] = []
    for m in plan.measurements:
        for n, part in enumerate(m.parts):
            one, two = before[m.name, n], after[m.name, n]
            keys = set(one) | set(two)
            if part.selections:
                selection = part.selections[0]
                by_group: dict[tuple[object, ...], int] = {}
                for key in keys:
                    change = abs(one.get(key, (0,))[0] - two.get(key, (0,))[0])
                    if change:
                        by_group[key[:-1]] = by_group.get(key[:-1], 0) + change
                most = selection.max_rows * selection.weight
                found += [f"{m.name} bins of {key}: {change} > {most}" for key, change in by_group.items() if change > most]
                if len(by_group) > m.max_groups:
                    found.append(f"{m.name} bins: {len(by_group)} groups changed > {m.max_groups}")
                continue
            for i, statistic in enumerate(part.statistics):
                zero = (0,) * len(part.statistics)
                changes = [abs(one.get(key, zero)[i] - two.get(key, zero)[i]) for key in keys]
                if max(changes, default=0) > statistic.largest:
                    found.append(f"{statistic.name}: changed by {max(changes)} > {statistic.largest}")
                if sum(c > 0 for c in changes) > m.max_groups:
                    found.append(f"{statistic.name}: {sum(c > 0 for c in changes)} groups changed > {m.max_groups}")
    return found
