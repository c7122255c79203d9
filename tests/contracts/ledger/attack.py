"""What the processes of test_attacks run: ``python attack.py many|killed ...``. Not a test itself."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from typing import Any

from sqlalchemy import Connection, event

from dpjupyter.engine.ledger import statements
from dpjupyter.engine.ledger.store import LedgerStore, open_ledger
from dpjupyter.errors import DpError
from tests.contracts.ledger.asks import charge, cost


def many(store: LedgerStore, name: str, threads: int, each: int) -> None:
    """Debit from many threads at once; print how each attempt ended."""
    ends: Counter[str] = Counter()
    turn = threading.Lock()
    barrier = threading.Barrier(threads)

    def attempts(thread: int) -> None:
        barrier.wait()
        for number in range(each):
            # Same analyst, same rows; tables named in both orders.
            tables = ("orders", "customers") if thread % 2 else ("customers", "orders")
            try:
                store.debit(charge(f"{name}-{thread}-{number}", cost(0.9), tables=tables))
                end = "paid"
            except DpError as error:
                end = error.kind
            with turn:
                ends[end] += 1

    running = [threading.Thread(target=attempts, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(dict(ends))


def die() -> None:
    """As kill -9 would."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(store: LedgerStore, step: str) -> None:
    """Debit and file one request, and die at ``step``."""
    paid = charge("r")
    wanted = {"before insert": "INSERT INTO request", "before write": "INSERT INTO analyst_budget"}.get(step)
    run = statements._run

    def dying(connection: Connection, statement: str, values: tuple[Any, ...]) -> Any:
        if wanted and wanted in statement:
            # MySQL is sent several statements together: those before the wanted one still run.
            head = statement[: statement.index(wanted)].removesuffix("; ")
            if head:
                run(connection, head, values[: head.count("%s")])
            die()
        return run(connection, statement, values)

    statements._run = dying
    if step == "before commit":
        event.listen(store._db.engine, "commit", lambda _c: die())
    store.debit(paid)
    if step == "after debit":
        die()
    if step == "before filing commits":
        event.listen(store._db.engine, "commit", lambda _c: die())
    store.file(paid, '{"n": 1}')
    die()


if __name__ == "__main__":
    opened = open_ledger(sys.argv[2])
    if sys.argv[1] == "many":
        many(opened, sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        killed(opened, sys.argv[3])
    opened.close()
