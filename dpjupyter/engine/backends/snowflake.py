"""Snowflake as a warehouse: a pool of Snowpark sessions, each answering one statement at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dpjupyter.engine.backends import BackendFailed
from dpjupyter.engine.backends.rows import plain_rows
from dpjupyter.engine.backends.snowflake_session import GONE, Run, close, code_of, login, reason_of, role_warnings, statement
from dpjupyter.engine.backends.snowflake_settings import Settings, read
from dpjupyter.errors import PolicyError

if TYPE_CHECKING:
    from snowflake.snowpark import Session

log = logging.getLogger(__name__)

STEP_S = 0.02  # how often the caller looks at its cancelled event
GRACE_S = 0.5  # a cancelled caller waits this long for the cancel to be sent; the sending goes on without it
CLOSING_S = 5.0  # close() waits this long for the logouts
STATEMENT_LIMIT_S = 86_400


class SnowflakeBackend:
    """Runs statements on Snowflake: submitted asynchronously, tagged, timed, cancelled by id, fetched as Arrow.

    Sessions are opened when first needed, at most ``Settings.pool`` of them, and replaced when they expire.
    """

    dialect = "snowflake"

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet: the first statement, or check(), logs in."""
        self._settings = settings
        self._slots = threading.BoundedSemaphore(settings.pool)
        self._free: list[Session] = []
        self._lock = threading.Lock()
        self._closed = False
        self._checked = False
        self.warnings: tuple[str, ...] = settings.warnings

    @classmethod
    def open(cls, url: str) -> SnowflakeBackend:
        """Log in once, so that a warehouse that cannot be reached is known before anybody is charged.

        See :func:`snowflake_settings.read` for the URL's form.

        Raises: PolicyError: the URL is wrong, holds a secret, or names files that are not there; or as check().
        """
        backend = cls(read(url))
        for warning in backend.warnings:
            log.warning("snowflake: %s", warning)
        backend.check()
        return backend

    def check(self) -> tuple[str, ...]:
        """Log in once and say what is too wide about the role.

        Raises: PolicyError: no login is possible with these settings.
        """
        try:
            session = self._take()
        except Exception as error:  # noqa: BLE001 - the driver's text may hold the account's secrets
            reason = f"{type(error).__name__} {code_of(error) or ''}".rstrip()
        else:
            self._end(session, reusable=True)
            return self.warnings
        hint = "See docs/snowflake.md, 'When it does not connect'."
        raise PolicyError(f"Snowflake refuses the login or cannot be reached ({reason})", hint=hint)

    def fetch(
        self,
        sql: str,
        *,
        tag: str,
        timeout_s: float,
        cancelled: threading.Event,
        progress: Callable[[str], None] | None = None,
    ) -> list[tuple[object, ...]]:
        """Run one statement; see the Protocol.

        ``progress`` is told, from this thread, whether the statement waits for the warehouse.
        """
        deadline = time.monotonic() + timeout_s
        self._wait_for_slot(deadline, cancelled)
        try:
            seconds = str(min(STATEMENT_LIMIT_S, max(1, -int(-timeout_s // 1))))
            run = Run(sql, {"QUERY_TAG": tag, "STATEMENT_TIMEOUT_IN_SECONDS": seconds})
            # The driver blocks; a thread of its own lets the caller leave at once when cancelled.
            threading.Thread(target=self._drive, args=(run,), name="dpjupyter-snowflake", daemon=True).start()
            return self._follow(run, deadline, cancelled, progress)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Refuse new statements, close idle sessions; running ones close theirs when they end."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        closing = [threading.Thread(target=close, args=(session,), daemon=True) for session in free]
        for thread in closing:
            thread.start()
        until = time.monotonic() + CLOSING_S
        for thread in closing:
            thread.join(max(0.0, until - time.monotonic()))

    def __repr__(self) -> str:
        return "SnowflakeBackend(...)"

    # ---------------------------------------------------------------- the caller's side
    def _wait_for_slot(self, deadline: float, cancelled: threading.Event) -> None:
        while True:
            if self._closed:
                raise BackendFailed("connection")
            if cancelled.is_set():
                raise BackendFailed("cancelled")
            if self._slots.acquire(timeout=STEP_S):
                return
            if time.monotonic() > deadline:
                raise BackendFailed("timeout")

    def _follow(
        self, run: Run, deadline: float, cancelled: threading.Event, progress: Callable[[str], None] | None
    ) -> list[tuple[object, ...]]:
        told = ""
        while not run.done.wait(STEP_S):
            if progress is not None and run.state != told:
                told = run.state
                progress(told)
            if cancelled.is_set():
                reason = "cancelled"
            elif time.monotonic() > deadline:
                reason = "timeout"
            elif self._closed:
                reason = "connection"
            else:
                continue
            run.stop.set()
            run.done.wait(GRACE_S)
            raise BackendFailed(reason)
        if run.rows is None:
            raise BackendFailed(run.reason)
        return run.rows

    # ---------------------------------------------------------------- the session's side
    def _drive(self, run: Run) -> None:
        try:
            if not self._attempt(run, fresh=False):
                self._attempt(run, fresh=True)
        finally:
            run.done.set()

    def _attempt(self, run: Run, *, fresh: bool) -> bool:
        """Run the statement once. False: the session had expired before it ran, and a new login may help."""
        session: Session | None = None
        try:
            session = self._take(fresh=fresh)
            run.rows = plain_rows(statement(session, run))
        except Exception as error:  # noqa: BLE001 - the driver's errors hold SQL and data: only a reason leaves
            code = code_of(error)
            run.reason = "connection" if session is None else reason_of(error)
            # The owner's log gets numbers; the text that belongs to them is in the warehouse's own history.
            log.warning("snowflake: request %s, query %s: %s, code %s", run.parameters["QUERY_TAG"], run.query_id or "-", run.reason, code)
            if session is not None:
                self._end(session, reusable=run.reason == "statement" and not run.stop.is_set())
                return not (code in GONE and not run.stop.is_set())
        else:
            self._end(session, reusable=True)
        return True

    def _take(self, *, fresh: bool = False) -> Session:
        with self._lock:
            if self._closed:
                raise BackendFailed("connection")
            if fresh:
                # One session has expired, so the idle ones have too.
                stale, self._free = self._free, []
            elif self._free:
                return self._free.pop()
            else:
                stale = []
        for session in stale:
            threading.Thread(target=close, args=(session,), daemon=True).start()
        session = login(self._settings)
        self._check_role(session)
        return session

    def _end(self, session: Session, *, reusable: bool) -> None:
        if reusable:
            with self._lock:
                if not self._closed and len(self._free) < self._settings.pool:
                    self._free.append(session)
                    return
        close(session)

    def _check_role(self, session: Session) -> None:
        with self._lock:
            if self._checked:
                return
            self._checked = True
        found = role_warnings(session)
        self.warnings += tuple(found)
        for warning in found:
            log.warning("snowflake: %s", warning)
