"""POST /query and /quote, over HTTP, on a real warehouse."""

from __future__ import annotations

import json
import math
import time
import uuid

import pytest

from tests.gateway.running import Gateway, data, error, question

COUNT = "SELECT city, COUNT(*) AS n FROM people GROUP BY city"


def test_an_answer_carries_data_intervals_cost_balance_and_receipt(gateway: Gateway) -> None:
    reply = data(gateway.query(COUNT, epsilon=0.5, skip_cache=1))
    assert reply["Meta"] == [{"Name": "city", "Type": "VARCHAR"}, {"Name": "n", "Type": "BIGINT"}]
    assert reply["Data"]["city"] == ["Basel", "Bern", "Genf"]
    assert all(abs(n - 1000) < 200 for n in reply["Data"]["n"])
    info = reply["dp_info"]
    assert info["privacy"]["epsilon"] == 0.5
    assert {(row["table"], row["analyst"]) for row in info["privacy"]["tables"]} == {
        ("*", None),
        ("people", None),
        ("*", "alice"),
        ("people", "alice"),
    }
    assert all(
        math.isclose(row["before"] - row["after"], 0.5, rel_tol=1e-6) or row["before"] - row["after"] < 0.5
        for row in info["privacy"]["tables"]
    )
    lower, upper = info["intervals"]["0.95"]["n"][0]
    assert lower < reply["Data"]["n"][0] < upper
    assert info["receipt"]["debited"]
    assert set(info["balance"]) == {"*", "people", "analyst:*", "analyst:people"}


def test_the_requirements_whole_key_is_understood(gateway: Gateway) -> None:
    body = {
        "sql": "SELECT COUNT(*) AS n, SUM(age) AS s FROM people",
        "dbconfig": {
            "reader": "duckdb",
            "psm": "test",
            "database": "clinic",
            "sha256sum": data(gateway.get("/api/v1/catalog"))["databases"][0]["sha256sum"],
            "queryOption": {"skip_cache": 1, "with_column_type": True},
        },
        "queryconfig": {"traceid": f"trace-{uuid.uuid4()}"},
        "dpconfig": {"dp_method": "Gauss", "budget_setting": {"epsilon": 0.9, "delt": 1e-8, "answers": {"n": {"epsilon": 0.1}}}},
        "extra": {"debug": True},
    }
    reply = data(gateway.post("/api/v1/query", body))
    prices = {price["label"]: price for price in reply["dp_info"]["privacy"]["answers"]}
    assert prices["COUNT(*)"]["epsilon"] == 0.1
    assert prices["SUM(age)"]["epsilon"] == 0.9
    assert prices["SUM(age)"]["delta"] == 1e-8
    assert "gauss" in prices["SUM(age)"]["mechanism"]
    assert reply["dp_info"]["receipt"]["request_id"] == body["queryconfig"]["traceid"]
    assert reply["debug"] is not None
    assert "timings_ms" not in reply["debug"]  # an analyst's


def test_timings_are_the_owners(gateway: Gateway) -> None:
    body = question(COUNT, skip_cache=1) | {"extra": {"debug": True}}
    assert "run" in data(gateway.post("/api/v1/query", body, "olga"))["debug"]["timings_ms"]


def test_without_column_types_there_is_no_meta(gateway: Gateway) -> None:
    body = question(COUNT)
    body["dbconfig"]["queryOption"] = {"with_column_type": False}
    assert data(gateway.post("/api/v1/query", body))["Meta"] is None


def test_the_same_question_is_answered_for_free(gateway: Gateway) -> None:
    sql = "SELECT COUNT(*) AS n FROM people WHERE age > 33"
    first = data(gateway.query(sql, who="alice"))
    again = data(gateway.query(sql, who="bob"))
    assert not first["dp_info"]["cached"]
    assert again["dp_info"]["cached"]
    assert again["Data"] == first["Data"]
    assert again["dp_info"]["privacy"]["epsilon"] == 0
    assert again["dp_info"]["receipt"] == {}
    assert "alice" not in json.dumps(again)


def test_a_retry_with_the_same_id_gets_the_same_answer_and_pays_once(gateway: Gateway) -> None:
    traceid = uuid.uuid4().hex
    first = data(gateway.query(COUNT, traceid=traceid, skip_cache=1))
    before = gateway.ledger.get_budget("test", "clinic", "people").sum_eps
    again = data(gateway.query(COUNT, traceid=traceid, skip_cache=1))
    assert again["Data"] == first["Data"]
    assert gateway.ledger.get_budget("test", "clinic", "people").sum_eps == before


def test_a_reused_id_with_another_body_is_refused(gateway: Gateway) -> None:
    traceid = uuid.uuid4().hex
    data(gateway.query(COUNT, traceid=traceid, skip_cache=1))
    error(gateway.query(COUNT, traceid=traceid, skip_cache=1, epsilon=0.1), 409, "RequestReused")
    data(gateway.query("SELECT COUNT(*) AS n FROM people WHERE age > 1", who="bob", traceid=traceid))  # ids belong to their analyst


def test_a_quote_is_free_and_says_what_would_be_paid(gateway: Gateway) -> None:
    before = gateway.ledger.get_budget("test", "clinic", "people")
    reply = data(gateway.post("/api/v1/quote", question("SELECT AVG(income) AS a FROM people WHERE age > 77", epsilon=0.4)))
    assert reply["privacy"]["epsilon"] == 0.4
    assert reply["affordable"]
    assert not reply["cached"]
    assert reply["columns"] == [{"Name": "a", "Type": "DOUBLE"}]
    assert gateway.ledger.get_budget("test", "clinic", "people") == before


def test_a_quote_knows_that_the_answer_is_filed(gateway: Gateway) -> None:
    sql = "SELECT COUNT(*) AS n FROM people WHERE age > 44"
    data(gateway.query(sql))
    assert data(gateway.post("/api/v1/quote", question(sql)))["cached"]


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("sql", "status", "kind"),
    [
        ("SELEC city", 400, "SyntaxRefused"),
        ("SELECT COUNT(*) FROM people; SELECT 1", 400, "SyntaxRefused"),
        ("SELECT COUNT(*) FROM nobody", 404, "UnknownName"),
        ("SELECT SUM(salary) FROM people", 404, "UnknownName"),
        ("SELECT SUM(read_text('/etc/passwd')) FROM people", 422, "FunctionRefused"),
        ("SELECT * FROM people", 422, None),
        ("SELECT person_id, COUNT(*) FROM people GROUP BY person_id", 422, None),
    ],
)
def test_refusals_are_free_and_clear(gateway: Gateway, sql: str, status: int, kind: str | None) -> None:
    before = gateway.ledger.get_budget("test", "clinic", "people")
    response = gateway.query(sql)
    told = response.json()["status"]
    assert response.status_code == status, response.text
    assert told["code"] == 1
    assert kind is None or told["error"]["type"] == kind
    assert told["Message"]
    assert gateway.ledger.get_budget("test", "clinic", "people") == before


def test_a_refusal_points_into_the_text(gateway: Gateway) -> None:
    status = error(gateway.query("SELECT\n  SUM(salary) FROM people"), 404, "UnknownName")
    assert (status["error"]["line"], status["error"]["column"]) == (2, 7)


@pytest.mark.parametrize("epsilon", ["NaN", "Infinity", "-Infinity", "1e999", '"0.5"', "true", "[1]"])
def test_an_epsilon_that_is_no_finite_number_is_malformed(gateway: Gateway, epsilon: str) -> None:
    text = json.dumps(question(COUNT, epsilon=12345.0, skip_cache=1)).replace("12345.0", epsilon)
    response = gateway.call("POST", "/api/v1/query", content=text.encode())
    if epsilon == '"0.5"':
        assert response.status_code in (200, 400)
        return
    error(response, 400, "BadRequest")


@pytest.mark.parametrize("epsilon", [0.0, -0.0, -1.0, 1e-12, 5.0001, 1e308])
def test_an_epsilon_outside_the_policys_range_is_refused(gateway: Gateway, epsilon: float) -> None:
    error(gateway.query(COUNT, epsilon=epsilon), 400, "AskRefused")


@pytest.mark.parametrize("delta", [-1e-9, 1.0, 2.0, 1e308])
@pytest.mark.parametrize("method", ["Laplace", "Gauss"])
def test_a_delta_outside_its_range_is_refused(gateway: Gateway, delta: float, method: str) -> None:
    body = question(COUNT) | {"dpconfig": {"dp_method": method, "budget_setting": {"delt": delta}}}
    error(gateway.post("/api/v1/query", body), 400, "AskRefused")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"\xff\xfe",
        b'{"sql": "SELECT 1"}',
        b'{"sql": "SELECT 1", "sql": "SELECT 2", "dbconfig": {"database": "clinic"}}',
        b"[" * 100_000,
        json.dumps(question("")).encode(),
        json.dumps(question(COUNT, traceid="has spaces")).encode(),
        json.dumps(question(COUNT) | {"analyst": "bob"}).encode(),
        json.dumps(question(COUNT) | {"dpconfig": {"dp_method": "Exponential"}}).encode(),
        json.dumps(question(COUNT, psm="other")).encode(),
    ],
    ids=range(12),
)
def test_malformed_requests_are_refused_with_the_envelope(gateway: Gateway, body: bytes) -> None:
    error(gateway.call("POST", "/api/v1/query", content=body), 400, "BadRequest")


@pytest.mark.parametrize("field", ["password", "user", "token", "private_key", "account"])
def test_credentials_are_refused(gateway: Gateway, field: str) -> None:
    status = error(gateway.query(COUNT, **{field: "s3cr3t"}), 400, "BadRequest")
    assert "credentials" in status["Message"]
    assert "s3cr3t" not in json.dumps(status)


@pytest.mark.parametrize("where", [{"database": "nothing"}, {"prefix": "elsewhere"}, {"reader": "snowflake"}])
def test_another_database_is_not_found(gateway: Gateway, where: dict[str, str]) -> None:
    error(gateway.query(COUNT, **where), 404, "NotFound")


def test_a_checksum_that_differs_is_a_conflict(gateway: Gateway) -> None:
    error(gateway.query(COUNT, sha256sum="0" * 64), 409, "PolicyChanged")
    error(gateway.post("/api/v1/quote", question(COUNT, sha256sum="0" * 64)), 409, "PolicyChanged")


def test_an_exhausted_budget_says_total_consumed_asked_and_when_it_recovers(gateway: Gateway) -> None:
    sql = "SELECT COUNT(*) AS n FROM visits"
    data(gateway.query(sql, epsilon=1.5))
    status = error(gateway.query(sql, epsilon=1.4), 422, "BudgetExhausted")
    assert "visits" in status["Message"]
    assert "total 2" in status["Message"]
    assert "consumed 1.5" in status["Message"]
    assert "asked 1.4" in status["Message"]
    assert "recovers after 2" in status["error"]["hint"]
    quote = data(gateway.post("/api/v1/quote", question(sql, epsilon=1.4)))
    assert not quote["affordable"]
    assert [row["table"] for row in quote["privacy"]["tables"] if not row["affordable"]] == ["visits"]


# ---------------------------------------------------------------- time and streams
def test_replies_leave_on_the_time_grid(gateway: Gateway) -> None:
    for sql in (COUNT, "SELECT nothing FROM people"):
        started = time.monotonic()
        gateway.query(sql, database="gridded", skip_cache=1)
        elapsed = time.monotonic() - started
        assert elapsed >= 0.4, sql
        assert elapsed % 0.4 < 0.25, sql


def test_a_quick_streamed_answer_is_one_plain_reply(gateway: Gateway) -> None:
    response = gateway.post("/api/v1/query", question(COUNT), headers={"Accept": "application/x-ndjson"})
    assert response.headers["Content-Type"].startswith("application/json")
    assert data(response)["Data"]


def test_cancelling_what_does_not_run_is_accepted(gateway: Gateway) -> None:
    assert data(gateway.call("DELETE", "/api/v1/query/nothing"))["cancel"] == "accepted"


def test_the_log_holds_no_sql_no_literals_and_no_rows(gateway: Gateway) -> None:
    data(gateway.query("SELECT COUNT(*) AS n FROM people WHERE age = 57 AND city = 'Genf'"))
    gateway.query("SELECT COUNT(*) FROM people WHERE city = 'Lausanne' AND")
    log = gateway.log.read_text()
    assert "verdict=answered" in log
    for secret in ("Genf", "Lausanne", "SELECT", "WHERE", *gateway.tokens.values()):
        assert secret not in log
