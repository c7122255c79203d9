"""Texts that analysts and owners choose, in every statement that carries them: they come back as they were and do nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpjupyter.engine.ledger.records import AuditFilter
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.model import DpCall
from tests.contracts.ledger.asks import DB, PREFIX, charge, cost

TEXTS = [
    "'; DROP TABLE request; --", "\\'; DELETE FROM ledger; -- ", "\\", "\\\\'", "a\x00b'; --", "\x1a", "\n;\r\n;", "%s %(x)s %% %", "?1 :name $1 {0}",
    "/*! DROP TABLE request */", "`\"'", "\u00bf\u005c'", "\U0001f600", "\ud800'", "x" * 100_000, "'" * 30_000,
]  # fmt: skip


@pytest.mark.parametrize("strategy", ["reject", "allow"])
def test_texts_of_a_charge_are_texts(store: LedgerStore, strategy: str) -> None:
    store.set_budget(PREFIX, DB, "orders", total_budget=1e-3 if strategy == "allow" else 100.0, exhausted_strategy=strategy)
    for number, text in enumerate(TEXTS):
        _charged(store, number, text, unmetered=strategy == "allow")
    assert store.verify().sound


def _charged(store: LedgerStore, number: int, text: str, *, unmetered: bool) -> None:
    of = cost()
    of = replace(of, calls=(DpCall(text, of.calls[0].epsilon, 0.0, "laplace"),))
    asked = charge(f"r{number}", of, has_total=False, sql=text)
    receipt = store.debit(asked)
    assert bool(receipt.unmetered) == unmetered
    store.file(asked, '{"answer": ' + repr(text) + "}")
    shown = text.encode("utf-8", "replace").decode()
    assert store.replay(asked.asked) == '{"answer": ' + repr(text).encode("utf-8", "replace").decode() + "}"
    (row, *_) = store.audit_rows(AuditFilter(request_id=f"r{number}"))
    assert row.sql == shown
    store.record(replace(asked.asked, request_id=f"n{number}"), "refused", text)


def test_texts_of_saved_tables_and_cards_are_texts(store: LedgerStore) -> None:
    store.set_budget(PREFIX, DB, "orders")
    for text in TEXTS:
        _kept(store, text.encode("utf-8", "replace").decode())
    assert store.verify().sound


def _kept(store: LedgerStore, text: str) -> None:
    store.save_table("alice", PREFIX, DB, "kept", tables=("orders",), content=f"{text}\n{text}")
    assert store.load_table("alice", PREFIX, DB, "kept") == f"{text}\n{text}"
    assert store.load_table("bob", PREFIX, DB, "kept") is None
    store.publish_twin(PREFIX, DB, "orders", version="ab", card=text)
    assert [twin.card for twin in store.twins(PREFIX, DB)] == [text]
