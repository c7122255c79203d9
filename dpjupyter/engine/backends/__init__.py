"""Warehouses. Add one by writing a class that keeps this Protocol's promises and naming it in ``open_backend``."""

from __future__ import annotations

import threading
from typing import Protocol


class Backend(Protocol):
    """A connection pool to one database of a warehouse, read-only."""

    dialect: str  # sqlglot dialect its statements are rendered in: "duckdb" or "snowflake"

    def fetch(self, sql: str, *, tag: str, timeout_s: float, cancelled: threading.Event) -> list[tuple[object, ...]]:
        """Run one statement and return its rows.

        Thread-safe. ``tag`` (the request id) is shown in the warehouse's query history.
        Setting ``cancelled`` stops the statement in the warehouse.

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
