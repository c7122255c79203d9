"""A gateway that a notebook started: known to the relay while its process lives, and only if its file is what it must be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpjupyter import connections, lent, wire
from tests.relay.conftest import GATEWAY_TOKEN, Relay

API = "/dpjupyter/api"


@pytest.fixture
def runtime(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The runtime folder that the relay's server and its kernels share."""
    folder = relay.folder / "runtime"
    folder.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
    yield folder
    for path in folder.glob("dpjupyter-lent-*"):
        path.unlink()


def listed(relay: Relay) -> list[dict[str, str]]:
    return relay.http.get(f"{API}/connections").json()["status"]["data"]["connections"]


def entry(relay: Relay, token: str = GATEWAY_TOKEN.replace("gateway", "lent")) -> dict[str, str]:
    return {"url": relay.spy.url, "token": token, "database": "titanic"}


def test_a_lent_connection_is_listed_without_its_token_and_asked_with_it(relay: Relay, runtime: Path) -> None:
    path = lent.lend({"titanic": entry(relay), "owner": entry(relay, "owner-token")})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    reply = relay.http.get(f"{API}/connections")
    assert "lent-token" not in reply.text
    mine = f"titanic (process {os.getpid()})"
    assert [each["name"] for each in listed(relay)] == ["work", mine, f"owner (process {os.getpid()})"]
    assert listed(relay)[1] == {"name": mine, "alias": "titanic", "url": relay.spy.url, "database": "titanic"}
    assert reply.json()["status"]["data"]["default"] == "work"
    assert relay.http.get(f"{API}/catalog", params={"connection": mine}).status_code == 200
    assert (relay.spy.requests[-1].path, relay.spy.requests[-1].headers["Authorization"]) == (wire.CATALOG, "token lent-token")
    relay.http.get(f"{API}/catalog")
    assert relay.spy.requests[-1].headers["Authorization"] == f"token {GATEWAY_TOKEN}"
    lent.take_back(path)
    lent.take_back(path)
    assert [each["name"] for each in listed(relay)] == ["work"]
    assert relay.http.get(f"{API}/catalog", params={"connection": mine}).status_code == 503


def test_a_configured_name_is_never_taken_over(relay: Relay, runtime: Path) -> None:
    mine = f"titanic (process {os.getpid()})"
    relay.connect({mine: {"url": relay.spy.url, "token": GATEWAY_TOKEN}}, mine)
    lent.lend({"titanic": entry(relay)})
    assert [each["alias"] for each in listed(relay)] == [mine]
    relay.http.get(f"{API}/catalog", params={"connection": mine})
    assert relay.spy.requests[-1].headers["Authorization"] == f"token {GATEWAY_TOKEN}"


def test_what_a_killed_process_left_is_not_lent_and_goes_away(relay: Relay, runtime: Path) -> None:
    script = "import os; from dpjupyter import lent; print(lent.lend({'a': {'url': 'http://127.0.0.1:1', 'token': 'x'}}), flush=True); os._exit(9)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ | {"JUPYTER_RUNTIME_DIR": str(runtime)}
    )
    path = Path(done.stdout.strip())
    assert path.is_file()
    assert [each["name"] for each in listed(relay)] == ["work"]
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_open_to_others_is_passed_over(relay: Relay, runtime: Path, mode: int) -> None:
    lent.lend({"titanic": entry(relay)}).chmod(mode)
    assert [each["name"] for each in listed(relay)] == ["work"]


def test_a_link_a_folder_or_a_long_file_is_passed_over(relay: Relay, runtime: Path) -> None:
    path = lent.lend({"titanic": entry(relay)})
    aside = path.rename(runtime / "elsewhere.toml")
    path.symlink_to(aside)
    assert [each["name"] for each in listed(relay)] == ["work"]
    path.unlink()
    path.mkdir()
    assert [each["name"] for each in listed(relay)] == ["work"]
    path.rmdir()
    aside.write_text(aside.read_text() + "#" * 100_000)
    aside.rename(path)
    assert [each["name"] for each in listed(relay)] == ["work"]
    path.unlink()


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "https://evil.example.org"},
        {"url": "http://10.0.0.1:80", "allow_http": True},
        {"token_file": "/etc/hostname"},
        {"ca_file": "/etc/hostname"},
        {"token": None, "token_env": "HOME"},
        {"token": None},
        {"url": "file:///etc/passwd"},
    ],
)
def test_only_plain_tokens_for_this_very_machine_are_lent(relay: Relay, runtime: Path, changed: dict[str, object]) -> None:
    lent.lend({"titanic": entry(relay) | changed})
    assert [each["name"] for each in listed(relay)] == ["work"]


def test_nonsense_in_the_folder_hurts_nobody(relay: Relay, runtime: Path) -> None:
    for name, content in (
        (f"dpjupyter-lent-{os.getpid()}.toml", "not = [toml"),
        ("dpjupyter-lent-0.toml", "x"),
        ("dpjupyter-lent-99999999999.toml", "x"),
        ("dpjupyter-lent-9999999999.toml", "x"),
        ("dpjupyter-lent-..%2f.toml", "x"),
    ):
        (runtime / name).write_text(content)
        (runtime / name).chmod(0o600)
    assert [each["name"] for each in listed(relay)] == ["work"]


def test_the_browser_cannot_name_a_file_or_an_address(relay: Relay, runtime: Path) -> None:
    path = lent.lend({"titanic": entry(relay)})
    relay.spy.requests.clear()
    for name in (str(path), path.name, "titanic", relay.spy.url, f"../{path.name}"):
        assert relay.http.get(f"{API}/catalog", params={"connection": name}).status_code == 503
    assert relay.spy.requests == []


def test_lent_connections_are_an_ordinary_connections_file(relay: Relay, runtime: Path) -> None:
    path = lent.lend({"titanic": entry(relay)})
    assert connections.resolve("titanic", environ={"DPJUPYTER_CONNECTIONS": str(path)}).token == "lent-token"
