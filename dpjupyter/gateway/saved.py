"""Tables that analysts keep: written after an answer, read by later questions, listed and forgotten. Each analyst sees their own."""

from __future__ import annotations

import logging

from dpjupyter import wire
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.model import Saved, SavedTable
from dpjupyter.engine.policy import SAVED_SCHEMA, Policy
from dpjupyter.engine.road import Outcome, head_of, keep_outcome, saved_by
from dpjupyter.errors import BadRequest, BudgetMissing, LedgerUnavailable, Refused, Suspended

_log = logging.getLogger(__name__)


class SavedTables:
    """One analyst's saved tables of one database."""

    def __init__(self, ledger: LedgerStore, analyst: str, policy: Policy) -> None:
        """``analyst`` comes from the token."""
        self._ledger = ledger
        self._policy = policy
        self._where = (analyst, policy.database.prefix, policy.database.name)

    @property
    def read(self) -> Saved:
        """What ``saved.NAME`` means in this analyst's questions."""
        stored = saved_by(lambda name: self._ledger.load_table(*self._where, name))

        def found(name: str) -> SavedTable | None:
            table = stored(name)
            if table is not None:
                self._check_suspended(table)
            return table

        return found

    def _check_suspended(self, table: SavedTable) -> None:
        """What a suspended table gave is not given again either.

        Raises: Suspended.
        """
        _, prefix, db_name = self._where
        for found in self._ledger.suspensions():
            if (found.prefix, found.db_name) == (prefix, db_name) and found.table_name in (*table.tables, "*"):
                raise Suspended(f"table {found.table_name} is suspended, and {SAVED_SCHEMA}.{table.name} was computed from it")

    def check_room(self, name: str) -> None:
        """Before anything is paid: is there room for one more?

        Raises: BadRequest.
        """
        names = self._ledger.saved_tables(*self._where)
        if name.casefold() not in names and len(names) >= self._ledger.max_saved:
            raise BadRequest(f"{len(names)} saved tables are kept already", hint="`%dpsql saved forget NAME` makes room.")

    def keep(self, name: str, outcome: Outcome) -> str:
        """Keep an answer under a name; what is to be said of it. The answer is paid for: it is never lost over this."""
        shown = f"{SAVED_SCHEMA}.{name.casefold()}"
        try:
            content, tables = keep_outcome(outcome, self._policy)
            self._ledger.save_table(*self._where, name.casefold(), tables=tables, content=content)
        except (Refused, BadRequest, BudgetMissing) as error:
            return f"Not kept as {shown}: {error.message}"
        except LedgerUnavailable:
            _log.warning("a saved table could not be written: the ledger does not answer")
            return f"Not kept as {shown}: the ledger does not answer. Run the cell again: it is free."
        return f"Kept as {shown} until its budget cycle ends."

    def all(self) -> list[wire.SavedTable]:
        """By name."""
        listed: list[wire.SavedTable] = []
        for found in self._ledger.saved_heads(*self._where):
            try:
                head = head_of(found.head)
            except (ValueError, KeyError, TypeError):
                continue  # kept by another version: it cannot be asked either
            columns = [wire.CatalogColumn(name=name, type=text, nullable=True) for name, text in head.columns]
            listed.append(
                wire.SavedTable(name=found.name, columns=columns, rows=head.rows, time=found.time, kind=head.kind, unmetered=head.unmetered)
            )
        return listed

    def forget(self, name: str) -> None:
        """Drop a table.

        Raises: NotFound.
        """
        self._ledger.drop_table(*self._where, name.casefold())
