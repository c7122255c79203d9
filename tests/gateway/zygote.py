"""A process that has imported the gateway once and forks a child per gateway under test: a start takes a fraction of a second.

Reads one JSON object a line, {"module", "argv", "env", "log"}; answers with the child's pid. At the end of its input it ends its children.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from typing import Any


def serve() -> None:
    """Fork until the input ends."""
    import dpjupyter.gateway.app  # noqa: F401 - what takes the time

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the children
    children: list[int] = []
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_become(order))
        children.append(pid)
        print(pid, flush=True)
    for pid in children:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _become(order: dict[str, Any]) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["dpjupyter", *order["argv"]]
    try:
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - a child must never return into the loop above
        import traceback

        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve()
