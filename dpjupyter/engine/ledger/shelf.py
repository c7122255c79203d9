"""Small things kept beside the budgets: saved tables, twin cards, counts of quotes."""

from __future__ import annotations

import json
import zlib
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from dpjupyter.engine.ledger import rows
from dpjupyter.engine.ledger.names import TOTAL, RowName, check_name, digest
from dpjupyter.engine.ledger.records import SavedHead, TwinCard, shown_time
from dpjupyter.engine.ledger.requests import same_cycles, unpack
from dpjupyter.engine.ledger.schema import budget_info, quote_count, saved_table, twin_card
from dpjupyter.errors import BadRequest, BudgetMissing, NotFound

MAX_SAVED = 100  # tables of one analyst in one database: each is read whole by the questions that name it
_HEAD_BYTES = 1 << 18  # as much of a content as a list may unpack


# ---------------------------------------------------------------- saved tables
def save_table(
    connection: Connection, analyst: str, prefix: str, db_name: str, name: str, *, tables: tuple[str, ...], content: str
) -> None:
    """Keep a released table (JSON) under ``name`` until one of the budget rows it was paid from recovers; replaces an older one.

    Raises: BudgetMissing: a table has no budget row. BadRequest: the analyst keeps too many.
    """
    check_name(name, "name", 128)
    _make_room(connection, analyst, prefix, db_name, name)
    key = digest("saved", analyst, prefix, db_name, name)
    here = (budget_info.c.prefix == prefix) & (budget_info.c.db_name == db_name) & budget_info.c.table_name.in_(sorted({*tables, TOTAL}))
    found = {row.table_name: row for row in connection.execute(select(budget_info).where(here))}
    if not set(tables) <= set(found):
        raise BudgetMissing("budget info does not exist")
    values: dict[str, Any] = {
        "cycles": json.dumps({row.row_key: row.cycle for row in found.values()}), "time": rows.now(connection),
        "content": zlib.compress(content.encode()),
    }  # fmt: skip
    if connection.execute(update(saved_table).where(saved_table.c.saved_key == key).values(values)).rowcount == 0:
        connection.execute(insert(saved_table).values(saved_key=key, analyst=analyst, prefix=prefix, db_name=db_name, name=name, **values))


def load_table(connection: Connection, analyst: str, prefix: str, db_name: str, name: str) -> str | None:
    """A saved table's JSON, or None: never saved, or its cycle is over."""
    key = digest("saved", analyst, prefix, db_name, name)
    row = connection.execute(select(saved_table).where(saved_table.c.saved_key == key)).one_or_none()
    if row is None or not same_cycles(connection, json.loads(row.cycles)):
        return None
    return unpack(row.content)


def _make_room(connection: Connection, analyst: str, prefix: str, db_name: str, name: str) -> None:
    """Drop what has expired; then there must be room for one more.

    Raises: BadRequest.
    """
    here = (saved_table.c.analyst == analyst) & (saved_table.c.prefix == prefix) & (saved_table.c.db_name == db_name)
    alive = 0
    for row in connection.execute(select(saved_table.c.saved_key, saved_table.c.name, saved_table.c.cycles).where(here)).all():
        if not same_cycles(connection, json.loads(row.cycles)):
            connection.execute(delete(saved_table).where(saved_table.c.saved_key == row.saved_key))
        elif row.name != name:
            alive += 1
    if alive >= MAX_SAVED:
        raise BadRequest(f"{MAX_SAVED} saved tables are kept already", hint="%dpsql saved forget NAME makes room.")


def saved_heads(connection: Connection, analyst: str, prefix: str, db_name: str) -> tuple[SavedHead, ...]:
    """An analyst's saved tables of this cycle by name, each with the first line of its content."""
    here = (saved_table.c.analyst == analyst) & (saved_table.c.prefix == prefix) & (saved_table.c.db_name == db_name)
    found = connection.execute(select(saved_table).where(here).order_by(saved_table.c.name)).all()
    return tuple(
        SavedHead(row.name, shown_time(row.time), _first_line(row.content))
        for row in found
        if same_cycles(connection, json.loads(row.cycles))
    )


def _first_line(content: bytes) -> str:
    return zlib.decompressobj().decompress(content, _HEAD_BYTES).partition(b"\n")[0].decode(errors="replace")


def saved_names(connection: Connection, analyst: str, prefix: str, db_name: str) -> tuple[str, ...]:
    """Names of an analyst's saved tables of this cycle."""
    here = (saved_table.c.analyst == analyst) & (saved_table.c.prefix == prefix) & (saved_table.c.db_name == db_name)
    found = connection.execute(select(saved_table.c.name, saved_table.c.cycles).where(here).order_by(saved_table.c.name)).all()
    return tuple(row.name for row in found if same_cycles(connection, json.loads(row.cycles)))


def drop_table(connection: Connection, analyst: str, prefix: str, db_name: str, name: str) -> None:
    """Forget a saved table.

    Raises: NotFound.
    """
    key = digest("saved", analyst, prefix, db_name, name)
    if connection.execute(delete(saved_table).where(saved_table.c.saved_key == key)).rowcount == 0:
        raise NotFound(f"There is no saved table {name}.")


# ---------------------------------------------------------------- twin cards
def publish_twin(connection: Connection, name: RowName, version: str, card: str) -> None:
    """Keep the card of a published twin; an existing card of this version is replaced and published again."""
    values = {"card": card, "retired": False, "time": rows.now(connection)}
    here = (twin_card.c.row_key == name.key) & (twin_card.c.version == check_name(version, "version", 32))
    if connection.execute(update(twin_card).where(here).values(values)).rowcount == 0:
        names = {"prefix": name.prefix, "db_name": name.db_name, "table_name": name.table_name}
        connection.execute(insert(twin_card).values(row_key=name.key, version=version, **names, **values))


def twins(connection: Connection, prefix: str | None, db_name: str | None, *, retired: bool) -> tuple[TwinCard, ...]:
    """Cards, newest first; ``retired`` includes those no longer offered."""
    statement = select(twin_card).order_by(twin_card.c.time.desc(), twin_card.c.id.desc())
    if prefix is not None:
        statement = statement.where(twin_card.c.prefix == prefix)
    if db_name is not None:
        statement = statement.where(twin_card.c.db_name == db_name)
    if not retired:
        statement = statement.where(~twin_card.c.retired)
    return tuple(
        TwinCard(row.prefix, row.db_name, row.table_name, row.version, row.card, bool(row.retired), shown_time(row.time))
        for row in connection.execute(statement)
    )


def retire_twin(connection: Connection, name: RowName, version: str) -> None:
    """Offer a twin no longer.

    Raises: NotFound.
    """
    here = (twin_card.c.row_key == name.key) & (twin_card.c.version == version) & ~twin_card.c.retired
    if connection.execute(update(twin_card).where(here).values(retired=True)).rowcount == 0:
        raise NotFound("There is no such twin.")


# ---------------------------------------------------------------- quotes
def count_quotes(connection: Connection, analyst: str, prefix: str, db_name: str, quotes: int) -> None:
    """Add to today's number of an analyst's quotes (UTC, the database's clock)."""
    day = rows.now(connection).strftime("%Y-%m-%d")
    key = digest("quotes", analyst, prefix, db_name, day)
    more = {"quotes": quote_count.c.quotes + quotes}
    if connection.execute(update(quote_count).where(quote_count.c.count_key == key).values(more)).rowcount == 0:
        connection.execute(
            insert(quote_count).values(count_key=key, analyst=analyst, prefix=prefix, db_name=db_name, day=day, quotes=quotes)
        )


def quote_counts(connection: Connection) -> tuple[tuple[str, str, str, str, int], ...]:
    """(day, analyst, prefix, db_name, quotes), newest day first."""
    columns = (quote_count.c.day, quote_count.c.analyst, quote_count.c.prefix, quote_count.c.db_name, quote_count.c.quotes)
    found = connection.execute(select(*columns).order_by(quote_count.c.day.desc(), quote_count.c.analyst)).all()
    return tuple((row.day, row.analyst, row.prefix, row.db_name, row.quotes) for row in found)
