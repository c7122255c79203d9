"""What a sound policy still lacks: every bound, domain and key whose absence will refuse analysts' questions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from dpjupyter.engine.model import Kind
from dpjupyter.engine.policy import Column, Policy, Table

NUMBERS = (Kind.INT, Kind.DECIMAL, Kind.FLOAT)
ORDERED = (*NUMBERS, Kind.DATE, Kind.TIMESTAMP)


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to look at."""

    level: Literal["wrong", "missing"]
    where: str  # tables.orders.columns.price
    what: str
    then: str  # what to write

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def missing(policy: Policy) -> list[Note]:
    """What the policy itself does not say."""
    notes: list[Note] = []
    for name, table in policy.tables.items():
        notes += _table(name, table)
        notes += _path(policy, name, table)
        notes += [
            note
            for key, column in table.columns.items()
            if table.private and not _is_unit(table, key)
            for note in _column(name, key, column, table)
        ]
    if policy.total is None:
        notes.append(
            Note(
                "missing",
                "total",
                "no database-wide row '*': a person with rows in several tables is covered only by the sum of their budgets",
                "Add [total]",
            )
        )
    return notes


def _table(name: str, table: Table) -> list[Note]:
    where = f"tables.{name}"
    notes: list[Note] = []
    if not table.private:
        if not table.keys:
            notes.append(
                Note(
                    "missing",
                    where,
                    "a public table without `keys` cannot be joined to private rows",
                    'Add keys = [["id"]]: columns that are unique',
                )
            )
        return notes
    if table.key_delta is None:
        notes.append(
            Note(
                "missing",
                where,
                "no `key_delta`: GROUP BY a column without a domain is refused",
                "Add key_delta = 1e-8, or give the grouping columns a domain",
            )
        )
    if table.unit is not None and table.unit.kind == "row" and not table.keys:
        notes.append(
            Note(
                "missing",
                where,
                "unit = row without a key: joins that multiply rows are refused",
                'Add keys = [["id"]] if a column is unique',
            )
        )
    if table.unit is not None and table.unit.kind != "row" and table.max_groups == 1 and (table.unit.column,) not in table.keys:
        notes.append(
            Note(
                "missing",
                where,
                "max_groups = 1: of each unit one group is counted",
                "Set max_groups to how many groups a typical unit is in; more means more noise",
            )
        )
    return notes


def _path(policy: Policy, name: str, table: Table) -> list[Note]:
    notes: list[Note] = []
    for step in table.unit.path if table.unit is not None else ():
        there = policy.tables[step.ref_table]
        if (step.ref_column,) not in there.keys:
            notes.append(
                Note(
                    "missing",
                    f"tables.{name}.unit",
                    f"{step.ref_table}.{step.ref_column} is not declared unique",
                    f'Add keys = [["{step.ref_column}"]] to tables.{step.ref_table}',
                )
            )
    return notes


def _column(name: str, key: str, column: Column, table: Table) -> list[Note]:
    where = f"tables.{name}.columns.{key}"
    kind = column.sql_type.kind
    if column.bounds is not None or column.domain is not None or _is_key(table, key):
        return []
    if kind in NUMBERS:
        return [
            Note(
                "missing",
                where,
                f"{column.type} without bounds: SUM, AVG, STDDEV and quantiles of it are refused",
                "Add bounds = [lowest, highest]",
            )
        ]
    if kind in ORDERED:
        return [
            Note(
                "missing",
                where,
                f"{column.type} without bounds: groups by month or year need them",
                'Add bounds = ["2020-01-01", "2029-12-31"]',
            )
        ]
    if kind is Kind.TEXT and table.key_delta is None:
        return [
            Note("missing", where, "text without a domain: GROUP BY it is refused", 'Add domain = ["a", "b"], or key_delta to the table')
        ]
    return []


def _is_unit(table: Table, key: str) -> bool:
    unit = table.unit
    return unit is not None and key == (unit.path[0].column if unit.path else unit.column)


def _is_key(table: Table, key: str) -> bool:
    # A single-column key names rows: nobody sums or groups by it.
    return (key,) in table.keys
