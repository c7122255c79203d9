"""A real Jupyter Server with the relay, in a process of its own, and a gateway that writes down what it receives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from dpjupyter import connections

JUPYTER_TOKEN = "jupyter-token"
GATEWAY_TOKEN = "gateway-token"
ROOT = Path(__file__).parents[2]


@dataclass
class Received:
    """One request as the gateway saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Spy:
    """A gateway that answers what it is told to, and remembers."""

    url: str
    requests: list[Received] = field(default_factory=list)
    reply: tuple[int, Any] | None = None  # None: succeed with the path as data
    delay_s: float = 0.0
    given_up: threading.Event = field(default_factory=threading.Event)


@dataclass
class Relay:
    """The relay under test, as a browser with Jupyter's token sees it."""

    http: httpx.Client
    spy: Spy
    folder: Path

    def connect(self, entries: dict[str, dict[str, Any]], default: str | None = None) -> None:
        """Write the connections file."""
        connections.write(self.folder / "connections.toml", entries, default)


@pytest.fixture(scope="session")
def spy() -> Iterator[Spy]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            watched.requests.append(Received(self.command, self.path, dict(self.headers), body))
            if watched.delay_s:
                time.sleep(watched.delay_s)
            name = {"name": "ada"} if self.path.endswith("/me") else {"path": self.path}
            status, data = watched.reply or (200, {"status": {"code": 200, "Message": "succeed", "data": name}})
            sent = data if isinstance(data, bytes) else json.dumps(data).encode()
            try:
                self.send_response(status)
                self.send_header("Set-Cookie", "gateway=secret")
                self.send_header("X-Gateway", "internal")
                if status in (301, 302):
                    self.send_header("Location", watched.url + "/elsewhere")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)
            except OSError:
                watched.given_up.set()

        do_GET = do_POST = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    watched = Spy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield watched
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def _server(spy: Spy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    folder = tmp_path_factory.mktemp("relay")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DPJUPYTER_", "JUPYTER"))}
    environ = kept | {
        "HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "JUPYTER_TOKEN": JUPYTER_TOKEN, "PYTHONPATH": str(ROOT),
        "DPJUPYTER_CONNECTIONS": str(folder / "connections.toml"), "JUPYTER_PLATFORM_DIRS": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={folder}", "--ServerApp.jpserver_extensions={'dpjupyter.relay': True}",
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, cwd=folder, stdout=log, stderr=log)
    http = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"token {JUPYTER_TOKEN}"}, trust_env=False, timeout=30)
    try:
        for _ in range(200):
            try:
                if http.get("/api/status").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            pytest.fail((folder / "server.log").read_text())
        yield Relay(http, spy, folder)
    finally:
        http.close()
        process.terminate()
        process.wait(20)


@pytest.fixture
def relay(_server: Relay) -> Iterator[Relay]:
    """The relay, connected to the spy as ``work``, its memory empty."""
    _server.connect({"work": {"url": _server.spy.url, "token": GATEWAY_TOKEN, "database": "shop"}}, "work")
    yield _server
    _server.spy.requests.clear()
    _server.spy.reply, _server.spy.delay_s = None, 0.0
    _server.spy.given_up.clear()
