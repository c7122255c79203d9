"""A real gateway over a small DuckDB warehouse with a SQLite ledger, and real IPython shells that talk to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

from dpjupyter import connections, wire

CONNECTIONS = "DPJUPYTER_CONNECTIONS"
CLINIC = """\
[database]
prefix = "test"
name = "clinic"
backend = "duckdb:///{warehouse}"

[limits]
time_grid_ms = 0
max_epsilon = 5.0

[total]
total_budget = 1000.0

[analysts]
total_budget = 500.0

[tables.people]
description = "Everybody ever admitted"
unit = "person_id"
keys = [["person_id"]]
enforced_keys = true
total_budget = 1000.0
key_delta = 1e-8
min_units = 3

[tables.people.columns]
person_id = {{ type = "INTEGER", nullable = false }}
age = {{ type = "INTEGER", nullable = false, bounds = [0, 120], description = "years <b>" }}
city = {{ type = "VARCHAR", nullable = false, domain = ["Basel", "Bern", "Genf"] }}
nickname = {{ type = "VARCHAR" }}
income = {{ type = "DOUBLE", bounds = [0, 100000] }}
born = {{ type = "DATE", bounds = ["1920-01-01", "2020-12-31"] }}

[tables.admissions]
unit = "person_id"
max_rows = 5
max_groups = 5

[tables.admissions.columns]
person_id = {{ type = "INTEGER", nullable = false }}

[tables.steps]
private = false
rows = 1000

[tables.steps.columns]
step = {{ type = "INTEGER", nullable = false, bounds = [0, 1000] }}
"""
POOR = """\
[database]
prefix = "test"
name = "poor"
backend = "duckdb:///{warehouse}"

[limits]
time_grid_ms = 0

[total]
total_budget = 1.0

[tables.alms]
unit = "row"
total_budget = 1.0

[tables.alms.columns]
amount = {{ type = "INTEGER", nullable = false, bounds = [0, 10] }}
"""
SLOW = "SELECT SUM(CASE WHEN SQRT(p.age * s.step) > 7 THEN LN(p.age + s.step + t.step + 1) ELSE 0 END) AS n FROM people p CROSS JOIN steps s CROSS JOIN steps t"
SLOWISH = "SELECT SUM(CASE WHEN SQRT(p.age * s.step) > 7 THEN LN(p.age + s.step + 1) ELSE 0 END) AS n FROM people p CROSS JOIN steps s"


@dataclass(slots=True)
class Gateway:
    """A running gateway and its tokens by name."""

    url: str
    folder: Path
    environ: dict[str, str]
    tokens: dict[str, str]
    process: subprocess.Popen[bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(environ: dict[str, str], *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dpjupyter.cli", *words], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Databases clinic (ample budgets) and poor (epsilon 1); analysts alice, bob and carol (who never pays), owner olga."""
    folder = tmp_path_factory.mktemp("gateway")
    warehouse = folder / "clinic.duckdb"
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(
            "CREATE TABLE people (person_id INTEGER PRIMARY KEY, age INTEGER NOT NULL, city VARCHAR NOT NULL, nickname VARCHAR, income DOUBLE, born DATE)"
        )
        connection.execute(
            "INSERT INTO people SELECT i, 18 + i % 70, ['Bern', 'Genf', 'Basel'][1 + i % 3], ['<b>x', 'y'][1 + i % 2], 1000.0 * (i % 90),"
            " DATE '1950-01-01' + (i % 9000)::INTEGER FROM range(30000) t(i)"
        )
        connection.execute("CREATE TABLE steps AS SELECT i::INTEGER AS step FROM range(1000) t(i)")
        connection.execute("CREATE TABLE admissions AS SELECT (i % 300)::INTEGER AS person_id FROM range(900) t(i)")
        connection.execute("CREATE TABLE alms AS SELECT (i % 10)::INTEGER AS amount FROM range(100) t(i)")
    policies = folder / "policies"
    policies.mkdir()
    (policies / "clinic.toml").write_text(CLINIC.format(warehouse=warehouse))
    (policies / "poor.toml").write_text(POOR.format(warehouse=warehouse))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DPJUPYTER")}
    environ |= {"HOME": str(folder), "IPYTHONDIR": str(folder / "ipython"), "DPJUPYTER_LEDGER": f"sqlite:///{folder / 'ledger.sqlite'}"}
    roles = {"alice": "analyst", "bob": "analyst", "carol": "analyst", "olga": "owner"}
    tokens = {name: command(environ, "token", "create", name, "--role", role) for name, role in roles.items()}
    port = free_port()
    start = [sys.executable, "-m", "dpjupyter.cli", "gateway", "--policies", str(policies), "--port", str(port)]
    if os.geteuid() == 0:
        start.append("--allow-root")
    log = folder / "gateway.log"
    with log.open("wb") as out:
        process = subprocess.Popen(start, env=environ, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(url + wire.HEALTH, timeout=5).close()  # noqa: S310 - our own address
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        file = folder / "connections.toml"
        entries = {name: {"url": url, "token": token, "database": "clinic"} for name, token in tokens.items()}
        entries["undecided"] = {"url": url, "token": tokens["alice"]}
        entries["wrong"] = {"url": url, "token": "nobody", "database": "clinic"}
        entries["dead"] = {"url": f"http://127.0.0.1:{free_port()}", "token": "any"}
        connections.write(file, entries, default="alice")
        environ |= {CONNECTIONS: str(file)}
        yield Gateway(url, folder, environ, tokens, process)
    finally:
        process.terminate()
        process.wait(timeout=20)



@dataclass(slots=True)
class Shell:
    """An IPython shell and what it said."""

    ip: InteractiveShell
    capsys: pytest.CaptureFixture[str]
    said: str = ""
    errors: list[BaseException] = field(default_factory=list)

    def run(self, source: str) -> Any:
        """Run a cell that must succeed; its result. What it printed is in ``said``."""
        done = self.attempt(source)
        error = done.error_before_exec or done.error_in_exec
        assert error is None, self.said
        return done.result

    def fail(self, source: str) -> str:
        """Run a cell that must fail; what the person sees."""
        done = self.attempt(source)
        assert done.error_in_exec is not None, done.result
        return self.said

    def attempt(self, source: str) -> ExecutionResult:
        self.capsys.readouterr()
        done = self.ip.run_cell(source, store_history=True)
        out = self.capsys.readouterr()
        self.said = (out.out + out.err).rstrip("\n")
        return done


@pytest.fixture
def shell(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """A fresh shell with the extension loaded, not connected yet."""
    for name in list(os.environ):
        if name.startswith("DPJUPYTER"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(CONNECTIONS, gateway.environ[CONNECTIONS])
    monkeypatch.setenv("IPYTHONDIR", gateway.environ["IPYTHONDIR"])
    InteractiveShell.clear_instance()
    ip = InteractiveShell.instance()
    ip.run_line_magic("colors", "nocolor")
    ip.run_line_magic("load_ext", "dpjupyter")
    yield Shell(ip, capsys)
    ip.run_line_magic("unload_ext", "dpjupyter")
    ip.history_manager.end_session()
    InteractiveShell.clear_instance()
