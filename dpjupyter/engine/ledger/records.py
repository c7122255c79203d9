"""What the store hands out: plain frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger.names import RowName
from dpjupyter.engine.policy import Budget

Role = Literal["analyst", "owner", "viewer"]


def shown_time(time: datetime | None) -> str:
    """``YYYY-MM-DD HH:MM:SS``, UTC; empty for no time."""
    return "" if time is None else time.strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class BudgetRecord:
    """One budget row: the requirement's seventeen columns in table order (residual_budget after total_budget), then ours.

    Epsilons are dimensionless floats for reading; decisions are made on integers in the store.
    """

    prefix: str
    db_name: str
    table_name: str
    total_budget: float
    residual_budget: float
    consumed_budget: float
    recover_cycle: int  # days
    exhausted_strategy: str
    create_time: str
    last_update_time: str
    last_recover_time: str
    slack: float
    num_dpcall: int
    sum_eps: float
    sum_del: float
    sum_sq_eps: float
    sum_exp_eps: float
    prod_del: float
    analyst: str | None = None
    delta: float = 0.0
    sum_rho: float = 0.0
    rho_max: float = 0.0
    next_recover_time: str = ""
    cycle: int = 0  # recoveries since creation
    lifetime_epsilon: float = 0.0  # all cycles, basic composition
    lifetime_rho: float = 0.0
    lifetime_delta: float = 0.0
    lifetime_answers: int = 0
    unmetered_answers: int = 0  # of this cycle
    suspended: bool = False

    @property
    def name(self) -> RowName:
        """Which row this is."""
        return RowName(self.prefix, self.db_name, self.table_name, self.analyst)


def untouched(name: RowName, budget: Budget) -> BudgetRecord:
    """A row as it will be when it is made: nothing spent; no times, for its first cycle has not begun."""
    limits = accounting.row_limits(budget.total_budget, budget.delta, budget.slack_or_default)
    return BudgetRecord(
        prefix=name.prefix,
        db_name=name.db_name,
        table_name=name.table_name,
        total_budget=budget.total_budget,
        residual_budget=budget.total_budget,
        consumed_budget=0.0,
        recover_cycle=budget.recover_cycle,
        exhausted_strategy=budget.exhausted_strategy,
        create_time="",
        last_update_time="",
        last_recover_time="",
        slack=budget.slack_or_default,
        num_dpcall=0,
        sum_eps=0.0,
        sum_del=0.0,
        sum_sq_eps=0.0,
        sum_exp_eps=0.0,
        prod_del=1.0,
        analyst=name.analyst,
        delta=budget.delta,
        rho_max=limits.pico_rho / accounting.PICO,
    )


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a query would do to one budget row, were it asked now. Read without a lock: a forecast, not a promise."""

    name: RowName
    total_budget: float
    before: float  # residual epsilon
    after: float
    affordable: bool
    unmetered: bool  # the row allows, but cannot pay


@dataclass(frozen=True, slots=True)
class Recovery:
    """One row's recovery, done or (dry run) due."""

    name: RowName
    cycles: int  # whole cycles that had passed
    consumed_budget: float  # of the cycle that ended
    last_recover_time: str  # after the recovery


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One ledger row as the owner reads it."""

    id: int
    time: str
    kind: str  # debit, unmetered, refused, cached, failed, create, set, recovery, suspend, lift, checkpoint
    verdict: str  # what became of the request: answered, failed, debited (no outcome yet), unmetered, refused, cached; else the kind
    analyst: str
    request_id: str
    prefix: str
    db_name: str
    table_name: str
    quota: bool  # the analyst's quota row rather than the table's
    cycle: int
    mechanism: str
    epsilon: float
    rho: float
    delta: float
    fingerprint: str
    checksum: str
    sql: str
    detail: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing ``verify`` found wrong."""

    chain: str
    row: str  # budget row or analyst it belongs to
    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of walking every chain."""

    chains: int
    links: int
    checkpoints: int
    signatures_checked: bool
    faults: tuple[Fault, ...]

    @property
    def sound(self) -> bool:
        """Nothing was found wrong."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Suspension:
    """An analyst or a table that may not be queried until lifted."""

    analyst: str | None
    prefix: str | None
    db_name: str | None
    table_name: str | None
    reason: str
    time: str


@dataclass(frozen=True, slots=True)
class Token:
    """An API token as listed: the secret itself is not kept."""

    id: str
    name: str  # the analyst's (owner's, viewer's) name: budgets are keyed on it
    role: Role
    create_time: str
    expire_time: str  # empty: never
    revoke_time: str  # empty: not revoked


@dataclass(frozen=True, slots=True)
class TwinCard:
    """Card of a published synthetic twin."""

    prefix: str
    db_name: str
    table_name: str
    version: str
    card: str  # JSON
    retired: bool
    time: str


@dataclass(frozen=True, slots=True)
class SavedHead:
    """A saved table in a list."""

    name: str
    time: str
    head: str  # first line of its content


@dataclass(frozen=True, slots=True)
class Health:
    """State of the ledger's database."""

    dialect: str
    server_version: str
    schema_version: str
    time: str  # the database's clock


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which ledger rows to read; None or empty means any."""

    analyst: str | None = None
    prefix: str | None = None
    db_name: str | None = None
    table_name: str | None = None
    kinds: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    request_id: str | None = None
    since: datetime | None = None  # UTC
    until: datetime | None = None
    before_id: int | None = None  # for paging: rows older than this one
    limit: int = 1000
    quota: bool | None = None  # True: quota rows only, False: rows of tables only


def next_recovery(last: datetime, cycle_days: int) -> datetime:
    """When a row may next be recovered."""
    return last + timedelta(days=cycle_days)


Counts = Mapping[tuple[str, str, str], int]  # (analyst, prefix, db_name) -> quotes
