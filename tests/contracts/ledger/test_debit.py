"""A debit pays from every row it touches, exactly, or changes nothing."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger import schema, statements
from dpjupyter.engine.ledger.names import RowName
from dpjupyter.engine.ledger.records import AuditFilter
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.model import Cost, DpCall
from dpjupyter.engine.policy import Budget
from dpjupyter.errors import BudgetExhausted, BudgetMissing, LedgerUnavailable, QueryFailed, RequestReused, Suspended
from tests.contracts.ledger.asks import DB, PREFIX, charge, cost, gauss


@pytest.fixture
def shop(store: LedgerStore) -> LedgerStore:
    """Rows for two tables and the database, 100 each."""
    for table in ("*", "orders", "customers"):
        store.set_budget(PREFIX, DB, table, total_budget=100.0)
    return store


def rows_of(store: LedgerStore) -> dict[tuple[str, str | None], dict[str, object]]:
    return {(row.table_name, row.analyst): asdict(row) for row in store.list_budgets()}


def test_a_debit_is_paid_by_the_tables_the_database_and_the_analyst(shop: LedgerStore) -> None:
    receipt = shop.debit(charge("r1", cost(0.5, 2), tables=("orders", "customers")))
    assert set(receipt.debited) == {"*", "orders", "customers", "analyst:*", "analyst:orders", "analyst:customers"}
    assert receipt.unmetered == ()
    assert receipt.balances["orders"] == 99.0
    assert receipt.balances["analyst:orders"] == 9999.0
    assert all(row["consumed_budget"] == 1.0 and row["num_dpcall"] == 2 for row in rows_of(shop).values())


def test_all_required_columns_are_exact_after_every_debit(shop: LedgerStore) -> None:
    asked = [cost(0.9), cost(0.1, 3), gauss(0.9, 1e-8), cost(0.5, key_delta=1e-9)]
    for number, of in enumerate(asked):
        shop.debit(charge(f"r{number}", of))
        done = asked[: number + 1]
        calls = [call for each in done for call in each.calls]
        row = shop.get_budget(PREFIX, DB, "orders")
        assert row.num_dpcall == len(calls)
        assert row.sum_eps == pytest.approx(math.fsum(call.epsilon for call in calls), abs=1e-15)
        assert row.sum_sq_eps == pytest.approx(math.fsum(call.epsilon**2 for call in calls), rel=1e-15)
        sums = math.fsum(call.epsilon * (math.e**call.epsilon - 1) / (math.e**call.epsilon + 1) for call in calls)
        assert row.sum_exp_eps == pytest.approx(sums, rel=1e-14)
        key = math.fsum(each.atto_key_delta for each in done) / accounting.ATTO
        assert row.sum_del == pytest.approx(math.fsum(call.delta for call in calls) + key, rel=1e-15)
        assert row.prod_del == pytest.approx(math.prod(1 - call.delta for call in calls) * (1 - key), rel=1e-15)
        assert row.sum_rho == math.fsum(each.pico_rho for each in done) / accounting.PICO
        spent = accounting.Spent()
        for each in done:
            spent = accounting.add(spent, each)
        limits = accounting.row_limits(100, 1e-6, 5e-7)
        assert row.consumed_budget == accounting.consumed_epsilon(spent, 5e-7, limits)
        assert row.residual_budget == 100 - row.consumed_budget


def test_consumed_is_the_smaller_epsilon_of_the_two_branches(shop: LedgerStore) -> None:
    shop.debit(charge("one", cost(0.1)))
    assert shop.get_budget(PREFIX, DB, "orders").consumed_budget == 0.1
    shop.debit(charge("many", cost(0.1, 399)))
    row = shop.get_budget(PREFIX, DB, "orders")
    assert row.sum_eps == 40.0
    assert row.consumed_budget == pytest.approx(accounting.zcdp_epsilon(row.sum_rho, 5e-7))
    assert row.consumed_budget < 13


def test_the_filter_counts_as_the_accounting_page_says(store: LedgerStore) -> None:
    store.set_budget(PREFIX, DB, "orders", total_budget=3.0)
    store.set_budget(PREFIX, DB, "*")
    for number in range(35):
        store.debit(charge(f"r{number}", cost(0.1)))
    with pytest.raises(BudgetExhausted) as refused:
        store.debit(charge("one more", cost(0.1)))
    assert "total 3, consumed 2.9" in refused.value.message
    assert "asked 0.1" in refused.value.message
    assert "recovers after" in refused.value.hint


def test_one_row_that_cannot_pay_leaves_all_rows_untouched(shop: LedgerStore) -> None:
    shop.debit(charge("first", tables=("orders", "customers")))
    shop.set_budget(PREFIX, DB, "customers", total_budget=1.0)
    before = rows_of(shop)
    with pytest.raises(BudgetExhausted, match="budget of customers"):
        shop.debit(charge("second", tables=("orders", "customers")))
    assert rows_of(shop) == before
    assert shop.replay(charge("second").asked) is None
    shop.debit(charge("second", tables=("orders",)))


def test_an_analyst_has_a_quota_of_their_own(shop: LedgerStore) -> None:
    small = Budget(total_budget=1.0)
    shop.debit(charge("a1", default=small))
    with pytest.raises(BudgetExhausted, match="Your quota"):
        shop.debit(charge("a2", default=small))
    shop.debit(charge("b1", analyst="bob", default=small))
    shop.set_budget(PREFIX, DB, "orders", analyst="alice", total_budget=2.0)
    shop.set_budget(PREFIX, DB, "*", analyst="alice", total_budget=2.0)
    shop.debit(charge("a3", default=small))


def test_allow_answers_unmetered_and_leaves_the_required_columns_alone(shop: LedgerStore) -> None:
    shop.set_budget(PREFIX, DB, "orders", total_budget=1.0, exhausted_strategy="allow")
    shop.debit(charge("paid"))
    before = asdict(shop.get_budget(PREFIX, DB, "orders"))
    receipt = shop.debit(charge("free"))
    assert receipt.unmetered == ("orders",)
    assert set(receipt.debited) == {"*", "analyst:*", "analyst:orders"}
    after = asdict(shop.get_budget(PREFIX, DB, "orders"))
    assert after.pop("unmetered_answers") == 1
    before.pop("unmetered_answers")
    assert after == before
    assert shop.get_budget(PREFIX, DB, "*").num_dpcall == 2
    kinds = {(row.table_name, row.quota): (row.kind, row.verdict) for row in shop.audit_rows(AuditFilter(request_id="free"))}
    assert kinds[("orders", False)] == ("unmetered", "unmetered")
    assert kinds[("*", False)] == ("debit", "debited")


def test_reject_anywhere_wins_over_allow(shop: LedgerStore) -> None:
    shop.set_budget(PREFIX, DB, "orders", total_budget=0.1, exhausted_strategy="allow")
    shop.set_budget(PREFIX, DB, "*", total_budget=0.1)
    with pytest.raises(BudgetExhausted, match=r"budget of the whole database"):
        shop.debit(charge("r"))
    assert shop.get_budget(PREFIX, DB, "orders").unmetered_answers == 0


def test_a_missing_row_refuses_and_is_not_made_by_asking(store: LedgerStore) -> None:
    store.set_budget(PREFIX, DB, "orders")
    with pytest.raises(BudgetMissing, match="budget info does not exist"):
        store.debit(charge("r"))  # the policy declares '*', nobody made its row
    with pytest.raises(BudgetMissing):
        store.debit(charge("r", tables=("nowhere",), has_total=False))
    assert {row.table_name for row in store.list_budgets()} == {"orders"}
    store.debit(charge("r", has_total=False))


def test_a_total_row_the_owner_made_pays_even_if_the_policy_has_none(shop: LedgerStore) -> None:
    assert "*" in shop.debit(charge("r", has_total=False)).debited


def test_a_request_id_is_charged_once(shop: LedgerStore) -> None:
    first = charge("same")
    shop.debit(first)
    with pytest.raises(QueryFailed):
        shop.replay(first.asked)  # charged, no answer yet: never run again
    with pytest.raises(QueryFailed):
        shop.debit(first)
    with pytest.raises(RequestReused):
        shop.debit(charge("same", sql="SELECT SUM(price) FROM orders"))
    with pytest.raises(RequestReused):
        shop.replay(charge("same", sql="SELECT 2").asked)
    assert shop.get_budget(PREFIX, DB, "orders").num_dpcall == 1
    shop.debit(charge("same", analyst="bob"))  # another analyst's ids are their own


def test_a_filed_answer_is_replayed_and_released(shop: LedgerStore) -> None:
    paid = charge("r")
    assert shop.release(paid.fingerprint) is None
    shop.debit(paid)
    assert shop.release(paid.fingerprint) is None
    answer = '{"Data": {"n": [3]}, "text": "naïve 🎲"}'
    shop.file(paid, answer)
    shop.file(paid, answer)
    assert shop.replay(paid.asked) == answer
    assert shop.release(paid.fingerprint) == answer
    with pytest.raises(QueryFailed):
        shop.file(paid, "{}")  # a second, different answer to one debit is never sent
    with pytest.raises(QueryFailed):
        shop.file(charge("never debited"), answer)


def test_the_newest_release_is_given(shop: LedgerStore) -> None:
    for number in (1, 2):
        shop.debit(charge(f"r{number}"))
        shop.file(charge(f"r{number}"), f'"{number}"')
    assert shop.release(charge("x").fingerprint) == '"2"'


def test_an_answer_that_comes_after_its_request_was_given_up_is_not_filed(shop: LedgerStore) -> None:
    paid = charge("r")
    shop.debit(paid)
    shop.failed(paid.asked)
    with pytest.raises(QueryFailed):
        shop.file(paid, "{}")
    with pytest.raises(QueryFailed):
        shop.replay(paid.asked)


def test_too_many_charged_failures_suspend_the_analyst_until_lifted(shop: LedgerStore) -> None:
    def fail(number: int) -> None:
        shop.debit(charge(f"r{number}"))
        shop.failed(charge(f"r{number}").asked)
        shop.failed(charge(f"r{number}").asked)  # counted once

    for number in range(3):
        fail(number)
    with pytest.raises(Suspended, match="3 charged requests failed"):
        shop.debit(charge("r3"))
    with pytest.raises(Suspended):
        shop.replay(charge("r4").asked)
    shop.debit(charge("b", analyst="bob"))
    shop.lift(analyst="alice")
    for number in range(5, 7):
        fail(number)  # counting begins anew
    shop.debit(charge("r7"))


def test_suspending_a_table_stops_debits_and_releases_at_once(shop: LedgerStore) -> None:
    paid = charge("r")
    shop.debit(paid)
    shop.file(paid, "{}")
    shop.suspend(prefix=PREFIX, db_name=DB, table_name="orders", reason="audit")
    for attempt in (lambda: shop.debit(charge("r2")), lambda: shop.release(paid.fingerprint)):
        with pytest.raises(Suspended, match="Table orders is suspended: audit"):
            attempt()
    shop.debit(charge("c", tables=("customers",)))
    assert shop.get_budget(PREFIX, DB, "orders").suspended
    shop.lift(prefix=PREFIX, db_name=DB, table_name="orders")
    shop.suspend(prefix=PREFIX, db_name=DB, table_name="*")
    with pytest.raises(Suspended, match="database"):
        shop.debit(charge("c2", tables=("customers",)))
    with pytest.raises(Suspended):
        shop.replay(charge("c3").asked)


def test_the_smallest_cost_is_counted_not_absorbed(shop: LedgerStore) -> None:
    shop.set_budget(PREFIX, DB, "orders", total_budget=9_000_000.0)
    shop.set_budget(PREFIX, DB, "*", total_budget=9_000_000.0)
    tiny = Cost(accounting.pico_up(1e-12), accounting.pico_up(accounting.pure_rho(1e-12)), 0, 0, (DpCall("n", 1e-12, 0.0, "laplace"),))
    assert (tiny.pico_epsilon, tiny.pico_rho) == (1, 1)
    rich = Budget(total_budget=9_000_000.0)
    shop.debit(charge("big", Cost(8_999_999 * accounting.PICO, 8_000_000 * accounting.PICO, 0, 0, ()), default=rich))
    for number in range(3):
        shop.debit(charge(f"r{number}", tiny, default=rich))
    # A float near 9e6 cannot hold 3e-12; the gate can.
    left = accounting.PICO - 3
    with pytest.raises(BudgetExhausted):
        shop.debit(charge("over", Cost(left + 1, 980_000 * accounting.PICO, 0, 0, ()), default=rich))
    shop.debit(charge("fits", Cost(left, 0, 0, 0, ()), default=rich))


@pytest.mark.parametrize("total", [0.1 + 0.2, 1 / 3, 2 / 3, 1e-3 / 7, 8_999_999.999999999, 1234567.8901234567])
def test_a_debit_reads_the_settings_bit_for_bit(shop: LedgerStore, total: float) -> None:
    shop.set_budget(PREFIX, DB, "orders", total_budget=total)
    subjects = ["a"]
    pairs, _, stopped = shop._db.read(lambda c: statements.lock(c, PREFIX, DB, ["orders"], analyst="nobody", subjects=subjects))
    ((row, quota),) = pairs
    assert (row.total_budget, row.slack, row.delta, quota, stopped) == (total, 5e-7, 1e-6, None, False)


def test_a_write_that_fails_undoes_those_sent_with_it(shop: LedgerStore) -> None:
    shop.debit(charge("first"))
    before = shop.get_budget(PREFIX, DB, "orders")
    # Somebody has written the next link of the chain already: the second statement of the batch fails, the first is undone.
    taken = "INSERT INTO ledger SELECT NULL, chain, seq + 1, {} FROM ledger l WHERE chain = '{}' ORDER BY seq DESC LIMIT 1"
    columns = ", ".join(c.name if c.name != "hash" else "'x'" for c in schema.ledger.columns if c.name not in ("id", "chain", "seq"))
    shop._db.write(lambda c: c.exec_driver_sql(taken.format(columns, RowName(PREFIX, DB, "orders").key)))
    with pytest.raises(LedgerUnavailable, match="contradicts"):
        shop.debit(charge("second"))
    assert shop.get_budget(PREFIX, DB, "orders") == before
    assert shop.replay(charge("second").asked) is None


def test_sums_past_64_bits_are_held_at_the_top_and_refuse(shop: LedgerStore) -> None:
    shop.set_budget(PREFIX, DB, "orders", exhausted_strategy="allow")
    enormous = Cost(10**30, 10**30, 10**30, 10**30, ())
    with pytest.raises(BudgetExhausted):
        shop.debit(charge("r", enormous))
    shop.set_budget(PREFIX, DB, "*", exhausted_strategy="allow")
    allow = Budget(exhausted_strategy="allow")
    receipt = shop.debit(charge("r", enormous, analyst="eve", default=allow))
    assert receipt.debited == ()
    assert shop.verify().sound


def test_key_deltas_are_gated_in_both_branches(shop: LedgerStore) -> None:
    shop.debit(charge("a", cost(0.1, key_delta=4e-7)))
    with pytest.raises(BudgetExhausted):
        shop.debit(charge("b", cost(0.1, key_delta=2e-7)))  # delta - slack is 5e-7
    shop.debit(charge("c", cost(0.1, key_delta=1e-7)))
    with pytest.raises(BudgetExhausted):
        shop.debit(charge("d", cost(0.1, key_delta=1e-18)))


def test_gaussian_deltas_stop_the_basic_branch_only(shop: LedgerStore) -> None:
    for number in range(60):
        shop.debit(charge(f"r{number}", gauss(0.1, 1e-8)))  # 6e-7 in all: above delta - slack
    row = shop.get_budget(PREFIX, DB, "orders")
    assert row.sum_del == pytest.approx(6e-7)
    assert row.consumed_budget == pytest.approx(accounting.zcdp_epsilon(row.sum_rho, 5e-7))


def test_the_outlook_tells_before_and_after_without_touching_anything(shop: LedgerStore) -> None:
    shop.set_budget(PREFIX, DB, "orders", total_budget=1.0)
    before = rows_of(shop)
    outlook = {row.name.shown: row for row in shop.outlook(charge("q", cost(0.9)))}
    assert set(outlook) == {"*", "orders", "analyst:*", "analyst:orders"}
    assert (outlook["orders"].before, outlook["orders"].after) == (1.0, pytest.approx(0.1))
    assert outlook["analyst:orders"].affordable
    assert not {row.name.shown: row for row in shop.outlook(charge("q", cost(1.1)))}["orders"].affordable
    assert rows_of(shop) == before
    receipt = shop.debit(charge("q", cost(0.9)))
    assert receipt.balances == {name: row.after for name, row in outlook.items()}
    assert receipt.before == {name: row.before for name, row in outlook.items()}


def test_cancelling_is_asked_of_whichever_replica_runs_the_request(shop: LedgerStore) -> None:
    shop.cancel("alice", "unknown")
    shop.debit(charge("r"))
    assert not shop.cancel_requested("alice", "r")
    shop.cancel("bob", "r")
    assert not shop.cancel_requested("alice", "r")
    shop.cancel("alice", "r")
    assert shop.cancel_requested("alice", "r")


def test_requests_whose_gateway_died_are_settled_as_failed(shop: LedgerStore) -> None:
    shop.debit(charge("r"))
    assert shop.settle_lost(3600) == 0
    assert shop.settle_lost(-1) == 1
    assert [row.verdict for row in shop.audit_rows(AuditFilter(request_id="r"))] == ["failed"] * 4
