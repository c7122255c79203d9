"""Who may do what: tokens, roles, and everything that is not there."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.gateway.running import Gateway, data, error, question

BUDGET = {"prefix": "test", "db_name": "clinic", "table_name": "people"}
ROUTES = {
    "query": ("POST", "/api/v1/query"),
    "quote": ("POST", "/api/v1/quote"),
    "cancel": ("DELETE", "/api/v1/query/x"),
    "set": ("POST", "/api/v1/budget/set"),
    "get": ("GET", "/api/v1/budget/get?prefix=test&db_name=clinic&table_name=people"),
    "list": ("GET", "/api/v1/budget/list"),
    "catalog": ("GET", "/api/v1/catalog"),
    "audit": ("GET", "/api/v1/audit"),
    "suspend": ("POST", "/api/v1/suspend"),
    "reload": ("POST", "/api/v1/reload"),
    "twins": ("GET", "/api/v1/twin"),
    "price a twin": ("POST", "/api/v1/twin/quote"),
    "publish": ("POST", "/api/v1/twin/publish"),
    "retire": ("POST", "/api/v1/twin/retire"),
    "saved": ("GET", "/api/v1/saved?db_name=clinic"),
    "forget": ("DELETE", "/api/v1/saved/nothing?db_name=nowhere"),
    "me": ("GET", "/api/v1/me"),
    "metrics": ("GET", "/metrics"),
}
ALLOWED = {
    "alice": {"query", "quote", "cancel", "get", "list", "catalog", "audit", "me", "twins", "saved", "forget"},
    "vera": {"get", "list", "me"},
    "olga": set(ROUTES),
}


@pytest.mark.parametrize("who", ALLOWED)
@pytest.mark.parametrize("route", ROUTES)
def test_roles_decide(gateway: Gateway, who: str, route: str) -> None:
    method, path = ROUTES[route]
    response = gateway.call(method, path, who, **({"content": b"x"} if method == "POST" and route != "reload" else {}))
    # A body of nonsense: those who may are told so (400), the others are stopped before it is read.
    if route in ALLOWED[who]:
        assert response.status_code in (200, 400, 404), response.text
    else:
        error(response, 403, "Forbidden")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "header", [None, "", "token", "token wrong", "Bearer dpj_wrong", "Basic YWxpY2U6eA==", "token a b", "token " + "x" * 5000]
)
def test_without_a_valid_token_nothing_is_done(gateway: Gateway, route: str, header: str | None) -> None:
    method, path = ROUTES[route]
    response = gateway.call(method, path, None, headers={} if header is None else {"Authorization": header})
    error(response, 401, "Unauthorized")
    assert response.headers["WWW-Authenticate"] == "token"


def test_a_token_in_the_address_is_not_read(gateway: Gateway) -> None:
    error(gateway.get("/api/v1/me", None, token=gateway.tokens["alice"]), 401, "Unauthorized")


def test_cookies_are_neither_set_nor_read(gateway: Gateway) -> None:
    response = gateway.get("/api/v1/me")
    assert "Set-Cookie" not in response.headers
    error(gateway.call("GET", "/api/v1/me", None, headers={"Cookie": "username-127-0-0-1=x; _xsrf=y"}), 401, "Unauthorized")


def test_another_site_gets_no_permission_to_read(gateway: Gateway) -> None:
    response = gateway.call("GET", "/api/v1/me", "alice", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_foreign_host_name_is_refused(gateway: Gateway) -> None:
    error(gateway.call("GET", "/api/v1/health", None, headers={"Host": "rebound.example"}), 403, "Forbidden")


def test_a_revoked_token_is_worthless_at_once(gateway: Gateway) -> None:
    secret, token = gateway.ledger.create_token("carol", "analyst")
    gateway.tokens["carol"] = secret
    assert data(gateway.get("/api/v1/me", "carol"))["name"] == "carol"
    gateway.ledger.revoke_token(token.id)
    error(gateway.get("/api/v1/me", "carol"), 401, "Unauthorized")


def test_an_expired_token_is_refused(gateway: Gateway) -> None:
    secret, token = gateway.ledger.create_token("dora", "analyst", days=1)
    gateway.tokens["dora"] = secret
    assert data(gateway.get("/api/v1/me", "dora"))["expires"] == token.expire_time
    from sqlalchemy import text

    with gateway.ledger._db.engine.begin() as connection:
        connection.execute(text("UPDATE token SET expire_time = '2001-01-01 00:00:00.000000' WHERE id = :id"), {"id": token.id})
    status = error(gateway.get("/api/v1/me", "dora"), 401, "Unauthorized")
    assert "expired" in status["Message"] + status["error"]["hint"]


@pytest.mark.parametrize(
    "path",
    ["/", "/tree", "/lab", "/login", "/logout", "/api", "/api/", "/api/kernels", "/api/kernelspecs", "/api/sessions", "/api/terminals", "/api/contents",
     "/api/contents/x.ipynb", "/api/status", "/api/config/x", "/api/me", "/files/etc/passwd", "/static/style.css", "/terminals/websocket/1", "/api/events",
     "/api/shutdown", "/nbconvert/html/x", "/api/v1", "/api/v1/", "/api/v1/kernels", "/api/v1/query/", "/robots.txt", "/api/security/csp-report", "//etc"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_nothing_else_is_there_even_for_the_owner(gateway: Gateway, path: str, method: str) -> None:
    error(gateway.call(method, path, "olga"), 404, "NotFound")


def test_other_methods_are_refused(gateway: Gateway) -> None:
    for method in ("GET", "PUT", "PATCH", "OPTIONS"):
        response = gateway.call(method, "/api/v1/query")
        assert response.status_code == 405
        assert response.json()["status"]["code"] == 1


# ---------------------------------------------------------------- what analysts see of each other
def test_analysts_see_shared_rows_and_their_own(gateway: Gateway) -> None:
    for who in ("alice", "bob"):
        data(gateway.query("SELECT COUNT(*) AS n FROM people WHERE age > 50", who=who, skip_cache=1))
    seen = {row["analyst"] for row in data(gateway.get("/api/v1/budget/list"))["budgets"]}
    assert seen == {None, "alice"}
    assert {"alice", "bob"} <= {row["analyst"] for row in data(gateway.get("/api/v1/budget/list", "vera"))["budgets"]}
    assert data(gateway.get("/api/v1/budget/get", analyst="alice", **BUDGET))["total_budget"] == 5000
    error(gateway.get("/api/v1/budget/get", analyst="bob", **BUDGET), 403, "Forbidden")
    assert data(gateway.get("/api/v1/budget/get", "vera", analyst="bob", **BUDGET))["num_dpcall"] >= 1


def test_a_quota_is_shown_before_its_first_question(gateway: Gateway) -> None:
    gateway.tokens["nora"] = gateway.ledger.create_token("nora", "analyst")[0]
    rows = data(gateway.get("/api/v1/budget/list", "nora"))["budgets"]
    own = {row["table_name"]: row for row in rows if row["analyst"] == "nora"}
    assert set(own) == {row["table_name"] for row in rows if row["analyst"] is None}
    assert own["people"]["residual_budget"] == own["people"]["total_budget"] == 5000
    assert own["people"]["next_recover_time"] == ""
    response = gateway.get("/api/v1/budget/get", "nora", analyst="nora", **BUDGET)
    assert response.json()["status"]["error"]["type"] == "BudgetMissing"  # looking made none


def test_the_name_is_the_tokens_whatever_the_body_says(gateway: Gateway) -> None:
    error(gateway.post("/api/v1/query", {**question("SELECT COUNT(*) AS n FROM people"), "user": "bob"}), 400, "BadRequest")


def test_audit_shows_analysts_their_own_and_owners_everything(gateway: Gateway) -> None:
    data(gateway.query("SELECT COUNT(*) AS mine FROM people", who="bob", skip_cache=1))
    gateway.query("SELECT salary FROM people", who="bob")
    own = data(gateway.get("/api/v1/audit", "alice", analyst="bob"))
    assert {row["analyst"] for row in own["rows"]} <= {"alice"}
    everything = data(gateway.get("/api/v1/audit", "olga", analyst="bob", limit=2))
    assert everything["total"] >= 2
    refused, answered = everything["rows"]
    assert (refused["verdict"], refused["reason"], refused["tables"]) == ("refused", "UnknownName", [])
    assert (answered["verdict"], answered["tables"], answered["sql"]) == (
        "answered",
        ["*", "people"],
        "SELECT COUNT(*) AS mine FROM people",
    )
    assert answered["epsilon"] == 0.9


def test_audit_filters_and_pages(gateway: Gateway) -> None:
    for n in range(3):
        data(gateway.query(f"SELECT COUNT(*) AS page_{n} FROM people", who="alice", skip_cache=1))
    first = data(gateway.get("/api/v1/audit", "olga", analyst="alice", verdict="answered", table="people", limit=1))
    second = data(gateway.get("/api/v1/audit", "olga", analyst="alice", verdict="answered", table="people", limit=1, offset=1))
    assert "page_2" in first["rows"][0]["sql"]
    assert "page_1" in second["rows"][0]["sql"]
    assert data(gateway.get("/api/v1/audit", "olga", until="2001-01-01"))["total"] == 0
    for wrong in ({"limit": 0}, {"verdict": "x"}, {"since": "yesterday"}, {"colour": "red"}):
        error(gateway.get("/api/v1/audit", "olga", **wrong), 400, "BadRequest")


def test_exported_audit_cannot_run_in_a_spreadsheet_or_a_browser(gateway: Gateway) -> None:
    evil = "=cmd|'/C calc'!A0 <script>alert(1)</script>"
    gateway.query(evil, who="bob")
    response = gateway.get("/api/v1/audit", "olga", analyst="bob", format="csv")
    assert response.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert rows[0]["sql"].startswith("'=cmd")
    assert "<script>" not in response.text
    assert "<script>" not in gateway.get("/api/v1/audit", "olga", analyst="bob").text
    assert data(gateway.get("/api/v1/audit", "olga", analyst="bob"))["rows"][0]["sql"] == evil


def test_suspension_is_immediate_and_lifted(gateway: Gateway) -> None:
    assert data(gateway.post("/api/v1/suspend", {"analyst": "bob", "reason": "lunch"}, "olga"))["suspended"][0]["analyst"] == "bob"
    status = error(gateway.query("SELECT COUNT(*) AS n FROM people", who="bob", skip_cache=1), 403, "Suspended")
    assert "lunch" in status["Message"]
    data(gateway.post("/api/v1/suspend", {"analyst": "bob", "lift": True}, "olga"))
    data(gateway.query("SELECT COUNT(*) AS n FROM people", who="bob", skip_cache=1))


def test_a_suspended_table_is_closed_to_all(gateway: Gateway) -> None:
    table = {"prefix": "test", "db_name": "gridded", "table_name": "people"}
    data(gateway.post("/api/v1/suspend", table, "olga"))
    error(gateway.query("SELECT COUNT(*) AS n FROM people", database="gridded"), 403, "Suspended")
    data(gateway.post("/api/v1/suspend", {**table, "lift": True}, "olga"))
    error(gateway.post("/api/v1/suspend", {**table, "lift": True}, "olga"), 404, "NotFound")


@pytest.mark.parametrize("body", [{}, {"analyst": "a", "prefix": "p"}, {"prefix": "p", "db_name": "d"}, {"analyst": ""}])
def test_a_suspension_names_one_thing(gateway: Gateway, body: dict[str, str]) -> None:
    error(gateway.post("/api/v1/suspend", body, "olga"), 400, "BadRequest")


# ---------------------------------------------------------------- budgets over HTTP
@pytest.mark.parametrize(
    "change",
    [{"total_budget": 0}, {"total_budget": -1}, {"total_budget": 9000001}, {"total_budget": "many"}, {"total_budget": True}, {"recover_cycle": 0},
     {"recover_cycle": 1.5}, {"recover_cycle": "30"}, {"exhausted_strategy": "panic"}, {"consumed_budget": 0}, {"slack": 1e-6}, {"sum_eps": 0}, {"prefix": ""},
     {"table_name": None}, {"table_name": "x" * 300}, {"analyst": ""}],
    ids=str,
)  # fmt: skip
def test_set_refuses_what_the_requirement_does_not_name(gateway: Gateway, change: dict[str, object]) -> None:
    before = gateway.ledger.get_budget("test", "clinic", "people")
    error(gateway.post("/api/v1/budget/set", {**BUDGET, **change}, "olga"), 400, "BadRequest")
    assert gateway.ledger.get_budget("test", "clinic", "people") == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1e308"])
def test_set_refuses_numbers_that_are_none(gateway: Gateway, number: str) -> None:
    text = json.dumps({**BUDGET, "total_budget": 777.0}).replace("777.0", number)
    error(gateway.call("POST", "/api/v1/budget/set", "olga", content=text.encode()), 400, "BadRequest")


@pytest.mark.parametrize("name", ["'; DROP TABLE budget_info; --", "täble \U0001f600" * 10, "%s{0}", 'a"b`c', "*"])
def test_metacharacters_in_names_are_harmless(gateway: Gateway, name: str) -> None:
    body = {"prefix": f"p{name}", "db_name": name, "table_name": name}
    data(gateway.post("/api/v1/budget/set", body, "olga"))
    found = data(gateway.get("/api/v1/budget/get", "vera", **body))
    assert [found["total_budget"], found["recover_cycle"], found["exhausted_strategy"]] == [10000.0, 30, "reject"]
    assert found["table_name"] == name
    assert data(gateway.call("GET", "/api/v1/budget/get", "vera", json=body)) == found


def test_set_keeps_what_is_left_out_and_what_was_spent(gateway: Gateway) -> None:
    data(gateway.query("SELECT COUNT(*) AS n FROM people WHERE age > 60", database="gridded", epsilon=1.0, skip_cache=1))
    row = {"prefix": "test", "db_name": "gridded", "table_name": "people"}
    data(gateway.post("/api/v1/budget/set", {**row, "recover_cycle": 9}, "olga"))
    data(gateway.post("/api/v1/budget/set", {**row, "total_budget": 0.5}, "olga"))
    found = data(gateway.get("/api/v1/budget/get", **row))
    assert (found["recover_cycle"], found["total_budget"], found["residual_budget"]) == (9, 0.5, 0.0)
    assert found["sum_eps"] >= 1.0
    error(gateway.query("SELECT COUNT(*) AS n FROM people", database="gridded", epsilon=0.1, skip_cache=1), 422, "BudgetExhausted")


def test_metrics_are_prometheus_text(gateway: Gateway) -> None:
    data(gateway.query("SELECT COUNT(*) AS n FROM people", skip_cache=1))
    response = gateway.get("/metrics", "olga")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert 'dpjupyter_questions_total{verdict="answered"}' in response.text
    assert 'dpjupyter_residual_budget{db_name="clinic",prefix="test",table_name="people"}' in response.text
    assert "alice" not in response.text


def test_openapi_names_every_route_and_record(gateway: Gateway) -> None:
    document = gateway.get("/api/v1/openapi.json", None).json()
    assert {"/api/v1/query", "/api/v1/quote", "/api/v1/budget/set", "/api/v1/reload"} <= set(document["paths"])
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in document["components"]["schemas"]
