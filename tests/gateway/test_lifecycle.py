"""Starting, reloading, stopping; TLS; inside another Jupyter Server; the recovery job."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from dpjupyter.cli import main
from dpjupyter.errors import LedgerUnavailable, PolicyError
from dpjupyter.gateway.recovery import Recovery
from tests.contracts.ledger.mariadb import MariaDB
from tests.gateway.running import Gateway, Starter, data, environment, error, free_port

COUNT = "SELECT COUNT(*) AS n FROM people"


@pytest.fixture
def own(tmp_path: Path, policies: Path, starter: Starter) -> Iterator[Gateway]:
    """A gateway of the test's own."""
    with starter.run(tmp_path / "gateway", policies) as gateway:
        yield gateway


# ---------------------------------------------------------------- reload
def test_a_reload_replaces_policies_and_the_old_checksum_conflicts(own: Gateway, policies: Path) -> None:
    old = data(own.get("/api/v1/catalog"))["databases"][0]["sha256sum"]
    data(own.query(COUNT, sha256sum=old))
    path = policies / "clinic.toml"
    path.write_text(path.read_text().replace("max_epsilon = 5.0", "max_epsilon = 2.0"))
    data(own.query(COUNT, sha256sum=old, epsilon=4.0))  # nothing happens before the owner says so
    reply = data(own.post("/api/v1/reload", None, "olga"))
    assert [(policy["prefix"], policy["name"], policy["changed"]) for policy in reply["policies"]] == [("test", "clinic", True)]
    error(own.query(COUNT, sha256sum=old), 409, "PolicyChanged")
    error(own.query(COUNT, epsilon=4.0), 400, "AskRefused")
    assert not data(own.post("/api/v1/reload", None, "olga"))["policies"][0]["changed"]


@pytest.mark.parametrize("broken", ["not toml at all [", 'max_epsilon = "much"'])
def test_a_broken_policy_never_replaces_a_good_one(own: Gateway, policies: Path, broken: str) -> None:
    path = policies / "clinic.toml"
    before = data(own.get("/api/v1/catalog"))
    path.write_text(path.read_text().replace("max_epsilon = 5.0", broken))
    status = error(own.post("/api/v1/reload", None, "olga"), 422, "PolicyError")
    assert "clinic.toml" in status["Message"]
    assert data(own.get("/api/v1/catalog")) == before
    data(own.query(COUNT, epsilon=4.0))


def test_sighup_reloads_and_survives_a_broken_policy(own: Gateway, policies: Path) -> None:
    path = policies / "clinic.toml"
    good = path.read_text()
    path.write_text("nonsense")
    os.kill(own.process.pid, signal.SIGHUP)
    _until(lambda: "verdict=refused" in own.log.read_text())
    data(own.query(COUNT))
    path.write_text(good.replace("max_epsilon = 5.0", "max_epsilon = 1.0"))
    os.kill(own.process.pid, signal.SIGHUP)
    _until(lambda: data(own.get("/api/v1/catalog"))["databases"][0]["max_epsilon"] == 1.0)


def test_the_owner_reloads_from_the_command_line(own: Gateway, policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = tmp_path / "owner.token"
    token.write_text(own.tokens["olga"] + "\n")
    assert main(["policy", "reload", own.url, "--token-file", str(token)]) == 0
    assert "test/clinic" in capsys.readouterr().out
    token.write_text(own.tokens["alice"])
    assert main(["policy", "reload", own.url, "--token-file", str(token)]) == 1
    assert "may not do this" in capsys.readouterr().err
    assert main(["policy", "reload", f"http://127.0.0.1:{free_port()}", "--token-file", str(token)]) == 1


def test_a_removed_database_is_gone_and_a_new_one_is_there(own: Gateway, policies: Path, tmp_path: Path) -> None:
    text = (policies / "clinic.toml").read_text()
    data(own.query(COUNT))
    (policies / "clinic.toml").unlink()
    (policies / "renamed.toml").write_text(text.replace('name = "clinic"', 'name = "surgery"'))
    data(own.post("/api/v1/reload", None, "olga"))
    error(own.query(COUNT), 404, "NotFound")
    data(own.query(COUNT, database="surgery"))


def test_a_warehouse_that_is_away_costs_nothing(own: Gateway, policies: Path, tmp_path: Path) -> None:
    path = policies / "clinic.toml"
    text = path.read_text()
    away = tmp_path / "away.duckdb"
    line = next(line for line in text.splitlines() if line.startswith("backend"))
    path.write_text(text.replace(line, f'backend = "duckdb:///{away}"'))
    data(own.post("/api/v1/reload", None, "olga"))
    status = error(own.query(COUNT), 503, "WarehouseUnavailable")
    assert str(away) not in str(status)
    assert own.ledger.get_budget("test", "clinic", "people").num_dpcall == 0


# ---------------------------------------------------------------- starting
def test_a_broken_policy_stops_the_start_with_its_line(tmp_path: Path, policies: Path, starter: Starter) -> None:
    (policies / "second.toml").write_text("[database]\nname = 3\n")
    log = tmp_path / "log"
    argv = [
        "gateway",
        "--policies",
        str(policies),
        "--ledger",
        f"sqlite:///{tmp_path}/ledger.sqlite",
        "--port",
        str(free_port()),
        "--allow-root",
    ]
    child = starter.start("dpjupyter.cli", argv, environment(tmp_path), log)
    assert child.wait(30)
    assert "second.toml" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_root_needs_to_be_allowed(tmp_path: Path, policies: Path, starter: Starter) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root is refused")
    log = tmp_path / "log"
    argv = ["gateway", "--policies", str(policies), "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite", "--port", str(free_port())]
    child = starter.start("dpjupyter.cli", argv, environment(tmp_path), log)
    assert child.wait(30)
    assert "--allow-root" in log.read_text()


@pytest.mark.parametrize("arguments", [["--ip", "::"], ["--ip", ""], ["--ip", "192.0.2.1"], ["--certfile", "missing.crt"]])
def test_settings_that_would_send_tokens_in_the_clear_are_refused(
    policies: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gateway", "--policies", str(policies), *arguments]) == 1
    assert capsys.readouterr().err.startswith("dpjupyter: ")


def test_behind_a_proxy_any_host_name_is_served(tmp_path: Path, policies: Path, starter: Starter) -> None:
    with starter.run(tmp_path / "gateway", policies, "--behind-proxy") as gateway:
        assert gateway.call("GET", "/api/v1/health", None, headers={"Host": "gateway.example.org"}).status_code == 200


def test_an_account_with_a_password_opens_a_mysql_ledger(
    tmp_path: Path, mariadb: MariaDB, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE guarded CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        cursor.execute("CREATE USER 'keeper'@'%' IDENTIFIED BY 'p@ss/w:rd'")
        cursor.execute("GRANT ALL ON guarded.* TO 'keeper'@'%'")
        connection.commit()
    url = f"mysql+pymysql://keeper@127.0.0.1:{mariadb.port}/guarded"
    file = tmp_path / "password"
    file.write_text("p@ss/w:rd\n")
    assert main(["token", "create", "alice", "--ledger", url, "--ledger-password-file", str(file)]) == 0
    monkeypatch.setenv("DPJUPYTER_LEDGER_PASSWORD", "p@ss/w:rd")
    assert main(["token", "list", "--ledger", url]) == 0
    monkeypatch.setenv("DPJUPYTER_LEDGER_PASSWORD", "wrong-word")
    capsys.readouterr()
    assert main(["token", "list", "--ledger", url]) == 1
    told = capsys.readouterr().err
    assert "1045" in told
    assert "wrong-word" not in told


def test_the_gateway_leaves_no_file_but_its_ledger(own: Gateway, tmp_path: Path) -> None:
    left = {path.relative_to(tmp_path / "gateway").parts[0] for path in (tmp_path / "gateway").rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith("ledger.sqlite")} <= {"log"}


def test_a_stopped_gateway_ends_cleanly(tmp_path: Path, policies: Path, starter: Starter) -> None:
    with starter.run(tmp_path / "gateway", policies) as gateway:
        data(gateway.post("/api/v1/quote", {"sql": COUNT, "dbconfig": {"database": "clinic"}}))
        os.kill(gateway.process.pid, signal.SIGTERM)
        assert gateway.process.wait(10)
        assert [count[-1] for count in gateway.ledger.quote_counts()] == [1]  # counted, not logged one by one
        assert "Traceback" not in gateway.log.read_text()


def test_tls(tmp_path: Path, policies: Path, starter: Starter) -> None:
    certificate, key = tmp_path / "gateway.crt", tmp_path / "gateway.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    import ssl

    trust = ssl.create_default_context(cafile=str(certificate))
    with starter.run(tmp_path / "gateway", policies, "--certfile", str(certificate), "--keyfile", str(key), verify=trust) as gateway:
        data(gateway.query(COUNT))
        with pytest.raises(httpx.TransportError):
            httpx.get(gateway.url.replace("https", "http") + "/api/v1/health", trust_env=False)
        with pytest.raises(httpx.ConnectError):
            httpx.get(gateway.url + "/api/v1/health", trust_env=False)


# ---------------------------------------------------------------- inside an owner's own server
@contextmanager
def jupyter_server(folder: Path, policies: Path) -> Iterator[tuple[str, Path]]:
    port = free_port()
    config = folder / "jupyter_server_config.py"
    config.write_text(
        'c.ServerApp.jpserver_extensions = {"dpjupyter.gateway": True}\n'
        f"c.GatewayApp.policies = {str(policies)!r}\n"
        f"c.GatewayApp.ledger = 'sqlite:///{folder}/ledger.sqlite'\n"
        "c.IdentityProvider.token = 'the-servers-own'\n"
    )
    command = [
        sys.executable,
        "-m",
        "jupyter_server",
        f"--config={config}",
        f"--port={port}",
        "--no-browser",
        "--allow-root",
        f"--ServerApp.root_dir={folder}",
    ]
    with (folder / "server.log").open("wb") as out:
        process = subprocess.Popen(command, env=environment(folder), stdout=out, stderr=out)
    try:
        url = f"http://127.0.0.1:{port}"
        _until(lambda: _answers(f"{url}/api/v1/health"), 60)
        yield url, folder / "server.log"
    finally:
        process.terminate()
        process.wait(20)


def test_inside_another_server_our_routes_want_our_tokens(tmp_path: Path, policies: Path) -> None:
    from dpjupyter.engine.ledger.store import open_ledger

    with jupyter_server(tmp_path, policies) as (url, _):
        ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
        alice = {"Authorization": f"token {ledger.create_token('alice', 'analyst')[0]}"}
        ledger.close()
        server = {"Authorization": "token the-servers-own"}
        get = lambda path, headers: httpx.get(url + path, headers=headers, trust_env=False)  # noqa: E731
        assert get("/api/v1/me", alice).json()["status"]["data"]["name"] == "alice"
        assert get("/api/v1/me", server).status_code == 401
        assert get("/api/kernels", server).status_code == 200  # its own routes stay its own
        assert get("/api/kernels", alice).status_code == 403
        body = {"sql": COUNT, "dbconfig": {"database": "clinic"}}
        assert httpx.post(url + "/api/v1/query", json=body, headers=alice, trust_env=False).status_code == 200


# ---------------------------------------------------------------- recovery
def test_recovery_runs_at_the_start(tmp_path: Path, policies: Path, starter: Starter) -> None:
    from sqlalchemy import text

    with starter.run(tmp_path / "gateway", policies) as gateway:
        data(gateway.query(COUNT, epsilon=0.5))
        with gateway.ledger._db.engine.begin() as connection:
            connection.execute(text("UPDATE budget_info SET last_recover_time = '2001-01-01 00:00:00.000000' WHERE table_name = 'people'"))
        assert gateway.ledger.get_budget("test", "clinic", "people").consumed_budget > 0
    with starter.run(tmp_path / "gateway", policies) as gateway:
        _until(lambda: gateway.ledger.get_budget("test", "clinic", "people").consumed_budget == 0)
        row = gateway.ledger.get_budget("test", "clinic", "people")
        assert row.lifetime_epsilon == 0.5
        assert row.last_recover_time > "2001"
        assert gateway.ledger.get_budget("test", "clinic", "*").consumed_budget > 0  # not due


def test_the_schedule_is_cron_in_utc() -> None:
    job = Recovery(lambda: 0, schedule="30 3 * * *", jitter_s=0, log=logging.getLogger("test"))
    following = job._trigger.get_next_fire_time(None, datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert following == datetime(2026, 1, 2, 3, 30, tzinfo=UTC)


@pytest.mark.parametrize("schedule", ["", "daily", "61 * * * *", "* * * *"])
def test_a_schedule_that_is_none_is_refused(schedule: str) -> None:
    with pytest.raises(PolicyError, match="schedule"):
        Recovery(lambda: 0, schedule=schedule, jitter_s=0, log=logging.getLogger("test"))


def test_a_failed_recovery_is_tried_again_soon() -> None:
    from apscheduler.schedulers.background import BackgroundScheduler

    ran: list[str] = []

    def recover() -> int:
        ran.append("x")
        raise LedgerUnavailable("away")

    job = Recovery(recover, schedule="0 0 * * *", jitter_s=0, log=logging.getLogger("test"))
    scheduler: Any = BackgroundScheduler(timezone=UTC)
    job.start(scheduler)
    _until(lambda: scheduler.get_job("recover-retry") is not None)
    assert ran
    assert (scheduler.get_job("recover-retry").next_run_time - datetime.now(UTC)).total_seconds() < 600
    job.stop()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _until(true: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
