"""Budget rows: the required settings, names compared byte for byte, two owners at once."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import asdict, fields

import pytest

from dpjupyter.engine.ledger.records import AuditFilter, BudgetRecord
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.policy import parse
from dpjupyter.errors import BadRequest, BudgetMissing
from tests.contracts.ledger.asks import DB, PREFIX, charge, cost

REQUIRED = [
    "prefix", "db_name", "table_name", "total_budget", "residual_budget", "consumed_budget", "recover_cycle", "exhausted_strategy",
    "create_time", "last_update_time", "last_recover_time", "slack", "num_dpcall", "sum_eps", "sum_del", "sum_sq_eps", "sum_exp_eps",
    "prod_del",
]  # fmt: skip

POLICY = """
[database]
prefix = "warehouse.example"
name = "shop"
backend = "duckdb:///shop.duckdb"
[total]
total_budget = 50.0
delta = 1e-5
[analysts]
delta = 1e-7
[tables.orders]
unit = "customer_id"
total_budget = 20.0
recover_cycle = 7
exhausted_strategy = "allow"
columns = { customer_id = { type = "INTEGER" } }
[tables.regions]
private = false
columns = { region = { type = "VARCHAR" } }
"""


def test_a_record_begins_with_the_required_columns_in_table_order() -> None:
    assert [field.name for field in fields(BudgetRecord)][:18] == REQUIRED


def test_a_new_row_takes_the_required_defaults(store: LedgerStore) -> None:
    row = store.set_budget(PREFIX, DB, "orders")
    assert (row.total_budget, row.recover_cycle, row.exhausted_strategy) == (10000.0, 30, "reject")
    assert row.create_time == row.last_update_time == row.last_recover_time
    assert len(row.create_time) == len("2026-01-01 00:00:00")
    assert (row.consumed_budget, row.residual_budget, row.num_dpcall, row.prod_del) == (0.0, 10000.0, 0, 1.0)
    assert (row.sum_eps, row.sum_del, row.sum_sq_eps, row.sum_exp_eps, row.slack, row.delta) == (0, 0, 0, 0, 5e-7, 1e-6)
    assert store.get_budget(PREFIX, DB, "orders") == row


def test_a_change_keeps_what_is_left_out_and_what_was_spent(store: LedgerStore) -> None:
    store.set_budget(PREFIX, DB, "*")
    store.set_budget(PREFIX, DB, "orders", total_budget=12.5, recover_cycle=3, exhausted_strategy="allow")
    store.debit(charge("r", cost(2.0)))
    row = store.set_budget(PREFIX, DB, "orders", recover_cycle=5)
    assert (row.total_budget, row.recover_cycle, row.exhausted_strategy) == (12.5, 5, "allow")
    assert (row.consumed_budget, row.num_dpcall) == (2.0, 1)
    lowered = store.set_budget(PREFIX, DB, "orders", total_budget=1.0)
    assert (lowered.residual_budget, lowered.consumed_budget) == (0.0, 2.0)
    assert store.verify().sound


def test_floats_come_back_bit_for_bit(store: LedgerStore) -> None:
    for total in (0.1 + 0.2, 1 / 3, 9_000_000.0, 5e-324, 1e-12, math.nextafter(9e6, 0)):
        assert store.set_budget(PREFIX, DB, "orders", total_budget=total).total_budget == total
        assert store.get_budget(PREFIX, DB, "orders").total_budget == total


@pytest.mark.parametrize("bad", [0, 0.0, -0.0, -1, math.nan, math.inf, -math.inf, 1e308, 9_000_000.1, True, "5", [1]])
def test_a_total_that_is_no_budget_is_refused(store: LedgerStore, bad: object) -> None:
    with pytest.raises(BadRequest, match="total_budget"):
        store.set_budget(PREFIX, DB, "orders", total_budget=bad)  # pyright: ignore[reportArgumentType]
    assert store.list_budgets() == ()


@pytest.mark.parametrize("bad", [0, -1, 1.0, True, "30", 36501, 2**40])
def test_a_cycle_that_is_no_number_of_days_is_refused(store: LedgerStore, bad: object) -> None:
    with pytest.raises(BadRequest, match="recover_cycle"):
        store.set_budget(PREFIX, DB, "orders", recover_cycle=bad)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("bad", ["", "Reject", "deny", "allow "])
def test_an_unknown_strategy_is_refused(store: LedgerStore, bad: str) -> None:
    with pytest.raises(BadRequest, match="exhausted_strategy"):
        store.set_budget(PREFIX, DB, "orders", exhausted_strategy=bad)


HOSTILE = [
    "'; DROP TABLE budget_info; --", '" OR ""="', "`", "%", "_", "\\", "\\'", "a/b", "%s", "%(x)s", ":name", "{0}", "?", "$1",
    "数" * 100, "🎲" * 100, "e\u0301", "é", "ß", "ss", "A", "a", "x" * 255, "𒀱" * 255, "\u202eabc",
]  # fmt: skip


def test_hostile_and_similar_names_are_each_their_own_row(store: LedgerStore) -> None:
    for number, name in enumerate(HOSTILE):
        store.set_budget(name, name, name, total_budget=number + 1.0)
        store.set_budget(name, name, name, analyst=name, total_budget=number + 0.5)
    for number, name in enumerate(HOSTILE):
        assert store.get_budget(name, name, name).total_budget == number + 1.0
        assert store.get_budget(name, name, name, name).total_budget == number + 0.5
        assert [row.table_name for row in store.list_budgets(name, name)] == [name, name]
    assert len(store.list_budgets()) == 2 * len(HOSTILE)
    assert store.verify().sound


def test_hostile_names_pay_their_own_debits(store: LedgerStore) -> None:
    for name in HOSTILE:
        store.set_budget(PREFIX, name, name)
    for number, name in enumerate(HOSTILE):
        store.debit(charge(f"r{number}", tables=(name,), has_total=False, db_name=name, analyst=name, sql=name))
    assert [row.num_dpcall for row in store.list_budgets()] == [1] * 2 * len(HOSTILE)
    assert {row.sql for row in store.audit_rows(AuditFilter(kinds=("debit",)))} == set(HOSTILE)


@pytest.mark.parametrize("bad", ["", " a", "a ", "a\x00b", "a\nb", "\ud800", "x" * 256, "\u00a0a"])
def test_names_on_which_databases_disagree_are_refused(store: LedgerStore, bad: str) -> None:
    for names in ((bad, "d", "t"), ("p", bad, "t"), ("p", "d", bad)):
        with pytest.raises(BadRequest):
            store.set_budget(*names)
        with pytest.raises(BudgetMissing, match="budget info does not exist"):
            store.get_budget(*names)
    with pytest.raises(BadRequest):
        store.set_budget("p", "d", "t", analyst=bad)


def test_an_unknown_row_is_said_to_be_missing(store: LedgerStore) -> None:
    store.set_budget(PREFIX, DB, "orders")
    for names in (("x", DB, "orders"), (PREFIX, "x", "orders"), (PREFIX, DB, "Orders"), (PREFIX, DB, "orders", "alice")):
        with pytest.raises(BudgetMissing, match=r"^budget info does not exist$"):
            store.get_budget(*names)


def test_the_list_shows_tables_then_analysts_and_filters(store: LedgerStore) -> None:
    for table in ("*", "orders"):
        store.set_budget(PREFIX, DB, table)
    store.set_budget(PREFIX, "other", "orders")
    for analyst in ("alice", "bob"):
        store.debit(charge("r", analyst=analyst))
    assert len(store.list_budgets()) == 7
    assert [(r.table_name, r.analyst) for r in store.list_budgets(PREFIX, DB, "bob")] == [
        ("*", None), ("orders", None), ("*", "bob"), ("orders", "bob"),
    ]  # fmt: skip
    assert [r.analyst for r in store.list_budgets(PREFIX, DB, quotas=False)] == [None, None]


def test_two_owners_setting_at_once_lose_nothing(store: LedgerStore) -> None:
    errors: list[Exception] = []
    barrier = threading.Barrier(8)

    def owner(number: int) -> None:
        try:
            barrier.wait()
            for turn in range(5):
                if number % 2:
                    store.set_budget(PREFIX, DB, "orders", total_budget=float(100 + turn), by=f"owner{number}")
                else:
                    store.set_budget(PREFIX, DB, "orders", recover_cycle=10 + turn, by=f"owner{number}")
        except Exception as error:  # noqa: BLE001 - told by the main thread
            errors.append(error)

    threads = [threading.Thread(target=owner, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    row = store.get_budget(PREFIX, DB, "orders")
    assert (row.total_budget, row.recover_cycle) == (104.0, 14)
    assert store.verify().sound


def test_a_policy_makes_its_rows_once(url: str, open_store: Callable[[str], LedgerStore]) -> None:
    first, second = open_store(url), open_store(url)
    policy = parse(POLICY)
    assert first.ensure_rows(policy) == ()
    assert second.ensure_rows(policy) == ()
    rows = {row.table_name: row for row in first.list_budgets()}
    assert set(rows) == {"*", "orders"}  # public tables have no budget
    assert (rows["orders"].total_budget, rows["orders"].recover_cycle, rows["orders"].exhausted_strategy) == (20.0, 7, "allow")
    assert (rows["*"].delta, rows["*"].slack) == (1e-5, 5e-6)


def test_starting_again_keeps_what_was_set_and_takes_over_delta(store: LedgerStore) -> None:
    store.ensure_rows(parse(POLICY))
    store.set_budget(PREFIX, DB, "orders", total_budget=33.0)
    store.debit(charge("r", cost(0.5)))
    changed = parse(POLICY.replace("[tables.orders]", "[tables.orders]\ndelta = 4e-6\nslack = 1e-6"))
    assert store.ensure_rows(changed) == ("orders: keeps total_budget 33.0 (policy: 20.0)",)
    row = store.get_budget(PREFIX, DB, "orders")
    assert (row.total_budget, row.delta, row.slack, row.sum_eps) == (33.0, 4e-6, 1e-6, 0.5)
    assert store.get_budget(PREFIX, DB, "orders", "alice").delta == 1e-7
    assert store.verify().sound
    assert asdict(row)["consumed_budget"] == 0.5
