"""Saved tables in a plan: scans of what was released before. They are public, and finished here, never in the warehouse."""

from __future__ import annotations

from collections.abc import Mapping

from dpjupyter.engine.algebra import walk
from dpjupyter.engine.model import Facts, Rel, SavedTable, Scan
from dpjupyter.engine.plan.relation import Relation
from dpjupyter.engine.policy import Policy


class SavedScans:
    """The saved tables of one query, and the names they get in the finishing query."""

    def __init__(self, tables: Mapping[str, SavedTable]) -> None:
        """``tables`` by the name that bound scans have: "saved.NAME"."""
        self._tables = tables
        self._names: dict[str, str] = {}

    def __contains__(self, table: str) -> bool:
        return table in self._tables

    def scan(self, rel: Scan) -> Relation:
        """A saved table's rows. ``released`` keeps every statement for the warehouse clear of them."""
        table = self._tables[rel.table]
        name = self._names.setdefault(rel.table, f"saved{len(self._names)}")
        number = {column.name: n for n, column in enumerate(table.columns)}
        columns = {id_: f"{name}_{number[shown]}" for id_, shown in rel.columns.items()}
        facts = {id_: Facts(table.columns[number[shown]].type) for id_, shown in rel.columns.items()}
        return Relation(Scan(name, columns), facts, released=True, cap=table.rows)

    @property
    def read(self) -> Mapping[str, SavedTable]:
        """The tables met so far, by their names in the finishing query."""
        return {name: self._tables[shown] for shown, name in self._names.items()}

    def notes(self, finishing: Rel, policy: Policy) -> list[str]:
        """What an answer drawn from saved tables must say about them."""
        used: dict[str, set[str]] = {}
        for scan in walk(finishing):
            if isinstance(scan, Scan):
                used.setdefault(scan.table, set()).update(scan.columns.values())
        notes: list[str] = []
        replayed = False
        for name, table in self.read.items():
            notes.append(f"Reads saved.{table.name}, which was released before: that part is free.")
            if table.data_version != policy.database.data_version:
                notes.append(
                    f"saved.{table.name} is of data version {table.data_version}; the data is now of {policy.database.data_version}."
                )
            elif table.checksum != policy.checksum:
                notes.append(f"saved.{table.name} was released under an earlier policy.")
            if table.kind == "synthetic":
                notes.append(f"saved.{table.name} was computed from a synthetic twin, not from the data.")
            if table.unmetered:
                notes.append(f"saved.{table.name} is unmetered: a budget could not pay for it.")
            noisy = [c for n, c in enumerate(table.columns) if c.noisy and f"{name}_{n}" in used.get(name, ())]
            replayed |= any(c.replayable for c in noisy)
            unknown = [c.name for c in noisy if not c.replayable]
            if unknown:
                notes.append(f"How far {', '.join(unknown)} of saved.{table.name} may be off is not known: no interval is shown.")
        if replayed:
            notes.append("Intervals replay the noise of each saved number on its own; noise that saved numbers share is not followed.")
        return notes
