"""Tokens, suspensions, and the small things kept beside the budgets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from dpjupyter.engine.ledger import Ledger
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.errors import BadRequest, BudgetMissing, NotFound
from tests.contracts.ledger.asks import DB, PREFIX


def test_a_token_opens_until_revoked(store: LedgerStore) -> None:
    secret, token = store.create_token("alice", "analyst", days=30)
    assert store.lookup_token(secret) == token
    assert (token.name, token.role, token.revoke_time) == ("alice", "analyst", "")
    for wrong in ("", secret[:-1], secret + "x", secret.upper(), "' OR 1=1 --", "\ud800"):
        assert store.lookup_token(wrong) is None
    store.revoke_token(token.id)
    assert store.lookup_token(secret) is None
    assert store.list_tokens()[0].revoke_time
    with pytest.raises(NotFound):
        store.revoke_token(token.id)


def test_a_token_expires_by_the_databases_clock(store: LedgerStore) -> None:
    secret, _ = store.create_token("alice", "viewer", days=1)
    eternal, token = store.create_token("olga", "owner", days=None)
    store._db.write(lambda c: c.execute(text("UPDATE token SET expire_time = '2020-01-01 00:00:00.000000' WHERE expire_time IS NOT NULL")))
    assert store.lookup_token(secret) is None
    assert store.lookup_token(eternal) == token


def test_the_secret_is_nowhere_in_the_database(store: LedgerStore) -> None:
    secret, _ = store.create_token("alice", "analyst")
    for table in ("token", "ledger"):
        rows = store._db.read(lambda c: c.execute(text(f"SELECT * FROM {table}")).all())  # noqa: B023
        assert secret not in repr(rows)
        assert secret.removeprefix("dpj_") not in repr(rows)


@pytest.mark.parametrize(("name", "role", "days"), [("", "analyst", 1), ("a", "root", 1), ("a", "analyst", 0), ("a", "analyst", 10**6), ("a ", "analyst", 1)])
def test_unfit_tokens_are_refused(store: LedgerStore, name: str, role: str, days: int) -> None:
    with pytest.raises(BadRequest):
        store.create_token(name, role, days=days)  # pyright: ignore[reportArgumentType]


def test_suspensions_name_an_analyst_or_a_table(store: LedgerStore) -> None:
    with pytest.raises(BadRequest):
        store.suspend()
    with pytest.raises(BadRequest):
        store.suspend(analyst="a", prefix=PREFIX, db_name=DB, table_name="orders")
    with pytest.raises(BadRequest):
        store.suspend(prefix=PREFIX)
    with pytest.raises(NotFound):
        store.lift(analyst="nobody")
    store.suspend(analyst="eve", reason="why")
    store.suspend(analyst="eve", reason="again")
    store.suspend(prefix=PREFIX, db_name=DB, table_name="orders")
    assert [(s.analyst, s.table_name, s.reason) for s in store.suspensions()] in (
        [("eve", None, "again"), (None, "orders", "")], [(None, "orders", ""), ("eve", None, "again")],
    )  # fmt: skip
    store.lift(analyst="eve")
    assert [s.analyst for s in store.suspensions()] == [None]
    store.suspend(analyst="eve")
    assert len(store.suspensions()) == 2


def test_saved_tables_are_their_analysts_own(store: LedgerStore) -> None:
    store.set_budget(PREFIX, DB, "orders")
    with pytest.raises(BudgetMissing):
        store.save_table("alice", PREFIX, DB, "t", tables=("nowhere",), content="[]")
    store.save_table("alice", PREFIX, DB, "t", tables=("orders",), content="[1]")
    store.save_table("alice", PREFIX, DB, "t", tables=("orders",), content='["é🎲"]')
    assert store.load_table("alice", PREFIX, DB, "t") == '["é🎲"]'
    assert store.saved_tables("alice", PREFIX, DB) == ("t",)
    assert store.load_table("bob", PREFIX, DB, "t") is None
    store.drop_table("alice", PREFIX, DB, "t")
    assert store.load_table("alice", PREFIX, DB, "t") is None
    with pytest.raises(NotFound):
        store.drop_table("alice", PREFIX, DB, "t")


def test_saved_tables_are_listed_by_their_first_lines(store: LedgerStore) -> None:
    store.set_budget(PREFIX, DB, "orders")
    store.save_table("alice", PREFIX, DB, "b", tables=("orders",), content='{"rows": 1}\n' + "x" * 1_000_000)
    store.save_table("alice", PREFIX, DB, "a", tables=(), content='{"rows": 2}')
    assert [(found.name, found.head) for found in store.saved_heads("alice", PREFIX, DB)] == [("a", '{"rows": 2}'), ("b", '{"rows": 1}')]
    assert store.saved_heads("bob", PREFIX, DB) == ()


def test_an_analyst_keeps_so_many_tables_and_may_replace_them(store: LedgerStore) -> None:
    for n in range(store.max_saved):
        store.save_table("alice", PREFIX, DB, f"t{n}", tables=(), content="[]")
    with pytest.raises(BadRequest, match="kept already"):
        store.save_table("alice", PREFIX, DB, "more", tables=(), content="[]")
    store.save_table("alice", PREFIX, DB, "t3", tables=(), content="[3]")
    store.save_table("bob", PREFIX, DB, "more", tables=(), content="[]")
    store.drop_table("alice", PREFIX, DB, "t0")
    store.save_table("alice", PREFIX, DB, "more", tables=(), content="[]")
    assert len(store.saved_tables("alice", PREFIX, DB)) == store.max_saved


def test_twin_cards(store: LedgerStore) -> None:
    for version in ("1", "2"):
        store.publish_twin(PREFIX, DB, "orders", version=version, card=f'{{"v": {version}}}')
    assert [(t.version, t.retired) for t in store.twins()] == [("2", False), ("1", False)]
    store.retire_twin(PREFIX, DB, "orders", version="2")
    with pytest.raises(NotFound):
        store.retire_twin(PREFIX, DB, "orders", version="2")
    assert [t.version for t in store.twins(PREFIX, DB)] == ["1"]
    assert len(store.twins(retired=True)) == 2
    store.publish_twin(PREFIX, DB, "orders", version="2", card="{}")
    assert store.twins()[0].card == "{}"


def test_quotes_are_counted(store: LedgerStore) -> None:
    store.count_quotes({("alice", PREFIX, DB): 3, ("bob", PREFIX, DB): 1})
    store.count_quotes({("alice", PREFIX, DB): 2})
    assert [(row[1], row[4]) for row in store.quote_counts()] == [("alice", 5), ("bob", 1)]


def test_health_tells_database_and_schema(store: LedgerStore, open_store: Callable[[str], LedgerStore]) -> None:
    health = store.health()
    assert health.dialect in ("sqlite", "mysql")
    assert health.schema_version == "0001"
    assert health.server_version


def test_the_store_keeps_the_roads_contract(store: LedgerStore) -> None:
    ledger: Ledger = store  # read by pyright
    assert all(callable(getattr(ledger, name)) for name in ("replay", "release", "debit", "file", "failed", "record"))
