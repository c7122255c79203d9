"""The comm ``dpjupyter``: tells the JupyterLab extension which gateway and database this kernel uses.

Kernel to frontend: ``{"url", "database", "connection", "defaults"}`` when the comm opens, whenever one of them changes, and in
reply to ``{"event": "hello"}``; ``{"event": "answered"}`` after each query. ``database`` is "prefix/name"; ``connection`` is null
for an address given by hand; ``defaults`` are the notebook's epsilon, delta, mechanism and confidence, so that prices shown
are those that will be paid. To ``{"event": "values", "id", "names"}`` the reply is ``{"event": "values", "id", "values"}``: the
notebook variables of these names that may stand for ``:name`` placeholders. The token never travels here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dpjupyter.errors import BadRequest
from dpjupyter.magics.options import Scalar
from dpjupyter.magics.parameters import typed

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

TARGET = "dpjupyter"


class Channel:
    """Announcements to the frontend; silent where there is none (plain IPython)."""

    def __init__(self, shell: InteractiveShell) -> None:
        """Find out whether the shell runs in a kernel; nothing is opened yet."""
        self._in_kernel = getattr(shell, "kernel", None) is not None
        self._variables: Mapping[str, Any] = shell.user_ns
        self._comm: Any = None
        self._said: dict[str, Any] = {}

    def announce(self, url: str, database: str | None, connection: str | None, defaults: Mapping[str, Any]) -> None:
        """Say which gateway, database and defaults are in use from now on."""
        if not self._in_kernel:
            return
        self._said = {"url": url, "database": database, "connection": connection, "defaults": dict(defaults)}
        if self._comm is not None:
            self._comm.send(self._said)
            return
        from comm import create_comm  # noqa: PLC0415 - a kernel has it; plain IPython may not

        self._comm = create_comm(target_name=TARGET, data=self._said)
        self._comm.on_msg(self._heard)
        self._comm.on_close(self._closed)

    def answered(self) -> None:
        """Say that a query was answered: budgets have changed."""
        if self._comm is not None:
            self._comm.send({"event": "answered"})

    def close(self) -> None:
        """Take the comm away."""
        if self._comm is not None:
            self._comm.close()
            self._comm = None

    def _heard(self, message: dict[str, Any]) -> None:
        if self._comm is None:
            return
        match message.get("content", {}).get("data", {}):
            case {"event": "hello"}:
                self._comm.send(self._said)
            case {"event": "values", "id": asked, "names": [*names]}:
                self._comm.send({"event": "values", "id": asked, "values": self._values(names)})
            case _:
                pass

    def _values(self, names: Sequence[Any]) -> dict[str, Scalar]:
        """Those that exist and have an SQL type; what is wrong with the others is said when the cell runs."""
        found: dict[str, Scalar] = {}
        for name in names:
            if isinstance(name, str) and name in self._variables:
                with suppress(BadRequest):
                    found[name] = typed(name, self._variables[name])
        return found

    def _closed(self, _message: dict[str, Any]) -> None:
        # A frontend without the extension refuses the comm; another one may be there at the next connect.
        self._comm = None
