"""Reading the ledger, verifying its chains, and retention."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger import rows
from dpjupyter.engine.ledger.chain import EMPTY, GENESIS, OWNER_CHAIN, link_hash, sql_sha256
from dpjupyter.engine.ledger.names import request_key
from dpjupyter.engine.ledger.records import AuditFilter, AuditRow, Fault, Verification
from dpjupyter.engine.ledger.schema import analyst_budget, budget_info, chain_head, ledger, request
from dpjupyter.errors import BadRequest

_PAGE = 2000
_CHARGED = ("debit", "unmetered")


# ---------------------------------------------------------------- reading
def audit_rows(connection: Connection, wanted: AuditFilter) -> tuple[AuditRow, ...]:
    """Ledger rows that match, newest first, at most ``wanted.limit``."""
    result: list[AuditRow] = []
    before = wanted.before_id
    while len(result) < wanted.limit:
        statement = select(ledger).where(*_conditions(wanted)).order_by(ledger.c.id.desc()).limit(min(_PAGE, wanted.limit * 2))
        if before is not None:
            statement = statement.where(ledger.c.id < before)
        page = connection.execute(statement).mappings().all()
        if not page:
            break
        before = page[-1]["id"]
        known = _requests(connection, page)
        result.extend(row for row in (_audit_row(row, known) for row in page) if not wanted.verdicts or row.verdict in wanted.verdicts)
    return tuple(result[: wanted.limit])


def _conditions(wanted: AuditFilter) -> list[Any]:
    equal = {
        ledger.c.analyst: wanted.analyst,
        ledger.c.prefix: wanted.prefix,
        ledger.c.db_name: wanted.db_name,
        ledger.c.table_name: wanted.table_name,
        ledger.c.request_id: wanted.request_id,
        ledger.c.quota: wanted.quota,
    }
    conditions: list[Any] = [column == value for column, value in equal.items() if value is not None]
    if wanted.kinds:
        conditions.append(ledger.c.kind.in_(wanted.kinds))
    if wanted.since is not None:
        conditions.append(ledger.c.time >= wanted.since)
    if wanted.until is not None:
        conditions.append(ledger.c.time < wanted.until)
    return conditions


def _requests(connection: Connection, page: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    keys = {request_key(row["analyst"], row["request_id"]) for row in page if row["kind"] in _CHARGED}
    if not keys:
        return {}
    columns = (request.c.request_key, request.c.state, request.c.sql_text)
    return {row.request_key: row for row in connection.execute(select(*columns).where(request.c.request_key.in_(sorted(keys))))}


def _audit_row(row: Mapping[Any, Any], known: dict[str, Any]) -> AuditRow:
    verdict, sql = row["kind"], row["sql_text"] or ""
    if verdict in _CHARGED:
        asked = known.get(request_key(row["analyst"], row["request_id"]))
        sql = asked.sql_text if asked else ""
        verdict = "unmetered" if verdict == "unmetered" else asked.state if asked else "debited"
    return AuditRow(
        id=row["id"],
        time=row["time"].isoformat(sep=" ", timespec="milliseconds"),
        kind=row["kind"],
        verdict=verdict,
        analyst=row["analyst"],
        request_id=row["request_id"],
        prefix=row["prefix"],
        db_name=row["db_name"],
        table_name=row["table_name"],
        quota=bool(row["quota"]),
        cycle=row["cycle"],
        mechanism=row["mechanism"],
        epsilon=row["pico_epsilon"] / accounting.PICO,
        rho=row["pico_rho"] / accounting.PICO,
        delta=(row["atto_key_delta"] + row["atto_gauss_delta"]) / accounting.ATTO,
        fingerprint=row["fingerprint"],
        checksum=row["checksum"],
        sql=sql,
        detail=row["detail"],
    )


# ---------------------------------------------------------------- verifying
@dataclass(slots=True)
class _Walk:
    """State of walking one chain."""

    seq: int = 0
    hash: str = GENESIS
    spent: accounting.Spent = field(default_factory=accounting.Spent)
    debits: int = 0
    first_time: str = ""
    last_time: str = ""
    checkpoints: int = 0


@dataclass(frozen=True, slots=True)
class _Head:
    chain: str
    label: str
    seq: int
    hash: str
    spent: accounting.Spent | None  # None: not a budget row


def heads(connection: Connection) -> Iterator[_Head]:
    """The last link of every chain, with what its budget row says was spent."""
    for table in (budget_info, analyst_budget):
        for row in connection.execute(select(table)).all():
            name = rows.name_of(row)
            label = "/".join(part for part in (row.prefix, row.db_name, name.shown, name.analyst) if part)
            yield _Head(row.row_key, label, row.head_seq, row.head_hash, rows.spent_of(row))
    for row in connection.execute(select(chain_head)).all():
        yield _Head(row.chain, row.label or ("owner" if row.chain == OWNER_CHAIN else "?"), row.seq, row.hash, None)


def verify_chain(connection: Connection, head: _Head, key: bytes | None) -> tuple[_Walk, list[Fault]]:
    """Walk one chain up to its head; faults found. A wrong link ends the walk: nothing after it means anything."""
    walk, faults = _Walk(), list[Fault]()

    def fault(seq: int, what: str) -> None:
        faults.append(Fault(head.chain, head.label, seq, what))

    for row in _links(connection, head.chain, head.seq):
        problem = _step(walk, row, key)
        if problem:
            fault(row.seq, problem)
            return walk, faults
    if (walk.seq, walk.hash) != (head.seq, head.hash):
        fault(head.seq, "the last links are missing, or the row's head was changed")
    elif head.spent is not None and walk.spent != head.spent:
        fault(head.seq, "the row's spend columns are not the sum of its debits")
    return walk, faults


def _links(connection: Connection, chain: str, last: int) -> Iterator[Any]:
    seq = 0
    while True:
        statement = select(ledger).where(ledger.c.chain == chain, ledger.c.seq > seq, ledger.c.seq <= last).order_by(ledger.c.seq)
        page = connection.execute(statement.limit(_PAGE)).mappings().all()
        if not page:
            return
        known = _requests(connection, page)
        for row in page:
            values: dict[str, Any] = dict(row)
            if row["kind"] in _CHARGED:
                asked = known.get(request_key(row["analyst"], row["request_id"]))
                values["sql_text"] = asked.sql_text if asked else None
                values["no_request"] = asked is None
            yield _Link(values)
        seq = page[-1]["seq"]


class _Link:
    """A ledger row with the text of its request."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.seq: int = values["seq"]
        self.kind: str = values["kind"]
        self.hash: str = values["hash"]


def _step(walk: _Walk, row: _Link, key: bytes | None) -> str:
    values = row.values
    if row.kind == "checkpoint" and walk.seq == 0:
        return _from_checkpoint(walk, values, key)
    if row.seq != walk.seq + 1:
        return f"links {walk.seq + 1} to {row.seq - 1} are missing"
    if not hmac.compare_digest(link_hash(walk.hash, values), row.hash):
        return "the link was changed"
    text = values["sql_text"]
    if values.get("no_request"):
        return "its request is missing"
    if values["sql_sha256"] and text is not None and sql_sha256(text) != values["sql_sha256"]:
        return "the query's text was changed"
    if row.kind == "debit":
        walk.spent = accounting.add(walk.spent, _cost(values))
        walk.debits += 1
    elif row.kind == "recovery":
        walk.spent = accounting.Spent()
    time = values["time"].isoformat(sep=" ", timespec="microseconds")
    walk.first_time, walk.last_time = walk.first_time or time, time
    walk.seq, walk.hash = row.seq, row.hash
    return ""


def _cost(values: dict[str, Any]) -> accounting.Spent:
    return accounting.Spent(values["pico_epsilon"], values["pico_rho"], values["atto_key_delta"], values["atto_gauss_delta"])


def _from_checkpoint(walk: _Walk, values: dict[str, Any], key: bytes | None) -> str:
    if key is not None and not hmac.compare_digest(_sign(key, values), values["signature"]):
        return "the checkpoint's signature is wrong"
    told = json.loads(values["detail"])
    walk.seq, walk.hash, walk.debits = values["seq"], values["hash"], told["debits"]
    walk.spent = accounting.Spent(*told["spent"])
    walk.first_time, walk.last_time = told["from"], told["to"]
    walk.checkpoints = 1
    return ""


def _sign(key: bytes, values: dict[str, Any]) -> str:
    text = json.dumps([values["chain"], values["seq"], values["hash"], values["detail"]], ensure_ascii=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def verify(connection: Connection, key: bytes | None) -> Verification:
    """Walk every chain from its start or checkpoint to its head."""
    chains = links = checkpoints = 0
    faults: list[Fault] = []
    known: set[str] = set()
    for head in heads(connection):
        walk, found = verify_chain(connection, head, key)
        known.add(head.chain)
        chains += 1
        links += walk.seq
        checkpoints += walk.checkpoints
        faults.extend(found)
    counts = connection.execute(select(ledger.c.chain, func.count()).group_by(ledger.c.chain)).all()
    known.update(head.chain for head in heads(connection))  # chains begun while others were walked
    for chain, count in counts:
        if chain not in known:
            faults.append(Fault(chain, "?", 0, f"{count} links belong to no row"))
    return Verification(chains, links, checkpoints, key is not None or checkpoints == 0, tuple(faults))


# ---------------------------------------------------------------- retention
def retain_chain(connection: Connection, head: _Head, cutoff: datetime, key: bytes) -> int:
    """Replace the links before ``cutoff`` by one signed checkpoint; how many links went.

    Raises: BadRequest: the prefix does not verify; a broken chain is evidence and is left alone.
    """
    last = connection.execute(
        select(func.max(ledger.c.seq)).where(ledger.c.chain == head.chain, ledger.c.time < cutoff, ledger.c.seq <= head.seq)
    ).scalar_one()
    if last is None:
        return 0
    walk = _Walk()
    old = 0
    values: dict[str, Any] = {}
    for row in _links(connection, head.chain, last):
        problem = _step(walk, row, key)
        if problem:
            raise BadRequest(f"The ledger of {head.label} does not verify at {row.seq}: {problem}.")
        values = row.values
        old += 1
    if not values or (old == 1 and values["kind"] == "checkpoint"):
        return 0
    spent = walk.spent
    told = {
        "links": walk.seq, "debits": walk.debits, "from": walk.first_time, "to": walk.last_time,
        "spent": [spent.pico_epsilon, spent.pico_rho, spent.atto_key_delta, spent.atto_gauss_delta],
    }  # fmt: skip
    kept = {name: values[name] for name in ("chain", "time", "prefix", "db_name", "table_name", "quota", "cycle")}
    checkpoint = {**EMPTY, **kept, "kind": "checkpoint", "seq": walk.seq, "hash": walk.hash, "detail": json.dumps(told)}
    checkpoint["signature"] = _sign(key, checkpoint)
    connection.execute(delete(ledger).where(ledger.c.chain == head.chain, ledger.c.seq <= last))
    connection.execute(insert(ledger).values(checkpoint))
    return old - 1


def forget_answers(connection: Connection, cutoff: datetime) -> int:
    """Drop text and answer of requests before ``cutoff``; their ids stay, so that none is ever charged twice."""
    here = (request.c.time < cutoff) & (request.c.state != "debited") & ((request.c.answer.is_not(None)) | (request.c.sql_text != ""))
    return connection.execute(update(request).where(here).values(answer=None, sql_text="")).rowcount


def cutoff_of(connection: Connection, keep_days: int) -> datetime:
    """The time before which links go, by the database's clock.

    Raises: BadRequest: keep_days is not a positive whole number.
    """
    if type(keep_days) is not int or keep_days < 1:
        raise BadRequest("keep_days must be a whole number of at least 1.")
    return rows.now(connection) - timedelta(days=keep_days)
