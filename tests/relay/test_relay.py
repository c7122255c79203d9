"""The relay forwards what it must, with the gateway's token, and nothing else in either direction."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest

from dpjupyter import wire
from tests.relay.conftest import GATEWAY_TOKEN, JUPYTER_TOKEN, Relay

API = "/dpjupyter/api"
QUESTION = {"sql": "SELECT COUNT(*) FROM t", "dbconfig": {"database": "shop"}}


def _error(response: httpx.Response) -> dict[str, str]:
    status = response.json()["status"]
    assert status["code"] == 1
    return status["error"] | {"message": status["Message"]}


@pytest.mark.parametrize(("route", "path"), [("catalog", wire.CATALOG), ("budget/list", wire.BUDGET_LIST), ("me", wire.ME), ("health", wire.HEALTH)])
def test_reading_routes_are_forwarded_with_the_gateways_token(relay: Relay, route: str, path: str) -> None:
    response = relay.http.get(f"{API}/{route}")
    assert response.status_code == 200
    assert response.json()["status"]["code"] == 200
    [seen] = relay.spy.requests
    assert (seen.method, seen.path, seen.headers["Authorization"]) == ("GET", path, f"token {GATEWAY_TOKEN}")


def test_a_quote_is_forwarded_field_by_field(relay: Relay) -> None:
    response = relay.http.post(f"{API}/quote", json=QUESTION)
    assert response.status_code == 200
    [seen] = relay.spy.requests
    assert (seen.method, seen.path) == ("POST", wire.QUOTE)
    assert json.loads(seen.body) == QUESTION


def test_headers_cookies_and_query_of_the_browser_stay_here(relay: Relay) -> None:
    headers = {"X-Custom": "from the browser", "Cookie": "session=browser", "X-Forwarded-For": "10.0.0.1", "Referer": str(relay.http.base_url)}
    relay.http.get(f"{API}/catalog?analyst=eve&limit=100000", headers=headers)
    [seen] = relay.spy.requests
    assert seen.path == wire.CATALOG
    assert {name.lower() for name in seen.headers} <= {"host", "accept", "accept-encoding", "connection", "user-agent", "authorization"}
    assert JUPYTER_TOKEN not in str(seen.headers)


def test_headers_and_cookies_of_the_gateway_stay_there(relay: Relay) -> None:
    response = relay.http.get(f"{API}/catalog")
    assert "x-gateway" not in response.headers
    assert "gateway=secret" not in str(response.headers)
    assert response.headers["cache-control"] == "no-store"


def test_history_is_the_callers_own(relay: Relay) -> None:
    assert relay.http.get(f"{API}/audit?analyst=eve").status_code == 200
    asked = [seen.path for seen in relay.spy.requests]
    assert asked == [wire.ME, f"{wire.AUDIT}?analyst=ada&limit=50"]


@pytest.mark.parametrize("route", ["query", "budget/set", "budget/get", "suspend", "openapi.json", "../v1/query", "catalog/../query", "metrics"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_every_other_route_is_closed(relay: Relay, route: str, method: str) -> None:
    response = relay.http.request(method, f"{API}/{route}", json=QUESTION if method == "POST" else None)
    assert response.status_code in (403, 404, 405)
    assert relay.spy.requests == []


@pytest.mark.parametrize(("method", "route"), [("POST", "catalog"), ("PUT", "budget/list"), ("DELETE", "quote"), ("GET", "quote"), ("POST", "audit")])
def test_every_other_method_is_closed(relay: Relay, method: str, route: str) -> None:
    assert relay.http.request(method, f"{API}/{route}", json=QUESTION).status_code in (403, 405)
    assert relay.spy.requests == []


@pytest.mark.parametrize("route", ["connections", "catalog", "budget/list", "audit"])
def test_without_a_login_nothing_is_read(relay: Relay, route: str) -> None:
    assert httpx.get(f"{relay.http.base_url}{API}/{route}", trust_env=False).status_code == 403
    assert relay.spy.requests == []


def test_a_cookie_login_needs_the_xsrf_token_to_ask(relay: Relay) -> None:
    with httpx.Client(base_url=relay.http.base_url, trust_env=False) as browser:
        browser.get("/login")
        browser.post("/login", data={"_xsrf": browser.cookies["_xsrf"], "password": JUPYTER_TOKEN})
        assert browser.get(f"{API}/me").status_code == 200
        assert browser.post(f"{API}/quote", json=QUESTION).status_code == 403
        allowed = browser.post(f"{API}/quote", json=QUESTION, headers={"X-XSRFToken": browser.cookies["_xsrf"]})
        assert allowed.status_code == 200
    assert [seen.path for seen in relay.spy.requests] == [wire.ME, wire.QUOTE]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"sql": ""}', b'{"sql": "x", "dbconfig": {"database": "d", "password": "p"}}', b'{"sql": "x", "dbconfig": {}, "path": "/query"}']
)
def test_a_malformed_question_is_refused_here(relay: Relay, body: bytes) -> None:
    response = relay.http.post(f"{API}/quote", content=body)
    assert _error(response)["type"] == "BadRequest"
    assert relay.spy.requests == []


def test_refusals_come_through_with_their_place(relay: Relay) -> None:
    refusal = {"type": "UnsupportedSQL", "hint": "Name columns.", "request_id": "r", "line": 1, "column": 8, "length": 1}
    relay.spy.reply = (422, {"status": {"code": 1, "Message": "SELECT *", "error": refusal}})
    response = relay.http.post(f"{API}/quote", json=QUESTION)
    assert response.status_code == 200  # while typing, a refusal is no failure: the browser's console stays quiet
    assert _error(response) == refusal | {"message": "SELECT *"}


def test_a_rejected_gateway_token_does_not_look_like_the_end_of_the_jupyter_login(relay: Relay) -> None:
    relay.spy.reply = (401, {"status": {"code": 1, "Message": "no", "error": {"type": "Unauthorized", "hint": ""}}})
    response = relay.http.get(f"{API}/me")
    assert response.status_code == 502
    assert _error(response)["type"] == "Unauthorized"


@pytest.mark.parametrize("reply", [(200, b"<html>a proxy's login page</html>"), (302, b"{}"), (200, b"[]"), (200, b'{"status": 1}')])
def test_what_is_no_gateway_is_offline(relay: Relay, reply: tuple[int, bytes]) -> None:
    relay.spy.reply = reply
    response = relay.http.get(f"{API}/catalog")
    assert response.status_code == 503
    assert _error(response)["type"] == "GatewayUnreachable"
    assert len(relay.spy.requests) == 1  # no redirect was followed with the token


def test_a_gateway_that_is_down_is_a_small_503(relay: Relay) -> None:
    relay.connect({"work": {"url": "http://127.0.0.1:9", "token": GATEWAY_TOKEN}}, "work")
    started = time.monotonic()
    response = relay.http.get(f"{API}/budget/list")
    assert response.status_code == 503
    assert _error(response)["type"] == "GatewayUnreachable"
    assert len(response.content) < 400
    assert time.monotonic() - started < 5


def test_connections_are_listed_without_tokens(relay: Relay) -> None:
    relay.connect({"a": {"url": relay.spy.url + "/", "token": GATEWAY_TOKEN}, "b": {"url": "https://dp.example.org", "database": "x/y", "token_env": "T"}}, "a")
    response = relay.http.get(f"{API}/connections")
    assert response.json()["status"]["data"] == {
        "connections": [{"name": "a", "alias": "a", "url": relay.spy.url, "database": None}, {"name": "b", "alias": "b", "url": "https://dp.example.org", "database": "x/y"}],
        "default": "a",
    }
    assert GATEWAY_TOKEN not in response.text


def test_no_connections_file_is_no_error(relay: Relay) -> None:
    (relay.folder / "connections.toml").unlink()
    assert relay.http.get(f"{API}/connections").json()["status"]["data"] == {"connections": [], "default": None}
    assert _error(relay.http.get(f"{API}/catalog"))["type"] == "NotConnected"


def test_a_token_file_open_to_others_is_not_used(relay: Relay) -> None:
    Path(relay.folder / "connections.toml").chmod(0o644)
    response = relay.http.get(f"{API}/catalog")
    assert response.status_code == 503
    assert "chmod 600" in _error(response)["hint"]
    assert relay.spy.requests == []


@pytest.mark.parametrize("name", ["http://127.0.0.1:1", "https://evil.example", "nobody", ""])
def test_the_browser_cannot_choose_an_address(relay: Relay, name: str) -> None:
    response = relay.http.get(f"{API}/catalog", params={"connection": name})
    if name:
        assert response.status_code == 503
        assert relay.spy.requests == []


def test_a_changed_connection_is_used_at_once(relay: Relay) -> None:
    relay.http.get(f"{API}/me")
    relay.connect({"work": {"url": relay.spy.url, "token": "newer-token"}}, "work")
    relay.http.get(f"{API}/me")
    assert [seen.headers["Authorization"] for seen in relay.spy.requests] == [f"token {GATEWAY_TOKEN}", "token newer-token"]


def test_a_question_the_browser_gave_up_is_given_up_at_the_gateway(relay: Relay) -> None:
    relay.spy.delay_s = 1.0
    relay.spy.reply = (200, {"status": {"code": 200, "data": "x" * 4_000_000}})  # too much to fit into socket buffers
    with pytest.raises(httpx.ReadTimeout):
        relay.http.post(f"{API}/quote", json=QUESTION, timeout=0.3)
    assert relay.spy.given_up.wait(5)
