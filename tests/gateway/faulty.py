"""The gateway with faults put between it and its ledger and warehouse, by passing other objects in.

Run as a program; ``DPJUPYTER_TEST_SETTINGS`` is JSON:
    kill: before_debit | after_debit | in_warehouse | before_filing | after_filing   the process kills itself there, once ``trap`` exists
    gate: a path; every statement waits in the warehouse until that file exists
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dpjupyter.cli import main
from dpjupyter.engine.backends import Backend, BackendFailed
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.gateway import app

SETTINGS: dict[str, str] = json.loads(os.environ["DPJUPYTER_TEST_SETTINGS"])


def die_at(step: str) -> None:
    """Kill this process as `kill -9` does, if it is to die here and the trap is set."""
    if SETTINGS.get("kill") == step and Path(SETTINGS["trap"]).exists():
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


class Ledger:
    """The real ledger, with a step before and after the methods that matter."""

    def __init__(self, real: LedgerStore) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def debit(self, charge: Any) -> Any:
        die_at("before_debit")
        receipt = self._real.debit(charge)
        die_at("after_debit")
        return receipt

    def file(self, charge: Any, answer_json: str) -> None:
        die_at("before_filing")
        self._real.file(charge, answer_json)
        die_at("after_filing")


class Warehouse:
    """The real warehouse; statements stop at the gate."""

    def __init__(self, real: Backend) -> None:
        self._real = real
        self.dialect = real.dialect
        self.check = real.check
        self.close = real.close

    def fetch(
        self, sql: str, *, tag: str, timeout_s: float, cancelled: threading.Event, progress: Callable[[str], None] | None = None
    ) -> list[tuple[object, ...]]:
        rows = self._real.fetch(sql, tag=tag, timeout_s=timeout_s, cancelled=cancelled, progress=progress)
        die_at("in_warehouse")
        deadline = time.monotonic() + timeout_s
        while "gate" in SETTINGS and not Path(SETTINGS["gate"]).exists():
            if cancelled.wait(0.02):
                raise BackendFailed("cancelled")
            if time.monotonic() > deadline:
                raise BackendFailed("timeout")
        if "fail" in SETTINGS and Path(SETTINGS["fail"]).exists():
            raise RuntimeError("driver: value 'Ada Lovelace' of row 7 is too long")
        return rows


class FaultyApp(app.GatewayApp):
    """What is passed in is wrapped; nothing in the gateway knows."""

    def open_ledger(self) -> Any:
        return Ledger(super().open_ledger())

    def open_backend(self, url: str) -> Any:
        return Warehouse(super().open_backend(url))


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": FaultyApp.__module__, "app": FaultyApp}]


if __name__ == "__main__":
    # Under its own name, so that Jupyter Server, which imports extensions by name, finds the same classes.
    from tests.gateway import faulty

    app.GatewayApp = faulty.FaultyApp  # type: ignore[misc]
    sys.exit(main(sys.argv[1:]))
