"""The files in deploy/: their commands are ours, and they name what exists."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpjupyter.cli import gateway

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def parsed(words: list[str]) -> argparse.Namespace:
    """A `dpjupyter gateway` command line as our parser reads it."""
    assert words[0] == "gateway"
    parser = argparse.ArgumentParser()
    gateway.add(parser, "gateway")
    return parser.parse_args(words[1:])


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "dpjupyter-gateway.service").read_text().splitlines():
        if match := re.fullmatch(r"([A-Za-z]+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def test_the_unit_starts_our_gateway_on_loopback_as_its_own_user() -> None:
    [start] = unit()["ExecStart"]
    program, *words = shlex.split(start)
    assert program.endswith("/dpjupyter")
    args = parsed(words)
    gateway.settings(args)  # refuses what would send tokens in the clear
    assert unit()["User"] == ["dpjupyter"]
    assert unit()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit()["LimitCORE"] == ["0"]


def test_the_unit_is_sound_for_systemd(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / "dpjupyter-gateway.service"
    text = (DEPLOY / "dpjupyter-gateway.service").read_text()
    copy.write_text(text.replace("/opt/dpjupyter/bin/dpjupyter", "/bin/true"))
    done = subprocess.run([analyze, "verify", str(copy)], check=False, capture_output=True, text=True, timeout=60)
    assert "Unknown" not in done.stderr, done.stderr


def test_the_image_runs_the_gateway_behind_a_proxy() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    [command] = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    args = parsed(json.loads(command))
    gateway.settings(args)
    assert args.behind_proxy
    assert "USER dpjupyter" in text


def test_the_compose_file_keeps_ledger_and_passwords_inside() -> None:
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"gateway", "gateway2", "ledger", "proxy"}
    assert [name for name, service in services.items() if service.get("ports")] == ["proxy"]
    assert services["ledger"]["networks"] == ["inside"]
    assert compose["networks"]["inside"]["internal"]
    for service in services.values():
        for value in (service.get("environment") or {}).values():
            assert not re.search(r"://[^/@]*:[^/@]*@", value)  # no password in a URL
        for secret in service.get("secrets", []):
            assert secret in compose["secrets"]
        for network in service["networks"]:
            assert network in compose["networks"]
        build = service.get("build")
        if build:
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    assert (DEPLOY / "nginx.conf").is_file()
    assert services["gateway"]["read_only"]
    mounts = {target: (source, mode) for source, target, mode in (volume.split(":") for volume in services["gateway"]["volumes"])}
    assert mounts[services["gateway"]["environment"]["SNOWFLAKE_HOME"]] == ("./snowflake", "ro")
    for folder in ("secrets", "snowflake", "tls", "data", "policies"):
        assert f"deploy/{folder}/" in (DEPLOY.parent / ".gitignore").read_text()
        assert f"deploy/{folder}\n" in (DEPLOY / "Dockerfile.dockerignore").read_text() + "\n"


def test_the_proxy_neither_buffers_nor_repeats_nor_logs_names() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    for line in ("proxy_buffering off;", "proxy_next_upstream off;", "access_log off;"):
        assert line in text
    assert text.count("{") == text.count("}")


def test_commands_in_the_deployment_guide_are_understood() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text().replace("\\\n", " ")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("dpjupyter gateway")]
    assert commands
    for words in commands:
        parsed(words[1:])
