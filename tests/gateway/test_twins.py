"""Synthetic twins over HTTP and by the command line: published by owners, asked by analysts, free and labelled."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dpjupyter.engine.ledger.store import open_ledger
from tests.gateway.running import PEOPLE_POLICY, Gateway, Starter, data, error, question

TWIN = {"db_name": "clinic", "table_name": "people", "epsilon": 2.0, "delta": 1e-6}
ROWS = "SELECT * FROM people ORDER BY income DESC LIMIT 5"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, warehouse: Path, starter: Starter) -> Iterator[Gateway]:
    """A gateway of its own, with twins of people and visits."""
    folder = tmp_path_factory.mktemp("twins")
    policies = folder / "policies"
    policies.mkdir()
    text = PEOPLE_POLICY.format(warehouse=warehouse, prefix="test", name="clinic").replace("total_budget = 2.0", "total_budget = 100.0")
    (policies / "clinic.toml").write_text(text)
    with starter.run(folder, policies) as running:
        data(running.post("/api/v1/twin/publish", TWIN, "olga"))
        data(running.post("/api/v1/twin/publish", {**TWIN, "table_name": "visits"}, "olga"))
        yield running


def spent(gateway: Gateway) -> dict[tuple[str, str | None], float]:
    return {(row.table_name, row.analyst): row.consumed_budget for row in gateway.ledger.list_budgets()}


def ask(gateway: Gateway, sql: str, *, who: str = "alice", **config: Any) -> Any:
    return gateway.post("/api/v1/query", {**question(sql), "queryconfig": config}, who)


# ---------------------------------------------------------------- asking
def test_rows_are_answered_from_the_twin_free_and_labelled(served: Gateway) -> None:
    before = spent(served)
    reply = data(ask(served, ROWS))
    info = reply["dp_info"]
    assert info["kind"] == "synthetic"
    assert info["privacy"]["epsilon"] == 0
    assert info["receipt"] == {}
    assert any("synthetic" in note for note in info["notes"])
    assert list(reply["Data"]) == ["person_id", "age", "city", "income"]
    assert len(reply["Data"]["age"]) == 5
    assert set(reply["Data"]["city"]) <= {"Basel", "Bern", "Genf"}
    assert spent(served) == before


def test_a_question_with_a_private_answer_is_answered_privately_unless_the_twin_is_asked_for(served: Gateway) -> None:
    sql = "SELECT city, COUNT(*) AS n FROM people GROUP BY city ORDER BY city"
    assert data(ask(served, sql))["dp_info"]["kind"] == "private"
    before = spent(served)
    twin = data(ask(served, sql, synthetic=True))
    assert twin["dp_info"]["kind"] == "synthetic"
    assert sum(twin["Data"]["n"]) == pytest.approx(3000, rel=0.2)
    assert spent(served) == before


def test_a_quote_says_that_the_twin_answers_and_costs_nothing(served: Gateway) -> None:
    for body in (question(ROWS), {**question("SELECT COUNT(*) FROM people"), "queryconfig": {"synthetic": True}}):
        reply = data(served.post("/api/v1/quote", body))
        assert reply["privacy"]["epsilon"] == 0
        assert reply["affordable"]
        assert "synthetic twin" in reply["notes"][0]


def test_joins_on_the_twins_keys_work(served: Gateway) -> None:
    found = data(
        ask(served, "SELECT p.city, COUNT(*) AS n FROM visits v JOIN people p ON p.person_id = v.person_id GROUP BY ALL", synthetic=True)
    )
    assert sum(found["Data"]["n"]) == pytest.approx(9000, rel=0.2)


def test_a_rehearsal_is_free_and_tells_the_error_to_expect(served: Gateway) -> None:
    before = spent(served)
    sql = "SELECT city, COUNT(*) AS n FROM people GROUP BY city ORDER BY city"
    reply = data(ask(served, sql, rehearse=25))
    found = reply["dp_info"]["rehearsal"]
    assert found["runs"] == 25
    assert found["epsilon"] == pytest.approx(0.9)
    (column,) = found["columns"]
    assert column["name"] == "n"
    assert 0 <= column["median_error"] <= column["p95_error"] < 30
    low, high = reply["dp_info"]["intervals"]["0.95"]["n"][0]
    assert low < reply["Data"]["n"][0] < high
    assert reply["dp_info"]["kind"] == "synthetic"
    assert spent(served) == before


def test_a_rehearsal_is_never_kept_and_a_synthetic_table_stays_synthetic(served: Gateway) -> None:
    error(ask(served, "SELECT COUNT(*) FROM people", rehearse=2, save_as="x"), 400, "BadRequest")
    data(ask(served, "SELECT city, COUNT(*) AS n FROM people GROUP BY city", synthetic=True, save_as="made_up"))
    assert data(ask(served, "SELECT * FROM saved.made_up"))["dp_info"]["kind"] == "synthetic"


def test_free_answers_stand_in_the_audit_log(served: Gateway) -> None:
    trace = uuid.uuid4().hex
    data(ask(served, ROWS, traceid=trace))
    (row,) = [row for row in data(served.get("/api/v1/audit", "olga", limit=20))["rows"] if row["request_id"] == trace]
    assert row["verdict"] == "answered"
    assert row["epsilon"] == 0


def test_long_results_are_refused_and_name_the_way_out(served: Gateway) -> None:
    served_rows = error(ask(served, "SELECT a.visit_id, b.age FROM visits a JOIN people b ON b.age > 0 LIMIT 20000"), 400, "AskRefused")
    assert "LIMIT" in served_rows["error"]["hint"]
    data(ask(served, "SELECT city FROM people LIMIT 1", save_as="a_city"))
    numbers = ", ".join(f"({n})" for n in range(100))
    many = ", ".join(f"(VALUES {numbers}) {name}(x)" for name in "abcde")
    error(ask(served, f"SELECT s.city, a.x FROM saved.a_city s, {many}", synthetic=True), 400, "AskRefused")


def test_a_suspended_table_has_no_twin(served: Gateway) -> None:
    place = {"prefix": "test", "db_name": "clinic", "table_name": "visits"}
    data(ask(served, "SELECT * FROM visits LIMIT 1", save_as="one_visit"))
    data(served.post("/api/v1/suspend", place, "olga"))
    try:
        error(ask(served, "SELECT * FROM visits LIMIT 1"), 403, "Suspended")
        error(ask(served, "SELECT * FROM saved.one_visit"), 403, "Suspended")
        error(ask(served, "SELECT COUNT(*) FROM visits", synthetic=True), 403, "Suspended")
        error(ask(served, "SELECT COUNT(*) FROM visits", rehearse=2), 403, "Suspended")
        data(ask(served, ROWS))
    finally:
        data(served.post("/api/v1/suspend", {**place, "lift": True}, "olga"))
    data(ask(served, "SELECT * FROM visits LIMIT 1"))


def test_a_viewer_asks_nothing(served: Gateway) -> None:
    error(ask(served, ROWS, who="vera"), 403, "Forbidden")


# ---------------------------------------------------------------- publishing
def test_without_a_twin_the_refusal_names_the_owners_command(gateway: Gateway) -> None:
    for path in ("query", "quote"):
        status = error(gateway.post(f"/api/v1/{path}", question(ROWS)), 422, "PrivacyUnitLost")
        assert "dpjupyter twin publish people" in status["error"]["hint"]
    status = error(ask(gateway, "SELECT COUNT(*) FROM people", synthetic=True), 400, "AskRefused")
    assert "dpjupyter twin publish people" in status["error"]["hint"]


def test_a_quote_for_a_twin_shows_every_row_that_would_pay(served: Gateway) -> None:
    before = spent(served)
    reply = data(served.post("/api/v1/twin/quote", {**TWIN, "table_name": "visits"}, "olga"))
    assert {(row["table"], row["analyst"]) for row in reply["tables"]} == {
        (name, who) for name in ("*", "people", "visits") for who in (None, "olga")
    }
    assert reply["parent"] == "people"
    assert reply["affordable"]
    assert reply["one_way_sigma"] > 0
    assert spent(served) == before


@pytest.mark.parametrize(
    "wrong",
    [{"epsilon": 0}, {"epsilon": 99}, {"delta": 0}, {"delta": 1}, {"table_name": "nothing"}, {"db_name": "../clinic"}, {"extra": 1}],
)
@pytest.mark.parametrize("route", ["quote", "publish"])
def test_nonsense_is_refused_and_free(served: Gateway, route: str, wrong: dict[str, Any]) -> None:
    before = spent(served)
    assert served.post(f"/api/v1/twin/{route}", {**TWIN, **wrong}, "olga").status_code in (400, 404)
    assert spent(served) == before


def test_a_retry_gets_the_same_twin_and_another_body_does_not(served: Gateway) -> None:
    body = {**TWIN, "epsilon": 0.5, "traceid": uuid.uuid4().hex}
    first = data(served.post("/api/v1/twin/publish", body, "olga"))
    before = spent(served)
    assert data(served.post("/api/v1/twin/publish", body, "olga")) == first
    assert spent(served) == before
    error(served.post("/api/v1/twin/publish", {**body, "epsilon": 0.6}, "olga"), 409, "RequestReused")
    error(served.post("/api/v1/query", {**question(ROWS), "queryconfig": {"traceid": body["traceid"]}}, "olga"), 409, "RequestReused")
    version = first["twins"][0]["version"]
    data(served.post("/api/v1/twin/retire", {"db_name": "clinic", "table_name": "people", "version": version}, "olga"))
    assert spent(served) == before


def test_analysts_read_cards_and_find_no_exact_number_in_them(served: Gateway) -> None:
    found = data(served.get("/api/v1/twin", table_name="people"))["twins"]
    assert found[0]["current"]
    card = found[0]["card"]
    assert card["epsilon"] == 2.0
    assert {c["name"]: c["kind"] for c in card["columns"]} == {"person_id": "key", "age": "ranges", "city": "values", "income": "ranges"}
    assert 0 <= card["mean_error_1"] < 0.5
    tables = data(served.get("/api/v1/catalog"))["databases"][0]["tables"]
    assert [t["synthetic"] for t in tables if t["name"] == "people"] == [True]


@pytest.mark.parametrize("version", ["../../etc/passwd", "x", "0" * 17, ""])
def test_a_version_is_a_version(served: Gateway, version: str) -> None:
    body = {"db_name": "clinic", "table_name": "people", "version": version}
    error(served.post("/api/v1/twin/retire", body, "olga"), 400, "BadRequest")


def test_a_failing_warehouse_is_charged_and_says_nothing(tmp_path: Path, starter: Starter) -> None:
    """The gateway's file is there when it starts, and not the table when it is asked."""
    path = tmp_path / "empty.duckdb"
    duckdb.connect(str(path)).close()
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "clinic.toml").write_text(PEOPLE_POLICY.format(warehouse=path, prefix="test", name="clinic"))
    with starter.run(tmp_path, policies) as running:
        status = error(running.post("/api/v1/twin/publish", {**TWIN, "traceid": "t1"}, "olga"), 503, "QueryFailed")
        assert status["Message"] == "the query could not be completed; request t1"
        assert spent(running)["people", None] > 0
        assert data(running.get("/api/v1/twin"))["twins"] == []


# ---------------------------------------------------------------- the command line
def test_the_command_line_publishes_lists_shows_and_retires(tmp_path: Path, policies: Path) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.sqlite"

    def run(*words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dpjupyter.cli", "twin", *words, "--ledger", ledger], capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    publish = ("publish", "people", "--policies", str(policies), "--epsilon", "2", "--delta", "1e-6")
    assert "Nothing was debited" in run(*publish, "--quote")
    assert "no twin" in run("list")
    assert "publish people" in run("publish", "visits", "--policies", str(policies), "--epsilon", "1", "--delta", "1e-6", status=1)
    card = json.loads(run(*publish, "--json"))
    assert (tmp_path / "twins").is_dir()
    assert [row["version"] for row in json.loads(run("list", "--json"))] == [card["version"]]
    assert json.loads(run("show", "people", "--json")) == card
    assert "noisy counts" in run("show", "people")
    store = open_ledger(ledger)
    paid = {row.table_name: row.consumed_budget for row in store.list_budgets(quotas=False)}
    assert paid["people"] > 0
    run("retire", "people")
    assert "no twin" in run("list")
    assert card["version"] in run("list", "--all")
    assert {row.table_name: row.consumed_budget for row in store.list_budgets(quotas=False)} == paid
    store.close()
    run("show", "people", status=1)
    run("publish", "nothing", "--policies", str(policies), "--epsilon", "1", "--delta", "1e-6", status=1)
