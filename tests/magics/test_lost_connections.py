"""Connections that break between notebook and gateway: asked again with the same id, paid once."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dpjupyter import errors, wire
from dpjupyter.client import Client
from dpjupyter.connections import Connection
from tests.magics.conftest import SLOW, SLOWISH, Gateway, Shell


class Cutter:
    """A TCP relay in front of the gateway that cuts the next ``cuts`` connections when the reply begins."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.cuts = 0
        self.connections = 0
        self._sockets = [self._server]
        self._threads: list[threading.Thread] = []
        self._start(self._serve)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self.connections += 1
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                self._start(self._pump, near, far, False)
                self._start(self._pump, far, near, True)

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if replies and self.cuts > 0:
                    self.cuts -= 1
                    break
                sink.sendall(data)
        self._end(source, sink)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._end(*self._sockets)
        for thread in self._threads:
            thread.join(timeout=5)
        for one in self._sockets:
            one.close()


@pytest.fixture
def cutter(gateway: Gateway) -> Iterator[Cutter]:
    relay = Cutter(int(gateway.url.rpartition(":")[2]))
    yield relay
    relay.close()


def test_a_reply_lost_on_the_way_is_fetched_again_and_paid_once(gateway: Gateway, cutter: Cutter) -> None:
    with Client(Connection("relay", f"http://127.0.0.1:{cutter.port}", gateway.tokens["bob"])) as client:
        before = _spent(client)
        request = wire.QueryRequest(
            sql="SELECT COUNT(*) AS lost FROM admissions",
            dbconfig=wire.DbConfig(database="clinic", prefix="test"),
            dpconfig=wire.DpConfig(budget_setting=wire.BudgetSetting(epsilon=0.25)),
        )
        cutter.cuts = 2
        opened = cutter.connections
        reply = client.query(request)
        assert cutter.connections >= opened + 2
        assert isinstance(reply.Data["lost"][0], int)
        assert _spent(client) == pytest.approx(before + 0.25)
        cutter.cuts = 3
        with pytest.raises(errors.GatewayUnreachable, match="was lost"):
            client.query(request.model_copy(update={"sql": "SELECT COUNT(*) AS lost_again FROM admissions"}))


def _spent(client: Client) -> float:
    # From the list: it shows a quota also before the first question.
    return next(row.consumed_budget for row in client.budgets() if (row.table_name, row.analyst) == ("admissions", "bob"))


def test_a_connection_lost_while_the_query_runs_costs_once(gateway: Gateway, cutter: Cutter) -> None:
    with Client(Connection("relay", f"http://127.0.0.1:{cutter.port}", gateway.tokens["bob"])) as client:
        request = wire.QueryRequest(sql=SLOWISH, dbconfig=wire.DbConfig(database="clinic", prefix="test"))
        cutter.cuts = 1
        reply = client.query(request)
        assert reply.Data["n"]


def test_a_query_that_fails_in_the_warehouse_is_charged_and_says_one_constant_thing(shell: Shell) -> None:
    shell.run("%dpsql connect bob")
    said = shell.fail(f"%%dpsql --timeout 0.2 --no-cache --epsilon 0.125\n{SLOW}")
    assert said.startswith("QueryFailed: the query could not be completed; request ")
    assert "\n" not in said
    history = repr(shell.run("%dpsql history")).splitlines()
    assert "failed" in history[1]
    assert "0.125" in history[1]


def test_a_reused_request_id_is_refused(gateway: Gateway) -> None:
    with Client(Connection("direct", gateway.url, gateway.tokens["bob"])) as client:

        def ask(sql: str) -> wire.QueryReply:
            config = wire.QueryConfig(traceid="the-same-id")
            return client.query(wire.QueryRequest(sql=sql, dbconfig=wire.DbConfig(database="clinic", prefix="test"), queryconfig=config))

        first = ask("SELECT COUNT(*) AS n FROM admissions")
        assert ask("SELECT COUNT(*) AS n FROM admissions").Data == first.Data
        with pytest.raises(errors.RequestReused):
            ask("SELECT COUNT(*) AS m FROM admissions")
