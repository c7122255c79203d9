"""A real ipykernel: progress, interrupt, the comm to JupyterLab, and how long loading takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.magics.conftest import SLOW, Gateway

PATIENCE_S = 60


@dataclass(slots=True)
class Kernel:
    """A kernel and its client."""

    manager: KernelManager
    client: BlockingKernelClient

    def run(self, source: str) -> list[dict[str, Any]]:
        """Messages on iopub until the cell is done."""
        return list(self.messages(self.client.execute(source)))

    def messages(self, request: str) -> Iterator[dict[str, Any]]:
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message
        raise TimeoutError


@pytest.fixture(scope="module")
def kernel(gateway: Gateway) -> Iterator[Kernel]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=gateway.environ)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE_S)
    yield Kernel(manager, client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def texts(messages: list[dict[str, Any]], kind: str) -> list[str]:
    return [message["content"]["data"]["text/plain"] for message in messages if message["msg_type"] == kind]


def test_the_lab_extension_is_told_where_the_kernel_is_connected(kernel: Kernel, gateway: Gateway) -> None:
    kernel.run("%load_ext dpjupyter")
    messages = kernel.run("%dpsql connect")
    opened = [message["content"] for message in messages if message["msg_type"] == "comm_open"]
    defaults = {"epsilon": None, "delta": None, "mechanism": None, "confidence": 0.95}
    assert [(one["target_name"], one["data"]) for one in opened] == [
        ("dpjupyter", {"url": gateway.url, "database": "test/clinic", "connection": "alice", "defaults": defaults})
    ]
    messages = kernel.run("%dpsql config epsilon=0.3")
    told = [message["content"]["data"]["defaults"] for message in messages if message["msg_type"] == "comm_msg"]
    assert told == [defaults | {"epsilon": 0.3}]
    kernel.run("%dpsql config epsilon=none")
    assert gateway.tokens["alice"] not in json.dumps(messages, default=str)
    messages = kernel.run("%%dpsql --epsilon 0.1\nSELECT COUNT(*) AS n FROM people")
    assert {"event": "answered"} in [message["content"]["data"] for message in messages if message["msg_type"] == "comm_msg"]
    messages = kernel.run("%dpsql use poor")
    assert [message["content"]["data"]["database"] for message in messages if message["msg_type"] == "comm_msg"] == ["test/poor"]
    # A page that was reloaded says hello on the comm that is still open here.
    hello = kernel.client.session.msg("comm_msg", {"comm_id": opened[0]["comm_id"], "data": {"event": "hello"}})
    kernel.client.shell_channel.send(hello)
    again = list(kernel.messages(hello["header"]["msg_id"]))
    assert [message["content"]["data"]["database"] for message in again if message["msg_type"] == "comm_msg"] == ["test/poor"]
    kernel.run("%dpsql use clinic")
    # The price of a query with :oldest needs the notebook's value.
    kernel.run("oldest, nothing = 60, object()")
    asked = {"event": "values", "id": 7, "names": ["oldest", "nothing", "missing", 3]}
    values = kernel.client.session.msg("comm_msg", {"comm_id": opened[0]["comm_id"], "data": asked})
    kernel.client.shell_channel.send(values)
    [told] = [message["content"]["data"] for message in kernel.messages(values["header"]["msg_id"]) if message["msg_type"] == "comm_msg"]
    assert told == {"event": "values", "id": 7, "values": {"oldest": 60}}


def test_answers_have_text_and_html(kernel: Kernel) -> None:
    messages = kernel.run("%%dpsql --epsilon 0.2\nSELECT COUNT(*) AS n FROM people")
    bundle = next(message["content"]["data"] for message in messages if message["msg_type"] == "execute_result")
    assert set(bundle) == {"text/plain", "text/html"}
    assert "cost ε 0.2" in bundle["text/plain"]


def test_an_error_is_one_output_without_a_traceback(kernel: Kernel) -> None:
    messages = kernel.run("%%dpsql\nSELECT wealth FROM people")
    errors = [message["content"] for message in messages if message["msg_type"] == "error"]
    assert len(errors) == 1
    assert errors[0]["ename"] == "UnknownName"
    assert errors[0]["traceback"][1:3] == ["  SELECT wealth FROM people", "         ^^^^^^"]
    assert not any("File" in line for line in errors[0]["traceback"])


def test_progress_shows_and_an_interrupt_cancels_in_the_warehouse(kernel: Kernel) -> None:
    request = kernel.client.execute(f"%%dpsql --no-cache\n{SLOW}")
    seen: list[dict[str, Any]] = []
    started, interrupted_s = time.monotonic(), None
    for message in kernel.messages(request):
        seen.append(message)
        if message["msg_type"] == "display_data" and interrupted_s is None:
            kernel.manager.interrupt_kernel()
            interrupted_s = time.monotonic()
    assert interrupted_s is not None, "the slow question was answered before any progress was shown"
    assert time.monotonic() - interrupted_s < 5
    assert texts(seen, "display_data")[0].startswith("running · ")
    assert "clear_output" in [message["msg_type"] for message in seen]
    error = next(message["content"] for message in seen if message["msg_type"] == "error")
    assert error["ename"] == "Cancelled"
    assert error["traceback"][-1] == "Hint: What was charged stays charged: %dpsql budget"
    assert time.monotonic() - started < PATIENCE_S
    # The warehouse is free again: a small question is answered at once, and the interrupted one stayed paid.
    begun = time.monotonic()
    kernel.run("%%dpsql --no-cache\nSELECT COUNT(*) AS n FROM people")
    assert time.monotonic() - begun < 10
    history = "".join(texts(kernel.run("%dpsql history"), "execute_result"))
    assert "failed" in history


def test_after_a_restart_of_the_frontend_completion_works_in_the_kernel(kernel: Kernel) -> None:
    cell = "%%dpsql\nSELECT ag FROM people"
    kernel.client.complete(cell, cell.index("ag") + 2)
    reply = kernel.client.get_shell_msg(timeout=PATIENCE_S)
    while reply["msg_type"] != "complete_reply":
        reply = kernel.client.get_shell_msg(timeout=PATIENCE_S)
    assert reply["content"]["matches"] == ["age"]


def test_a_token_is_asked_for_in_the_browser_and_not_echoed(kernel: Kernel, gateway: Gateway) -> None:
    kernel.run("import os; file = os.environ.pop('DPJUPYTER_CONNECTIONS'); os.environ['DPJUPYTER_CONNECTIONS'] = '/nonexistent'")
    request = kernel.client.execute(f"%dpsql connect {gateway.url} --database clinic", allow_stdin=True)
    asked = kernel.client.get_stdin_msg(timeout=PATIENCE_S)["content"]
    assert asked == {"prompt": f"Token for {gateway.url}: ", "password": True}
    kernel.client.input(gateway.tokens["bob"])
    seen = list(kernel.messages(request))
    assert "as bob (analyst)" in texts(seen, "execute_result")[0]
    assert [one["content"]["data"]["connection"] for one in seen if one["msg_type"] == "comm_msg"] == [None]
    assert gateway.tokens["bob"] not in json.dumps(seen, default=str)
    seen = list(kernel.messages(kernel.client.execute(f"%dpsql connect {gateway.url}", allow_stdin=False)))
    assert next(one["content"]["ename"] for one in seen if one["msg_type"] == "error") == "NotConnected"
    kernel.run("os.environ['DPJUPYTER_CONNECTIONS'] = file\n%dpsql connect")


HEAVY = ("pandas", "httpx", "ipywidgets", "matplotlib", "pydantic", "numpy", "duckdb", "sqlglot", "opendp", "sqlalchemy", "tornado", "jupyter_server")
LOAD = """
import sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
start = time.perf_counter()
shell.run_line_magic("load_ext", "dpjupyter")
print(time.perf_counter() - start)
print(*(set(sys.modules) - before))
"""


def test_loading_the_extension_is_quick_and_imports_nothing_heavy(gateway: Gateway) -> None:
    took_s: list[float] = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", LOAD], env=gateway.environ, capture_output=True, text=True, check=True)
        first, modules = done.stdout.strip().splitlines()[-2:]
        took_s.append(float(first))
        loaded = {name.partition(".")[0] for name in modules.split()}
        assert not loaded & set(HEAVY)
    assert min(took_s) < 0.3
