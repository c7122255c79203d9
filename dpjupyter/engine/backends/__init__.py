"""Warehouses. Add one by writing a class that keeps this Protocol's promises and naming it in ``open_backend``.

``describe`` reads what a warehouse declares about its tables; ``skeleton`` makes a policy file of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Backend(Protocol):
    """A connection pool to one database of a warehouse, read-only."""

    dialect: str  # sqlglot dialect its statements are rendered in: "duckdb" or "snowflake"

    def check(self) -> tuple[str, ...]:
        """Connect once, and say in sentences for the owner what is wider than it need be (rights, file modes).

        Raises: PolicyError: the warehouse refuses these credentials or cannot be reached.
        """
        ...

    def fetch(
        self,
        sql: str,
        *,
        tag: str,
        timeout_s: float,
        cancelled: threading.Event,
        progress: Callable[[str], None] | None = None,
    ) -> list[tuple[object, ...]]:
        """Run one SELECT and return its rows as plain values (model.Value): exact ints, floats, text, None.

        Dates, times and timestamps are ISO text (``2020-01-31 10:00:00``), decimals with a fraction are floats.
        Thread-safe. ``tag`` (the request id) is shown in the warehouse's query history.
        Setting ``cancelled`` stops the statement in the warehouse. ``progress`` is told, from the calling
        thread, whether the statement waits for the warehouse: ``waits.WAITING`` or ``waits.RUNNING``.

        Raises: BackendFailed: for any reason; it never carries the driver's text.
        """
        ...

    def close(self) -> None:
        """Give back all connections."""
        ...


class BackendFailed(Exception):
    """The statement did not complete. ``reason`` is one of: timeout, cancelled, connection, statement."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_backend(url: str) -> Backend:
    """Open a backend by its URL: ``duckdb:///path/to/file``, ``snowflake://connection_name``.

    Raises: PolicyError: the URL names no known backend or cannot be opened.
    """
    from dpjupyter.errors import PolicyError  # noqa: PLC0415

    kind = url.partition(":")[0]
    if kind == "duckdb":
        from dpjupyter.engine.backends.duckdb import DuckDBBackend  # noqa: PLC0415 - heavy

        return DuckDBBackend.open(url)
    if kind == "snowflake":
        from dpjupyter.engine.backends.snowflake import SnowflakeBackend  # noqa: PLC0415 - 1 s, 145 MB

        return SnowflakeBackend.open(url)
    raise PolicyError(f"backend {kind!r} is not known; use duckdb:///file or snowflake://connection")
