"""The client's own work: parsing replies, rebuilding errors, retrying with the same request id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from dpjupyter import errors, wire
from dpjupyter.client import Client
from dpjupyter.connections import Connection

HERE = Connection("here", "http://127.0.0.1:9", "tok")
ANSWER: dict[str, Any] = {
    "Data": {"n": [1]},
    "dp_info": {"privacy": {"epsilon": 0.9, "rho": 0.4, "delta": 0, "a_later_field": 1}, "utility": [], "intervals": {"0.95": {"n": [[0, 2]]}}},
}
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, waits: list[float] | None = None) -> Client:
    return Client(HERE, transport=httpx.MockTransport(handler), sleep=(waits if waits is not None else []).append)


def envelope(status: int = 200, **fields: Any) -> httpx.Response:
    return httpx.Response(status, json={"status": {"code": 200 if status == 200 else 1, "Message": "succeed"} | fields})


def ask(**config: Any) -> wire.QueryRequest:
    return wire.QueryRequest(
        sql="SELECT COUNT(*) AS n FROM t", dbconfig=wire.DbConfig(database="d"), queryconfig=wire.QueryConfig(**config)
    )


def test_progress_lines_then_the_envelope() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "token tok"
        assert request.headers["accept"] == "application/x-ndjson"
        rows = [{"stage": "queued", "elapsed_s": 0.1, "request_id": "r"}, {"stage": "running", "elapsed_s": 1, "request_id": "r"}]
        last = {"status": {"code": 200, "Message": "succeed", "data": ANSWER | {"Data": {"n\u2028": ["a\u2028b"]}}}}
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in [*rows, last])
        return httpx.Response(200, content=text.encode(), headers={"content-type": "application/x-ndjson"})

    stages: list[str] = []
    reply = client(handler).query(ask(), lambda progress: stages.append(progress.stage))
    assert stages == ["queued", "running"]
    assert reply.Data == {"n\u2028": ["a\u2028b"]}


def test_a_null_parameter_is_sent_and_the_defaults_are_not() -> None:
    bodies: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return envelope(data=ANSWER)

    client(handler).query(ask(parameters={"x": None, "y": False}, traceid="t1"))
    assert bodies == [
        {
            "sql": "SELECT COUNT(*) AS n FROM t",
            "dbconfig": {"database": "d"},
            "queryconfig": {"traceid": "t1", "parameters": {"x": None, "y": False}},
        }
    ]


def test_a_lost_connection_is_tried_again_with_the_same_id() -> None:
    seen: list[str] = []
    waits: list[float] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content)["queryconfig"]["traceid"])
        if len(seen) < 3:
            raise httpx.ReadError("reset")
        return envelope(data=ANSWER)

    assert client(handler, waits).query(ask()).Data == {"n": [1]}
    assert len(set(seen)) == 1
    assert waits == [0.2, 1.0]


def test_a_stream_cut_before_its_envelope_is_asked_again() -> None:
    calls: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        if len(calls) == 1:
            line = b'{"stage": "running", "elapsed_s": 1, "request_id": "r"}\n'
            return httpx.Response(200, content=line, headers={"content-type": "application/x-ndjson"})
        return envelope(data=ANSWER)

    assert client(handler).query(ask()).Data == {"n": [1]}


def test_a_dead_gateway_is_said_in_one_sentence() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(errors.GatewayUnreachable, match=r"^no gateway answers at http://127.0.0.1:9\nHint: "):
        client(handler).me()


def test_busy_waits_as_told_then_gives_up() -> None:
    waits: list[float] = []

    def handler(request: httpx.Request) -> httpx.Response:
        reply = {"status": {"code": 1, "Message": "all workers are taken", "error": {"type": "Busy"}}}
        return httpx.Response(429, json=reply, headers={"retry-after": "2"})

    with pytest.raises(errors.Busy, match="all workers"):
        client(handler, waits).query(ask())
    assert waits == [2.0] * 5


def _all() -> Iterator[type[errors.DpError]]:
    todo = [errors.DpError]
    while todo:
        kind = todo.pop()
        yield kind
        todo += kind.__subclasses__()


@pytest.mark.parametrize("kind", sorted(_all(), key=lambda kind: kind.__name__))
def test_every_error_comes_back_as_itself(kind: type[errors.DpError]) -> None:
    if kind is errors.Busy:
        return
    info = {"type": kind.__name__, "hint": "do this", "request_id": "r", "line": 2, "column": 3, "length": 4}
    with pytest.raises(errors.DpError) as caught:
        client(lambda _: envelope(kind.status, Message="what", error=info)).quote(ask())
    error = caught.value
    assert type(error) is kind
    assert (error.message, error.hint, error.place) == ("what", "do this", errors.Place(2, 3, 4))


def test_an_error_without_type_falls_back_to_its_status() -> None:
    with pytest.raises(errors.Unauthorized):
        client(lambda _: envelope(401, Message="no")).me()
    with pytest.raises(errors.BudgetMissing):
        client(lambda _: envelope(404, Message="budget info does not exist", error={"type": "BudgetMissing"})).budget("p", "d", "t")


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"[1]", b'{"a": 1}', b""])
def test_something_else_at_the_address_is_recognised(content: bytes) -> None:
    with pytest.raises(errors.GatewayUnreachable, match="not a dpjupyter gateway"):
        client(lambda _: httpx.Response(200, content=content)).me()


def test_a_reply_of_another_version_names_the_field() -> None:
    with pytest.raises(errors.BadRequest, match=r"QueryReply\.Data"):
        client(lambda _: envelope(data={"dp_info": ANSWER["dp_info"]})).query(ask())


def test_an_interrupt_cancels_in_the_warehouse() -> None:
    seen: list[tuple[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path))
        if request.method == "POST":
            raise KeyboardInterrupt
        return envelope()

    with pytest.raises(KeyboardInterrupt):
        client(handler).query(ask(traceid="t.1"))
    assert seen == [("POST", "/api/v1/query"), ("DELETE", "/api/v1/query/t.1")]


def test_redirects_do_not_carry_the_token_away() -> None:
    hosts: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(302, headers={"location": "http://evil.example/"})

    with pytest.raises(errors.GatewayUnreachable):
        client(handler).me()
    assert hosts == ["127.0.0.1"]
