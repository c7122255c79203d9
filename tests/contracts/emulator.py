"""A Snowflake emulator in a process of its own, and a door in front of it that writes down what passes."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

PASSWORD = "open-sesame-47"


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Emulator:
    """``fakesnow -s`` as a subprocess; stopped by its own handle."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        with (self.folder / f"emulator-{self.port}.log").open("ab") as log:
            command = [str(Path(sys.executable).with_name("fakesnow")), "-s", "-p", str(self.port)]
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self.process.poll() is None, "the emulator ended at once"
            time.sleep(0.05)
        raise AssertionError("the emulator does not listen")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def url(self, folder: Path | None = None, *, port: int | None = None, login: str = "", **more: object) -> str:
        """Backend URL; the password comes from a file in ``folder``."""
        if not login:
            file = (folder or self.folder) / "password"
            if not file.exists():
                file.write_text(PASSWORD + "\n")
                file.chmod(0o600)
            login = f"password_file={file}"
        extra = "".join(f"&{key}={value}" for key, value in ({"database": "DB1", "schema": "S1", "network_timeout": 30} | more).items())
        return f"snowflake://?account=fakesnow&user=gateway&host=127.0.0.1&port={port or self.port}&protocol=http&{login}{extra}"

    def run(self, *statements: str) -> None:
        """Run statements as the owner: the database and schema exist afterwards."""
        import snowflake.connector

        connection = snowflake.connector.connect(
            user="owner", password=PASSWORD, account="fakesnow", host="127.0.0.1", port=self.port, protocol="http", network_timeout=60,
            session_parameters={"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
        )  # fmt: skip
        try:
            for statement in ("CREATE DATABASE IF NOT EXISTS db1", "CREATE SCHEMA IF NOT EXISTS db1.s1", "USE SCHEMA db1.s1", *statements):
                connection.cursor().execute(statement)
        finally:
            connection.close(retry=False)


@dataclass
class Request:
    """One HTTP request as the session sent it."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def sql(self) -> str:
        return str(self.body.get("sqlText", ""))


Reply = tuple[int, dict[str, Any]]
Script = Callable[[Request], Reply | None]


@dataclass
class Recorder:
    """A server in front of the emulator. ``script`` may answer in its place."""

    upstream: int
    script: Script = lambda _: None
    requests: list[Request] = field(default_factory=list)
    bytes_back: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                recorder._answer(self)

            do_GET = do_POST = _handle  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def to(self, path: str) -> list[Request]:
        """Requests whose path matches, in order."""
        return [request for request in self.requests if re.search(path, request.path)]

    def statements(self) -> list[str]:
        return [request.sql for request in self.to("query-request")]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        plain = gzip.decompress(raw) if handler.headers.get("Content-Encoding") == "gzip" else raw
        parts = urlsplit(handler.path)
        body = json.loads(plain) if plain else {}
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        request = Request(handler.command, parts.path, query, body, {k.lower(): v for k, v in handler.headers.items()})
        with self._lock:
            self.requests.append(request)
            scripted = self.script(request)
        if scripted is not None:
            status, content = scripted[0], json.dumps(scripted[1]).encode()
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
            headers = {k: v for k, v in handler.headers.items() if k.lower() not in ("host", "connection", "accept-encoding")}
            connection.request(handler.command, handler.path, raw, headers)
            reply = connection.getresponse()
            status, content = reply.status, reply.read()
            connection.close()
        with self._lock:
            self.bytes_back += len(content)
        with suppress(OSError):
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)


def status(name: str, **more: object) -> Reply:
    """What the server says of an asynchronous statement."""
    return 200, {"data": {"queries": [{"status": name, **more}]}, "success": True}


def refusal(code: int, message: str) -> Reply:
    """An error of the server."""
    return 200, {"data": {"errorCode": str(code), "sqlState": "08000"}, "code": str(code), "message": message, "success": False}


def rowset(columns: Iterable[str], rows: list[list[str]], query_id: str = "01b2c3d4-0000-0000-0000-000000000001") -> Reply:
    """A result of text columns."""
    kinds = [{"name": c, "type": "text", "nullable": True, "length": 1000, "byteLength": 4000, "precision": None, "scale": None, "database": "", "schema": "", "table": "", "collation": None} for c in columns]
    data = {"parameters": [], "rowtype": kinds, "rowset": rows, "total": len(rows), "returned": len(rows), "queryId": query_id, "queryResultFormat": "json", "statementTypeId": 4096, "finalDatabaseName": "DB1", "finalSchemaName": "S1"}
    return 200, {"data": data, "success": True}
