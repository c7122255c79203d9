"""What the road needs from a ledger. Implemented once, in ``store``, for SQLite and MySQL.

    store        LedgerStore and open_ledger: every method is one transaction of the modules below
    debit        the debit; ``statements`` is its SQL
    requests     filed answers, retries, releases, failures
    budgets      rows of the owner: make, set, list, recover
    access       tokens, suspensions
    audit        reading, verifying, retention; ``chain`` makes the links, ``export`` writes files
    shelf        saved tables, twin cards, counts of quotes
    database     connections, transactions, what is retried; ``migrate`` and ``migrations`` the schema, ``schema`` its tables

Others use ``store``, ``records``, ``export`` and this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from dpjupyter.engine.model import Cost, Receipt
from dpjupyter.engine.policy import Budget

Verdict = Literal["answered", "cached", "refused", "failed", "unmetered", "debited"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks what: the identity of a request."""

    analyst: str
    request_id: str
    body_sha256: str  # of the canonical request body: a reused id with another body is refused
    sql: str
    prefix: str
    db_name: str
    checksum: str  # policy in force


@dataclass(frozen=True, slots=True)
class Charge:
    """Everything one debit needs. ``tables`` are names of the policy, without '*'."""

    asked: Asked
    tables: tuple[str, ...]  # private tables read; the store adds '*' (if its row exists in the policy) and the analyst's rows
    has_total: bool  # the policy declares the '*' row
    cost: Cost
    fingerprint: str
    analyst_default: Budget  # made into rows for an analyst seen for the first time
    max_failures: int


class Ledger(Protocol):
    """Budgets, debits, filed answers. All methods raise LedgerUnavailable when the database is gone."""

    def replay(self, asked: Asked) -> str | None:
        """The filed answer (JSON) of this analyst's request id, or None when the id is new.

        Raises:
            RequestReused: the id was used with another body.
            QueryFailed: the id was charged and no answer is filed; it is never run again.
            Suspended: the analyst, or the whole database.
        """
        ...

    def release(self, fingerprint: str) -> str | None:
        """A filed answer (JSON) to the same question in this cycle of every row it was debited to, or None.

        Raises: Suspended: one of its tables is.
        """
        ...

    def debit(self, charge: Charge) -> Receipt:
        """Pay for a query in one committed transaction, or raise and change nothing.

        Raises:
            BudgetExhausted, BudgetMissing, Suspended, RequestReused.
            QueryFailed: this request id was charged already.
        """
        ...

    def file(self, charge: Charge, answer_json: str) -> None:
        """Keep the answer of a debited request; it is filed before it is sent.

        Raises: QueryFailed: the request was given up meanwhile: the answer must not be sent.
        """
        ...

    def failed(self, asked: Asked) -> None:
        """Mark a debited request as failed: the charge stays."""
        ...

    def record(self, asked: Asked, verdict: Verdict, reason: str) -> None:
        """Leave an audit row for a request that was not debited (refused or cached)."""
        ...
