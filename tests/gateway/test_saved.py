"""Saved tables over HTTP: kept with an answer, read by later questions, listed, forgotten; each analyst's own."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.gateway.running import Gateway, data, error, question

COUNT = "SELECT city, COUNT(*) AS n FROM people GROUP BY city"
WHERE = {"db_name": "clinic", "prefix": "test"}


def ask(gateway: Gateway, sql: str, who: str = "alice", path: str = "/api/v1/query", **config: Any) -> httpx.Response:
    body = question(sql)
    body["queryconfig"] = config
    return gateway.post(path, body, who)


def saved(gateway: Gateway, who: str = "alice") -> dict[str, Any]:
    return {table["name"]: table for table in data(gateway.get("/api/v1/saved", who, **WHERE))["saved"]}


@pytest.fixture
def name(gateway: Gateway) -> str:
    """A saved answer of alice."""
    name = f"T{uuid.uuid4().hex[:8]}"
    reply = data(ask(gateway, COUNT, save_as=name))
    assert f"Kept as saved.{name.lower()} until its budget cycle ends." in reply["dp_info"]["notes"]
    return name


def test_a_saved_answer_is_asked_again_for_nothing(gateway: Gateway, name: str) -> None:
    before = data(gateway.get("/api/v1/budget/get", table_name="people", **WHERE))["consumed_budget"]
    priced = data(ask(gateway, f"SELECT SUM(n) AS s FROM saved.{name}", path="/api/v1/quote"))
    assert priced["privacy"]["epsilon"] == 0
    assert priced["utility"][0]["derived"]
    reply = data(ask(gateway, f"SELECT SUM(n) AS s FROM saved.{name}"))
    assert abs(reply["Data"]["s"][0] - 3000) < 200
    low, high = reply["dp_info"]["intervals"]["0.95"]["s"][0]
    assert low < reply["Data"]["s"][0] < high
    assert reply["dp_info"]["kind"] == "private"
    assert reply["dp_info"]["privacy"]["epsilon"] == 0
    assert any(f"saved.{name.lower()}" in note for note in reply["dp_info"]["notes"])
    assert data(gateway.get("/api/v1/budget/get", table_name="people", **WHERE))["consumed_budget"] == before


def test_saved_tables_are_listed_in_the_catalog_with_their_columns(gateway: Gateway, name: str) -> None:
    database = next(d for d in data(gateway.get("/api/v1/catalog"))["databases"] if d["name"] == "clinic")
    listed = next(t for t in database["saved"] if t["name"] == name.lower())
    assert [(c["name"], c["type"]) for c in listed["columns"]] == [("city", "VARCHAR"), ("n", "BIGINT")]
    assert (listed["rows"], listed["kind"], listed["unmetered"]) == (3, "private", False)
    assert saved(gateway)[name.lower()] == listed


def test_nobody_else_sees_or_forgets_it(gateway: Gateway, name: str) -> None:
    for who in ("bob", "olga"):
        assert name.lower() not in saved(gateway, who)
        assert name.lower() not in str(data(gateway.get("/api/v1/catalog", who)))
        error(ask(gateway, f"SELECT * FROM saved.{name}", who), 404, "UnknownName")
        error(ask(gateway, f"SELECT * FROM saved.{name}", who, path="/api/v1/quote"), 404, "UnknownName")
        error(gateway.call("DELETE", f"/api/v1/saved/{name}", who, params=WHERE), 404, "NotFound")
    error(gateway.get("/api/v1/saved", "vera", **WHERE), 403, "Forbidden")
    error(gateway.get("/api/v1/saved", None, **WHERE), 401, "Unauthorized")


def test_forgetting_is_at_once(gateway: Gateway, name: str) -> None:
    left = data(gateway.call("DELETE", f"/api/v1/saved/{name.upper()}", params=WHERE))["saved"]
    assert name.lower() not in {table["name"] for table in left}
    error(ask(gateway, f"SELECT * FROM saved.{name}"), 404, "UnknownName")
    error(gateway.call("DELETE", f"/api/v1/saved/{name}", params=WHERE), 404, "NotFound")


def test_a_private_predicate_never_sees_a_saved_table(gateway: Gateway, name: str) -> None:
    refused = error(ask(gateway, f"SELECT COUNT(*) FROM people WHERE city IN (SELECT city FROM saved.{name})"), 422, "UnsupportedSQL")
    assert refused["error"]["hint"]


@pytest.mark.parametrize("bad", ["a b", "a;b", "1a", "", "a" * 64, "x'--", "sávéd", "a.b"])
def test_a_name_that_is_no_name_is_refused_before_anything_is_paid(gateway: Gateway, bad: str) -> None:
    error(ask(gateway, COUNT, save_as=bad), 400, "BadRequest")


def test_too_many_are_refused_before_anything_is_paid(gateway: Gateway) -> None:
    for n in range(100):
        gateway.ledger.save_table("bob", "test", "clinic", f"t{n}", tables=(), content="{}")
    try:
        before = data(gateway.get("/api/v1/budget/get", "bob", table_name="people", **WHERE))["consumed_budget"]
        refused = error(ask(gateway, COUNT, "bob", save_as="one_more"), 400, "BadRequest")
        assert "saved forget" in refused["error"]["hint"]
        assert data(gateway.get("/api/v1/budget/get", "bob", table_name="people", **WHERE))["consumed_budget"] == before
        assert "Kept as saved.t7" in str(data(ask(gateway, COUNT, "bob", save_as="t7")))
    finally:
        for n in range(100):
            gateway.ledger.drop_table("bob", "test", "clinic", f"t{n}")


def test_a_large_answer_is_given_though_it_is_not_kept(gateway: Gateway, name: str) -> None:
    six = ", ".join(f"saved.{name} AS t{n}" for n in range(9))
    reply = data(ask(gateway, f"SELECT t0.n AS a, t1.n AS b, t2.n AS c FROM {six} LIMIT 70000", save_as="huge"))
    assert len(reply["Data"]["a"]) == 19683
    wide = ", ".join(f"t{n}.n AS a{n}" for n in range(9)) + ", " + ", ".join(f"t{n}.city AS b{n}" for n in range(9))
    reply = data(ask(gateway, f"SELECT {wide} FROM {six}", save_as="huge2"))
    assert len(reply["Data"]["a0"]) == 19683
    assert any(note.startswith("Not kept as saved.huge2: ") for note in reply["dp_info"]["notes"])
    assert "huge2" not in saved(gateway)


def test_a_suspended_table_is_not_read_from_the_shelf_either(gateway: Gateway, name: str) -> None:
    suspended = {"prefix": "test", "db_name": "clinic", "table_name": "people"}
    data(gateway.post("/api/v1/suspend", suspended, "olga"))
    try:
        error(ask(gateway, f"SELECT * FROM saved.{name}"), 403, "Suspended")
    finally:
        data(gateway.post("/api/v1/suspend", {**suspended, "lift": True}, "olga"))
    data(ask(gateway, f"SELECT * FROM saved.{name}"))


def test_a_retry_keeps_what_its_first_try_could_not(gateway: Gateway) -> None:
    trace, name = uuid.uuid4().hex, f"r{uuid.uuid4().hex[:8]}"
    first = data(ask(gateway, COUNT, save_as=name, traceid=trace))
    gateway.ledger.drop_table("alice", "test", "clinic", name)
    again = data(ask(gateway, COUNT, save_as=name, traceid=trace))
    assert again["Data"] == first["Data"]
    assert name in saved(gateway)


def test_a_content_that_cannot_be_read_says_nothing_of_it(gateway: Gateway) -> None:
    gateway.ledger.save_table("alice", "test", "clinic", "broken", tables=(), content='{"version": 1}\nnonsense')
    try:
        reply = ask(gateway, "SELECT * FROM saved.broken")
        assert reply.status_code == 404
        assert "nonsense" not in reply.text
        assert "broken" not in saved(gateway)
    finally:
        gateway.ledger.drop_table("alice", "test", "clinic", "broken")


def test_saving_costs_no_more_than_asking_and_the_audit_shows_it(gateway: Gateway, name: str) -> None:
    data(ask(gateway, f"SELECT MAX(n) AS m FROM saved.{name}"))
    rows = data(gateway.get("/api/v1/audit", limit=500))["rows"]
    (row,) = [row for row in rows if row["sql"] == f"SELECT MAX(n) AS m FROM saved.{name}"]
    assert (row["verdict"], row["epsilon"], row["reason"]) == ("answered", 0.0, "saved and public tables only")


def test_the_ledger_holds_it_packed_and_under_its_analyst(gateway: Gateway, name: str) -> None:
    found = gateway.ledger._db.read(
        lambda c: c.execute(text("SELECT analyst, content FROM saved_table WHERE name = :name"), {"name": name.lower()}).one()
    )
    assert found.analyst == "alice"
    assert b"city" not in found.content
