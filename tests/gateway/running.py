"""The policy under test, and a gateway as a child process."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from dpjupyter.engine.ledger.store import open_ledger

PEOPLE_POLICY = """\
[database]
prefix = "{prefix}"
name = "{name}"
backend = "duckdb:///{warehouse}"
unit_entity = "person"

[limits]
time_grid_ms = 0
max_epsilon = 5.0
max_failures = 1000

[total]
total_budget = 10000.0

[analysts]
total_budget = 5000.0

[tables.people]
unit = "person_id"
keys = [["person_id"]]
total_budget = 6000.0
key_delta = 1e-9
delta = 1e-5

[tables.people.columns]
person_id = {{ type = "INTEGER", nullable = false }}
age = {{ type = "INTEGER", nullable = false, bounds = [0, 120] }}
city = {{ type = "VARCHAR", nullable = false, domain = ["Basel", "Bern", "Genf"] }}
income = {{ type = "DOUBLE", bounds = [0, 100000] }}

[tables.visits]
unit = "person_id"
keys = [["visit_id"]]
max_rows = 5
max_groups = 5
total_budget = 2.0

[tables.visits.columns]
visit_id = {{ type = "INTEGER", nullable = false }}
person_id = {{ type = "INTEGER", nullable = false }}
day = {{ type = "DATE", nullable = false, bounds = ["2024-01-01", "2024-12-31"] }}
cost = {{ type = "DECIMAL(8,2)", bounds = [0, 500] }}
"""
STARTS_S = 60


class Gateway:
    """A running gateway: its address, its ledger, and tokens for every role."""

    def __init__(self, process: Child, url: str, ledger_url: str, log: Path, verify: ssl.SSLContext | bool = True) -> None:
        self.process = process
        self.url = url
        self.log = log
        self.ledger = open_ledger(ledger_url)
        self.tokens = {
            "alice": self.ledger.create_token("alice", "analyst")[0],
            "bob": self.ledger.create_token("bob", "analyst")[0],
            "olga": self.ledger.create_token("olga", "owner")[0],
            "vera": self.ledger.create_token("vera", "viewer")[0],
        }
        self.http = httpx.Client(base_url=url, timeout=30, verify=verify, trust_env=False)

    def close(self) -> None:
        """Give back connections; the process is stopped by whoever started it."""
        self.http.close()
        self.ledger.close()

    def call(self, method: str, path: str, who: str | None = "alice", **arguments: Any) -> httpx.Response:
        """One request with somebody's token."""
        headers = dict(arguments.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"token {self.tokens[who]}"
        return self.http.request(method, path, headers=headers, **arguments)

    def get(self, path: str, who: str | None = "alice", **params: Any) -> httpx.Response:
        return self.call("GET", path, who, params=params)

    def post(self, path: str, body: Any, who: str | None = "alice", **arguments: Any) -> httpx.Response:
        return self.call("POST", path, who, json=body, **arguments)

    def query(self, sql: str, who: str = "alice", **changes: Any) -> httpx.Response:
        return self.post("/api/v1/query", question(sql, **changes), who)


def question(sql: str, *, epsilon: float | None = None, traceid: str | None = None, skip_cache: int = 0, **dbconfig: Any) -> dict[str, Any]:
    """A request body in the requirement's form."""
    body: dict[str, Any] = {"sql": sql, "dbconfig": {"database": "clinic", "prefix": "test", **dbconfig}}
    if skip_cache:
        body["dbconfig"]["queryOption"] = {"skip_cache": skip_cache}
    if epsilon is not None:
        body["dpconfig"] = {"budget_setting": {"epsilon": epsilon}}
    if traceid is not None:
        body["queryconfig"] = {"traceid": traceid}
    return body


def data(response: httpx.Response) -> Any:
    """The status.data of a success."""
    status = response.json()["status"]
    assert (response.status_code, status["code"], status["Message"]) == (200, 200, "succeed"), response.text
    return status.get("data")


def error(response: httpx.Response, http_status: int, kind: str) -> Mapping[str, Any]:
    """The status of an error of the expected kind."""
    status = response.json()["status"]
    assert (response.status_code, status["code"], status["error"]["type"]) == (http_status, 1, kind), response.text
    return status


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A gateway process, child of the zygote."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait(self, seconds: float) -> bool:
        """Whether it has ended by then."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def stop(self) -> None:
        """End it as systemd would, then as a power cut would."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.alive():
                os.kill(self.pid, number)
                self.wait(10)


class Starter:
    """Starts gateways."""

    def __init__(self) -> None:
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def close(self) -> None:
        """End the zygote and every gateway that is left."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait(20)
        self._zygote.stdout.close()

    def start(self, module: str, argv: list[str], env: Mapping[str, str], log: Path) -> Child:
        """Run a module as a program."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        print(json.dumps({"module": module, "argv": argv, "env": dict(env), "log": str(log)}), file=self._zygote.stdin, flush=True)
        return Child(int(self._zygote.stdout.readline()))

    @contextmanager
    def run(
        self,
        folder: Path,
        policies: Path,
        *arguments: str,
        module: str = "dpjupyter.cli",
        settings: Mapping[str, Any] | None = None,
        verify: ssl.SSLContext | bool = True,
        ledger: str | None = None,
    ) -> Iterator[Gateway]:
        """A gateway on a free port, with an empty HOME; its ledger is ``ledger``, or a SQLite file in ``folder``.

        ``module`` is what python runs: a test's own program may put faults between gateway, ledger and warehouse, and is handed ``settings``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        port, log = free_port(), folder / "log"
        ledger = ledger or f"sqlite:///{folder}/ledger.sqlite"
        argv = ["gateway", "--policies", str(policies), "--ledger", ledger, "--port", str(port), "--allow-root", *arguments]
        child = self.start(module, argv, environment(folder, settings), log)
        url = f"{'https' if verify is not True else 'http'}://127.0.0.1:{port}"
        try:
            _wait(child, url, log, verify)
            gateway = Gateway(child, url, ledger, log, verify)
            try:
                yield gateway
            finally:
                gateway.close()
        finally:
            child.stop()


def environment(folder: Path, settings: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The environment of an account that has never run anything."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "DPJUPYTER", "XDG"))}
    return kept | {
        "HOME": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder / "run"),
        "DPJUPYTER_TEST_SETTINGS": json.dumps(dict(settings or {})),
    }


def _wait(child: Child, url: str, log: Path, verify: ssl.SSLContext | bool) -> None:
    deadline = time.monotonic() + STARTS_S
    while time.monotonic() < deadline:
        if not child.alive():
            raise AssertionError(f"the gateway ended:\n{log.read_text()}")
        try:
            if httpx.get(f"{url}/api/v1/health", verify=verify, trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError(f"the gateway did not start:\n{log.read_text()}")
