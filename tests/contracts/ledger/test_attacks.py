"""Nothing is overspent and nothing is lost: races, kill -9, a server that restarts in mid-load."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dpjupyter.engine.ledger.records import AuditFilter
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.policy import Budget
from dpjupyter.errors import BudgetExhausted, LedgerUnavailable, QueryFailed
from tests.contracts.ledger.asks import DB, PREFIX, charge, cost
from tests.contracts.ledger.mariadb import MariaDB

ROOT = Path(__file__).parents[3]


def attack(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.contracts.ledger.attack", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture
def shop(store: LedgerStore) -> LedgerStore:
    for table in ("*", "orders", "customers"):
        store.set_budget(PREFIX, DB, table)
    return store


def test_threads_and_processes_get_exactly_what_the_budget_pays_for(url: str, shop: LedgerStore) -> None:
    shop.set_budget(PREFIX, DB, "orders", total_budget=45.0)  # fifty times 0.9
    processes = [attack("many", url, f"p{number}", "25", "1") for number in range(8)]  # 200 threads
    ends: Counter[str] = Counter()
    for process in processes:
        out, errors = process.communicate(timeout=110)
        assert process.returncode == 0, errors
        ends.update(ast.literal_eval(out))
    assert ends == {"paid": 50, "BudgetExhausted": 150}
    for row in shop.list_budgets():
        assert (row.num_dpcall, row.sum_eps) == (50, 45.0)
    assert shop.get_budget(PREFIX, DB, "orders").residual_budget == 0.0
    assert len(shop.audit_rows(AuditFilter(kinds=("debit",), table_name="orders", quota=False))) == 50
    result = shop.verify()
    assert result.sound, result.faults
    with pytest.raises(BudgetExhausted):
        shop.debit(charge("one more", cost(1e-12)))


def test_one_request_id_from_many_threads_is_charged_once(shop: LedgerStore) -> None:
    ends: list[str] = []
    barrier = threading.Barrier(12)

    def retry() -> None:
        barrier.wait()
        try:
            shop.debit(charge("same"))
            ends.append("paid")
        except QueryFailed:
            ends.append("refused")

    threads = [threading.Thread(target=retry) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(ends) == {"paid": 1, "refused": 11}
    assert shop.get_budget(PREFIX, DB, "orders").num_dpcall == 1


def test_tables_named_in_any_order_do_not_deadlock(shop: LedgerStore) -> None:
    tables = ["*", *(f"t{number}" for number in range(6))]
    for table in tables[1:]:
        shop.set_budget(PREFIX, DB, table)
    ends: list[object] = []

    def work(thread: int) -> None:
        for number in range(6):
            names = tuple(tables[1:] if (thread + number) % 2 else reversed(tables[1:]))
            try:
                shop.debit(charge(f"{thread}-{number}", cost(0.1), tables=names[thread % 3 :], analyst=f"a{thread % 4}"))
                if number == 3:
                    shop.set_budget(PREFIX, DB, names[0], total_budget=500.0 + thread)
            except Exception as error:  # noqa: BLE001 - told by the main thread
                ends.append(error)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == []
    assert shop.get_budget(PREFIX, DB, "*").num_dpcall == 48
    assert shop.verify().sound


@pytest.mark.parametrize(
    ("step", "charged", "filed"),
    [
        ("before insert", False, False),
        ("before write", False, False),
        ("before commit", False, False),
        ("after debit", True, False),
        ("before filing commits", True, False),
        ("after filing", True, True),
    ],
)
def test_kill_9_never_leaves_an_answer_without_its_debit(url: str, shop: LedgerStore, step: str, charged: bool, filed: bool) -> None:
    shop.debit(charge("earlier"))  # the analyst's rows exist
    process = attack("killed", url, step)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -9, errors
    row = shop.get_budget(PREFIX, DB, "orders")
    assert row.num_dpcall == 1 + charged
    retry = charge("r")
    if filed:
        assert shop.replay(retry.asked) == '{"n": 1}'
    elif charged:
        for attempt in (lambda: shop.replay(retry.asked), lambda: shop.debit(retry)):
            with pytest.raises(QueryFailed):
                attempt()
    else:
        assert shop.replay(retry.asked) is None
        shop.debit(retry)
    assert shop.get_budget(PREFIX, DB, "orders").num_dpcall == 2
    assert {row.num_dpcall for row in shop.list_budgets() if row.table_name != "customers"} == {2}
    assert shop.verify().sound


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[MariaDB]:
    server = MariaDB.install(tmp_path)
    server.start()
    yield server
    server.stop()


def test_a_server_killed_in_mid_load_loses_nothing(own_server: MariaDB, open_store: Callable[[str], LedgerStore]) -> None:
    store = open_store(own_server.url("ledger"))
    for table in ("*", "orders"):
        store.set_budget(PREFIX, DB, table)
    stop = threading.Event()
    paid: set[str] = set()
    doubtful: set[str] = set()
    others: list[Exception] = []

    def work(thread: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            name = f"{thread}-{number}"
            try:
                store.debit(charge(name, cost(0.01), default=Budget()))
                paid.add(name)
            except LedgerUnavailable:
                doubtful.add(name)
                time.sleep(0.05)
            except Exception as error:  # noqa: BLE001 - told by the main thread
                others.append(error)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for kill in (True, False):
        time.sleep(0.7)
        own_server.stop(kill=kill)
        time.sleep(0.3)
        own_server.start()
    before = len(paid)
    deadline = time.monotonic() + 20
    while len(paid) < before + 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert others == []
    assert len(paid) >= before + 20, "it did not go on"
    assert doubtful, "the restart was not noticed"

    charged = set(paid)
    for name in doubtful:
        # A 503 leaves the request either whole or undone, and its id tells which.
        try:
            assert store.replay(charge(name).asked) is None
        except QueryFailed:
            charged.add(name)
    for row in store.list_budgets():
        assert row.num_dpcall == len(charged)
        assert row.sum_eps == pytest.approx(0.01 * len(charged))
    result = store.verify()
    assert result.sound, result.faults


def test_debits_past_the_pool_wait_their_turn(url: str, shop: LedgerStore) -> None:
    ends: Counter[str] = Counter()
    barrier = threading.Barrier(120)

    def ask(number: int) -> None:
        barrier.wait()
        shop.debit(charge(f"r{number}", cost(0.01)))
        ends["paid"] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(120)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == {"paid": 120}
    assert shop.get_budget(PREFIX, DB, "orders").num_dpcall == 120
