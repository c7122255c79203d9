"""The owner's side of budget rows: make, set, get, list; and recovery of a cycle."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger import rows
from dpjupyter.engine.ledger.access import analyst_subject, table_subject
from dpjupyter.engine.ledger.chain import link
from dpjupyter.engine.ledger.names import TOTAL, RowName
from dpjupyter.engine.ledger.records import BudgetRecord, Recovery, shown_time
from dpjupyter.engine.ledger.schema import analyst_budget, budget_info, ledger, plus_days, suspension, utc_now
from dpjupyter.engine.policy import MAX_TOTAL_BUDGET, Budget, Policy
from dpjupyter.errors import BadRequest, BudgetMissing

MAX_CYCLE_DAYS = 36500


# ---------------------------------------------------------------- making rows
def policy_rows(policy: Policy) -> dict[RowName, Budget]:
    """The budget rows a policy declares: one per private table, and ``*`` unless switched off."""
    prefix, database = policy.database.prefix, policy.database.name
    wanted: dict[RowName, Budget] = {} if policy.total is None else {RowName(prefix, database, TOTAL): policy.total}
    return wanted | {RowName(prefix, database, name): table for name, table in policy.tables.items() if table.private}


def ensure(connection: Connection, name: RowName, budget: Budget) -> str:
    """Make a policy's row unless it exists; an existing row keeps what was set, and takes over delta and slack.

    Returns: what the owner should know (the policy's settings differ from the row's), or nothing.
    """
    row = rows.lock(connection, name.checked())
    if row is None:
        if rows.create(connection, name, budget, "policy"):
            return ""
        row = rows.lock(connection, name)
    assert row is not None
    if (row.delta, row.slack) != (budget.delta, budget.slack_or_default):
        # delta and slack cannot be set over HTTP: the policy is their only source.
        change(connection, row, {"delta": budget.delta, "slack": budget.slack_or_default}, "policy")
    settings = ("total_budget", "recover_cycle", "exhausted_strategy")
    differing = [f"{what} {getattr(row, what)} (policy: {getattr(budget, what)})" for what in settings
                 if getattr(row, what) != getattr(budget, what)]  # fmt: skip
    return f"{name.shown}: keeps {', '.join(differing)}" if differing else ""


def set_budget(connection: Connection, name: RowName, given: dict[str, Any], default: Budget, by: str) -> BudgetRecord:
    """Create or change a row; what is not in ``given`` keeps its value, or takes the default on creation. Nothing spent is reset."""
    row = rows.lock(connection, name)
    if row is None:
        rows.create(connection, name, default.model_copy(update=given), by)
        row = rows.lock(connection, name)
        assert row is not None
    changes = {what: value for what, value in given.items() if getattr(row, what) != value}
    if changes:
        change(connection, row, changes, by)
    fresh = rows.lock(connection, name)
    assert fresh is not None
    return rows.record_of(fresh)


def change(connection: Connection, row: rows.AnyRow, changes: dict[str, Any], by: str) -> None:
    """Change a locked row's settings and append that to its chain."""
    name = rows.name_of(row)
    after = {what: changes.get(what, getattr(row, what)) for what in ("total_budget", "delta", "slack")}
    limits = accounting.row_limits(after["total_budget"], after["delta"], after["slack"])
    entry = link(row.row_key, (row.head_seq, row.head_hash), row.now, "set", analyst=by, prefix=row.prefix, db_name=row.db_name,
                 table_name=row.table_name, quota=name.analyst is not None, cycle=row.cycle, detail=json.dumps(changes))  # fmt: skip
    connection.execute(insert(ledger).values(entry))
    table = rows.table_of(name)
    consumed = accounting.consumed_epsilon(rows.spent_of(row), after["slack"], limits)
    values = {**changes, "consumed_budget": consumed, "last_update_time": row.now, "head_seq": entry["seq"], "head_hash": entry["hash"]}
    connection.execute(update(table).where(table.c.row_key == row.row_key).values(values))


def checked_settings(total_budget: float | None, recover_cycle: int | None, exhausted_strategy: str | None) -> dict[str, Any]:
    """The settings that were given, as the database will hold them.

    Raises: BadRequest: out of range, not finite, of another type.
    """
    given: dict[str, Any] = {}
    if total_budget is not None:
        number = isinstance(total_budget, int | float) and not isinstance(total_budget, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not number or not math.isfinite(total_budget) or not 0 < total_budget <= MAX_TOTAL_BUDGET:
            raise BadRequest(f"total_budget must be a number greater than 0 and at most {MAX_TOTAL_BUDGET:.0f}.")
        given["total_budget"] = float(total_budget)
    if recover_cycle is not None:
        if type(recover_cycle) is not int or not 1 <= recover_cycle <= MAX_CYCLE_DAYS:
            raise BadRequest(f"recover_cycle must be a whole number of days between 1 and {MAX_CYCLE_DAYS}.")
        given["recover_cycle"] = recover_cycle
    if exhausted_strategy is not None:
        if exhausted_strategy not in ("reject", "allow"):
            raise BadRequest('exhausted_strategy must be "reject" or "allow".')
        given["exhausted_strategy"] = exhausted_strategy
    return given


# ---------------------------------------------------------------- reading rows
def get_budget(connection: Connection, name: RowName) -> BudgetRecord:
    """One row as last committed: one indexed read.

    Raises: BudgetMissing.
    """
    table = rows.table_of(name)
    subjects = [table_subject(name.prefix, name.db_name, table_name) for table_name in (name.table_name, TOTAL)]
    if name.analyst is not None:
        subjects.append(analyst_subject(name.analyst))
    stopped = select(suspension.c.subject).where(suspension.c.subject.in_(subjects), suspension.c.active).exists()
    row = connection.execute(select(table, stopped.label("stopped")).where(*rows.is_row(name))).one_or_none()
    if row is None:
        raise BudgetMissing("budget info does not exist")
    return rows.record_of(row, suspended=bool(row.stopped))


def list_budgets(
    connection: Connection, prefix: str | None, db_name: str | None, analyst: str | None, *, quotas: bool
) -> tuple[BudgetRecord, ...]:
    """Rows of tables, then (``quotas``) those of analysts, all or one's; in order of their names."""
    stopped = {row.subject for row in connection.execute(select(suspension.c.subject).where(suspension.c.active))}
    result: list[BudgetRecord] = []
    for table in (budget_info, analyst_budget) if quotas else (budget_info,):
        statement = select(table)
        if prefix is not None:
            statement = statement.where(table.c.prefix == prefix)
        if db_name is not None:
            statement = statement.where(table.c.db_name == db_name)
        if table is analyst_budget:
            statement = statement.order_by(table.c.analyst)
            if analyst is not None:
                statement = statement.where(table.c.analyst == analyst)
        statement = statement.order_by(table.c.prefix, table.c.db_name, table.c.table_name)
        for row in connection.execute(statement):
            name = rows.name_of(row)
            subjects = {table_subject(row.prefix, row.db_name, row.table_name), table_subject(row.prefix, row.db_name, TOTAL)}
            if name.analyst is not None:
                subjects.add(analyst_subject(name.analyst))
            result.append(rows.record_of(row, suspended=not subjects.isdisjoint(stopped)))
    return tuple(result)


# ---------------------------------------------------------------- recovery
def due(connection: Connection) -> tuple[RowName, ...]:
    """Rows at least ``recover_cycle`` days past their last recovery, by the database's clock."""
    return tuple(
        rows.name_of(row)
        for table in (budget_info, analyst_budget)
        for row in connection.execute(select(table).where(_is_due(table)).order_by(table.c.row_key))
    )


def recover(connection: Connection, name: RowName, *, dry_run: bool) -> Recovery | None:
    """Begin a row's next cycle if it is due by the database's clock, else do nothing.

    One conditional UPDATE decides: however many servers try, and whatever their clocks say, one of them recovers the row, once.
    last_recover_time moves by whole cycles, so that recoveries do not drift.
    """
    row = rows.lock(connection, name)
    if row is None:
        return None
    cycle = timedelta(days=row.recover_cycle)
    passed = (row.now - row.last_recover_time) // cycle
    if passed < 1:
        return None
    last = row.last_recover_time + passed * cycle
    done = Recovery(name, passed, row.consumed_budget, shown_time(last))
    if dry_run:
        return done
    detail = {"consumed_budget": row.consumed_budget, "num_dpcall": row.num_dpcall, "sum_eps": row.sum_eps, "sum_del": row.sum_del,
              "sum_rho": row.spent_pico_rho / accounting.PICO, "unmetered_answers": row.unmetered_answers, "cycles": passed}  # fmt: skip
    entry = link(row.row_key, (row.head_seq, row.head_hash), row.now, "recovery", prefix=row.prefix, db_name=row.db_name,
                 table_name=row.table_name, analyst=name.analyst or "", quota=name.analyst is not None, cycle=row.cycle + 1,
                 detail=json.dumps(detail))  # fmt: skip
    table = rows.table_of(name)
    values = {
        "consumed_budget": 0.0, "num_dpcall": 0, "sum_eps": 0.0, "sum_del": 0.0, "sum_sq_eps": 0.0, "sum_exp_eps": 0.0, "prod_del": 1.0,
        "spent_pico_epsilon": 0, "spent_pico_rho": 0, "spent_atto_key_delta": 0, "spent_atto_gauss_delta": 0, "unmetered_answers": 0,
        "lifetime_epsilon": row.lifetime_epsilon + row.sum_eps, "lifetime_delta": row.lifetime_delta + row.sum_del,
        "lifetime_rho": row.lifetime_rho + row.spent_pico_rho / accounting.PICO,
        "lifetime_answers": row.lifetime_answers + row.num_dpcall, "cycle": row.cycle + 1, "last_recover_time": last,
        "last_update_time": row.now, "head_seq": entry["seq"], "head_hash": entry["hash"],
    }  # fmt: skip
    if connection.execute(update(table).where(table.c.row_key == row.row_key, _is_due(table)).values(values)).rowcount != 1:
        return None
    connection.execute(insert(ledger).values(entry))
    return done


def _is_due(table: Any) -> Any:
    return plus_days(table.c.last_recover_time, table.c.recover_cycle) <= utc_now()
