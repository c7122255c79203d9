"""Connections and transactions: what is retried, and what becomes LedgerUnavailable."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from dpjupyter.errors import LedgerUnavailable, PolicyError

Result = TypeVar("Result")

_ATTEMPTS = 12
_PATIENCE_S = 60  # after this long a transaction is not tried again
_RECONNECTS = 2  # connections of the pool may all be dead after a restart: the first failure empties it
# Deadlock, lock wait timeout, record changed since last read: the transaction is rolled back and may run again.
_MYSQL_AGAIN = (1213, 1205, 1020)
_BUSY_MS = 60_000
_UNAVAILABLE = "The ledger's database does not answer."
_HINT = "Nothing was charged unless a receipt says so; ask again with the same request id."


class Database:
    """One engine; runs functions inside transactions."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # SQLite has one writer anyway: threads queue here rather than poll the file lock.
        self._turn = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @property
    def dialect(self) -> str:
        """``sqlite``, ``mysql`` or ``mariadb``."""
        return self.engine.dialect.name

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in a transaction that writes nothing.

        Raises: LedgerUnavailable; whatever ``work`` raises.
        """
        return self._run(work, write=False)

    def write(self, work: Callable[[Connection], Result], *, conflicts: bool = False) -> Result:
        """Run ``work`` and commit, or change nothing.

        ``work`` may run several times (deadlock, lost connection before the commit) and must keep no state.

        With ``conflicts`` it also runs again when another connection inserted the same key first.

        Raises: LedgerUnavailable: also when the connection broke during the commit, so that it is not known whether
            it happened; IntegrityError; whatever ``work`` raises.
        """
        with self._turn:
            return self._run(work, write=True, conflicts=conflicts)

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()

    def _run(self, work: Callable[[Connection], Result], *, write: bool, conflicts: bool = False) -> Result:
        deadline = time.monotonic() + _PATIENCE_S
        for attempt in range(_ATTEMPTS):
            committing = False
            try:
                with self.engine.connect() as connection:
                    if write:
                        connection = connection.execution_options(dpjupyter_write=True)  # noqa: PLW2901
                    result = work(connection)
                    if write:
                        committing = True
                        connection.commit()
                    return result
            except IntegrityError:
                if not conflicts or attempt + 1 == _ATTEMPTS:
                    raise
            except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
                again = _may_run_again(error)
                lost = isinstance(error, DBAPIError) and error.connection_invalidated and not committing
                tired = attempt + 1 == _ATTEMPTS or time.monotonic() > deadline
                if tired or not (again or (lost and attempt < _RECONNECTS)):
                    raise LedgerUnavailable(_UNAVAILABLE, hint=_HINT) from None
                time.sleep(random.uniform(0, 0.005 * 2 ** min(attempt, 6)))  # noqa: S311 - jitter, not a secret
        raise LedgerUnavailable(_UNAVAILABLE, hint=_HINT)


def _may_run_again(error: Exception) -> bool:
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    code = error.orig.args[0] if error.orig.args else None
    if isinstance(code, int):
        return code in _MYSQL_AGAIN
    return "database is locked" in str(error.orig) or "database table is locked" in str(error.orig)


def connect(url: str, *, password: str | None = None, pool_size: int = 16, **connect_args: Any) -> Database:
    """Open a ledger's database; it is created where it does not exist and the account may.

    Args:
        url: ``sqlite:///path`` or ``mysql+pymysql://user@host/database`` (TLS by ``?ssl_ca=...`` and the like).
        password: kept out of the URL; from a file or the environment.
        pool_size: connections kept open to MySQL.
        connect_args: passed to the driver.
    Raises: PolicyError: the URL is of another kind. LedgerUnavailable.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise PolicyError("The ledger's URL cannot be read; use sqlite:///file or mysql+pymysql://user@host/database.") from None
    if password is not None:
        parsed = parsed.set(password=password)
    if parsed.get_backend_name() == "sqlite":
        return Database(_sqlite(parsed.database, connect_args))
    if parsed.get_backend_name() in ("mysql", "mariadb") and parsed.get_driver_name() == "pymysql":
        if not parsed.database:
            raise PolicyError("The ledger's URL names no database; use mysql+pymysql://user@host/database.")
        if parsed.password:
            # The driver would encode a text as Latin-1.
            connect_args = {"password": str(parsed.password).encode(), **connect_args}
        engine = _mysql(parsed, pool_size, connect_args)
        _create_database(parsed, engine, connect_args)
        return Database(engine)
    raise PolicyError("The ledger lives in SQLite or MySQL/MariaDB; use sqlite:///file or mysql+pymysql://user@host/database.")


def _sqlite(path: str | None, connect_args: dict[str, Any]) -> Engine:
    if not path or path == ":memory:" or path.startswith("file:"):
        raise PolicyError("A SQLite ledger needs a file: sqlite:///path/to/ledger.sqlite.")
    try:
        # Token hashes and answers are nobody else's business: the file is made private before SQLite opens it.
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError:
        raise LedgerUnavailable("The ledger's file cannot be opened.", hint="Check the folder and its permissions.") from None
    arguments = {"timeout": _BUSY_MS / 1000, "check_same_thread": False, "isolation_level": None, **connect_args}
    engine = create_engine(f"sqlite:///{path}", connect_args=arguments, poolclass=QueuePool, pool_size=8, max_overflow=24)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        # A transaction that will write takes the lock at once: a lock taken after a read can fail with "busy".
        write = connection.get_execution_options().get("dpjupyter_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


_SESSION = "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO', \
innodb_lock_wait_timeout = 50"


def _mysql(url: URL, pool_size: int, connect_args: dict[str, Any]) -> Engine:
    from pymysql.constants import CLIENT  # noqa: PLC0415 - the driver is an extra

    # READ COMMITTED: under REPEATABLE READ a plain read would show a snapshot older than the rows just locked.
    engine = create_engine(
        url,
        # Several statements in one message: only the debit's own, whose text is constant, are ever joined.
        connect_args={
            "charset": "utf8mb4",
            "client_flag": CLIENT.MULTI_STATEMENTS,
            "connect_timeout": 5,
            "read_timeout": 90,
            "write_timeout": 90,
            **connect_args,
        },
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=3 * pool_size,
        pool_timeout=30,
        pool_recycle=1800,
        pool_reset_on_return=None,  # every path commits or rolls back itself; a second rollback is a round trip
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        cursor = connection.cursor()
        cursor.execute(_SESSION)
        cursor.close()

    return engine


def _create_database(url: URL, engine: Engine, connect_args: dict[str, Any]) -> None:
    server = URL.create(url.drivername, url.username, url.password, url.host, url.port, query=url.query)
    bare = create_engine(server, connect_args={"charset": "utf8mb4", "connect_timeout": 5, **connect_args})
    try:
        with bare.connect() as connection:
            name = bare.dialect.identifier_preparer.quote_identifier(url.database or "")
            connection.exec_driver_sql(f"CREATE DATABASE IF NOT EXISTS {name.replace('%', '%%')} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    except DBAPIError:
        # Not allowed to create it, or the server is away: whether it exists is seen below.
        pass
    finally:
        bare.dispose()
    try:
        with engine.connect():
            pass
    except DBAPIError as error:
        code = error.orig.args[0] if error.orig is not None and error.orig.args else "?"
        raise LedgerUnavailable(
            f"The ledger's database cannot be opened (MySQL error {code}).", hint="Check host, database, account and password."
        ) from None
