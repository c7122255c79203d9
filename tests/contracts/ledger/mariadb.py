"""A private MariaDB server in a temporary folder, for tests and benchmarks."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pymysql


def free_port() -> int:
    """A TCP port of the loopback nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class MariaDB:
    """A private server in a temporary folder: started, stopped by its pid, restarted."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def install(cls, folder: Path, *options: str) -> MariaDB:
        """Make the data folder; ``options`` are the server's."""
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        command = ["mariadb-install-db", "--no-defaults", f"--datadir={folder / 'data'}", "--auth-root-authentication-method=normal"]
        subprocess.run([*command, "--skip-test-db", *as_root], check=True, capture_output=True, timeout=60)
        return cls(folder, options)

    def start(self, env: dict[str, str] | None = None) -> None:
        """Start and wait until it answers."""
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        # A socket's path may have 107 characters only.
        sock = Path(tempfile.gettempdir()) / f"dpj-{self.port}.sock"
        command = [
            "mariadbd", "--no-defaults", f"--datadir={self.folder / 'data'}", f"--socket={sock}", f"--port={self.port}",
            f"--tmpdir={self.folder}", "--bind-address=127.0.0.1", f"--pid-file={self.folder / 'pid'}", "--max-connections=600", "--innodb-buffer-pool-size=64M",
            "--skip-name-resolve", *self.options, *as_root,
        ]  # fmt: skip
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})})
        log.close()
        deadline = time.monotonic() + 30
        while True:
            try:
                self.connect().close()
            except pymysql.err.OperationalError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self, *, kill: bool = False) -> None:
        """Stop the server that was started."""
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(30)
            self.process = None

    def connect(self, database: str | None = None) -> pymysql.connections.Connection:
        """A plain connection as root."""
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database, charset="utf8mb4")

    def url(self, database: str) -> str:
        """URL of a ledger in this server."""
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/{database}"
