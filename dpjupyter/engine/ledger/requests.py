"""Requests after (or instead of) their debit: filed answers, failures, retries, cancellation, refused and cached ones."""

from __future__ import annotations

import json
import zlib
from datetime import timedelta

from sqlalchemy import Connection, func, select, update

from dpjupyter.engine.ledger import Asked, Verdict, rows
from dpjupyter.engine.ledger.access import analyst_subject, refuse_suspended, suspend
from dpjupyter.engine.ledger.chain import analyst_chain, append, sql_sha256, storable
from dpjupyter.engine.ledger.names import request_key
from dpjupyter.engine.ledger.schema import analyst_budget, budget_info, request, suspension, utc_now
from dpjupyter.errors import QueryFailed, RequestReused

_MAX_REASON = 2000
_SETTLE = 100  # lost requests settled in one transaction


def replay(connection: Connection, asked: Asked) -> str | None:
    """The filed answer of this request id, or None when the id is new.

    Raises: RequestReused, QueryFailed, Suspended.
    """
    refuse_suspended(connection, asked.analyst, asked.prefix, asked.db_name, ())
    key = request_key(asked.analyst, asked.request_id)
    columns = (request.c.body_sha256, request.c.state, request.c.answer)
    row = connection.execute(select(*columns).where(request.c.request_key == key)).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != asked.body_sha256:
        raise RequestReused("This request id was used with another question.", hint="Use a new request id.")
    if row.state != "answered" or row.answer is None:
        raise QueryFailed(asked.request_id)
    return unpack(row.answer)


def release(connection: Connection, fingerprint: str) -> str | None:
    """The newest filed answer to the same question, if every row it was charged to is still in that cycle.

    Raises: Suspended: one of its tables is.
    """
    statement = select(request.c.cycles, request.c.answer).where(
        request.c.fingerprint == fingerprint, request.c.state == "answered", request.c.answer.is_not(None)
    )
    row = connection.execute(statement.order_by(request.c.id.desc()).limit(1)).first()
    if row is None:
        return None
    cycles: dict[str, int] = json.loads(row.cycles)
    if not same_cycles(connection, cycles):
        return None
    tables = connection.execute(select(budget_info).where(budget_info.c.row_key.in_(sorted(cycles)))).all()
    if tables:
        refuse_suspended(connection, None, tables[0].prefix, tables[0].db_name, [table.table_name for table in tables])
    return unpack(row.answer)


def same_cycles(connection: Connection, cycles: dict[str, int]) -> bool:
    """Whether each of these budget rows exists and is in the given cycle."""
    found: dict[str, int] = {}
    for table in (budget_info, analyst_budget):
        for row in connection.execute(select(table.c.row_key, table.c.cycle).where(table.c.row_key.in_(sorted(cycles)))):
            found[row.row_key] = row.cycle
    return found == cycles


def file(connection: Connection, asked: Asked, answer_json: str) -> None:
    """Keep the answer of a debited request. Filing the same answer again is harmless.

    Raises: QueryFailed: the request was never debited, or was given up meanwhile.
    """
    key = request_key(asked.analyst, asked.request_id)
    packed = zlib.compress(answer_json.encode("utf-8", "replace"), 6)
    here = (request.c.request_key == key) & (request.c.state == "debited")
    values = {"state": "answered", "answer": packed, "outcome_time": utc_now()}
    if connection.execute(update(request).where(here).values(values)).rowcount == 1:
        return
    filed = connection.execute(select(request.c.state, request.c.answer).where(request.c.request_key == key)).one_or_none()
    if filed is None or filed.state != "answered" or filed.answer is None or unpack(filed.answer) != answer_json:
        raise QueryFailed(asked.request_id)


def failed(connection: Connection, analyst: str, request_id: str) -> None:
    """Mark a debited request as failed; too many in a cycle suspend the analyst until lifted."""
    here = request.c.request_key == request_key(analyst, request_id)
    row = connection.execute(select(request).where(here).with_for_update()).one_or_none()
    if row is None or row.state != "debited":
        return
    connection.execute(update(request).where(here).values(state="failed", outcome_time=utc_now()))
    quotas = connection.execute(
        select(func.min(analyst_budget.c.last_recover_time)).where(analyst_budget.c.row_key.in_(sorted(json.loads(row.cycles))))
    ).scalar_one()
    state = connection.execute(
        select(suspension.c.active, suspension.c.lift_time).where(suspension.c.subject == analyst_subject(analyst))
    ).one_or_none()
    if state is not None and state.active:
        return
    since = max((time for time in (quotas, state.lift_time if state else None) if time is not None), default=None)
    count = select(func.count()).select_from(request).where(request.c.analyst == analyst, request.c.state == "failed")
    if since is not None:
        count = count.where(request.c.outcome_time > since)
    failures = connection.execute(count).scalar_one()
    if failures >= row.max_failures:
        suspend(connection, analyst, None, None, None, reason=f"{failures} charged requests failed in this cycle", by="dpjupyter")


def lost(connection: Connection, older_than_s: int) -> tuple[tuple[str, str], ...]:
    """(analyst, request id) of requests debited this long ago and still without outcome: their gateway died."""
    cutoff = rows.now(connection) - timedelta(seconds=older_than_s)
    statement = select(request.c.analyst, request.c.request_id).where(request.c.state == "debited", request.c.time < cutoff).limit(_SETTLE)
    return tuple((row.analyst, row.request_id) for row in connection.execute(statement))


def cancel(connection: Connection, analyst: str, request_id: str) -> None:
    """Ask whichever replica runs this request to stop it. Says nothing about whether it runs."""
    here = (request.c.request_key == request_key(analyst, request_id)) & (request.c.state == "debited")
    connection.execute(update(request).where(here).values(cancelled=True))


def cancel_requested(connection: Connection, analyst: str, request_id: str) -> bool:
    """Whether a running request is to be stopped."""
    key = request_key(analyst, request_id)
    return bool(connection.execute(select(request.c.cancelled).where(request.c.request_key == key)).scalar_one_or_none())


def record(connection: Connection, asked: Asked, verdict: Verdict, reason: str) -> None:
    """Append a request that was not debited to its analyst's own chain."""
    sql = storable(asked.sql)
    append(
        connection,
        analyst_chain(asked.analyst),
        asked.analyst,
        rows.now(connection),
        verdict,
        analyst=asked.analyst,
        request_id=asked.request_id,
        prefix=asked.prefix,
        db_name=asked.db_name,
        checksum=asked.checksum,
        sql_sha256=sql_sha256(sql),
        sql_text=sql,
        detail=storable(reason)[:_MAX_REASON],
    )


def unpack(packed: bytes) -> str:
    """A filed answer's JSON."""
    return zlib.decompress(packed).decode()
