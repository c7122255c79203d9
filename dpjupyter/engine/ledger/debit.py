"""The debit: one transaction that pays for a query from every row it touches, or changes nothing.

Order inside the transaction: lock the tables' rows in key order, lock the analyst's rows in key order, look at
suspensions, decide on integers, insert the request (its key is unique: nothing is charged twice), append a link per row,
update the rows, commit. The warehouse is asked only after the commit.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger import Charge, rows
from dpjupyter.engine.ledger.access import refuse_suspended
from dpjupyter.engine.ledger.chain import link, sql_sha256, storable
from dpjupyter.engine.ledger.names import TOTAL, RowName, request_key
from dpjupyter.engine.ledger.records import Outlook, next_recovery, shown_time
from dpjupyter.engine.ledger.schema import analyst_budget, budget_info, ledger, request
from dpjupyter.engine.model import Cost, Receipt
from dpjupyter.errors import BudgetExhausted, BudgetMissing


class QuotaMissing(Exception):
    """The analyst is new to these rows: make them and run the debit again."""

    def __init__(self, names: tuple[RowName, ...]) -> None:
        super().__init__("quota rows are missing")
        self.names = names


def debit(connection: Connection, charge: Charge) -> Receipt:
    """Pay, inside the caller's transaction.

    Raises: BudgetExhausted, BudgetMissing, Suspended, QuotaMissing; IntegrityError: the request id is known.
    """
    asked = charge.asked
    wanted = set(charge.tables) | {TOTAL}
    shared = rows.lock_shared(connection, asked.prefix, asked.db_name, wanted)
    found = {row.table_name for row in shared}
    missing = wanted - found - (set() if charge.has_total else {TOTAL})
    if missing or not shared:
        names = ", ".join(sorted(missing or wanted))
        raise BudgetMissing("budget info does not exist", hint=f"No budget row for {names}: the owner makes it.")
    quotas = [RowName(asked.prefix, asked.db_name, row.table_name, asked.analyst) for row in shared]
    own = rows.lock_quotas(connection, [name.key for name in quotas])
    if len(own) < len(quotas):
        there = {row.row_key for row in own}
        raise QuotaMissing(tuple(name for name in quotas if name.key not in there))
    refuse_suspended(connection, asked.analyst, asked.prefix, asked.db_name, found)

    locked = [*shared, *own]
    limits = {row.row_key: rows.limits_of(row) for row in locked}
    paying = [row for row in locked if accounting.admits(rows.spent_of(row), charge.cost, limits[row.row_key])]
    able = {row.row_key for row in paying}
    unable = [row for row in locked if row.row_key not in able]
    for row in unable:
        if row.exhausted_strategy != "allow":
            raise _exhausted(row, charge.cost)

    time = shared[0].now
    details: dict[str, Any] = {
        "analyst": asked.analyst, "request_id": asked.request_id, "prefix": asked.prefix, "db_name": asked.db_name,
        "mechanism": _mechanism(charge.cost), "pico_epsilon": _fit(charge.cost.pico_epsilon), "pico_rho": _fit(charge.cost.pico_rho),
        "atto_key_delta": _fit(charge.cost.atto_key_delta), "atto_gauss_delta": _fit(charge.cost.atto_gauss_delta),
        "fingerprint": charge.fingerprint, "checksum": asked.checksum, "sql_sha256": sql_sha256(storable(asked.sql)),
        "detail": _calls(charge.cost),
    }  # fmt: skip
    links: list[dict[str, Any]] = []
    changes: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    balances: dict[str, float] = {}
    before: dict[str, float] = {}
    for row in locked:
        name = rows.name_of(row)
        pays = row.row_key in able
        entry = link(row.row_key, (row.head_seq, row.head_hash), time, "debit" if pays else "unmetered",
                     table_name=row.table_name, quota=name.analyst is not None, cycle=row.cycle, **details)  # fmt: skip
        links.append(entry)
        change = _paid(row, charge.cost, limits[row.row_key], time) if pays else _unpaid(row)
        changes[name.analyst is not None].append({**change, "head_seq": entry["seq"], "head_hash": entry["hash"], "key": row.row_key})
        before[name.shown] = accounting.residual_epsilon(row.total_budget, row.consumed_budget)
        balances[name.shown] = accounting.residual_epsilon(row.total_budget, change["consumed_budget"])

    connection.execute(
        insert(request).values(
            request_key=request_key(asked.analyst, asked.request_id), analyst=asked.analyst, request_id=asked.request_id,
            body_sha256=asked.body_sha256, prefix=asked.prefix, db_name=asked.db_name, checksum=asked.checksum,
            fingerprint=charge.fingerprint, state="debited", unmetered=bool(unable), cancelled=False,
            max_failures=charge.max_failures, time=time, cycles=json.dumps({row.row_key: row.cycle for row in locked}),
            sql_text=storable(asked.sql),
        )
    )  # fmt: skip
    connection.execute(insert(ledger), links)
    connection.execute(_UPDATE_SHARED, changes[False])
    connection.execute(_UPDATE_QUOTA, changes[True])
    return Receipt(
        request_id=asked.request_id,
        analyst=asked.analyst,
        debited=tuple(rows.name_of(row).shown for row in paying),
        unmetered=tuple(rows.name_of(row).shown for row in unable),
        time=shown_time(time),
        balances=balances,
        before=before,
    )


def outlook(connection: Connection, charge: Charge) -> tuple[Outlook, ...]:
    """What ``charge`` would do to each row now; rows of an analyst not seen before are as their default.

    Raises: BudgetMissing.
    """
    asked = charge.asked
    wanted = set(charge.tables) | {TOTAL}
    shared = connection.execute(
        select(budget_info).where(
            budget_info.c.prefix == asked.prefix, budget_info.c.db_name == asked.db_name, budget_info.c.table_name.in_(sorted(wanted))
        )
    ).all()
    if wanted - {row.table_name for row in shared} - (set() if charge.has_total else {TOTAL}):
        raise BudgetMissing("budget info does not exist")
    quotas = {RowName(asked.prefix, asked.db_name, row.table_name, asked.analyst).key: row.table_name for row in shared}
    own = connection.execute(select(analyst_budget).where(analyst_budget.c.row_key.in_(sorted(quotas)))).all()
    result = [_outlook(row, charge.cost) for row in (*shared, *own)]
    default = charge.analyst_default
    limits = accounting.row_limits(default.total_budget, default.delta, default.slack_or_default)
    for key, table in quotas.items():
        if key not in {row.row_key for row in own}:
            name = RowName(asked.prefix, asked.db_name, table, asked.analyst)
            result.append(_forecast(name, accounting.Spent(), charge.cost, limits=limits, total=default.total_budget,
                                    slack=default.slack_or_default, allows=default.exhausted_strategy == "allow"))  # fmt: skip
    return tuple(result)


def _outlook(row: rows.AnyRow, cost: Cost) -> Outlook:
    return _forecast(rows.name_of(row), rows.spent_of(row), cost, limits=rows.limits_of(row), total=row.total_budget, slack=row.slack,
                     allows=row.exhausted_strategy == "allow")  # fmt: skip


def _forecast(
    name: RowName, spent: accounting.Spent, cost: Cost, *, limits: accounting.RowLimits, total: float, slack: float, allows: bool
) -> Outlook:
    pays = accounting.admits(spent, cost, limits)
    before = accounting.consumed_epsilon(spent, slack, limits)
    after = accounting.consumed_epsilon(accounting.add(spent, cost), slack, limits) if pays else before
    left = accounting.residual_epsilon
    return Outlook(name, total, left(total, before), left(total, after), affordable=pays or allows, unmetered=not pays and allows)


def _paid(row: rows.AnyRow, cost: Cost, limits: accounting.RowLimits, time: Any) -> dict[str, Any]:
    spent = accounting.add(rows.spent_of(row), cost)
    calls = cost.calls
    # The gate's integers are exact; the sums for reading follow them wherever they can.
    delta = Fraction(spent.atto_key_delta + spent.atto_gauss_delta, accounting.ATTO)
    listed = math.fsum(call.delta for call in calls)
    unlisted = max(0.0, (cost.atto_key_delta + cost.atto_gauss_delta) / accounting.ATTO - listed)
    # Key deltas that are no call's own still belong to the product; 1e-17 is rounding, not a delta.
    kept = math.prod(1 - call.delta for call in calls) * (1 - unlisted if unlisted > 1e-17 else 1.0)  # noqa: PLR2004
    return {
        "consumed_budget": accounting.consumed_epsilon(spent, row.slack, limits),
        "last_update_time": time,
        "num_dpcall": row.num_dpcall + len(calls),
        "sum_eps": spent.pico_epsilon / accounting.PICO,
        "sum_del": float(delta),
        "sum_sq_eps": math.fsum((row.sum_sq_eps, *(call.epsilon**2 for call in calls))),
        "sum_exp_eps": math.fsum((row.sum_exp_eps, *(call.epsilon * math.tanh(call.epsilon / 2) for call in calls))),
        "prod_del": row.prod_del * kept,
        "spent_pico_epsilon": spent.pico_epsilon,
        "spent_pico_rho": spent.pico_rho,
        "spent_atto_key_delta": spent.atto_key_delta,
        "spent_atto_gauss_delta": spent.atto_gauss_delta,
        "unmetered_answers": row.unmetered_answers,
    }


def _unpaid(row: rows.AnyRow) -> dict[str, Any]:
    # Strategy `allow`: the requirement's columns stay as they are.
    same = {name: getattr(row, name) for name in _CHANGED}
    return {**same, "unmetered_answers": row.unmetered_answers + 1}


_CHANGED = (
    "consumed_budget", "last_update_time", "num_dpcall", "sum_eps", "sum_del", "sum_sq_eps", "sum_exp_eps", "prod_del",
    "spent_pico_epsilon", "spent_pico_rho", "spent_atto_key_delta", "spent_atto_gauss_delta", "unmetered_answers",
)  # fmt: skip


def _change(table: Any, where: Any) -> Any:
    return update(table).where(where).values({name: bindparam(name) for name in (*_CHANGED, "head_seq", "head_hash")})


_UPDATE_SHARED = _change(budget_info, budget_info.c.row_key == bindparam("key"))
_UPDATE_QUOTA = _change(analyst_budget, analyst_budget.c.row_key == bindparam("key"))


def _exhausted(row: rows.AnyRow, cost: Cost) -> BudgetExhausted:
    name = rows.name_of(row)
    whose = f"Your quota of {name.table_name}" if name.analyst is not None else f"The budget of {name.table_name}"
    when = shown_time(next_recovery(row.last_recover_time, row.recover_cycle))
    asked = cost.pico_epsilon / accounting.PICO
    return BudgetExhausted(
        f"{whose} cannot pay: total {row.total_budget:g}, consumed {row.consumed_budget:.6g}, asked {asked:g}.",
        hint=f"It recovers after {when} UTC; a smaller epsilon or fewer answers may still fit.",
    )


def _mechanism(cost: Cost) -> str:
    return "+".join(sorted({call.mechanism for call in cost.calls}))[:32]


def _calls(cost: Cost) -> str:
    return json.dumps({"calls": [[call.label, call.epsilon, call.delta, call.mechanism] for call in cost.calls]}, ensure_ascii=True)


def _fit(amount: int) -> int:
    return min(amount, accounting.MAX_INTEGER)
