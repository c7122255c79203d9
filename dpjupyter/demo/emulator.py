"""The demo on Snowflake's side: the same data in an emulated Snowflake (fakesnow), queried through real Snowpark sessions.

    from dpjupyter.demo.emulator import start
    demo = start()

Needs the extra ``snowflake`` and the packages ``fakesnow[server]``. Everything ends with the process.
"""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import duckdb

from dpjupyter.demo import leash
from dpjupyter.demo.build import build_all
from dpjupyter.demo.gateway import DATABASES, Demo, free_port, launch

START_S = 60.0
SCHEMA = "DEMO.PUBLIC"
# fakesnow keeps files where it is started.
_RUN = "import os, sys; from fakesnow.cli import main; os.chdir(sys.argv[1]); sys.exit(main(sys.argv[2:]))"


class EmulatedDemo(Demo):
    """A demo gateway whose warehouse is the emulator."""

    def __repr__(self) -> str:
        return "Demo gateway with the databases " + " and ".join(DATABASES) + ", on an emulated Snowflake"


def start() -> Demo:
    """Start an emulator with the demo's data and a gateway on it, for this process alone.

    Afterwards ``%dpsql connect`` finds it.

    Raises: RuntimeError: the emulator or the gateway did not come up.
    """
    scratch = tempfile.TemporaryDirectory(prefix="dpjupyter-demo-")
    atexit.register(scratch.cleanup)
    folder = Path(scratch.name)
    port = free_port()
    emulator = leash.start([sys.executable, "-c", _RUN, str(folder), "-s", "-p", str(port)], log=folder / "emulator.log")
    atexit.register(leash.stop, emulator)
    _wait(port, emulator, folder / "emulator.log")
    plain = launch(folder, lambda where: build(where, port))
    demo = EmulatedDemo(plain.url, plain.folder, plain.leash)
    atexit.register(demo.stop)  # runs first: last registered
    os.environ |= demo.environment
    return demo


def build(folder: Path, port: int) -> None:
    """Load both databases into the emulator at ``port`` and point the policies to it."""
    build_all(folder)
    password = folder / "snowflake.password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe() + "\n", encoding="utf-8")
    _load(_exported(folder), port, password.read_text(encoding="utf-8").strip())
    database, _, schema = SCHEMA.partition(".")
    url = (
        f"snowflake://?account=emulator&user=gateway&password_file={password}&host=127.0.0.1&port={port}&protocol=http"
        f"&database={database}&schema={schema}"
    )
    for file in (folder / "policies").glob("*.toml"):
        lines = file.read_text(encoding="utf-8").splitlines()
        lines = [f'backend = "{url}"' if line.startswith("backend =") else line for line in lines]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _exported(folder: Path) -> list[Path]:
    """One Parquet file per table: the emulator cannot take rows over the wire."""
    files: list[Path] = []
    for name in DATABASES:
        with duckdb.connect(str(folder / f"{name}.duckdb"), read_only=True) as connection:
            for (table,) in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall():
                files.append(folder / f"{table}.parquet")
                connection.execute(f"COPY {table} TO '{files[-1]}' (FORMAT parquet)")
    return files


def _load(tables: list[Path], port: int, password: str) -> None:
    import snowflake.connector  # noqa: PLC0415 - an extra

    database, _, _ = SCHEMA.partition(".")
    login = {"user": "owner", "password": password, "account": "emulator", "host": "127.0.0.1", "port": port, "protocol": "http"}
    quiet = {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False}
    with closing(snowflake.connector.connect(**login, session_parameters=quiet)) as connection:
        cursor = connection.cursor()
        for statement in (f"CREATE DATABASE {database}", f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}", f"USE SCHEMA {SCHEMA}"):
            cursor.execute(statement)
        for file in tables:
            cursor.execute(f"CREATE TABLE {file.stem} AS SELECT * FROM read_parquet('{file}')")  # noqa: S608 - our own names


def _wait(port: int, emulator: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up and emulator.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    raise RuntimeError(f"the emulator did not start (pip install 'fakesnow[server]'):\n{end}")
