"""The ledger's face: every method is one transaction (or one read) of the modules beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from dpjupyter.engine.ledger import Asked, Charge, Verdict, access, audit, budgets, debit, requests, rows, shelf
from dpjupyter.engine.ledger.database import Database, connect
from dpjupyter.engine.ledger.migrate import schema_version, upgrade
from dpjupyter.engine.ledger.names import RowName, check_name
from dpjupyter.engine.ledger.records import (
    AuditFilter,
    AuditRow,
    BudgetRecord,
    Health,
    Outlook,
    Recovery,
    Role,
    SavedHead,
    Suspension,
    Token,
    TwinCard,
    Verification,
    shown_time,
)
from dpjupyter.engine.model import Receipt
from dpjupyter.engine.policy import Budget, Policy
from dpjupyter.errors import BadRequest, BudgetMissing, LedgerUnavailable, QueryFailed


def open_ledger(url: str, *, password: str | None = None, pool_size: int = 16, **connect_args: Any) -> LedgerStore:
    """Open a ledger; its database (where the account may) and schema are made and upgraded first.

    Args:
        url: ``sqlite:///path/to/file`` or ``mysql+pymysql://user@host/database``; TLS by ``?ssl_ca=/path`` and the like.
        password: from a file or the environment; kept out of the URL.
        pool_size: connections kept open to MySQL; three times as many for peaks.
        connect_args: passed to the driver.
    Raises: PolicyError: the URL is of another kind. LedgerUnavailable: no connection, or the schema cannot be made.
    """
    database = connect(url, password=password, pool_size=pool_size, **connect_args)
    try:
        upgrade(database)
    except BaseException:
        database.close()
        raise
    return LedgerStore(database)


_FIRST_SEEN = 3  # an analyst's rows are made once; a second look may find a table's row made meanwhile


class LedgerStore:
    """Budgets, debits, filed answers, audit, tokens. Thread-safe; many processes may share one database.

    Every method raises LedgerUnavailable when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def close(self) -> None:
        """Give back all connections."""
        self._db.close()

    # ------------------------------------------------------------ the road
    def replay(self, asked: Asked) -> str | None:
        """The filed answer (JSON) of this request id, or None when it is new.

        Raises: RequestReused, QueryFailed, Suspended (the analyst, or the whole database).
        """
        return self._db.read(lambda c: requests.replay(c, asked))

    def release(self, fingerprint: str) -> str | None:
        """The newest filed answer (JSON) to the same question, if all its rows are still in the cycle they paid in.

        Raises: Suspended: one of its tables is.
        """
        return self._db.read(lambda c: requests.release(c, fingerprint))

    def debit(self, charge: Charge) -> Receipt:
        """Pay for a query in one committed transaction, or raise and change nothing.

        Raises: BudgetExhausted, BudgetMissing, Suspended, RequestReused; QueryFailed: this id was charged already;
            BadRequest: a name that cannot be a budget row's.
        """
        asked = charge.asked
        check_name(asked.analyst, "analyst")
        check_name(asked.request_id, "request id", 128)
        for _ in range(_FIRST_SEEN):
            try:
                receipt, then = self._db.write(lambda c: debit.debit(c, charge))
                return replace(receipt, before=debit.before(then))
            except debit.QuotaMissing as missing:
                names = missing.names
                default = charge.analyst_default
                self._db.write(lambda c: [rows.create(c, name, default, "policy") for name in names])  # noqa: B023 - called at once
            except IntegrityError:
                # The request id is known: say so as a retry would be told.
                if self._db.read(lambda c: requests.replay(c, asked)) is not None:
                    raise QueryFailed(asked.request_id) from None
                break
        raise LedgerUnavailable("The ledger contradicts itself.", hint="The owner finds out where with `dpjupyter audit verify`.")

    def outlook(self, charge: Charge) -> tuple[Outlook, ...]:
        """What a charge would do to each row now: tables and '*' first, then the analyst's. Nothing is locked or kept.

        Raises: BudgetMissing.
        """
        return self._db.read(lambda c: debit.outlook(c, charge))

    def file(self, charge: Charge, answer_json: str) -> None:
        """Keep the answer of a debited request; call it before sending the answer.

        Raises: QueryFailed: not debited, or given up meanwhile: the answer must not be sent.
        """
        self._db.write(lambda c: requests.file(c, charge.asked, answer_json))

    def failed(self, asked: Asked) -> None:
        """Mark a debited request as failed: the charge stays; too many in a cycle suspend the analyst."""
        self._db.write(lambda c: requests.failed(c, asked.analyst, asked.request_id), conflicts=True)

    def record(self, asked: Asked, verdict: Verdict, reason: str) -> None:
        """Leave an audit row for a request that was not debited."""
        self._db.write(lambda c: requests.record(c, asked, verdict, reason), conflicts=True)

    def cancel(self, analyst: str, request_id: str) -> None:
        """Ask whichever replica runs this request to stop it; silent where none does."""
        self._db.write(lambda c: requests.cancel(c, analyst, request_id))

    def cancel_requested(self, analyst: str, request_id: str) -> bool:
        """Whether a running request is to be stopped."""
        return self._db.read(lambda c: requests.cancel_requested(c, analyst, request_id))

    def settle_lost(self, older_than_s: int = 6 * 3600) -> int:
        """Mark as failed what was debited this long ago and has no outcome (its gateway died); how many."""
        settled = 0
        while lost := self._db.read(lambda c: requests.lost(c, older_than_s)):
            for analyst, request_id in lost:
                self._db.write(lambda c: requests.failed(c, analyst, request_id), conflicts=True)  # noqa: B023 - called at once
                settled += 1
        return settled

    # ------------------------------------------------------------ budgets
    def ensure_rows(self, policy: Policy) -> tuple[str, ...]:
        """Make the policy's budget rows where missing; call it when a gateway starts or reloads a policy.

        Existing rows keep total, cycle and strategy (``/budget/set`` is their authority) and take over delta and slack.
        Returns: one line for each row whose settings differ from the policy's.
        """
        notes = [self._db.write(lambda c: budgets.ensure(c, name, budget)) for name, budget in budgets.policy_rows(policy).items()]  # noqa: B023
        for record in self.list_budgets(policy.database.prefix, policy.database.name):
            slack = policy.analysts.slack_or_default
            if record.analyst is not None and (record.delta, record.slack) != (policy.analysts.delta, slack):
                self._db.write(lambda c: budgets.ensure(c, record.name, policy.analysts))  # noqa: B023
        return tuple(note for note in notes if note)

    def set_budget(
        self,
        prefix: str,
        db_name: str,
        table_name: str,
        *,
        total_budget: float | None = None,
        recover_cycle: int | None = None,
        exhausted_strategy: str | None = None,
        analyst: str | None = None,
        default: Budget | None = None,
        by: str = "owner",
    ) -> BudgetRecord:
        """Create or change a budget row (with ``analyst``: that analyst's quota). What was spent is never reset.

        Settings left out keep their value; a new row takes them from ``default`` (10000.0, 30 days, reject).
        ``by`` is who does it, for the ledger.

        Raises: BadRequest.
        """
        name = RowName(prefix, db_name, table_name, analyst).checked()
        given = budgets.checked_settings(total_budget, recover_cycle, exhausted_strategy)
        return self._db.write(lambda c: budgets.set_budget(c, name, given, default or Budget(), by))

    def get_budget(self, prefix: str, db_name: str, table_name: str, analyst: str | None = None) -> BudgetRecord:
        """One budget row.

        Raises: BudgetMissing: "budget info does not exist".
        """
        name = RowName(prefix, db_name, table_name, analyst)
        try:
            name.checked()
        except BadRequest:
            raise BudgetMissing("budget info does not exist") from None
        return self._db.read(lambda c: budgets.get_budget(c, name))

    def list_budgets(
        self, prefix: str | None = None, db_name: str | None = None, analyst: str | None = None, *, quotas: bool = True
    ) -> tuple[BudgetRecord, ...]:
        """Rows of tables, then of analysts (of one, where ``analyst`` is given; none without ``quotas``)."""
        return self._db.read(lambda c: budgets.list_budgets(c, prefix, db_name, analyst, quotas=quotas))

    def recover(self, *, dry_run: bool = False) -> tuple[Recovery, ...]:
        """Begin the next cycle of every row that is due by the database's clock; ``dry_run`` only tells which."""
        done: list[Recovery] = []
        for name in self._db.read(budgets.due):
            run = self._db.read if dry_run else self._db.write
            recovered = run(lambda c: budgets.recover(c, name, dry_run=dry_run))  # noqa: B023 - called at once
            if recovered is not None:
                done.append(recovered)
        return tuple(done)

    # ------------------------------------------------------------ audit
    def audit_rows(self, wanted: AuditFilter | None = None) -> tuple[AuditRow, ...]:
        """Ledger rows, newest first."""
        return self._db.read(lambda c: audit.audit_rows(c, wanted or AuditFilter()))

    def verify(self, signing_key: bytes | None = None) -> Verification:
        """Walk every chain. With the key, signatures of checkpoints are checked, too."""
        return self._db.read(lambda c: audit.verify(c, signing_key))

    def retain(self, keep_days: int, signing_key: bytes) -> int:
        """Replace links older than ``keep_days`` by one signed checkpoint per chain, drop their answers; how many links went.

        Raises: BadRequest: keep_days or key unfit, or a chain does not verify (it is evidence and stays).
        """
        if len(signing_key) < 16:
            raise BadRequest("The signing key must have at least 16 bytes.")
        cutoff: datetime = self._db.read(lambda c: audit.cutoff_of(c, keep_days))
        gone = 0
        for head in self._db.read(lambda c: list(audit.heads(c))):
            gone += self._db.write(lambda c: audit.retain_chain(c, head, cutoff, signing_key))  # noqa: B023 - called at once
        self._db.write(lambda c: audit.forget_answers(c, cutoff))
        return gone

    # ------------------------------------------------------------ suspensions, tokens
    def suspend(self, *, analyst: str | None = None, prefix: str | None = None, db_name: str | None = None,
                table_name: str | None = None, reason: str = "", by: str = "owner") -> None:  # fmt: skip
        """Suspend an analyst, or a table (``*``: the database), at once.

        Raises: BadRequest.
        """
        self._db.write(lambda c: access.suspend(c, analyst, prefix, db_name, table_name, reason=reason, by=by), conflicts=True)

    def lift(self, *, analyst: str | None = None, prefix: str | None = None, db_name: str | None = None,
             table_name: str | None = None, reason: str = "", by: str = "owner") -> None:  # fmt: skip
        """Lift a suspension.

        Raises: NotFound, BadRequest.
        """
        self._db.write(lambda c: access.lift(c, analyst, prefix, db_name, table_name, reason=reason, by=by), conflicts=True)

    def suspensions(self) -> tuple[Suspension, ...]:
        """Everything suspended now."""
        return self._db.read(access.suspensions)

    def create_token(self, name: str, role: Role, *, days: int | None = 30, by: str = "owner") -> tuple[str, Token]:
        """Make a token: its secret (shown once, stored hashed) and its record.

        Raises: BadRequest.
        """
        return self._db.write(lambda c: access.create_token(c, name, role, days, by), conflicts=True)

    def lookup_token(self, secret: str) -> Token | None:
        """The valid token with this secret, or None."""
        return self._db.read(lambda c: access.lookup_token(c, secret))

    def list_tokens(self) -> tuple[Token, ...]:
        """All tokens, oldest first."""
        return self._db.read(access.list_tokens)

    def revoke_token(self, identity: str, *, by: str = "owner") -> None:
        """Make a token invalid at once.

        Raises: NotFound.
        """
        self._db.write(lambda c: access.revoke_token(c, identity, by), conflicts=True)

    # ------------------------------------------------------------ kept for others
    max_saved = shelf.MAX_SAVED

    def save_table(self, analyst: str, prefix: str, db_name: str, name: str, *, tables: tuple[str, ...], content: str) -> None:
        """Keep a released table (JSON) for this analyst until a row of the private ``tables`` it was computed from recovers.

        Raises: BadRequest: a bad name, or too many are kept. BudgetMissing.
        """
        self._db.write(lambda c: shelf.save_table(c, analyst, prefix, db_name, name, tables=tables, content=content), conflicts=True)

    def load_table(self, analyst: str, prefix: str, db_name: str, name: str) -> str | None:
        """A saved table's JSON, or None."""
        return self._db.read(lambda c: shelf.load_table(c, analyst, prefix, db_name, name))

    def saved_tables(self, analyst: str, prefix: str, db_name: str) -> tuple[str, ...]:
        """Names of an analyst's saved tables of this cycle."""
        return self._db.read(lambda c: shelf.saved_names(c, analyst, prefix, db_name))

    def saved_heads(self, analyst: str, prefix: str, db_name: str) -> tuple[SavedHead, ...]:
        """An analyst's saved tables of this cycle by name, with when they were kept and the first line of their content."""
        return self._db.read(lambda c: shelf.saved_heads(c, analyst, prefix, db_name))

    def drop_table(self, analyst: str, prefix: str, db_name: str, name: str) -> None:
        """Forget a saved table.

        Raises: NotFound.
        """
        self._db.write(lambda c: shelf.drop_table(c, analyst, prefix, db_name, name))

    def publish_twin(self, prefix: str, db_name: str, table_name: str, *, version: str, card: str) -> None:
        """Keep a published twin's card (JSON).

        Raises: BadRequest.
        """
        name = RowName(prefix, db_name, table_name).checked()
        self._db.write(lambda c: shelf.publish_twin(c, name, version, card), conflicts=True)

    def twins(self, prefix: str | None = None, db_name: str | None = None, *, retired: bool = False) -> tuple[TwinCard, ...]:
        """Twin cards, newest first."""
        return self._db.read(lambda c: shelf.twins(c, prefix, db_name, retired=retired))

    def retire_twin(self, prefix: str, db_name: str, table_name: str, *, version: str) -> None:
        """Offer a twin no longer.

        Raises: NotFound.
        """
        self._db.write(lambda c: shelf.retire_twin(c, RowName(prefix, db_name, table_name), version))

    def count_quotes(self, counts: Mapping[tuple[str, str, str], int]) -> None:
        """Add numbers of quotes, by (analyst, prefix, db_name), to today's; call it now and then, not per quote."""
        for (analyst, prefix, db_name), quotes in sorted(counts.items()):
            self._db.write(lambda c: shelf.count_quotes(c, analyst, prefix, db_name, quotes), conflicts=True)  # noqa: B023

    def quote_counts(self) -> tuple[tuple[str, str, str, str, int], ...]:
        """(day, analyst, prefix, db_name, quotes), newest day first."""
        return self._db.read(shelf.quote_counts)

    def health(self) -> Health:
        """One read of the database: its kind, version, schema and clock."""
        version = ".".join(str(part) for part in self._db.engine.dialect.server_version_info or ())
        if self._db.dialect == "sqlite":
            version = self._db.engine.dialect.dbapi.sqlite_version  # pyright: ignore[reportOptionalMemberAccess]
        schema, time = self._db.read(lambda c: (schema_version(c), rows.now(c)))
        return Health(self._db.dialect, version, schema, shown_time(time))
