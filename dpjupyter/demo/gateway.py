"""The demo's gateway: the real one, in a process of its own, on loopback, with a ledger in SQLite."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from dpjupyter import connections, lent, wire
from dpjupyter.demo import leash

ANALYST, OWNER = "ada", "grace"
PEOPLE: dict[str, Literal["analyst", "owner"]] = {ANALYST: "analyst", OWNER: "owner"}
DATABASES = ("titanic", "shop")
FOLDER = "DPJUPYTER_DEMO"  # environment variable: the folder of a demo that runs already
CONNECTIONS = "DPJUPYTER_CONNECTIONS"
START_S = 60.0  # a slow machine needs about ten


@dataclass(slots=True)
class Demo:
    """A running demo gateway. ``stop()`` ends it, if it is this process's own."""

    url: str
    folder: Path  # databases, policies, ledger, tokens
    leash: subprocess.Popen[bytes] | None = None  # None: another process's own
    lent: Path | None = None  # what Jupyter Server is told of it

    @property
    def connections_file(self) -> Path:
        """Connections to its databases: one of each name for the analyst, ``owner`` for the owner."""
        return self.folder / "connections.toml"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find this gateway."""
        return {CONNECTIONS: str(self.connections_file), FOLDER: str(self.folder)}

    def stop(self) -> None:
        """End the gateway; twice does no harm."""
        if self.lent is not None:
            lent.take_back(self.lent)
        if self.leash is not None:
            leash.stop(self.leash)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return "Demo gateway with the databases " + " and ".join(DATABASES)


def connect() -> Demo:
    """See :func:`dpjupyter.demo.start`."""
    running = os.environ.get(FOLDER)
    if running and Path(running, "connections.toml").is_file():
        return Demo(connections.resolve().url, Path(running))
    scratch = tempfile.TemporaryDirectory(prefix="dpjupyter-demo-")
    demo = launch(Path(scratch.name))
    atexit.register(scratch.cleanup)
    atexit.register(demo.stop)  # runs first: last registered
    os.environ |= demo.environment
    with suppress(OSError):  # the side panel and the price chip need it, the notebook does not
        demo.lent = lent.lend(connections.read().entries)
    return demo


def launch(folder: Path, build: Callable[[Path], None] | None = None) -> Demo:
    """Build what is missing in ``folder``, start a gateway on it and make tokens for an analyst and an owner.

    ``build`` makes the databases and writes ``folder/policies``; without it they are DuckDB files.

    Raises: RuntimeError: the gateway did not come up; with the end of its log.
    """
    from dpjupyter.demo.build import build_all  # noqa: PLC0415 - DuckDB: not for a notebook that finds a running demo

    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (build or build_all)(folder)
    ledger = f"sqlite:///{folder / 'ledger.sqlite'}"
    tokens = make_tokens(ledger)
    port = free_port()
    command = [sys.executable, "-m", "dpjupyter.cli", "gateway"]
    command += ["--policies", str(folder / "policies"), "--ledger", ledger, "--ip", "127.0.0.1", "--port", str(port)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # nothing here is worth protecting from this machine's own user
    log = folder / "gateway.log"
    demo = Demo(f"http://127.0.0.1:{port}", folder, leash.start(command, log=log))
    try:
        _wait(demo, log)
    except BaseException:
        demo.stop()
        raise
    entries = {name: {"url": demo.url, "database": name, "token": tokens[ANALYST]} for name in DATABASES}
    owner = {"owner": {"url": demo.url, "database": DATABASES[0], "token": tokens[OWNER]}}
    connections.write(demo.connections_file, entries | owner, default=DATABASES[0])
    return demo


def free_port() -> int:
    """A port of the loopback interface that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_tokens(url: str) -> dict[str, str]:
    """A fresh token for each of the demo's people; their budgets go by the name, so they stay as they were."""
    from dpjupyter.engine.ledger.store import open_ledger  # noqa: PLC0415 - SQLAlchemy, as above

    ledger = open_ledger(url)
    try:
        return {name: ledger.create_token(name, role, days=30)[0] for name, role in PEOPLE.items()}
    finally:
        ledger.close()


def _wait(demo: Demo, log: Path) -> None:
    """Until the gateway answers."""
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        if demo.leash is None or demo.leash.poll() is not None:
            break
        try:
            with urllib.request.urlopen(demo.url + wire.HEALTH, timeout=5):  # noqa: S310 - our own address
                return
        except urllib.error.HTTPError:
            return  # it answers: health may be for tokens only
        except OSError:
            time.sleep(0.1)
    end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    raise RuntimeError(f"the demo's gateway did not start:\n{end}")
