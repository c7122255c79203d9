"""The gateway killed at every step of the road, a slow and a broken warehouse, too many questions at once."""

from __future__ import annotations

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contracts.ledger.mariadb import MariaDB
from tests.gateway.running import Gateway, Starter, data, error, question

FAULTY = "tests.gateway.faulty"
COUNT = "SELECT COUNT(*) AS n FROM people"


# ---------------------------------------------------------------- kill -9
@pytest.mark.parametrize(
    ("step", "charged", "retry"),
    [
        ("before_debit", False, "answered"),
        ("after_debit", True, "failed"),
        ("in_warehouse", True, "failed"),
        ("before_filing", True, "failed"),
        ("after_filing", True, "answered"),
    ],
)
def test_killed_at_any_step_nothing_is_answered_unpaid_or_paid_twice(
    tmp_path: Path, policies: Path, starter: Starter, ledger_url: str, step: str, charged: bool, retry: str
) -> None:
    trap, traceid = tmp_path / "trap", uuid.uuid4().hex
    settings = {"kill": step, "trap": str(trap)}
    with starter.run(tmp_path / "gateway", policies, module=FAULTY, settings=settings, ledger=ledger_url) as gateway:
        trap.touch()
        with pytest.raises(httpx.TransportError):
            gateway.query(COUNT, epsilon=0.5, traceid=traceid, skip_cache=1)
        assert gateway.process.wait(10)
        assert gateway.ledger.get_budget("test", "clinic", "people").sum_eps == (0.5 if charged else 0.0)
    with starter.run(tmp_path / "gateway", policies, ledger=ledger_url) as gateway:
        again = gateway.query(COUNT, epsilon=0.5, traceid=traceid, skip_cache=1)
        if retry == "answered":
            assert data(again)["dp_info"]["receipt"]["request_id"] == traceid
        else:
            status = error(again, 503, "QueryFailed")
            assert status["Message"] == f"the query could not be completed; request {traceid}"
        assert gateway.ledger.get_budget("test", "clinic", "people").sum_eps == 0.5
        assert gateway.ledger.get_budget("test", "clinic", "people").num_dpcall == 1
        assert gateway.ledger.verify().sound


# ---------------------------------------------------------------- a slow warehouse
@pytest.fixture
def slow(tmp_path: Path, policies: Path, starter: Starter) -> Any:
    """A gateway with one worker and one waiting place; statements wait until the gate is opened, and fail if told to."""
    gate, fail = tmp_path / "gate", tmp_path / "fail"
    settings = {"gate": str(gate), "fail": str(fail)}
    with starter.run(tmp_path / "gateway", policies, "--workers", "1", "--waiting", "1", module=FAULTY, settings=settings) as gateway:
        yield gateway, gate, fail


def test_a_slow_warehouse_from_progress_to_cancel(slow: tuple[Gateway, Path, Path]) -> None:
    gateway, gate, fail = slow
    with ThreadPoolExecutor(8) as pool:
        # One runs, one waits, the third is told when to come back.
        running = pool.submit(_streamed, gateway, question(COUNT, traceid="one", skip_cache=1))
        _until(lambda: gateway.ledger.get_budget("test", "clinic", "people").num_dpcall == 1)
        waiting = pool.submit(_streamed, gateway, question(COUNT, traceid="two", skip_cache=1))
        _until(lambda: "dpjupyter_workers_taken 2.0" in gateway.get("/metrics", "olga").text)
        busy = gateway.query(COUNT, skip_cache=1)
        error(busy, 429, "Busy")
        assert int(busy.headers["Retry-After"]) >= 1
        assert data(gateway.post("/api/v1/quote", question(COUNT)))["affordable"]  # prices and budgets are still told

        # A second request with a running id joins it; with another body it is refused.
        joined = pool.submit(gateway.query, COUNT, traceid="one", skip_cache=1)
        error(gateway.query(COUNT, traceid="one", skip_cache=1, epsilon=0.2), 409, "RequestReused")
        time.sleep(0.6)

        # Somebody else's cancel is accepted and does nothing; one's own stops the waiting one before it pays.
        assert data(gateway.call("DELETE", "/api/v1/query/two", "bob"))["cancel"] == "accepted"
        assert data(gateway.call("DELETE", "/api/v1/query/two"))["cancel"] == "accepted"
        gate.touch()
        lines = running.result(20)
        assert data(joined.result(20)) == lines[-1]["status"]["data"]
        assert waiting.result(20)[-1]["status"]["error"]["type"] == "Cancelled"
        assert {line["stage"] for line in lines[:-1]} == {"running"}
        assert all(set(line) == {"stage", "elapsed_s", "request_id"} for line in lines[:-1])
        assert {line["stage"] for line in waiting.result()[:-1]} <= {"queued", "running"}
        assert gateway.ledger.get_budget("test", "clinic", "people").num_dpcall == 1

        # A cancel in the warehouse: the charge stays, and the message is the constant one.
        gate.unlink()
        cancelled = pool.submit(gateway.query, COUNT, traceid="three", skip_cache=1)
        _until(lambda: gateway.ledger.get_budget("test", "clinic", "people").num_dpcall == 2)
        data(gateway.call("DELETE", "/api/v1/query/three"))
        error(cancelled.result(20), 503, "QueryFailed")

        # A cancel that reached another replica: only the ledger knows of it.
        other = pool.submit(gateway.query, COUNT, traceid="four", skip_cache=1)
        _until(lambda: gateway.ledger.get_budget("test", "clinic", "people").num_dpcall == 3)
        gateway.ledger.cancel("alice", "four")
        error(other.result(20), 503, "QueryFailed")

        # The warehouse breaks in mid-query: charged, one constant message, nothing of the driver's words anywhere.
        gate.touch()
        fail.touch()
        broken = error(gateway.query(COUNT, traceid="five", skip_cache=1), 503, "QueryFailed")
        assert broken["Message"] == "the query could not be completed; request five"
        assert gateway.ledger.get_budget("test", "clinic", "people").num_dpcall == 4
        assert "Lovelace" not in gateway.log.read_text()
        error(gateway.query(COUNT, traceid="five", skip_cache=1), 503, "QueryFailed")  # never run again
        assert gateway.ledger.get_budget("test", "clinic", "people").num_dpcall == 4


def test_a_timeout_of_the_analyst_ends_the_statement(slow: tuple[Gateway, Path, Path]) -> None:
    gateway, _, _ = slow
    body = question(COUNT, skip_cache=1)
    body["queryconfig"] = {"timeout_s": 0.5}
    started = time.monotonic()
    error(gateway.post("/api/v1/query", body), 503, "QueryFailed")
    assert time.monotonic() - started < 5


def test_a_caller_who_hangs_up_finds_the_answer_later(slow: tuple[Gateway, Path, Path]) -> None:
    gateway, gate, _ = slow
    with pytest.raises(httpx.ReadTimeout):
        gateway.post("/api/v1/query", question(COUNT, traceid="later", skip_cache=1), timeout=0.5)
    gate.touch()
    assert data(gateway.query(COUNT, traceid="later", skip_cache=1))["Data"]["n"]
    assert gateway.ledger.get_budget("test", "clinic", "people").num_dpcall == 1


# ---------------------------------------------------------------- races over HTTP
def test_many_at_once_never_overspend(tmp_path: Path, policies: Path, starter: Starter, ledger_url: str) -> None:
    with starter.run(tmp_path / "gateway", policies, "--waiting", "200", ledger=ledger_url) as gateway:
        answers: list[int] = []
        lock = threading.Lock()

        def ask(n: int) -> None:
            status = gateway.query("SELECT COUNT(*) AS n FROM visits", epsilon=0.1, traceid=f"race-{n}", skip_cache=1).status_code
            with lock:
                answers.append(status)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(60)))
        row = gateway.ledger.get_budget("test", "clinic", "visits")
        assert set(answers) == {200, 422}
        assert answers.count(200) == row.num_dpcall
        assert row.consumed_budget <= 2.0
        assert answers.count(200) >= 20  # basic composition pays for 20; zCDP may pay for more
        assert gateway.ledger.verify().sound


# ---------------------------------------------------------------- the ledger's database goes away
def test_a_restarted_mysql_is_a_clear_503_and_then_it_goes_on(tmp_path: Path, policies: Path, starter: Starter, mariadb: MariaDB) -> None:
    with starter.run(tmp_path / "gateway", policies, ledger=mariadb.url("restarted")) as gateway:
        data(gateway.query(COUNT, epsilon=0.5, skip_cache=1))
        mariadb.stop(kill=True)
        try:
            assert gateway.get("/api/v1/health", None).status_code == 503
            error(gateway.query(COUNT, traceid="meanwhile", skip_cache=1), 503, "LedgerUnavailable")
            error(gateway.get("/api/v1/budget/list"), 503, "LedgerUnavailable")
        finally:
            mariadb.start()
        _until(lambda: gateway.get("/api/v1/health", None).status_code == 200)
        data(gateway.query(COUNT, epsilon=0.5, traceid="meanwhile", skip_cache=1))
        assert gateway.ledger.get_budget("test", "clinic", "people").sum_eps == 1.0


def _streamed(gateway: Gateway, body: dict[str, Any]) -> list[dict[str, Any]]:
    headers = {"Authorization": f"token {gateway.tokens['alice']}", "Accept": "application/x-ndjson"}
    with (
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as http,
        http.stream("POST", "/api/v1/query", json=body, headers=headers) as response,
    ):
        return [json.loads(line) for line in response.iter_lines()]


def _until(true: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
