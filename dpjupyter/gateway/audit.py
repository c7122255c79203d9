"""The audit log as one row per request. The ledger keeps one link per budget row that a request was charged to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dpjupyter import wire
from dpjupyter.engine.ledger.records import AuditFilter
from dpjupyter.engine.ledger.records import AuditRow as Link
from dpjupyter.engine.ledger.store import LedgerStore

CHARGED = ("debit", "unmetered")
FREE = ("refused", "cached", "answered", "failed")  # the last two: of saved and public tables alone
MOST_LINKS = 50_000  # newest links looked at for one page; older ones are reached with `until`


def _utc(time: datetime | None) -> datetime | None:
    if time is None or time.tzinfo is None:
        return time
    return time.astimezone(UTC).replace(tzinfo=None)


Time = Annotated[datetime | None, AfterValidator(_utc)]


class AuditQuery(BaseModel):
    """Filters of /audit; all that are given must hold."""

    model_config = ConfigDict(extra="forbid")

    analyst: wire.Name | None = None
    table: wire.Name | None = None
    verdict: Literal["answered", "cached", "refused", "failed", "unmetered", "debited"] | None = None
    since: Time = None  # UTC unless a zone is given
    until: Time = None
    limit: int = Field(default=100, ge=1, le=10_000)
    offset: int = Field(default=0, ge=0, le=1_000_000)
    format: Literal["json", "csv"] = "json"


def read(ledger: LedgerStore, query: AuditQuery) -> tuple[list[wire.AuditRow], int]:
    """Requests that match, newest first, and how many there are (among the newest MOST_LINKS links)."""
    wanted = AuditFilter(
        analyst=query.analyst, kinds=(*CHARGED, *FREE), quota=False, since=query.since, until=query.until, limit=MOST_LINKS
    )
    rows = [row for row in requests(ledger.audit_rows(wanted)) if _matches(row, query)]
    return rows[query.offset : query.offset + query.limit], len(rows)


def requests(links: tuple[Link, ...]) -> list[wire.AuditRow]:
    """Links of shared budget rows, newest first, joined to one row per request."""
    result: list[wire.AuditRow] = []
    charged: dict[tuple[str, str], wire.AuditRow] = {}
    for link in links:
        key = (link.analyst, link.request_id)
        row = charged.get(key) if link.kind in CHARGED else None
        if row is None:
            row = _row(link)
            result.append(row)
            if link.kind in CHARGED:
                charged[key] = row
        elif link.verdict == "unmetered":
            row.verdict = "unmetered"  # one row that could not pay voids its promise: said first
        if link.table_name:
            row.tables = sorted({*row.tables, link.table_name})
        row.epsilon = max(row.epsilon, link.epsilon)
        row.delta = max(row.delta, link.delta)
    return result


def _row(link: Link) -> wire.AuditRow:
    return wire.AuditRow(
        time=link.time,
        request_id=link.request_id,
        analyst=link.analyst,
        prefix=link.prefix,
        db_name=link.db_name,
        verdict=link.verdict,
        reason=link.detail if link.kind in FREE else "",
        sql=link.sql,
        mechanism=link.mechanism,
        fingerprint=link.fingerprint,
        checksum=link.checksum,
    )


def _matches(row: wire.AuditRow, query: AuditQuery) -> bool:
    return (query.table is None or query.table in row.tables) and (query.verdict is None or query.verdict == row.verdict)
