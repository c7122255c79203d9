"""DuckDB files as a warehouse: read-only, cut off from the file system and the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import duckdb

from dpjupyter.engine.backends import BackendFailed
from dpjupyter.engine.backends.rows import plain_rows
from dpjupyter.engine.backends.watch import Watch
from dpjupyter.errors import PolicyError

CLOSING_S = 5.0  # close() waits this long for interrupted statements
IDLE_CURSORS = 16  # free cursors kept; more are made when more statements run at once

# An analyst's SQL must reach the declared tables and nothing else, even if a rule of the planner were wrong.
LOCKED = {
    "enable_external_access": "false",  # no files, no URLs, no ATTACH, no COPY
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "python_enable_replacements": "false",  # DuckDB would read Python variables by name
    "preserve_insertion_order": "false",  # rows are summed: their order costs memory and means nothing
    "lock_configuration": "true",
}
_SETTINGS = {"memory": "memory_limit", "threads": "threads"}  # URL parameter -> DuckDB's name


class DuckDBBackend:
    """Pool of cursors over one DuckDB database; each running statement has a cursor of its own."""

    dialect = "duckdb"

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Serve statements from an open connection, with whatever rights it has.

        The backend owns it from now on: close() closes it.
        """
        self._root = connection
        self._free: list[duckdb.DuckDBPyConnection] = []
        self._running = 0
        self._lock = threading.Condition()
        self._closed = threading.Event()

    @classmethod
    def open(cls, url: str) -> DuckDBBackend:
        """Open ``duckdb:///path/to/file.duckdb?memory=4GB&threads=4`` or ``duckdb:///:memory:``.

        The path is taken as it stands after the third slash: relative to the working directory,
        absolute with a fourth slash; a path found only from the root is taken from there.

        Raises: PolicyError: no such file, an unknown parameter, or a file that cannot be opened read-only.
        """
        path, settings = _read(url)
        try:
            if path is None:
                return cls(duckdb.connect(":memory:", config={**LOCKED, **settings}))
            return cls(duckdb.connect(str(path), read_only=True, config={**LOCKED, **settings}))
        except (duckdb.Error, OSError) as error:
            # The driver's text may show values of the file: only its kind is told.
            raise PolicyError(
                f"DuckDB database {path or ':memory:'} cannot be opened read-only ({type(error).__name__})",
                hint="Is it open for writing elsewhere, or written by another version of DuckDB?",
            ) from None

    def check(self) -> tuple[str, ...]:
        """Nothing to warn about: what open() locks cannot be widened."""
        return ()

    def fetch(
        self,
        sql: str,
        *,
        tag: str,
        timeout_s: float,
        cancelled: threading.Event,
        progress: Callable[[str], None] | None = None,
    ) -> list[tuple[object, ...]]:
        """Run one SELECT; see the Protocol."""
        del tag, progress  # DuckDB keeps no query history, and nothing is waited for
        if cancelled.is_set():
            raise BackendFailed("cancelled")
        cursor = self._take()
        watch = Watch(cursor.interrupt, cancelled, self._closed, timeout_s)
        try:
            with watch:
                rows = _select(cursor, sql)
        except Exception:  # noqa: BLE001 - whatever the driver raises may quote data
            reason = watch.reason or ("connection" if self._closed.is_set() else "statement")
        else:
            return plain_rows(rows)
        finally:
            self._give(cursor)
        raise BackendFailed(reason)  # outside the handler: the driver's error must not ride along as context

    def close(self) -> None:
        """Refuse new statements, interrupt the running ones, close everything."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            self._lock.wait_for(lambda: not self._running, CLOSING_S)
            for cursor in self._free:
                cursor.close()
            self._free.clear()
            if not self._running:
                self._root.close()

    def __repr__(self) -> str:
        return "DuckDBBackend(...)"

    def _take(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._closed.is_set():
                raise BackendFailed("connection")
            cursor = self._free.pop() if self._free else self._root.cursor()
            self._running += 1
            return cursor

    def _give(self, cursor: duckdb.DuckDBPyConnection) -> None:
        with self._lock:
            self._running -= 1
            self._lock.notify_all()
            if not self._closed.is_set() and len(self._free) < IDLE_CURSORS:
                self._free.append(cursor)
                return
        cursor.close()


def _select(cursor: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    # The engine renders SELECTs only; here is the last door, so it is looked at once more.
    statements = cursor.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise BackendFailed("statement")
    # fetchall() and not Arrow: as fast for integers at every size, and HUGEINT arrives as int (Arrow has no 128-bit integer).
    return cursor.execute(statements[0]).fetchall()


def _read(url: str) -> tuple[Path | None, dict[str, str]]:
    parts = urlsplit(url)
    if parts.scheme != "duckdb" or parts.netloc or not parts.path.startswith("/") or parts.path == "/":
        raise PolicyError(f"{url!r} is not the URL of a DuckDB file", hint="Write duckdb:///path/to/file.duckdb")
    settings: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _SETTINGS:
            raise PolicyError(f"{name!r} is not a parameter of a DuckDB URL", hint=f"Known: {', '.join(sorted(_SETTINGS))}.")
        settings[_SETTINGS[name]] = value
    text = unquote(parts.path)[1:]
    if text == ":memory:":
        return None, settings
    for path in (Path(text), Path("/", text)):
        if path.is_file():
            return path.resolve(), settings
    raise PolicyError(f"there is no DuckDB file {text}", hint="A relative path starts at the gateway's working directory.")
