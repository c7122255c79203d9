"""A gateway to try things with: Titanic passengers and a made-up shop, with their policies.

    from dpjupyter.demo import start
    demo = start()

``build`` writes the databases, ``run`` is ``make demo``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpjupyter.demo.gateway import Demo


def start() -> Demo:
    """Connect this process to the demo's gateway, starting one of its own if `make demo` has not done so.

    Its budgets are fresh; it ends with this process. Afterwards ``%dpsql connect`` finds it.

    Raises: RuntimeError: the gateway did not come up; with the end of its log.
    """
    from dpjupyter.demo.gateway import connect  # noqa: PLC0415 - DuckDB is loaded only when asked for

    return connect()
