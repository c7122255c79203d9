"""Recovery by the database's clock: never early, never twice, never lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from dpjupyter.engine.ledger.records import AuditFilter
from dpjupyter.engine.ledger.store import LedgerStore
from tests.contracts.ledger.asks import DB, PREFIX, charge, cost
from tests.contracts.ledger.mariadb import MariaDB

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)

# What a gateway on a host with another clock does: recover, then tell how often each row was.
ELSEWHERE = """
import sys
from dpjupyter.engine.ledger.store import open_ledger
store = open_ledger(sys.argv[1])
done = store.recover()
print(len(done), *sorted({(row.cycle, row.num_dpcall) for row in store.list_budgets()}))
store.close()
"""


def shifted(days: int) -> dict[str, str]:
    """Environment of a process whose clock is wrong by ``days``; monotonic clocks are left alone."""
    assert FAKETIME is not None, "libfaketime is missing: apt-get install libfaketime"
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{days:+d}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def recover_elsewhere(url: str, days: int) -> str:
    environment = {**os.environ, **shifted(days)}
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, url], env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def move_back(store: LedgerStore, days: float) -> None:
    """Pretend that all rows were last recovered this long ago."""
    sqlite = store._db.dialect == "sqlite"
    seconds = round(days * 86400)
    for table in ("budget_info", "analyst_budget"):
        then = (
            f"strftime('%Y-%m-%d %H:%M:%f', last_recover_time, '-{seconds} seconds') || '000'"
            if sqlite
            else f"last_recover_time - INTERVAL {seconds} SECOND"
        )
        store._db.write(lambda c: c.execute(text(f"UPDATE {table} SET last_recover_time = {then}")))  # noqa: B023


@pytest.fixture
def spent(store: LedgerStore) -> LedgerStore:
    """Two rows with cycles of 10 and 30 days, and an analyst's (30), all with spend."""
    store.set_budget(PREFIX, DB, "*", recover_cycle=30)
    store.set_budget(PREFIX, DB, "orders", total_budget=2.0, recover_cycle=10)
    store.debit(charge("r1", cost(0.9, 2, key_delta=1e-9)))
    return store


def test_nothing_is_due_before_its_day(spent: LedgerStore) -> None:
    move_back(spent, 9.999)
    before = spent.list_budgets()
    assert spent.recover() == spent.recover(dry_run=True) == ()
    assert spent.list_budgets() == before


def test_a_due_row_begins_its_next_cycle_and_keeps_its_lifetime(spent: LedgerStore) -> None:
    spent.file(charge("r1"), "{}")
    spent.save_table("alice", PREFIX, DB, "mine", tables=("orders",), content="[]")
    move_back(spent, 10.5)
    last = spent.get_budget(PREFIX, DB, "orders").last_recover_time
    assert [r.name.table_name for r in spent.recover(dry_run=True)] == ["orders"]
    assert spent.get_budget(PREFIX, DB, "orders").num_dpcall == 2
    assert spent.release(charge("r1").fingerprint) == "{}"
    (done,) = spent.recover()
    assert (done.name.table_name, done.cycles, done.consumed_budget) == ("orders", 1, 1.8)
    row = spent.get_budget(PREFIX, DB, "orders")
    assert (row.consumed_budget, row.num_dpcall, row.sum_eps, row.sum_del, row.sum_sq_eps, row.sum_exp_eps) == (0, 0, 0, 0, 0, 0)
    assert (row.prod_del, row.sum_rho, row.cycle, row.residual_budget) == (1.0, 0.0, 1, 2.0)
    assert (row.lifetime_epsilon, row.lifetime_answers, row.lifetime_delta) == (1.8, 2, 1e-9)
    assert row.last_recover_time > last
    assert row.last_update_time >= row.create_time
    assert spent.get_budget(PREFIX, DB, "*").num_dpcall == 2
    assert spent.recover() == ()
    assert spent.release(charge("r1").fingerprint) is None  # that answer was paid in another cycle
    assert spent.load_table("alice", PREFIX, DB, "mine") is None
    spent.debit(charge("r2", cost(0.9, 2)))
    assert spent.get_budget(PREFIX, DB, "orders").lifetime_epsilon == 3.6
    assert [r.kind for r in spent.audit_rows(AuditFilter(kinds=("recovery",)))] == ["recovery"]
    assert spent.verify().sound


def test_after_a_long_downtime_it_recovers_once_and_does_not_drift(spent: LedgerStore) -> None:
    created = spent.get_budget(PREFIX, DB, "orders").create_time
    move_back(spent, 47.25)
    done = {r.name.shown: r for r in spent.recover()}
    assert {name: r.cycles for name, r in done.items()} == {"orders": 4, "*": 1, "analyst:orders": 1, "analyst:*": 1}
    # 47.25 days ago plus four cycles of ten: the time of day is kept.
    row = spent.get_budget(PREFIX, DB, "orders")
    assert row.cycle == 1
    assert row.last_recover_time < created
    assert row.last_recover_time == done["orders"].last_recover_time
    assert spent.recover() == ()
    assert spent.verify().sound


def test_many_servers_at_once_recover_a_row_once(url: str, spent: LedgerStore, open_store: Callable[[str], LedgerStore]) -> None:
    move_back(spent, 31)
    others = [open_store(url) for _ in range(3)]
    barrier = threading.Barrier(6)
    found: list[tuple[object, ...]] = []

    def server(store: LedgerStore) -> None:
        barrier.wait()
        found.append(store.recover())

    threads = [threading.Thread(target=server, args=(store,)) for store in (*others, *others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(done) for done in found) == 4
    assert {row.cycle for row in spent.list_budgets()} == {1}
    assert len(spent.audit_rows(AuditFilter(kinds=("recovery",)))) == 4
    assert spent.verify().sound


def test_recovery_beside_debits_loses_none(url: str, spent: LedgerStore, open_store: Callable[[str], LedgerStore]) -> None:
    spent.set_budget(PREFIX, DB, "orders", total_budget=1000.0)
    move_back(spent, 10.5)
    other = open_store(url)
    recovery = threading.Thread(target=other.recover)
    recovery.start()
    for number in range(20):
        spent.debit(charge(f"d{number}", cost(0.1)))
    recovery.join()
    row = spent.get_budget(PREFIX, DB, "orders")
    assert row.lifetime_answers == 22
    assert row.cycle == 1
    assert spent.verify().sound


def test_what_is_below_the_spend_is_refused_until_recovery(spent: LedgerStore) -> None:
    spent.set_budget(PREFIX, DB, "orders", total_budget=0.5)
    assert not any(row.affordable for row in spent.outlook(charge("q", cost(0.1))) if row.name.shown == "orders")
    move_back(spent, 10.5)
    spent.recover()
    spent.debit(charge("q", cost(0.1)))


# ---------------------------------------------------------------- wrong clocks
def test_a_gateways_wrong_clock_changes_nothing_on_mariadb(mariadb_url: str, mariadb: MariaDB, open_store: Callable[[str], LedgerStore]) -> None:
    url = mariadb.url("wrong_gateway_clock")
    store = open_store(url)
    store.set_budget(PREFIX, DB, "*")
    store.set_budget(PREFIX, DB, "orders")
    store.debit(charge("r"))
    for days in (+40, -40):
        assert recover_elsewhere(url, days) == "0 (0, 1)"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


def test_sqlite_has_its_hosts_clock(sqlite_url: str, open_store: Callable[[str], LedgerStore]) -> None:
    store = open_store(sqlite_url)
    store.set_budget(PREFIX, DB, "*")
    store.set_budget(PREFIX, DB, "orders")
    store.debit(charge("r"))
    assert recover_elsewhere(sqlite_url, -40) == "0 (0, 1)"
    assert recover_elsewhere(sqlite_url, +40) == "4 (1, 0)"
    assert recover_elsewhere(sqlite_url, +40) == "0 (1, 0)"
    assert recover_elsewhere(sqlite_url, 0) == "0 (1, 0)"  # back again: not before the cycle that began is over
    assert recover_elsewhere(sqlite_url, +70) == "4 (2, 0)"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[MariaDB]:
    server = MariaDB.install(tmp_path, "--innodb-flush-method=nosync")
    yield server
    server.stop()


def test_mariadbs_own_clock_moved_forward_recovers_once_a_cycle(own_server: MariaDB, open_store: Callable[[str], LedgerStore]) -> None:
    own_server.start()
    store = open_store(own_server.url("ledger"))
    store.set_budget(PREFIX, DB, "*")
    store.set_budget(PREFIX, DB, "orders")
    store.debit(charge("r"))
    for days, recovered, cycle in ((29, 0, 0), (31, 4, 1), (59, 0, 1), (61, 4, 2), (200, 4, 3), (1, 0, 3)):
        own_server.stop()
        own_server.start(shifted(days))
        assert len(store.recover()) == recovered, days
        assert store.recover() == ()
        assert {row.cycle for row in store.list_budgets()} == {cycle}
    assert store.verify().sound
