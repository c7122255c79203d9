"""Hash chains: append a link, walk a chain.

A link's hash is sha256 over the previous link's hash and every column of the ledger row but ``id``, ``hash``, ``sql_text``
and ``signature`` (the text is covered by its own sha256; a checkpoint's signature covers its hash).
Links of a budget row are appended under that row's lock, which the debit holds anyway.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from dpjupyter.engine.ledger.names import digest
from dpjupyter.engine.ledger.schema import chain_head, ledger

GENESIS = "0" * 64  # "previous hash" of a chain's first link
OWNER_CHAIN = digest("owner")

_COLUMNS = (
    "chain", "seq", "time", "kind", "analyst", "request_id", "prefix", "db_name", "table_name", "quota", "cycle", "mechanism",
    "pico_epsilon", "pico_rho", "atto_key_delta", "atto_gauss_delta", "fingerprint", "checksum", "sql_sha256", "detail",
)  # fmt: skip
EMPTY: dict[str, Any] = {
    "analyst": "", "request_id": "", "prefix": "", "db_name": "", "table_name": "", "quota": False, "cycle": 0, "mechanism": "",
    "pico_epsilon": 0, "pico_rho": 0, "atto_key_delta": 0, "atto_gauss_delta": 0, "fingerprint": "", "checksum": "",
    "sql_sha256": "", "detail": "", "sql_text": None, "signature": "",
}  # fmt: skip


def analyst_chain(analyst: str) -> str:
    """Chain of one analyst's refused and cached requests: nothing of other people waits for it."""
    return digest("asked", analyst)


def sql_sha256(sql: str) -> str:
    """Hex sha256 of a query text."""
    return hashlib.sha256(sql.encode("utf-8", "surrogatepass")).hexdigest()


def storable(text: str) -> str:
    """``text`` without lone surrogates, which no database stores."""
    return text.encode("utf-8", "replace").decode()


def link_hash(previous: str, row: Mapping[str, Any]) -> str:
    """Hash of a ledger row that follows the link ``previous``."""
    values: list[Any] = [previous]
    for column in _COLUMNS:
        value = row[column]
        if isinstance(value, datetime):
            value = value.isoformat(sep=" ", timespec="microseconds")
        values.append(bool(value) if column == "quota" else value)
    return hashlib.sha256(json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def link(chain: str, head: tuple[int, str], time: datetime | str, kind: str, **values: Any) -> dict[str, Any]:
    """The ledger row that follows ``head`` (its seq and hash), ready to insert. A ``time`` as text has six digits after the second."""
    row = {**EMPTY, **values, "chain": chain, "seq": head[0] + 1, "time": time, "kind": kind}
    row["hash"] = link_hash(head[1], row)
    return row


def append(connection: Connection, chain: str, label: str, time: datetime, kind: str, **values: Any) -> None:
    """Append to a chain that has no budget row: an analyst's, or the owner's.

    Raises: IntegrityError: another connection began the same chain at this moment; run the transaction again.
    """
    here = chain_head.c.chain == chain
    head = connection.execute(select(chain_head.c.seq, chain_head.c.hash).where(here).with_for_update()).one_or_none()
    row = link(chain, (head.seq, head.hash) if head else (0, GENESIS), time, kind, **values)
    if head is None:
        connection.execute(insert(chain_head).values(chain=chain, seq=row["seq"], hash=row["hash"], label=label))
    else:
        connection.execute(update(chain_head).where(here).values(seq=row["seq"], hash=row["hash"]))
    connection.execute(insert(ledger).values(row))
