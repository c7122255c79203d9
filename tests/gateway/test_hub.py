"""Users of a real JupyterHub, known by the Hub's own tokens."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.gateway.running import Starter, data, environment, error, free_port

SCOPE = "access:services!service=dpjupyter"
COUNT = "SELECT COUNT(*) AS n FROM people"


@pytest.fixture
def hub(tmp_path: Path) -> object:
    """The Hub's API address."""
    url = f"http://127.0.0.1:{free_port()}"
    folder = tmp_path / "hub"
    folder.mkdir()
    command = [sys.executable, "-m", "jupyterhub", "-f", str(Path(__file__).with_name("hub_config.py"))]
    with (folder / "log").open("wb") as out:
        process = subprocess.Popen(command, env=environment(folder) | {"TEST_HUB_URL": url}, cwd=folder, stdout=out, stderr=out)
    api = f"{url}/base/hub/api"
    deadline = time.monotonic() + 60
    try:
        while True:
            try:
                httpx.get(api, trust_env=False)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
        yield api, process
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.slow
def test_hub_users_with_the_scope_are_analysts(
    hub: tuple[str, subprocess.Popen[bytes]], tmp_path: Path, policies: Path, starter: Starter
) -> None:
    api, process = hub
    config = tmp_path / "gateway.py"
    config.write_text("c.TokenIdentity.hub_roles = {'otto': 'owner'}\n")
    arguments = ("--hub-api", api, "--hub-scope", SCOPE, "--config", str(config))
    with starter.run(tmp_path / "gateway", policies, *arguments) as gateway:
        gateway.tokens |= {
            "hanna": "hanna-token-0123456789abcdef",
            "otto": "otto-token-0123456789abcdefg",
            "nora": "nora-token-0123456789abcdefg",
        }
        gateway.tokens["service"] = "the-services-own-token-0123456789"
        me = data(gateway.get("/api/v1/me", "hanna"))
        assert (me["name"], me["role"]) == ("hub:hanna", "analyst")
        assert data(gateway.get("/api/v1/me", "otto"))["role"] == "owner"
        assert data(gateway.get("/api/v1/me", "alice"))["name"] == "alice"  # our own tokens go on working
        data(gateway.query(COUNT, who="hanna", skip_cache=1))
        assert gateway.ledger.get_budget("test", "clinic", "people", "hub:hanna").num_dpcall == 1
        error(gateway.get("/api/v1/me", "nora"), 401, "Unauthorized")  # a Hub user without the scope
        error(gateway.get("/api/v1/me", "service"), 401, "Unauthorized")  # no person
        process.terminate()
        process.wait(20)
        gateway.tokens["new"] = "never-seen-0123456789"
        assert gateway.get("/api/v1/me", "new").status_code == 503
        data(gateway.get("/api/v1/me", "alice"))


def test_without_a_scope_no_hub_token_is_accepted(tmp_path: Path, policies: Path, starter: Starter) -> None:
    with starter.run(tmp_path / "gateway", policies, "--hub-api", "http://127.0.0.1:9/hub/api") as gateway:
        gateway.tokens["hanna"] = "hanna-token-0123456789abcdef"
        status = error(gateway.get("/api/v1/me", "hanna"), 401, "Unauthorized")
        assert "scope" in status["Message"]
