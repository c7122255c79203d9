"""The debit: one transaction that pays for a query from every row it touches, or changes nothing.

Order inside the transaction: lock the tables' rows in key order, each with the analyst's quota of it (and look at
suspensions), decide on integers, insert the request (its key is unique: nothing is charged twice), append a link per row, write
the rows, commit. The warehouse is asked only after the commit. Others wait for the same rows meanwhile, so it takes five
statements however many rows there are, sent in two messages.
"""

from __future__ import annotations

import json
import math
from typing import Any

from sqlalchemy import Connection, select

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger import Charge, rows, statements
from dpjupyter.engine.ledger.access import refuse_suspended, subjects_of
from dpjupyter.engine.ledger.chain import link, sql_sha256, storable
from dpjupyter.engine.ledger.names import TOTAL, RowName, request_key
from dpjupyter.engine.ledger.records import Outlook, next_recovery, shown_time
from dpjupyter.engine.ledger.schema import analyst_budget, budget_info, ledger, request
from dpjupyter.engine.ledger.statements import Locked, Paid
from dpjupyter.engine.model import Cost, Receipt
from dpjupyter.errors import BudgetExhausted, BudgetMissing


class QuotaMissing(Exception):
    """The analyst is new to these rows: make them and run the debit again."""

    def __init__(self, names: tuple[RowName, ...]) -> None:
        super().__init__("quota rows are missing")
        self.names = names


Was = tuple[str, float, float, accounting.Spent, accounting.RowLimits]  # name, total, slack and what was spent of a locked row


def before(rows_then: tuple[Was, ...]) -> dict[str, float]:
    """Balances before a debit; computed when others may have its rows again."""
    residual, consumed = accounting.residual_epsilon, accounting.consumed_epsilon
    return {shown: residual(total, consumed(spent, slack, limits)) for shown, total, slack, spent, limits in rows_then}


def debit(connection: Connection, charge: Charge) -> tuple[Receipt, tuple[Was, ...]]:
    """Pay, inside the caller's transaction.

    Returns: the receipt, its ``before`` left empty, and what :func:`before` needs.

    Raises: BudgetExhausted, BudgetMissing, Suspended, QuotaMissing; IntegrityError: the request id is known.
    """
    locked, time = _lock(connection, charge)
    limits = {row.row_key: rows.limits(row.total_budget, row.delta, row.slack) for _, row in locked}
    able = {row.row_key for _, row in locked if accounting.admits(row.spent, charge.cost, limits[row.row_key])}
    for name, row in locked:
        if row.row_key not in able:
            _refuse_unless_allowed(connection, name, charge.cost)

    details = _details(charge)
    links: list[dict[str, Any]] = []
    paid: dict[bool, list[tuple[RowName, Paid]]] = {False: [], True: []}
    unmetered: list[tuple[RowName, tuple[int, str]]] = []
    balances: dict[str, float] = {}
    for name, row in locked:
        kind = "debit" if row.row_key in able else "unmetered"
        varying = {"table_name": row.table_name, "quota": name.analyst is not None, "cycle": row.cycle}
        entry = link(row.row_key, row.head, time, kind, **details, **varying)
        links.append(entry)
        head = entry["seq"], entry["hash"]
        if row.row_key in able:
            after = _paid(row, charge.cost, limits[row.row_key], time=time, head=head)
            paid[name.analyst is not None].append((name, after))
            consumed = after.consumed_budget
        else:
            unmetered.append((name, head))
            consumed = accounting.consumed_epsilon(row.spent, row.slack, limits[row.row_key])
        balances[name.shown] = accounting.residual_epsilon(row.total_budget, consumed)

    cycles = json.dumps({row.row_key: row.cycle for _, row in locked})
    batch = statements.Batch(connection)
    batch.insert(request, [_request(charge, time, cycles, unmetered=bool(unmetered))])
    batch.insert(ledger, links)
    for together in paid.values():
        if together:
            batch.write([name for name, _ in together], [after for _, after in together])
    for name, head in unmetered:
        batch.write_unmetered(name, head)
    batch.run()
    receipt = Receipt(
        request_id=charge.asked.request_id,
        analyst=charge.asked.analyst,
        debited=tuple(name.shown for name, row in locked if row.row_key in able),
        unmetered=tuple(name.shown for name, _ in unmetered),
        time=time[:19],
        balances=balances,
    )
    return receipt, tuple((name.shown, row.total_budget, row.slack, row.spent, limits[row.row_key]) for name, row in locked)


def _lock(connection: Connection, charge: Charge) -> tuple[list[tuple[RowName, Locked]], str]:
    """Lock what the charge touches: rows of tables first in the result, then the analyst's; and the database's clock."""
    asked = charge.asked
    wanted = set(charge.tables) | {TOTAL}
    tables = sorted(wanted)
    subjects = subjects_of(asked.analyst, asked.prefix, asked.db_name, tables)
    pairs, time, stopped = statements.lock(connection, asked.prefix, asked.db_name, tables, analyst=asked.analyst, subjects=subjects)
    found = {row.table_name for row, _ in pairs}
    missing = wanted - found - (set() if charge.has_total else {TOTAL})
    if missing or not pairs:
        names = ", ".join(sorted(missing or wanted))
        raise BudgetMissing("budget info does not exist", hint=f"No budget row for {names}: the owner makes it.")
    own: list[tuple[RowName, Locked]] = []
    new: list[RowName] = []
    for row, quota in pairs:
        name = RowName(asked.prefix, asked.db_name, row.table_name, asked.analyst)
        if quota is None:
            new.append(name)
        else:
            own.append((name, quota))
    if new:
        raise QuotaMissing(tuple(new))
    if stopped:
        refuse_suspended(connection, asked.analyst, asked.prefix, asked.db_name, found)
    return [*((RowName(asked.prefix, asked.db_name, row.table_name), row) for row, _ in pairs), *own], time


def _details(charge: Charge) -> dict[str, Any]:
    asked, cost = charge.asked, charge.cost
    return {
        "analyst": asked.analyst, "request_id": asked.request_id, "prefix": asked.prefix, "db_name": asked.db_name,
        "mechanism": _mechanism(cost), "pico_epsilon": _fit(cost.pico_epsilon), "pico_rho": _fit(cost.pico_rho),
        "atto_key_delta": _fit(cost.atto_key_delta), "atto_gauss_delta": _fit(cost.atto_gauss_delta),
        "fingerprint": charge.fingerprint, "checksum": asked.checksum, "sql_sha256": sql_sha256(storable(asked.sql)),
        "detail": _calls(cost),
    }  # fmt: skip


def _request(charge: Charge, time: str, cycles: str, *, unmetered: bool) -> dict[str, Any]:
    asked = charge.asked
    return {
        "request_key": request_key(asked.analyst, asked.request_id), "analyst": asked.analyst, "request_id": asked.request_id,
        "body_sha256": asked.body_sha256, "prefix": asked.prefix, "db_name": asked.db_name, "checksum": asked.checksum,
        "fingerprint": charge.fingerprint, "state": "debited", "unmetered": unmetered, "cancelled": False,
        "max_failures": charge.max_failures, "time": time, "cycles": cycles, "sql_text": storable(asked.sql),
    }  # fmt: skip


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


def _paid(row: Locked, cost: Cost, limits: accounting.RowLimits, *, time: str, head: tuple[int, str]) -> Paid:
    spent = accounting.add(row.spent, cost)
    calls = cost.calls
    listed = math.fsum(call.delta for call in calls)
    unlisted = max(0.0, (cost.atto_key_delta + cost.atto_gauss_delta) / accounting.ATTO - listed)
    # Key deltas that are no call's own still belong to the product; 1e-17 is rounding, not a delta.
    kept = math.prod(1 - call.delta for call in calls) * (1 - unlisted if unlisted > 1e-17 else 1.0)
    return Paid(
        consumed_budget=accounting.consumed_epsilon(spent, row.slack, limits),
        last_update_time=time,
        # The gate's integers are exact: where they can, the sums for reading follow them.
        sum_eps=spent.pico_epsilon / accounting.PICO,
        sum_del=(spent.atto_key_delta + spent.atto_gauss_delta) / accounting.ATTO,
        num_dpcall=len(calls),
        sum_sq_eps=math.fsum(call.epsilon**2 for call in calls),
        sum_exp_eps=math.fsum(call.epsilon * math.tanh(call.epsilon / 2) for call in calls),
        prod_del=kept,
        spent_pico_epsilon=spent.pico_epsilon,
        spent_pico_rho=spent.pico_rho,
        spent_atto_key_delta=spent.atto_key_delta,
        spent_atto_gauss_delta=spent.atto_gauss_delta,
        head_seq=head[0],
        head_hash=head[1],
    )


def _refuse_unless_allowed(connection: Connection, name: RowName, cost: Cost) -> None:
    row = rows.lock(connection, name)
    assert row is not None  # locked by the caller
    if row.exhausted_strategy == "allow":
        return
    what = "the whole database" if name.table_name == TOTAL else name.table_name
    whose = f"Your quota of {what}" if name.analyst is not None else f"The budget of {what}"
    when = shown_time(next_recovery(row.last_recover_time, row.recover_cycle))
    asked = cost.pico_epsilon / accounting.PICO
    raise BudgetExhausted(
        f"{whose} cannot pay: total {row.total_budget:g}, consumed {row.consumed_budget:.6g}, asked {asked:g}.",
        hint=f"It recovers after {when} UTC; a smaller epsilon or fewer answers may still fit.",
    )


def _mechanism(cost: Cost) -> str:
    return "+".join(sorted({call.mechanism for call in cost.calls}))[:32]


def _calls(cost: Cost) -> str:
    return json.dumps({"calls": [[call.label, call.epsilon, call.delta, call.mechanism] for call in cost.calls]}, ensure_ascii=True)


def _fit(amount: int) -> int:
    return min(amount, accounting.MAX_INTEGER)
