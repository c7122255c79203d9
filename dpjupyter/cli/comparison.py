"""Where a policy and its warehouse's catalogue disagree: names, types, NULLs, keys. No row is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from dpjupyter.cli.advice import Note
from dpjupyter.engine.model import TEXT, Kind, SqlType
from dpjupyter.engine.policy import Column, Policy, Table

if TYPE_CHECKING:
    from dpjupyter.engine.backends.describe import TableDescription

_WIDEST = 38  # digits; what NUMBER, INTEGER and BIGINT have on Snowflake when nothing else is said


def differences(policy: Policy, described: Iterable[TableDescription]) -> list[Note]:
    """Every disagreement, in the policy's order."""
    there = {table.name.casefold(): table for table in described}
    short = {name.rpartition(".")[2]: table for name, table in there.items()}
    found: dict[str, TableDescription] = {}
    notes: list[Note] = []
    for name, table in policy.tables.items():
        source = (table.source or name).casefold()
        match = there.get(source) or short.get(source.rpartition(".")[2])
        if match is None:
            what = f"the warehouse has no table {table.source or name!r}, or the role may not see it"
            notes.append(Note("wrong", f"tables.{name}", what, "Correct the name, or set `source`"))
            continue
        found[name] = match
        notes += _columns(name, table, match)
        notes += _keys(name, table, match)
    return notes + _paths(policy, found)


def _columns(name: str, table: Table, found: TableDescription) -> list[Note]:
    notes: list[Note] = []
    columns = {column.casefold(): (kind, nullable) for column, kind, nullable in found.columns}
    for key, column in table.columns.items():
        at = f"tables.{name}.columns.{key}"
        if key.casefold() not in columns:
            notes.append(Note("wrong", at, f"{found.name} has no such column", "Correct the name or remove it"))
            continue
        kind, nullable = columns[key.casefold()]
        notes += _type(at, column, kind)
        if nullable and not column.nullable and not found.view:
            notes.append(
                Note("missing", at, "the warehouse does not declare it NOT NULL", "Leave out `nullable = false` unless you know better")
            )
    return notes


def _type(at: str, column: Column, kind: str) -> list[Note]:
    """A declared type must hold every value of the column's own: statements compute in it."""
    have = _parsed(kind)
    want = column.sql_type
    if have is None:
        return []
    said, then = f"is {kind} in the warehouse, {column.type} here", f'Write type = "{kind}"'
    if have.kind is not want.kind:
        return [Note("wrong", at, said, then)]
    if have.kind is Kind.DECIMAL and have.scale != want.scale:
        return [Note("wrong", at, f"{said}: their digits after the point differ", then)]
    if have.kind in (Kind.INT, Kind.DECIMAL) and _digits(have) > _digits(want):
        if have.precision == _WIDEST:
            # Nobody chose this width: it is Snowflake's default.
            return [Note("missing", at, f"{said}: a value too large for it would make questions fail", f"{then} unless there is none")]
        return [Note("wrong", at, f"{said}, which is narrower: a value that does not fit it would make questions fail", then)]
    return []


def _keys(name: str, table: Table, found: TableDescription) -> list[Note]:
    notes: list[Note] = []
    unique = {frozenset(c.casefold() for c in key) for key in (found.primary_key, *found.unique_keys) if key}
    for key in table.keys:
        at, shown = f"tables.{name}.keys", ", ".join(key)
        known = any(u <= {c.casefold() for c in key} for u in unique)
        if table.enforced_keys and not (known and found.enforced):
            why = f"the warehouse does not {'enforce keys' if known else f'declare ({shown}) unique'}"
            notes.append(Note("wrong", at, f"enforced_keys = true, but {why}", "Leave out `enforced_keys`: the statements then make sure"))
        elif not known and not found.view:
            notes.append(Note("missing", at, f"the warehouse does not declare ({shown}) unique", "Leave it in only if it is"))
    return notes


def _paths(policy: Policy, found: Mapping[str, TableDescription]) -> list[Note]:
    """Both ends of each step to the unit have one type: else a comparison casts, and may make two units one."""
    notes: list[Note] = []
    for name, table in policy.tables.items():
        here = name
        for step in table.unit.path if table.unit is not None else ():
            ends = [_found_type(found.get(t), c) for t, c in ((here, step.column), (step.ref_table, step.ref_column))]
            one, other = (_parsed(e) if e else None for e in ends)
            if one is not None and other is not None and (one.kind, one.scale) != (other.kind, other.scale):
                what = f"{here}.{step.column} is {ends[0]} in the warehouse, {step.ref_table}.{step.ref_column} is {ends[1]}"
                notes.append(Note("wrong", f"tables.{name}.unit", what, "Give both one type, in the warehouse or by a view"))
            here = step.ref_table
    return notes


def _found_type(table: TableDescription | None, column: str) -> str | None:
    return next((kind for c, kind, _ in table.columns if c.casefold() == column.casefold()), None) if table is not None else None


def _digits(type_: SqlType) -> int:
    """Digits before the point that a type holds."""
    return type_.precision - type_.scale if type_.precision else {8: 2, 16: 4, 32: 9, 64: 18}.get(type_.bits, _WIDEST)


def _parsed(kind: str) -> SqlType | None:
    try:
        return TEXT if kind.upper().startswith("ENUM") else SqlType.parse(kind)  # statements read an ENUM as text
    except ValueError:
        return None
