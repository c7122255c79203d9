"""Debits per second of the ledger, beside a bare pymysql loop on the same MariaDB; and growth with the ledger's length.

    python benchmarks/ledger.py [--seconds 1] [--rounds 8] [--no-growth]

The bare loop does what the debit does to the same rows: SELECT FOR UPDATE of the table's and of the analyst's row, UPDATE
of both, INSERT of the request and of two ledger rows, COMMIT; no hashes, no accounting, no checks, no SQLAlchemy.
Rounds alternate between the two, and the best round of each counts: on a shared machine the others measure the neighbours.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dpjupyter.engine import accounting
from dpjupyter.engine.ledger import Asked, Charge, schema
from dpjupyter.engine.ledger.names import RowName
from dpjupyter.engine.ledger.store import LedgerStore, open_ledger
from dpjupyter.engine.model import Cost, DpCall
from dpjupyter.engine.policy import Budget
from tests.contracts.ledger.mariadb import MariaDB

PREFIX, DB, SQL = "warehouse.example", "shop", "SELECT COUNT(*) FROM orders"
EPSILON = 1e-6
CALL = DpCall("COUNT(*)", EPSILON, 0.0, "laplace")
COST = Cost(accounting.pico_up(EPSILON), accounting.pico_up(accounting.pure_rho(EPSILON)), 0, 0, (CALL,))
NUMBERS = itertools.count()
HEX = "0" * 64


def charge(table: str) -> Charge:
    """A new request that reads one table."""
    request_id = f"r{next(NUMBERS)}"
    asked = Asked("alice", request_id, HEX, SQL, PREFIX, DB, HEX)
    return Charge(asked, (table,), has_total=False, cost=COST, fingerprint=HEX, analyst_default=Budget(), max_failures=20)


Step = Callable[[str], None]


def store_step(store: LedgerStore) -> Callable[[], Step]:
    """A thread's debit through the store."""
    return lambda: lambda table: store.debit(charge(table)) and None


def bare_step(server: MariaDB) -> Callable[[], Step]:
    """A thread's debit by hand."""

    def connect() -> Step:
        connection = server.connect("bare")
        cursor = connection.cursor()
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        request = "INSERT INTO request (request_key, analyst, request_id, body_sha256, prefix, db_name, checksum, fingerprint, state, \
unmetered, cancelled, max_failures, time, cycles, sql_text) VALUES \
(%s, 'alice', %s, %s, %s, %s, %s, %s, 'debited', 0, 0, 20, UTC_TIMESTAMP(6), '', %s)"
        ledger = "INSERT INTO ledger (chain, seq, hash, time, kind, analyst, request_id, prefix, db_name, table_name, quota, cycle, \
mechanism, pico_epsilon, pico_rho, atto_key_delta, atto_gauss_delta, fingerprint, checksum, sql_sha256, detail, signature) VALUES \
(%s, %s, %s, UTC_TIMESTAMP(6), 'debit', 'alice', %s, %s, %s, %s, %s, 0, 'laplace', %s, %s, 0, 0, %s, %s, %s, '', '')"

        def step(table: str) -> None:
            request_id = f"b{next(NUMBERS)}"
            key = RowName(PREFIX, DB, table, "alice").key
            where = (PREFIX, DB, table)
            gate = "SELECT row_key, head_seq, spent_pico_epsilon, spent_pico_rho, total_budget, delta FROM"
            cursor.execute(f"{gate} budget_info WHERE prefix = %s AND db_name = %s AND table_name = %s FOR UPDATE", where)
            shared = cursor.fetchone()
            cursor.execute(f"{gate} analyst_budget WHERE row_key = %s FOR UPDATE", (key,))
            quota = cursor.fetchone()
            if shared is None or quota is None:
                raise LookupError(table)
            new = "SET consumed_budget = %s, last_update_time = UTC_TIMESTAMP(6), num_dpcall = num_dpcall + %s, sum_eps = sum_eps + %s, \
sum_del = sum_del + %s, sum_sq_eps = sum_sq_eps + %s, sum_exp_eps = sum_exp_eps + %s, prod_del = prod_del * %s, \
spent_pico_epsilon = spent_pico_epsilon + %s, spent_pico_rho = spent_pico_rho + %s, head_seq = head_seq + 1, head_hash = %s"
            paid = (0.5, 1, EPSILON, 0.0, EPSILON**2, EPSILON**2 / 2, 1.0, 1, 1, HEX)
            cursor.execute(f"UPDATE budget_info {new} WHERE prefix = %s AND db_name = %s AND table_name = %s", (*paid, *where))
            cursor.execute(f"UPDATE analyst_budget {new} WHERE row_key = %s", (*paid, key))
            key = hashlib.sha256(request_id.encode()).hexdigest()
            cursor.execute(request, (key, request_id, HEX, PREFIX, DB, HEX, HEX, SQL))
            cursor.executemany(
                ledger,
                [
                    (row[0], row[1] + 1, HEX, request_id, PREFIX, DB, table, int(row is quota), 1, 1, HEX, HEX, HEX)
                    for row in (shared, quota)
                ],
            )
            connection.commit()

        return step

    return connect


def rate(make: Callable[[], Step], threads: int, tables: list[str], seconds: float) -> float:
    """Transactions per second of ``threads`` threads, each going round the tables from another one."""
    steps = [make() for _ in range(threads)]
    done = [0] * threads
    start = threading.Barrier(threads + 1)
    end = [0.0]

    def run(number: int) -> None:
        here = itertools.cycle(tables[number % len(tables) :] + tables[: number % len(tables)])
        steps[number](next(here))  # connect, warm up
        start.wait()
        while time.perf_counter() < end[0] or not end[0]:
            steps[number](next(here))
            done[number] += 1

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    start.wait()
    began = time.perf_counter()
    end[0] = began + seconds
    for thread in running:
        thread.join()
    return sum(done) / (time.perf_counter() - began)


def fill(server: MariaDB, rows: int) -> None:
    """Lengthen the store's ledger to ``rows`` rows (and as many requests), server-side."""
    hashes = {"chain": "SHA2(CONCAT('{top}-', id), 256)", "seq": "1"}, {"request_key": "SHA2(CONCAT('x{top}-', id), 256)"}
    copies = [
        (table.name, key, [column.name for column in table.columns if column.name not in {"id", *key}])
        for table, key in zip((schema.ledger, schema.request), hashes, strict=True)
    ]
    with server.connect("store") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*), MAX(id) FROM ledger")
        count, top = cursor.fetchone() or (0, 0)
        while count < rows:
            more = min(count, rows - count, 100_000)
            for table, key, kept in copies:
                columns = ", ".join(kept)
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(key)}, {columns}) SELECT {', '.join(key.values()).format(top=top)}, {columns} "
                    f"FROM {table} LIMIT {more}"
                )
            connection.commit()
            count += more
            cursor.execute("SELECT MAX(id) FROM ledger")
            top = (cursor.fetchone() or (0,))[0]


def side_by_side(server: MariaDB, store: LedgerStore, seconds: float, rounds: int) -> None:
    """Print debits per second of both, and their ratio."""
    print("| rows | threads | store, debits/s | bare loop, debits/s | ratio |")
    print("|---|---|---|---|---|")
    for tables in (["t0"], [f"t{number}" for number in range(64)]):
        for threads in (1, 8, 32):
            pairs = [
                tuple(rate(make, threads, tables, seconds) for make in (store_step(store), bare_step(server))) for _ in range(rounds)
            ]
            ours, bare = (max(pair[side] for pair in pairs) for side in (0, 1))
            print(f"| {len(tables)} | {threads} | {ours:.0f} | {bare:.0f} | {ours / bare:.2f} |", flush=True)


def growth(server: MariaDB, store: LedgerStore, seconds: float, rounds: int) -> None:
    """Print speed at growing lengths."""
    print("\n| ledger rows | debits/s, 1 thread | get, ms (fastest tenth) |")
    print("|---|---|---|")
    for rows in (1_000, 10_000, 100_000, 1_000_000):
        fill(server, rows)
        time.sleep(5)  # let the server write out what it was filled with
        speed = max(rate(store_step(store), 1, ["t0"], seconds) for _ in range(rounds))
        reads: list[float] = []
        for _ in range(300):
            began = time.perf_counter()
            store.get_budget(PREFIX, DB, "t0")
            reads.append(time.perf_counter() - began)
        print(f"| {rows} | {speed:.0f} | {statistics.quantiles(reads, n=10)[0] * 1000:.2f} |", flush=True)


def main() -> None:
    """Start a private server, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--no-growth", action="store_true")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ledger-bench-"))
    server = MariaDB.install(folder, "--innodb-buffer-pool-size=1G")
    server.start()
    try:
        stores = [open_ledger(server.url(name), pool_size=40) for name in ("store", "bare")]
        for store in stores:
            for number in range(64):
                store.set_budget(PREFIX, DB, f"t{number}", total_budget=9e6)
                store.set_budget(PREFIX, DB, f"t{number}", analyst="alice", total_budget=9e6)
        side_by_side(server, stores[0], args.seconds, args.rounds)
        if not args.no_growth:
            growth(server, stores[0], args.seconds, args.rounds)
        for store in stores:
            store.close()
    finally:
        server.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
