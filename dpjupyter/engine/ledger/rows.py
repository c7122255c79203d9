"""Budget rows: reading and locking them, and the arithmetic between a row and the accounting."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select
from sqlalchemy.exc import IntegrityError

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger.chain import GENESIS, link
from dpjupyter.engine.ledger.names import RowName
from dpjupyter.engine.ledger.records import BudgetRecord, next_recovery, shown_time
from dpjupyter.engine.ledger.schema import analyst_budget, budget_info, ledger, utc_now
from dpjupyter.engine.policy import Budget

AnyRow = Row[Any]


def table_of(name: RowName) -> Table:
    """The SQL table a budget row is in."""
    return budget_info if name.analyst is None else analyst_budget


def now(connection: Connection) -> datetime:
    """The database's clock, UTC."""
    return connection.execute(select(utc_now())).scalar_one()


def name_of(row: AnyRow) -> RowName:
    """Name of a budget row that was read."""
    return RowName(row.prefix, row.db_name, row.table_name, getattr(row, "analyst", None))


def lock(connection: Connection, name: RowName) -> AnyRow | None:
    """Lock one row, or None where it does not exist; the row also carries ``now``."""
    table = table_of(name)
    statement = select(table, utc_now().label("now")).where(*is_row(name)).with_for_update()
    return connection.execute(statement).one_or_none()


def read(connection: Connection, name: RowName) -> AnyRow | None:
    """One row as last committed, or None. One indexed read."""
    return connection.execute(select(table_of(name)).where(*is_row(name))).one_or_none()


def create(connection: Connection, name: RowName, budget: Budget, by: str) -> bool:
    """Make a budget row unless it exists; whether it was made. Safe against others making it at the same time.

    Runs in a savepoint, so that losing the race does not undo the caller's transaction.
    """
    time = now(connection)
    first = link(name.key, (0, GENESIS), time, "create", analyst=by, prefix=name.prefix, db_name=name.db_name,
                 table_name=name.table_name, quota=name.analyst is not None, detail=settings_json(budget))  # fmt: skip
    values: dict[str, Any] = {
        "prefix": name.prefix, "db_name": name.db_name, "table_name": name.table_name, "row_key": name.key,
        "total_budget": budget.total_budget, "consumed_budget": 0.0, "recover_cycle": budget.recover_cycle,
        "exhausted_strategy": budget.exhausted_strategy, "create_time": time, "last_update_time": time, "last_recover_time": time,
        "slack": budget.slack_or_default, "delta": budget.delta, "num_dpcall": 0, "sum_eps": 0.0, "sum_del": 0.0,
        "sum_sq_eps": 0.0, "sum_exp_eps": 0.0, "prod_del": 1.0, "spent_pico_epsilon": 0, "spent_pico_rho": 0,
        "spent_atto_key_delta": 0, "spent_atto_gauss_delta": 0, "cycle": 0, "unmetered_answers": 0, "lifetime_epsilon": 0.0,
        "lifetime_rho": 0.0, "lifetime_delta": 0.0, "lifetime_answers": 0, "head_seq": 1, "head_hash": first["hash"],
    }  # fmt: skip
    if name.analyst is not None:
        values |= {"analyst": name.analyst, "table_key": replace(name, analyst=None).key}
    try:
        with connection.begin_nested():
            connection.execute(insert(table_of(name)).values(values))
            connection.execute(insert(ledger).values(first))
    except IntegrityError:
        return False
    return True


def settings_json(budget: Budget) -> str:
    """A row's settings as the ledger tells them."""
    return (
        f'{{"total_budget":{budget.total_budget!r},"recover_cycle":{budget.recover_cycle},'
        f'"exhausted_strategy":"{budget.exhausted_strategy}","delta":{budget.delta!r},"slack":{budget.slack_or_default!r}}}'
    )


def spent_of(row: AnyRow) -> accounting.Spent:
    """What the row has paid in this cycle."""
    return accounting.Spent(row.spent_pico_epsilon, row.spent_pico_rho, row.spent_atto_key_delta, row.spent_atto_gauss_delta)


def limits_of(row: AnyRow) -> accounting.RowLimits:
    """What the row may pay in one cycle. Computed from its settings, so that they cannot disagree."""
    return limits(row.total_budget, row.delta, row.slack)


@lru_cache(maxsize=4096)
def limits(total_budget: float, delta: float, slack: float) -> accounting.RowLimits:
    """Limits of a row with these settings."""
    return accounting.row_limits(total_budget, delta, slack)


def record_of(row: AnyRow, *, suspended: bool = False) -> BudgetRecord:
    """A row as the store hands it out."""
    return BudgetRecord(
        prefix=row.prefix,
        db_name=row.db_name,
        table_name=row.table_name,
        total_budget=row.total_budget,
        residual_budget=accounting.residual_epsilon(row.total_budget, row.consumed_budget),
        consumed_budget=row.consumed_budget,
        recover_cycle=row.recover_cycle,
        exhausted_strategy=row.exhausted_strategy,
        create_time=shown_time(row.create_time),
        last_update_time=shown_time(row.last_update_time),
        last_recover_time=shown_time(row.last_recover_time),
        slack=row.slack,
        num_dpcall=row.num_dpcall,
        sum_eps=row.sum_eps,
        sum_del=row.sum_del,
        sum_sq_eps=row.sum_sq_eps,
        sum_exp_eps=row.sum_exp_eps,
        prod_del=row.prod_del,
        analyst=getattr(row, "analyst", None),
        delta=row.delta,
        sum_rho=row.spent_pico_rho / accounting.PICO,
        rho_max=limits_of(row).pico_rho / accounting.PICO,
        next_recover_time=shown_time(next_recovery(row.last_recover_time, row.recover_cycle)),
        cycle=row.cycle,
        lifetime_epsilon=row.lifetime_epsilon + row.sum_eps,
        lifetime_rho=row.lifetime_rho + row.spent_pico_rho / accounting.PICO,
        lifetime_delta=row.lifetime_delta + row.sum_del,
        lifetime_answers=row.lifetime_answers + row.num_dpcall,
        unmetered_answers=row.unmetered_answers,
        suspended=suspended,
    )


def is_row(name: RowName) -> list[Any]:
    """Condition that picks the row by its table's primary key."""
    if name.analyst is not None:
        return [analyst_budget.c.row_key == name.key]
    return [budget_info.c.prefix == name.prefix, budget_info.c.db_name == name.db_name, budget_info.c.table_name == name.table_name]
