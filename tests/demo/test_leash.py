"""What the demo starts ends with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dpjupyter.demo import leash

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def gone(pid: int, within_s: float = 10.0) -> bool:
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def child_of(pid: int) -> int:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        children = psutil.Process(pid).children()
        if children:
            return children[0].pid
        time.sleep(0.05)
    raise AssertionError("the command was not started")


def test_stopping_ends_the_command() -> None:
    leashed = leash.start(SLEEPER)
    pid = child_of(leashed.pid)
    leash.stop(leashed)
    leash.stop(leashed)
    assert gone(pid)


def test_a_killed_parent_takes_the_command_along(tmp_path: Path) -> None:
    script = f"from dpjupyter.demo import leash; import time; p = leash.start({SLEEPER!r}); print(p.pid, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = child_of(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


def test_an_interrupt_of_the_parents_group_does_not_reach_the_command() -> None:
    leashed = leash.start(SLEEPER)
    try:
        assert os.getpgid(leashed.pid) != os.getpgid(0)
    finally:
        leash.stop(leashed)


def test_the_commands_end_is_seen_with_its_status(tmp_path: Path) -> None:
    log = tmp_path / "log"
    leashed = leash.start([sys.executable, "-c", "print('last words'); raise SystemExit(3)"], log=log)
    assert leashed.wait(timeout=20) == 3
    assert log.read_text() == "last words\n"
    leash.stop(leashed)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_leash_stops_the_command(sign: signal.Signals) -> None:
    leashed = leash.start(SLEEPER)
    pid = child_of(leashed.pid)
    time.sleep(0.2)
    leashed.send_signal(sign)
    leashed.wait(timeout=20)
    assert gone(pid)
    leash.stop(leashed)
