"""Runs a command for as long as the parent lives:  python -m dpjupyter.demo.leash COMMAND ...

The parent holds the other end of standard input. However it ends, killed included, that pipe closes, and the
command is stopped. The command itself gets no standard input.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

PATIENCE_S = 5.0  # between asking a command to stop and killing it


def start(command: Sequence[str], *, log: Path | None = None, environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a command that ends with this process. Its output goes to ``log``, or where this process's goes.

    It is in a session of its own: Ctrl-C and a notebook's interrupt are for this process alone.
    """
    leashed = [sys.executable, "-m", "dpjupyter.demo.leash", *command]
    if log is None:
        return subprocess.Popen(leashed, stdin=subprocess.PIPE, env=environ, start_new_session=True)  # noqa: S603 - the demo's own commands
    with log.open("wb") as out:
        return subprocess.Popen(  # noqa: S603
            leashed, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, env=environ, start_new_session=True
        )


def stop(leash: subprocess.Popen[bytes]) -> None:
    """End a command begun with :func:`start`; twice does no harm."""
    if leash.stdin is not None:
        leash.stdin.close()
    try:
        leash.wait(timeout=PATIENCE_S * 2)
    except subprocess.TimeoutExpired:
        leash.kill()


def main(command: Sequence[str]) -> int:
    """Run the command. Returns: its exit status, or 0 when it was stopped because the parent went away."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - the demo's own command
    stopped = threading.Event()

    def end(_signal: int = 0, _frame: FrameType | None = None) -> None:
        stopped.set()
        child.terminate()
        threading.Timer(PATIENCE_S, child.kill).start()

    def watch() -> None:
        while os.read(0, 1024):
            pass
        end()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    return 0 if stopped.is_set() else status


if __name__ == "__main__":
    # Not sys.exit: the timer that would have killed the command must not be waited for.
    os._exit(main(sys.argv[1:]))
