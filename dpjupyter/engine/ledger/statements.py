"""The debit's statements, as text for the driver: others wait while they run, so they are few and lean.

Five statements and a commit, however many rows there are; MySQL gets the four that write in one message. Written once, for both
databases; every value is bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger.names import RowName
from dpjupyter.engine.ledger.schema import analyst_budget, budget_info


class Locked(NamedTuple):
    """What a debit must know of a budget row."""

    table_name: str
    row_key: str
    total_budget: float
    slack: float
    delta: float
    spent: accounting.Spent
    cycle: int
    head: tuple[int, str]  # seq and hash of the last link


class Paid(NamedTuple):
    """What a debit writes to a budget row. The middle four are added (prod_del: multiplied) by the database."""

    consumed_budget: float
    last_update_time: str
    sum_eps: float
    sum_del: float
    num_dpcall: int
    sum_sq_eps: float
    sum_exp_eps: float
    prod_del: float
    spent_pico_epsilon: int
    spent_pico_rho: int
    spent_atto_key_delta: int
    spent_atto_gauss_delta: int
    head_seq: int
    head_hash: str


_CHANGES = {"num_dpcall": "+", "sum_sq_eps": "+", "sum_exp_eps": "+", "prod_del": "*"}
# A row comes as one text: the driver, in pure Python, spends more on a column than the server on a row. Doubles are written
# by the servers so that they read back bit for bit, as in any result set.
_PACKED = (
    "spent_pico_epsilon", "spent_pico_rho", "spent_atto_key_delta", "spent_atto_gauss_delta", "cycle", "head_seq", "head_hash", "row_key",
    "total_budget", "slack", "delta",
)  # fmt: skip


def lock(
    connection: Connection, prefix: str, db_name: str, tables: Sequence[str], *, analyst: str, subjects: Sequence[str]
) -> tuple[list[tuple[Locked, Locked | None]], str, bool]:
    """Lock the rows of these tables of one database, in key order, each with the analyst's quota of it (None: there is none yet).

    Returns: the rows; the database's clock (ISO text, six digits); whether one of ``subjects`` is suspended.
    """
    statement = _lock(connection.dialect.name, len(tables), len(subjects))
    found = _run(connection, statement, (*subjects, analyst, prefix, db_name, *tables))
    if not found:
        return [], "", False
    pairs = [(_locked(name, row), _locked(name, quota) if quota else None) for name, row, quota, _ in found]
    time, stopped = found[0][3].split(",")
    return pairs, time, stopped == "1"


def _locked(table_name: str, packed: str) -> Locked:
    epsilon, rho, key_delta, gauss_delta, cycle, seq, link_hash, row_key, total_budget, slack, delta = packed.split(",")
    spent = accounting.Spent(int(epsilon), int(rho), int(key_delta), int(gauss_delta))
    return Locked(table_name, row_key, float(total_budget), float(slack), float(delta), spent, int(cycle), (int(seq), link_hash))


class Batch:
    """Statements that write, sent together in the order they were added."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._statements: list[tuple[str, tuple[Any, ...]]] = []

    def insert(self, table: Table, values: Sequence[dict[str, Any]]) -> None:
        """Insert rows that all have the same columns."""
        statement = _insert(self._dialect, table.name, tuple(values[0]), len(values))
        self._statements.append((statement, tuple(value for row in values for value in row.values())))

    def write(self, names: Sequence[RowName], paid: Sequence[Paid]) -> None:
        """Write what locked rows of one table have paid."""
        quota = names[0].analyst is not None
        keys = [(name.key,) if quota else (name.prefix, name.db_name, name.table_name, name.key) for name in names]
        values = [value for key, row in zip(keys, paid, strict=True) for value in (*key, *row)]
        self._statements.append((_write(self._dialect, len(names), quota=quota), tuple(values)))

    def write_unmetered(self, name: RowName, head: tuple[int, str]) -> None:
        """Count an answer that a row with strategy ``allow`` did not pay; the requirement's columns stay as they are."""
        mark = _mark(self._dialect)
        table = budget_info.name if name.analyst is None else analyst_budget.name
        change = f"unmetered_answers = unmetered_answers + 1, head_seq = {mark}, head_hash = {mark}"
        statement = f"UPDATE {table} SET {change} WHERE row_key = {mark}"  # noqa: S608 - constants
        self._statements.append((statement, (*head, name.key)))

    def run(self) -> None:
        """Send them; the server stops at the first that fails.

        Raises: IntegrityError.
        """
        if self._dialect == "sqlite":
            for statement, values in self._statements:
                _run(self._connection, statement, values)
            return
        text = "; ".join(statement for statement, _ in self._statements)
        _run(self._connection, text, tuple(value for _, values in self._statements for value in values))


def _run(connection: Connection, statement: str, values: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
    # SQLAlchemy's own execution would add a quarter to the time the rows stay locked; its errors are kept.
    dialect, driver = connection.dialect, connection.connection
    if not connection.in_transaction():
        connection.begin()
    cursor = driver.cursor()
    try:
        cursor.execute(statement, values)
        found = cursor.fetchall()
        while dialect.name != "sqlite" and cursor.nextset():
            pass  # the next statement's outcome: raises if it failed
    except dialect.loaded_dbapi.Error as error:
        lost = dialect.is_disconnect(error, driver.dbapi_connection, cursor)  # pyright: ignore[reportArgumentType]
        if lost:
            connection.invalidate(error)
        kind = dialect.loaded_dbapi.Error
        raise DBAPIError.instance(statement, None, error, kind, connection_invalidated=lost, dialect=dialect) from None
    except BaseException as error:
        # Interrupted in mid-reply: what is still to be read would answer the next statement.
        connection.invalidate(error)
        raise
    else:
        return found
    finally:
        with suppress(dialect.loaded_dbapi.Error):  # of a connection that is gone: what happened is being told already
            cursor.close()


# ---------------------------------------------------------------- texts
def _mark(dialect: str) -> str:
    return "?" if dialect == "sqlite" else "%s"


def _marks(dialect: str, count: int) -> str:
    return ", ".join([_mark(dialect)] * count)


@lru_cache
def _packed(dialect: str, table: str) -> str:
    names = [f"{table}.{name}" for name in _PACKED]
    if dialect != "sqlite":
        return f"CONCAT_WS(',', {', '.join(names)})"
    # SQLite itself shows 15 digits of a double.
    doubles = [f"printf('%!.17g', {name})" if name[2:] in ("total_budget", "slack", "delta") else name for name in names]
    return " || ',' || ".join(doubles)


@lru_cache
def _lock(dialect: str, tables: int, subjects: int) -> str:
    sqlite, mark = dialect == "sqlite", _mark(dialect)
    clock = "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'" if sqlite else "UTC_TIMESTAMP(6)"
    stopped = f"EXISTS (SELECT 1 FROM suspension WHERE subject IN ({_marks(dialect, subjects)}) AND active)"  # noqa: S608 - marks only
    told = f"{clock} || ',' || {stopped}" if sqlite else f"CONCAT_WS(',', CAST({clock} AS CHAR), {stopped})"
    columns = f"t.table_name, {_packed(dialect, 't')}, {_packed(dialect, 'q')}, {told}"
    # Without the hint a small table is scanned whole, and the scan waits for rows of other databases. LEFT JOIN keeps the
    # order of locks: a table's row, then the analyst's quota of it, then the next table's.
    hint = "" if sqlite else " FORCE INDEX (PRIMARY)"
    source = f"budget_info t{hint} LEFT JOIN analyst_budget q ON q.table_key = t.row_key AND q.analyst = {mark}"
    where = f"t.prefix = {mark} AND t.db_name = {mark} AND t.table_name IN ({_marks(dialect, tables)})"
    return f"SELECT {columns} FROM {source} WHERE {where} ORDER BY t.table_name{'' if sqlite else ' FOR UPDATE'}"  # noqa: S608 - constants


@lru_cache
def _insert(dialect: str, table: str, columns: tuple[str, ...], rows: int) -> str:
    one = f"({_marks(dialect, len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * rows)}"  # noqa: S608 - names of columns


@lru_cache
def _write(dialect: str, rows: int, *, quota: bool) -> str:
    # An UPDATE of several rows with different values: the rows exist and are locked, so the INSERT never happens. Its
    # constants only have to pass NOT NULL; a total of 1e-300 would refuse every query.
    table = analyst_budget if quota else budget_info
    keys = ("row_key",) if quota else ("prefix", "db_name", "table_name", "row_key")
    bound = (*keys, *Paid._fields)
    constants = {column.name: _constant(column.name) for column in table.columns if column.name not in bound}
    one = f"({_marks(dialect, len(bound))}, {', '.join(constants.values())})"
    begin = f"INSERT INTO {table.name} ({', '.join((*bound, *constants))}) VALUES {', '.join([one] * rows)}"  # noqa: S608 - names of columns
    old, new = (f"{table.name}.{{0}}", "excluded.{0}") if dialect == "sqlite" else ("{0}", "VALUES({0})")
    clause = "ON CONFLICT DO UPDATE SET" if dialect == "sqlite" else "ON DUPLICATE KEY UPDATE"

    def change(name: str) -> str:
        value = new.format(name)
        return f"{name} = {old.format(name)} {_CHANGES[name]} {value}" if name in _CHANGES else f"{name} = {value}"

    return f"{begin} {clause} {', '.join(map(change, Paid._fields))}"


def _constant(column: str) -> str:
    if column.endswith("_time"):
        return "'2000-01-01 00:00:00.000000'"
    told = {"exhausted_strategy": "'reject'", "total_budget": "1e-300", "recover_cycle": "1"}
    return told.get(column, "'0'" if column in _NAMES else "0")


_NAMES = ("analyst", "prefix", "db_name", "table_name")
