"""The ledger tells everything, notices every change of the past, and keeps only what it must."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from dpjupyter.engine.ledger.export import to_csv, to_json
from dpjupyter.engine.ledger.records import AuditFilter
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.policy import Budget
from dpjupyter.errors import BadRequest, BudgetExhausted, LedgerUnavailable, QueryFailed
from tests.contracts.ledger.asks import DB, PREFIX, charge, cost

KEY = b"an owner's secret of enough bytes"


@pytest.fixture
def used(store: LedgerStore) -> LedgerStore:
    """A ledger in which everything has happened once."""
    for table in ("*", "orders"):
        store.set_budget(PREFIX, DB, table, total_budget=10.0)
    store.debit(charge("answered"))
    store.file(charge("answered"), '{"n": 1}')
    store.debit(charge("failed", cost(0.5)))
    store.failed(charge("failed").asked)
    store.debit(charge("open", analyst="bob", sql="SELECT AVG(price) FROM orders"))
    with pytest.raises(BudgetExhausted) as refused:
        store.debit(charge("refused", cost(50.0)))
    store.record(charge("refused").asked, "refused", refused.value.message)
    store.record(charge("again").asked, "cached", "")
    store.set_budget(PREFIX, DB, "orders", exhausted_strategy="allow", by="olga")
    store.suspend(analyst="mallory", reason="asks too much", by="olga")
    store.create_token("alice", "analyst", by="olga")
    return store


def run(store: LedgerStore, sql: str, **values: Any) -> None:
    """Change the database behind the store's back."""
    store._db.write(lambda c: c.execute(text(sql), values))


def faults(store: LedgerStore) -> list[str]:
    return [fault.what for fault in store.verify().faults]


def test_every_request_leaves_a_row_with_its_verdict(used: LedgerStore) -> None:
    found = {(row.request_id, row.verdict) for row in used.audit_rows() if row.request_id}
    assert found == {("answered", "answered"), ("failed", "failed"), ("open", "debited"), ("refused", "refused"), ("again", "cached")}
    row = used.audit_rows(AuditFilter(request_id="open", table_name="orders", quota=False))[0]
    assert (row.analyst, row.sql, row.epsilon, row.mechanism) == ("bob", "SELECT AVG(price) FROM orders", 0.9, "laplace")
    assert json.loads(row.detail)["calls"] == [["COUNT(c0)", 0.9, 0.0, "laplace"]]
    refused = used.audit_rows(AuditFilter(verdicts=("refused",)))[0]
    assert "cannot pay" in refused.detail
    assert refused.sql == "SELECT COUNT(*) FROM orders"
    owner = {row.kind: row for row in used.audit_rows(AuditFilter(analyst="olga"))}
    assert set(owner) == {"set", "suspend", "token_create"}
    assert json.loads(owner["set"].detail) == {"exhausted_strategy": "allow"}


def test_filters_and_pages(used: LedgerStore) -> None:
    everything = used.audit_rows()
    assert [row.id for row in everything] == sorted((row.id for row in everything), reverse=True)
    paged, before = [], None
    while page := used.audit_rows(AuditFilter(limit=3, before_id=before)):
        paged.extend(page)
        before = page[-1].id
    assert tuple(paged) == everything
    assert used.audit_rows(AuditFilter(since=datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1))) == ()
    assert used.audit_rows(AuditFilter(until=datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1))) == everything
    assert {row.analyst for row in used.audit_rows(AuditFilter(analyst="bob"))} == {"bob"}
    assert used.audit_rows(AuditFilter(db_name="x")) == ()
    assert used.audit_rows(AuditFilter(verdicts=("answered",), limit=2))[0].verdict == "answered"


def test_an_untouched_ledger_verifies(used: LedgerStore) -> None:
    result = used.verify()
    assert result.sound, result.faults
    assert result.chains == 2 + 4 + 1 + 1  # rows of tables, quotas, refused requests of alice, the owner's
    assert result.links == len(used.audit_rows())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE ledger SET pico_epsilon = 1 WHERE request_id = 'failed' AND table_name = 'orders' AND NOT quota", "the link was changed"),
        ("UPDATE ledger SET detail = 'x' WHERE kind = 'refused'", "the link was changed"),
        ("UPDATE ledger SET analyst = 'bob' WHERE request_id = 'answered' AND table_name = '*' AND NOT quota", "the link was changed"),
        ("UPDATE ledger SET sql_text = 'x' WHERE kind = 'cached'", "the query's text was changed"),
        ("DELETE FROM ledger WHERE kind = 'refused'", "links 1 to 1 are missing"),
        ("DELETE FROM ledger WHERE kind = 'token_create'", "the last links are missing, or the row's head was changed"),
        ("UPDATE budget_info SET spent_pico_epsilon = 0 WHERE table_name = 'orders'",
         "the row's spend columns are not the sum of its debits"),
        ("UPDATE chain_head SET hash = 'x' WHERE label = 'alice'", "the last links are missing, or the row's head was changed"),
        ("DELETE FROM chain_head WHERE label = 'alice'", "2 links belong to no row"),
    ],
)  # fmt: skip
def test_each_change_of_the_past_is_noticed(used: LedgerStore, change: str, what: str) -> None:
    run(used, change)
    assert what in faults(used)


def test_a_row_whose_head_was_turned_back_pays_nothing(used: LedgerStore) -> None:
    run(used, "UPDATE budget_info SET head_seq = 1 WHERE table_name = 'orders'")
    with pytest.raises(LedgerUnavailable, match="contradicts itself"):
        used.debit(charge("after"))
    assert used.get_budget(PREFIX, DB, "*").num_dpcall == 3


def test_changing_a_request_is_noticed(used: LedgerStore) -> None:
    run(used, "UPDATE request SET sql_text = 'SELECT 1' WHERE request_id = 'answered'")
    assert set(faults(used)) == {"the query's text was changed"}
    run(used, "DELETE FROM request WHERE request_id = 'answered'")
    assert set(faults(used)) == {"its request is missing"}


def test_retention_replaces_a_prefix_by_a_signed_checkpoint(used: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    links = used.verify().links
    time.sleep(0.02)
    cutoff = used._db.read(lambda c: c.execute(text("SELECT MAX(time) FROM ledger")).scalar_one())
    cutoff = datetime.fromisoformat(cutoff) if isinstance(cutoff, str) else cutoff
    used.debit(charge("late"))
    used.file(charge("late"), '"late"')
    monkeypatch.setattr("dpjupyter.engine.ledger.audit.cutoff_of", lambda _c, _days: cutoff + timedelta(microseconds=1))
    before = used.list_budgets()
    gone = used.retain(30, KEY)
    assert gone == links - 8  # one checkpoint is left per chain
    assert used.list_budgets() == before
    result = used.verify(KEY)
    assert result.sound, result.faults
    assert (result.checkpoints, result.links) == (8, links + 4)
    assert not used.verify().signatures_checked
    assert used.retain(30, KEY) == 0
    with pytest.raises(QueryFailed):
        used.replay(charge("answered").asked)  # its answer is gone; it is still never charged again
    with pytest.raises(QueryFailed):
        used.debit(charge("answered"))
    assert used.replay(charge("late").asked) == '"late"'
    used.debit(charge("later"))
    assert used.verify(KEY).sound

    assert {fault.what for fault in used.verify(b"another secret of enough bytes").faults} == {"the checkpoint's signature is wrong"}
    run(used, "UPDATE ledger SET detail = :told WHERE kind = 'checkpoint'", told='{"debits":0,"spent":[0,0,0,0],"from":"","to":""}')
    assert "the checkpoint's signature is wrong" in {fault.what for fault in used.verify(KEY).faults}
    assert not used.verify().sound  # without the key, the sums still tell


def test_a_second_retention_continues_the_first(used: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    future = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    monkeypatch.setattr("dpjupyter.engine.ledger.audit.cutoff_of", lambda _c, _days: future)
    for number in range(3):
        used.debit(charge(f"more{number}"))
        used.retain(1, KEY)
        assert used.verify(KEY).sound
    assert used.get_budget(PREFIX, DB, "orders").num_dpcall == 6


def test_a_broken_chain_is_evidence_and_is_not_pruned(used: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    future = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    monkeypatch.setattr("dpjupyter.engine.ledger.audit.cutoff_of", lambda _c, _days: future)
    run(used, "UPDATE ledger SET pico_rho = 0 WHERE table_name = '*' AND NOT quota")
    with pytest.raises(BadRequest, match="does not verify"):
        used.retain(1, KEY)
    assert not used.verify(KEY).sound


@pytest.mark.parametrize(("days", "key"), [(0, KEY), (-1, KEY), (True, KEY), (1.5, KEY), (30, b"short")])
def test_retention_refuses_unfit_arguments(store: LedgerStore, days: int, key: bytes) -> None:
    with pytest.raises(BadRequest):
        store.retain(days, key)


def test_the_cutoff_is_by_the_databases_clock(store: LedgerStore) -> None:
    store.set_budget(PREFIX, DB, "orders")
    assert store.retain(1, KEY) == 0
    assert store.verify(KEY).links == 1


def test_exports_carry_nothing_a_spreadsheet_or_a_page_would_run(store: LedgerStore) -> None:
    store.set_budget(PREFIX, DB, "orders")
    formula = '=HYPERLINK("http://x","<script>alert(1)</script>")'
    store.debit(charge("r", analyst="@eve", tables=("orders",), has_total=False, sql=formula, default=Budget()))
    rows = store.audit_rows(AuditFilter(kinds=("debit",)))
    parsed = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert {row["sql"] for row in parsed} == {"'" + formula}
    assert {row["analyst"] for row in parsed} == {"'@eve"}
    assert all(float(row["epsilon"]) == 0.9 for row in parsed)
    exported = to_json(rows)
    assert "<" not in exported
    assert "&" not in exported
    assert {row["sql"] for row in json.loads(exported)} == {formula}


def test_a_refused_request_waits_for_no_one_elses(open_store: Callable[[str], LedgerStore], url: str) -> None:
    store, other = open_store(url), open_store(url)
    store.record(charge("a").asked, "refused", "x")
    other.record(charge("b", analyst="bob").asked, "refused", "x")
    assert store.verify().chains == 2
