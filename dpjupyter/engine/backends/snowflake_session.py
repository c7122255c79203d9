"""One Snowpark session: log in, run a statement, read its errors. The pool is in ``snowflake``."""

from __future__ import annotations

import atexit
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dpjupyter.engine.backends.snowflake_grants import quoted, wider_rights
from dpjupyter.engine.backends.snowflake_settings import Settings
from dpjupyter.engine.backends.waits import RUNNING, WAITING

if TYPE_CHECKING:
    from snowflake.snowpark import Session

FIRST_POLL_S, LAST_POLL_S = 0.01, 0.5  # how often the statement's status is asked for: after a twelfth more of the time it took so far

# Session gone, tokens expired, connection closed: a new login helps, and the statement has not run.
GONE = frozenset({390104, 390110, 390111, 390112, 390113, 390114, 390115, 390195, 390318, 250002})
TIMED_OUT = frozenset({630})  # "Statement reached its statement or warehouse timeout"
CANCELLED = frozenset({604})  # "SQL execution canceled"
NO_WAREHOUSE = frozenset({606, 90073})  # none in the session; suspended and may not resume by itself
CONNECTOR = range(250_000, 252_000)  # the connector's own numbers for login and network
STATES: dict[str, str] = dict.fromkeys(("QUEUED", "RESUMING_WAREHOUSE", "QUEUED_REPARING_WAREHOUSE"), WAITING)  # all others: running
# What an account or user may have set otherwise, and statements or results would silently change with it.
SESSION = {
    "QUERY_TAG": "dpjupyter",
    "ABORT_DETACHED_QUERY": True,  # a gateway that dies leaves nothing running
    "MULTI_STATEMENT_COUNT": 1,
    "ROWS_PER_RESULTSET": 0,  # a limit here would cut groups off without a word
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    "TIMEZONE": "UTC",
    "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
    "DATE_INPUT_FORMAT": "AUTO",
    "TIME_INPUT_FORMAT": "AUTO",
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS",
    "WEEK_START": 0,
    "WEEK_OF_YEAR_POLICY": 0,
    "CLIENT_TELEMETRY_ENABLED": False,
    "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False,
}
_SELECT = re.compile(r"[\s(]*(SELECT|WITH)\b", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"]|\"\")*\"", re.DOTALL)


class Stopped(Exception):
    """The caller has given up, or the statement is not one to run."""


@dataclass(slots=True, repr=False)
class Run:
    """One statement under way, shared by the caller and the thread that drives the session."""

    sql: str
    parameters: Mapping[str, str]  # statement level: query tag and timeout
    stop: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    state: str = RUNNING
    query_id: str = ""
    rows: list[tuple[object, ...]] | None = None
    reason: str = "statement"


def login(settings: Settings) -> Session:
    """Open a session with the settings and the secrets as they are now.

    Raises: whatever the driver raises; its text may hold account and user.
    """
    # The driver logs statements and error texts, which hold literals and data.
    logging.getLogger("snowflake").setLevel(logging.CRITICAL)
    from snowflake.snowpark import Session  # noqa: PLC0415 - 1 s and 145 MB

    options: dict[str, Any] = {
        "network_timeout": 660,  # above the gateway's longest question: the driver gives up on a submission after it
        "login_timeout": 60,
        "secondary_roles": "NONE",  # else every role of the user would count
        "client_session_keep_alive": False,
        "log_imported_packages_in_telemetry": False,
        "platform_detection_timeout_seconds": 0.0,  # no probing of cloud metadata services
        **settings.login(),
        "session_parameters": dict(SESSION),
    }
    session = Session.builder.configs(options).create()
    # Both log out at the interpreter's exit and would wait there for a server that is gone.
    for holder in (session, session.connection):
        atexit.unregister(getattr(holder, "_close_at_exit", None))  # type: ignore[arg-type]
    _silence_timer(session)
    return session


def _silence_timer(session: Session) -> None:
    """Let the driver's own timer fail without a word.

    It asks the server to abort a request in a thread that nobody joins: where the server is gone, the traceback
    would be printed, with the request's headers and URL among its frames.
    """
    abort = session.connection._cancel_query  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def quiet(sql: str, request_id: Any) -> dict[str, bool | None]:
        try:
            return abort(sql, request_id)
        except Exception:  # noqa: BLE001 - STATEMENT_TIMEOUT and ABORT_DETACHED_QUERY end the statement all the same
            return {"success": False}

    session.connection._cancel_query = quiet  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def statement(session: Session, run: Run) -> list[tuple[object, ...]]:
    """Submit, wait, fetch: the rows as the driver gives them.

    Raises: Stopped, or whatever the driver raises.
    """
    # The engine renders single SELECTs only; this is the last door, so the text is looked at once more.
    if run.stop.is_set() or not _SELECT.match(run.sql) or ";" in _QUOTED.sub("", run.sql):
        raise Stopped
    job = session.sql(run.sql).collect_nowait(statement_params=dict(run.parameters), log_on_exception=False)
    run.query_id = job.query_id
    started = time.monotonic()
    connection = session.connection
    while True:
        status = connection.get_query_status_throw_if_error(job.query_id)
        if not connection.is_still_running(status):
            break
        run.state = STATES.get(status.name, RUNNING)
        if run.stop.wait(min(LAST_POLL_S, max(FIRST_POLL_S, (time.monotonic() - started) / 12))):
            break
    if run.stop.is_set():
        job.cancel()
        raise Stopped
    # query_id is the server's own UUID, not text of the analyst's.
    result = session.sql(f"SELECT * FROM TABLE(RESULT_SCAN('{job.query_id}'))")  # noqa: S608
    return tuples(result.to_arrow(statement_params=dict(run.parameters)))


def tuples(table: Any) -> list[tuple[object, ...]]:
    """Rows of an Arrow table (pyarrow has no types of its own) as Python objects."""
    import pyarrow as pa  # noqa: PLC0415

    columns: list[list[object]] = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            # Python has no nanoseconds; without this the values would be pandas objects.
            column = column.cast(pa.timestamp("us", kind.tz), safe=False)  # noqa: PLW2901
        elif pa.types.is_time64(kind):
            column = column.cast(pa.time64("us"), safe=False)  # noqa: PLW2901
        columns.append(column.to_pylist())
    return list(zip(*columns, strict=True)) if columns else []


def role_warnings(session: Session) -> list[str]:
    """What the session's role may do beyond reading, or that this could not be seen."""

    def grants(role: str) -> list[dict[str, object]]:
        return rows(session, f"SHOW GRANTS TO ROLE {quoted(role)}")

    try:
        (role,) = rows(session, "SELECT CURRENT_ROLE() AS role")
        return wider_rights(str(next(iter(role.values()))), grants)
    except Exception:  # noqa: BLE001 - a check that fails is itself the warning
        return ["the role's grants could not be read: make sure that it may only SELECT from the declared tables"]


def rows(session: Session, sql: str) -> list[dict[str, object]]:
    """Rows of a catalogue statement by lower-case column name (of columns with one name, the first)."""
    with session.connection.cursor() as cursor:
        cursor.execute(sql)
        names = [column.name.lower() for column in cursor.description]
        found: list[Any] = cursor.fetchall()
    return [dict(zip(reversed(names), reversed(row), strict=True)) for row in found]


def close(session: Session) -> None:
    """Log out; a server that does not answer is not waited for."""
    try:
        # With unfinished statements on its list the driver would ask for each, retry, and leave the session open;
        # here nobody waits for them any more, and logging out aborts them.
        getattr(session.connection, "_async_sfqids", {}).clear()
        session.connection.close(retry=False)
        session.close()  # forgets the session in Snowpark's own register
    except Exception:  # noqa: BLE001, S110 - there is nobody left to tell
        pass


def code_of(error: Exception) -> int | None:
    """The driver's error number, through Snowpark's wrapping."""
    for candidate in (error, getattr(error, "conn_error", None), error.__cause__, error.__context__):
        number = getattr(candidate, "errno", None) or getattr(candidate, "sql_error_code", None)
        if isinstance(number, int) and number > 0:
            return number
    return None


def reason_of(error: Exception) -> str:
    """BackendFailed's reason for what the driver raised."""
    code = code_of(error)
    if code in TIMED_OUT:
        return "timeout"
    if code in CANCELLED:
        return "cancelled"
    if code in GONE or code in NO_WAREHOUSE or (code is not None and code in CONNECTOR):
        return "connection"
    return "connection" if type(error).__name__ in ("SnowparkSessionException", "OperationalError", "InterfaceError") else "statement"
