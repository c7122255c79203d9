"""Connections that a running process lends to its user's Jupyter Server: how the side panel learns of a gateway a notebook started.

A kernel that starts a gateway of its own (``dpjupyter.demo.start()``) knows its address and token; the Jupyter Server that
shows the notebook does not. The kernel writes both into Jupyter's runtime folder, where kernels keep their own keys: a
connections file named after the process, mode 0600, gone when the process ends. Nothing of it passes through the browser:
the notebook's comm tells the address alone, and the relay lends a token only to what it finds here.

What is read is not trusted further than a file of one's own must be: one's own plain file, closed to others, of a living
process, with addresses of this very machine.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir

from dpjupyter import connections
from dpjupyter.connections import Connection, is_loopback
from dpjupyter.errors import NotConnected

_NAME = re.compile(r"dpjupyter-lent-([1-9][0-9]{0,9})\.toml")
_LONGEST_FILE = 64 << 10  # bytes
_MOST_FILES = 50


@dataclass(frozen=True, slots=True)
class Lent:
    """A connection of another process: its own name for it, and one that is unique here."""

    alias: str
    connection: Connection


def lend(entries: Mapping[str, Mapping[str, Any]]) -> Path:
    """Lend this process's connections until it ends; give the path to :func:`take_back`.

    Args:
        entries: as in a connections file, each with ``url`` and ``token``.
    """
    path = Path(jupyter_runtime_dir()) / f"dpjupyter-lent-{os.getpid()}.toml"
    connections.write(path, entries)
    return path


def take_back(path: Path) -> None:
    """Lend no longer; twice does no harm."""
    path.unlink(missing_ok=True)


def lent() -> list[Lent]:
    """What processes of this user lend now. A file that is not as it must be is passed over."""
    folder = Path(jupyter_runtime_dir())
    try:
        names = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except OSError:
        return []
    found: list[Lent] = []
    for name in names[:_MOST_FILES]:
        path = folder / name
        process = int(_NAME.fullmatch(name)[1])  # type: ignore[index] - names are matched above
        if not _alive(process):
            with suppress(OSError):
                path.unlink()  # killed before it could do so itself
        elif _own(path):
            found += _read(path, process)
    return found


def _read(path: Path, process: int) -> list[Lent]:
    environ = {"DPJUPYTER_CONNECTIONS": str(path)}
    found: list[Lent] = []
    try:
        for alias, entry in connections.read(environ).entries.items():
            if set(entry) <= {"url", "token", "database"} and is_loopback(str(entry["url"])):
                one = connections.resolve(alias, environ=environ)
                found.append(Lent(alias, Connection(f"{alias} (process {process})", one.url, one.token, one.database)))
    except NotConnected:
        return []
    return found


def _own(path: Path) -> bool:
    try:
        known = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(known.st_mode) or known.st_size > _LONGEST_FILE:
        return False
    return os.name != "posix" or (known.st_uid == os.geteuid() and not known.st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _alive(process: int) -> bool:
    if os.name != "posix":
        return True  # there a signal of 0 would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return False  # somebody else's: not the one that wrote a file of ours
    return True
