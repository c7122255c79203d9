"""An in-memory DuckDB holding released tables only, where an analyst's post-processing runs."""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from functools import cache, lru_cache
from types import TracebackType
from typing import Any, Self

import duckdb
from sqlglot import exp

from dpjupyter.engine.intervals import ROW
from dpjupyter.engine.model import Kind, Measurement, Plan, SavedTable, SqlType, Value

LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",  # no files, no URLs, no ATTACH, no COPY
    "python_enable_replacements": "false",  # DuckDB would read Python variables by name
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "memory_limit": "512MB",  # of one answer: an analyst who needs more fails alone
    "max_temp_directory_size": "0KB",
    "threads": "1",  # answers are small; rows keep their order
    "lock_configuration": "true",
}

IDLE = 16  # instances kept for the next answers
MOST_VALUES = 1_000_000  # of one answer: joins of released tables can have any number of rows, and Python's memory has no limit
MOST_CHARACTERS = 64_000_000
_FETCHED = 1_000  # rows at a time

Column = tuple[str, str, Sequence[Value]]  # name, DuckDB type, values


@dataclass(frozen=True, slots=True)
class Released:
    """A released table as loaded: DuckDB type by column name."""

    rows: int
    types: Mapping[str, str]


@cache
def _idle() -> deque[duckdb.DuckDBPyConnection]:
    # Opening DuckDB takes longer than most answers, so an instance is used again; never by two answers at once: its memory
    # limit is that of one answer. Between answers it holds nothing: each works in temporary tables of a connection of its
    # own, which no other connection sees and which go with it.
    idle: deque[duckdb.DuckDBPyConnection] = deque()
    atexit.register(idle.clear)  # else the interpreter ends before they do, and the driver complains
    return idle


class Desk:
    """Context manager around one connection; its statements fail once ``timeout_s`` have passed."""

    def __init__(self, timeout_s: float) -> None:
        try:
            self._instance = _idle().pop()
        except IndexError:
            self._instance = duckdb.connect(":memory:", config=LOCKED)
        self._connection = self._instance.cursor()
        self._ends = time.monotonic() + timeout_s
        self._longest = 0  # rows of the longest table: what is as long as that has been read already

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()
        if len(_idle()) < IDLE:
            _idle().append(self._instance)
        else:
            self._instance.close()

    def hurry(self, timeout_s: float) -> None:
        """Allow at most this much more time from now on."""
        self._ends = min(self._ends, time.monotonic() + timeout_s)

    @contextmanager
    def _timed(self) -> Generator[None]:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise duckdb.InterruptException("out of time")
        alarm = threading.Timer(left, self._connection.interrupt)
        alarm.daemon = True
        alarm.start()
        try:
            yield
        finally:
            alarm.cancel()

    def _execute(self, sql: str, parameters: list[list[Value]] | None = None) -> None:
        with self._timed():
            self._connection.execute(sql, parameters or [])

    def load(self, name: str, columns: Sequence[Column]) -> Released:
        """Make a table of columns of values, with a column of row numbers beside them.

        Raises: duckdb.Error: a value does not fit its type.
        """
        rows = len(columns[0][2]) if columns else 1
        self._longest = max(self._longest, rows)
        numbered: list[Column] = [*columns, (ROW, "BIGINT", range(rows))]
        self._execute(_loading(name, tuple((column, type_) for column, type_, _ in numbered)), [list(values) for _, _, values in numbered])
        return Released(rows, {column: type_ for column, type_, _ in numbered})

    def create(self, name: str, query: exp.Query) -> None:
        """Keep a query's result as a table."""
        self._execute(_creating(name, query))

    def bind(self, query: exp.Query) -> None:
        """Resolve names and types of a query without running it.

        Raises: duckdb.Error: they do not fit.
        """
        self._execute("EXPLAIN " + query.sql("duckdb", copy=False))

    def offer(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Make numpy arrays readable as a table, without copying them."""
        self._connection.register(name, dict(arrays))

    def rows(self, query: exp.Query) -> tuple[list[str], list[tuple[object, ...]]]:
        """Column names and rows of one SELECT.

        Raises: duckdb.Error: it failed, took too long, or has too many rows.
        """
        # execute() returns with the first rows and the others are computed while they are fetched: the clock runs on.
        with self._timed():
            cursor = self._connection.execute(query.sql("duckdb", copy=False))
            names = [description[0] for description in cursor.description or ()]
            texts = [n for n, description in enumerate(cursor.description or ()) if str(description[1]) == "VARCHAR"]
            rows: list[tuple[object, ...]] = []
            characters = 0
            while found := cursor.fetchmany(_FETCHED):
                rows += found
                characters += sum(len(row[n]) for row in found for n in texts if row[n] is not None)
                if (len(rows) * len(names) > MOST_VALUES and len(rows) > self._longest) or characters > MOST_CHARACTERS:
                    raise duckdb.OutOfRangeException("the answer is too long")
                if time.monotonic() > self._ends:
                    raise duckdb.InterruptException("out of time")
        return names, rows


def _creating(name: str, query: exp.Query) -> str:
    temporary = exp.Properties(expressions=[exp.TemporaryProperty()])
    table = exp.Table(this=exp.to_identifier(name, quoted=True))
    return exp.Create(this=table, kind="TABLE", expression=query, properties=temporary).sql("duckdb", copy=False)


@lru_cache(maxsize=256)
def _loading(name: str, columns: tuple[tuple[str, str], ...]) -> str:
    """The statement that makes a table of lists bound to it, one per column."""
    unnested: list[exp.Expression] = []
    for n, (column, type_) in enumerate(columns, 1):
        values = exp.cast(exp.Parameter(this=exp.Literal.number(n)), exp.DataType.build(f"{type_}[]", dialect="duckdb"))
        spread = exp.Anonymous(this="UNNEST", expressions=[values])
        unnested.append(exp.Alias(this=spread, alias=exp.to_identifier(column, quoted=True)))
    return _creating(name, exp.Select(expressions=unnested))


def shown(value: object, type_: SqlType) -> Value:
    """A cell of DuckDB's result as it is shown. NaN and infinities become NULL: JSON has neither, and neither says more."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case float() if type_.kind is Kind.INT and value.is_integer():
            return int(value)
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return int(value) if type_.kind is Kind.INT and value == value.to_integral_value() else float(value)
        case datetime():  # before date: a datetime is one
            return value.isoformat(sep=" ")
        case date() | time_of_day():
            return value.isoformat()
        case _:
            return str(value)


def duckdb_type(type_: SqlType) -> str:
    """DuckDB's type for values of a warehouse's column, by its family."""
    match type_.kind:
        case Kind.BOOL:
            return "BOOLEAN"
        case Kind.INT:
            return "BIGINT" if 0 < type_.bits <= 64 else "HUGEINT"
        case Kind.DECIMAL:
            return f"DECIMAL({type_.precision},{type_.scale})"
        case Kind.FLOAT:
            return "DOUBLE"
        case Kind.DATE:
            return "DATE"
        case Kind.TIMESTAMP:
            return "TIMESTAMP"
        case Kind.TIME:
            return "TIME"
        case Kind.TEXT | Kind.NULL | Kind.OTHER:
            return "VARCHAR"


def measured_columns(m: Measurement, rows: Sequence[tuple[Value, ...]]) -> list[Column]:
    """Columns of a released table: keys, then statistics in their own unit and selections, in the order of the parts."""
    transposed: list[Sequence[Value]] = list(zip(*rows, strict=True)) if rows else []
    values = iter(transposed)
    columns: list[Column] = [(key.name, duckdb_type(key.facts.type), next(values, ())) for key in m.keys]
    for part in m.parts:
        for statistic in part.statistics:
            integers = [v for v in next(values, ()) if isinstance(v, int)]
            if statistic.grid == 1:
                narrow = all(-(2**63) <= v < 2**63 for v in integers)
                columns.append((statistic.name, "BIGINT" if narrow else "HUGEINT", integers))
            else:
                columns.append((statistic.name, "DOUBLE", [float(v * statistic.grid) for v in integers]))
        columns.extend((selection.name, duckdb_type(selection.type), next(values, ())) for selection in part.selections)
    return columns


def public_columns(plan: Plan, name: str, rows: Sequence[tuple[object, ...]]) -> list[Column]:
    """Columns of a public table, read exactly."""
    declared = next(p.columns for p in plan.publics if p.name == name)
    values: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(declared)
    return [(column, duckdb_type(type_), given) for (column, type_), given in zip(declared, values, strict=True)]


def saved_columns(name: str, table: SavedTable) -> list[Column]:
    """Columns of a table the analyst kept, under the names that its scan gives them."""
    return [(f"{name}_{n}", duckdb_type(column.type), column.values) for n, column in enumerate(table.columns)]
