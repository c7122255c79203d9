"""``dpjupyter token | budget | audit | suspend | lift``: run as owners run them, on a real ledger."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpjupyter.cli import main
from dpjupyter.engine.ledger.store import open_ledger
from tests.gateway.running import Gateway

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; its exit status, output and errors."""
    monkeypatch.setenv("DPJUPYTER_LEDGER", f"sqlite:///{tmp_path}/ledger.sqlite")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def shown(output: tuple[int, str, str]) -> Any:
    assert output[0] == 0, output[2]
    return json.loads(output[1])


def test_a_token_is_created_listed_and_revoked(run: Run, tmp_path: Path) -> None:
    secret = run("token", "create", "alice", "--days", "5")[1].strip()
    [token] = shown(run("token", "list", "--json"))
    assert (token["name"], token["role"], token["revoke_time"]) == ("alice", "analyst", "")
    assert secret not in run("token", "list")[1]
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    assert ledger.lookup_token(secret) is not None
    assert run("token", "revoke", token["id"])[0] == 0
    assert ledger.lookup_token(secret) is None
    ledger.close()
    status, _, told = run("token", "revoke", token["id"])
    assert status == 1
    assert "no such token" in told.lower()


@pytest.mark.parametrize("arguments", [("hub:alice",), ("alice", "--days", "0"), ("",), ("a\nb",)])
def test_a_token_that_makes_no_sense_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    status, out, told = run("token", "create", *arguments)
    assert (status, out) == (1, "")
    assert told.startswith("dpjupyter: ")


def test_budgets_are_set_shown_listed_and_recovered(run: Run) -> None:
    assert run("budget", "set", "host", "db", "t", "--total", "3", "--cycle", "7", "--strategy", "allow")[0] == 0
    assert run("budget", "set", "host", "db", "t", "--analyst", "alice", "--total", "0.5")[0] == 0
    row = shown(run("budget", "get", "host", "db", "t", "--json"))
    assert (row["total_budget"], row["recover_cycle"], row["exhausted_strategy"]) == (3.0, 7, "allow")
    shown(run("budget", "set", "host", "db", "t", "--total", "4", "--json"))
    assert shown(run("budget", "get", "host", "db", "t", "--json"))["recover_cycle"] == 7
    assert [row["analyst"] for row in shown(run("budget", "list", "--json"))] == [None, "alice"]
    assert "RESIDUAL_BUDGET" in run("budget", "list")[1]
    assert "total_budget" in run("budget", "get", "host", "db", "t")[1]
    assert run("budget", "recover", "--dry-run")[1].strip() == "0 rows are due"
    assert shown(run("budget", "recover", "--json")) == []


@pytest.mark.parametrize("change", [("--total", "nan"), ("--total", "inf"), ("--total", "0"), ("--total", "1e308"), ("--cycle", "0")])
def test_a_budget_out_of_range_is_refused(run: Run, change: tuple[str, str]) -> None:
    assert run("budget", "set", "host", "db", "t", *change)[0] == 1
    status, _, told = run("budget", "get", "host", "db", "t")
    assert status == 1
    assert "budget info does not exist" in told


def test_recovery_by_hand_shows_what_is_due_first(run: Run, tmp_path: Path) -> None:
    from sqlalchemy import text

    run("budget", "set", "host", "db", "t", "--total", "3", "--cycle", "7")
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    with ledger._db.engine.begin() as connection:
        connection.execute(text("UPDATE budget_info SET last_recover_time = '2020-01-01 00:00:00.000000'"))
    assert [row["table_name"] for row in shown(run("budget", "recover", "--dry-run", "--json"))] == ["t"]
    assert ledger.get_budget("host", "db", "t").last_recover_time == "2020-01-01 00:00:00"
    assert len(shown(run("budget", "recover", "--json"))) == 1
    assert ledger.get_budget("host", "db", "t").last_recover_time > "2020-01-02"
    assert shown(run("budget", "recover", "--json")) == []
    ledger.close()


def test_suspensions_are_made_listed_and_lifted(run: Run) -> None:
    assert run("suspend", "--list")[1].strip() == "nothing is suspended"
    run("suspend", "--analyst", "mallory", "--reason", "why not")
    assert [row["analyst"] for row in shown(run("suspend", "--table", "p", "d", "t", "--json"))] == ["mallory", None]
    assert len(shown(run("lift", "--analyst", "mallory", "--json"))) == 1
    assert run("lift", "--analyst", "mallory")[0] == 1
    assert run("suspend")[0] == 1
    events = shown(run("audit", "list", "--events", "--json"))
    assert [event["kind"] for event in events] == ["lift", "suspend", "suspend"]
    assert events[0]["analyst"].startswith("cli:")


def test_the_audit_log_is_read_exported_and_verified(gateway: Gateway, run: Run) -> None:
    gateway.query("SELECT COUNT(*) AS n FROM people WHERE city = 'Bern'", skip_cache=1)
    gateway.query('=HYPERLINK("http://evil") <img src=x>')
    ledger = ("--ledger", str(gateway.ledger._db.engine.url))
    [refused, answered, *_] = shown(run("audit", "list", "--analyst", "alice", "--json", *ledger))
    assert (answered["verdict"], answered["tables"]) == ("answered", ["*", "people"])
    assert refused["verdict"] == "refused"
    assert "HYPERLINK" in run("audit", "list", *ledger)[1]
    exported = list(csv.DictReader(io.StringIO(run("audit", "export", *ledger)[1])))
    assert exported[0]["sql"].startswith("'=HYPERLINK")
    as_json = run("audit", "export", "--format", "json", *ledger)[1]
    assert "<img" not in as_json
    assert json.loads(as_json)[0]["sql"].endswith("<img src=x>")
    status, out, _ = run("audit", "verify", *ledger)
    assert (status, "sound" in out) == (0, True)


def test_a_changed_ledger_is_found_out(run: Run, tmp_path: Path) -> None:
    from sqlalchemy import text

    run("budget", "set", "host", "db", "t", "--total", "3")
    run("budget", "set", "host", "db", "t", "--total", "9")
    assert run("audit", "verify")[0] == 0
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    with ledger._db.engine.begin() as connection:
        connection.execute(text("UPDATE ledger SET detail = '{}' WHERE kind = 'set'"))
    ledger.close()
    status, out, _ = run("audit", "verify")
    assert status == 1
    assert "NOT SOUND" in out


def test_old_rows_are_replaced_by_a_signed_checkpoint(run: Run, tmp_path: Path) -> None:
    key = tmp_path / "audit.key"
    key.write_bytes(b"0123456789abcdef0123456789abcdef")
    run("budget", "set", "host", "db", "t", "--total", "3")
    run("budget", "set", "host", "db", "t", "--total", "4")
    assert run("audit", "retain", "--days", "400", "--key-file", str(key))[1].startswith("0 links")
    assert run("audit", "retain", "--days", "400", "--key-file", str(tmp_path / "missing"))[0] == 1
    assert shown(run("audit", "verify", "--key-file", str(key), "--json"))["sound"]


def test_terminal_escapes_of_analysts_do_not_reach_the_owner(gateway: Gateway, run: Run) -> None:
    gateway.query("SELECT '\x1b[2J' \u202e FROM nobody")
    out = run("audit", "list", "--ledger", str(gateway.ledger._db.engine.url))[1]
    assert "\x1b" not in out
    assert "\u202e" not in out


@pytest.mark.parametrize("url", ["postgresql://x/y", "nonsense", "sqlite://", "mysql+pymysql://user@127.0.0.1:9/db"])
def test_a_ledger_that_cannot_be_opened_is_one_clear_line(run: Run, url: str) -> None:
    status, out, told = run("token", "list", "--ledger", url)
    assert (status, out) == (1, "")
    assert told.startswith("dpjupyter: ")


def test_the_default_ledger_does_not_depend_on_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dpjupyter.cli.ledger import default_url

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_url() == f"sqlite:///{tmp_path}/dpjupyter/ledger.sqlite"


def test_the_password_comes_from_a_file_or_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dpjupyter.errors import PolicyError
    from dpjupyter.gateway.credentials import ledger_password

    monkeypatch.setenv("DPJUPYTER_LEDGER_PASSWORD", "from the environment")
    (tmp_path / "password").write_text(" s3cret \n")
    assert ledger_password(None) == "from the environment"
    assert ledger_password(str(tmp_path / "password")) == " s3cret "
    with pytest.raises(PolicyError):
        ledger_password(str(tmp_path / "missing"))


@pytest.mark.parametrize("command", ["token", "budget", "audit", "suspend", "lift"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "examples:" in capsys.readouterr().out
