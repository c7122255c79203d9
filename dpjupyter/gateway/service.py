"""What the routes share, free of HTTP: policies in force, ledger, warehouses, workers.

The policies in force are one reference to an immutable shelf: a request works to its end with the shelf it began with.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dpjupyter import wire
from dpjupyter.engine.backends import Backend
from dpjupyter.engine.ledger.names import RowName
from dpjupyter.engine.ledger.records import BudgetRecord, untouched
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.noise import NoiseSource
from dpjupyter.engine.policy import Policy
from dpjupyter.errors import DpError, LedgerUnavailable
from dpjupyter.gateway import audit
from dpjupyter.gateway.identity import Caller, RoleAuthorizer, TokenIdentity
from dpjupyter.gateway.metrics import Metrics
from dpjupyter.gateway.questions import Questions
from dpjupyter.gateway.saved import SavedTables
from dpjupyter.gateway.shelf import Key, Shelf
from dpjupyter.gateway.twins import TwinDesk
from dpjupyter.gateway.warehouses import Warehouses
from dpjupyter.gateway.workers import Workers


class Service:
    """One gateway. Its methods block; handlers call them through ``workers``."""

    def __init__(
        self,
        *,
        folder: Path,
        ledger: LedgerStore,
        open_backend: Callable[[str], Backend],
        noise: NoiseSource,
        identity: TokenIdentity,
        authorizer: RoleAuthorizer,
        workers: Workers,
        query_timeout_s: float,
        log: logging.Logger,
        twins_folder: Path,
    ) -> None:
        """Read the policies and make their budget rows.

        Raises: PolicyError: a policy is broken. LedgerUnavailable.
        """
        self.folder = folder
        self.ledger = ledger
        self.identity = identity
        self.authorizer = authorizer
        self.workers = workers
        self.log = log
        self.metrics = Metrics(lambda: workers.taken)
        self.warehouses = Warehouses(open_backend)
        self.shelf = Shelf.read(folder)
        self._reloading = threading.Lock()
        self._counting = threading.Lock()
        self._quotes: Counter[tuple[str, str, str]] = Counter()
        self._ensure(self.shelf)
        self.identity.lookup = self._lookup
        self.twin_desk = TwinDesk(
            folder=twins_folder,
            shelf=lambda: self.shelf,
            ledger=ledger,
            warehouses=self.warehouses,
            noise=noise,
            timeout_s=query_timeout_s,
            log=log,
        )
        self.questions = Questions(
            shelf=lambda: self.shelf,
            ledger=ledger,
            warehouses=self.warehouses,
            workers=workers,
            noise=noise,
            timeout_s=query_timeout_s,
            metrics=self.metrics,
            log=log,
            twins=self.twin_desk,
        )

    def close(self) -> None:
        """Take no more work and give everything back."""
        self.workers.close()
        try:
            self.flush_quotes()
        except LedgerUnavailable:
            self.log.warning("stage=stop quotes of the last minute were not counted")
        self.warehouses.close()
        self.ledger.close()

    def _lookup(self, secret: str) -> Caller | None:
        token = self.ledger.lookup_token(secret)
        if token is None:
            return None
        return Caller(username=token.name, role=token.role, expires=token.expire_time or None)

    # ------------------------------------------------------------ policies
    def reload(self) -> list[wire.PolicyInForce]:
        """Read the policy folder again; the new policies replace the old ones together, or not at all.

        Raises: PolicyError: a file is broken; the policies in force stay. LedgerUnavailable: likewise.
        """
        with self._reloading:
            before = self.shelf
            try:
                fresh = Shelf.read(self.folder)
                self._ensure(fresh)
            except DpError:
                self.metrics.reload("refused")
                raise
            self.shelf = fresh
        self.warehouses.keep({policy.database.backend for policy in fresh.policies.values()})
        self.metrics.reload("done")
        self.log.info("stage=reload verdict=done policies=%d", len(fresh.policies))
        return [self._in_force(key, policy, before) for key, policy in fresh.policies.items()]

    def _ensure(self, shelf: Shelf) -> None:
        for policy in shelf.policies.values():
            for note in self.ledger.ensure_rows(policy):
                self.log.warning("stage=policy %s/%s: %s", policy.database.prefix, policy.database.name, note)

    @staticmethod
    def _in_force(key: tuple[str, str], policy: Policy, before: Shelf) -> wire.PolicyInForce:
        old = before.policies.get(key)
        return wire.PolicyInForce(
            prefix=key[0], name=key[1], sha256sum=policy.checksum, changed=old is None or old.checksum != policy.checksum
        )

    # ------------------------------------------------------------ budgets
    def set_budget(self, request: wire.BudgetSetRequest, *, by: str) -> None:
        """Create or change a row.

        Raises: BadRequest, LedgerUnavailable.
        """
        policy = self.shelf.policies.get((request.prefix, request.db_name))
        self.ledger.set_budget(
            request.prefix,
            request.db_name,
            request.table_name,
            total_budget=request.total_budget,
            recover_cycle=request.recover_cycle,
            exhausted_strategy=request.exhausted_strategy,
            analyst=request.analyst,
            # A quota row that does not exist yet would be made from the policy at the analyst's first question: the same here.
            default=policy.analysts if policy is not None and request.analyst is not None else None,
            by=by,
        )

    def budgets(self, caller: Caller) -> list[BudgetRecord]:
        """Rows the caller may see: analysts their own quotas and the shared rows of what is served here.

        A quota is made at the analyst's first question; before that it is shown as it will be.
        """
        if caller.role != "analyst":
            return list(self.ledger.list_budgets())
        policies = self.shelf.policies
        rows = [row for row in self.ledger.list_budgets(analyst=caller.username) if (row.prefix, row.db_name) in policies]
        begun = {(row.prefix, row.db_name, row.table_name) for row in rows if row.analyst is not None}
        for row in [row for row in rows if row.analyst is None]:
            where = (row.prefix, row.db_name, row.table_name)
            if where not in begun:
                quota = untouched(RowName(*where, caller.username), policies[row.prefix, row.db_name].analysts)
                rows.append(replace(quota, suspended=row.suspended))
        return rows

    def refresh_balances(self) -> None:
        """Bring the metrics' balances up to date."""
        for row in self.ledger.list_budgets(quotas=False):
            self.metrics.residual(row.prefix, row.db_name, row.table_name, row.residual_budget)

    def recover(self) -> int:
        """End the cycles that are over, give up requests whose gateway died; how many rows came back."""
        rows = len(self.ledger.recover())
        self.metrics.recovered(rows)
        self.ledger.settle_lost()
        return rows

    # ------------------------------------------------------------ owner's
    def suspend(self, request: wire.SuspendRequest, *, by: str) -> list[wire.SuspendRequest]:
        """Suspend or lift; what is suspended afterwards.

        Raises: BadRequest, NotFound: lifted but not suspended.
        """
        change = self.ledger.lift if request.lift else self.ledger.suspend
        change(
            analyst=request.analyst,
            prefix=request.prefix,
            db_name=request.db_name,
            table_name=request.table_name,
            reason=request.reason,
            by=by,
        )
        self.log.info("stage=%s verdict=done", "lift" if request.lift else "suspend")
        return [
            wire.SuspendRequest(
                analyst=found.analyst, prefix=found.prefix, db_name=found.db_name, table_name=found.table_name, reason=found.reason
            )
            for found in self.ledger.suspensions()
        ]

    def audit(self, query: audit.AuditQuery) -> tuple[list[wire.AuditRow], int]:
        """Rows of the audit log and how many match."""
        return audit.read(self.ledger, query)

    def twins(self) -> frozenset[tuple[str, str, str]]:
        """Tables with a published twin."""
        return frozenset((twin.prefix, twin.db_name, twin.table_name) for twin in self.ledger.twins())

    # ------------------------------------------------------------ saved tables
    def saved(self, caller: Caller, database: str, prefix: str | None = None) -> SavedTables:
        """The caller's saved tables of one database.

        Raises: NotFound: there is no such database.
        """
        return SavedTables(self.ledger, caller.username, self.shelf.find(database, prefix, None))

    def all_saved(self, caller: Caller) -> dict[Key, list[wire.SavedTable]]:
        """The caller's saved tables by (prefix, database)."""
        return {key: SavedTables(self.ledger, caller.username, policy).all() for key, policy in self.shelf.policies.items()}

    # ------------------------------------------------------------ quotes are counted, not logged
    def count_quote(self, caller: Caller, policy: Policy) -> None:
        """Remember one quote; :meth:`flush_quotes` writes them down together."""
        self.metrics.quote()
        with self._counting:
            self._quotes[caller.username, policy.database.prefix, policy.database.name] += 1

    def flush_quotes(self) -> None:
        """Add the quotes of the last while to the ledger.

        Raises: LedgerUnavailable: they are kept for the next time.
        """
        with self._counting:
            counted, self._quotes = self._quotes, Counter()
        try:
            if counted:
                self.ledger.count_quotes(counted)
        except LedgerUnavailable:
            with self._counting:
                self._quotes.update(counted)
            raise
