"""Every reply has the envelope, exactly: compared with the golden files that the lab extension's tests read, too.

Times, checksums, ids and noisy numbers are replaced by ``<kind>`` before the comparison. After a change that is meant:
``DPJUPYTER_WRITE_GOLDEN=1 pytest tests/gateway/test_envelope.py``, then read the difference.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.running import Gateway, question

GOLDEN = Path(__file__).parents[1] / "golden" / "wire"
Call = Callable[[Gateway], httpx.Response]

_BUDGET = {"prefix": "golden", "db_name": "db", "table_name": "t"}
CASES: dict[str, Call] = {
    "budget_set": lambda g: g.post(
        "/api/v1/budget/set", {**_BUDGET, "total_budget": 12.5, "recover_cycle": 7, "exhausted_strategy": "allow"}, "olga"
    ),
    "budget_set_null": lambda g: g.post(
        "/api/v1/budget/set", {**_BUDGET, "total_budget": None, "recover_cycle": None, "exhausted_strategy": None}, "olga"
    ),
    "budget_get": lambda g: g.get("/api/v1/budget/get", **_BUDGET),
    "budget_get_unknown": lambda g: g.get("/api/v1/budget/get", **{**_BUDGET, "table_name": "none"}),
    "budget_set_slack": lambda g: g.post("/api/v1/budget/set", {**_BUDGET, "slack": 1e-6}, "olga"),
    "budget_set_forbidden": lambda g: g.post("/api/v1/budget/set", _BUDGET, "alice"),
    "query": lambda g: g.query("SELECT city, COUNT(*) AS n FROM people WHERE age < 99 GROUP BY city", epsilon=1.0),
    "query_cached": lambda g: g.query("SELECT city, COUNT(*) AS n FROM people WHERE age < 99 GROUP BY city", who="bob", epsilon=1.0),
    "query_refused": lambda g: g.query("SELECT SUM(salary) FROM people"),
    "query_policy_changed": lambda g: g.query("SELECT COUNT(*) FROM people", sha256sum="0" * 64),
    "quote": lambda g: g.post("/api/v1/quote", question("SELECT AVG(age) AS a, COUNT(*) AS n FROM people", epsilon=1.0)),
    "catalog": lambda g: g.get("/api/v1/catalog"),
    "me": lambda g: g.get("/api/v1/me"),
    "health": lambda g: g.get("/api/v1/health", None),
    "unauthorized": lambda g: g.get("/api/v1/me", None),
    "not_found": lambda g: g.get("/api/kernels", "olga"),
    "cancel": lambda g: g.call("DELETE", "/api/v1/query/some-id"),
    "suspend": lambda g: g.post("/api/v1/suspend", {"analyst": "mallory", "reason": "<b>walk</b>"}, "olga"),
    "lift": lambda g: g.post("/api/v1/suspend", {"analyst": "mallory", "lift": True}, "olga"),
}


@pytest.mark.parametrize("name", CASES)
def test_reply_is_as_the_golden_file(gateway: Gateway, name: str) -> None:
    if name == "lift":  # each case stands alone
        CASES["suspend"](gateway)
    response = CASES[name](gateway)
    shown = {"http_status": response.status_code, "body": masked(response.json())}
    path = GOLDEN / f"{name}.json"
    if os.environ.get("DPJUPYTER_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(shown, indent=2) + "\n")
    assert shown == json.loads(path.read_text())
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"


def test_the_seeds_columns_come_in_their_order(gateway: Gateway) -> None:
    CASES["budget_set"](gateway)
    found = list(CASES["budget_get"](gateway).json()["status"]["data"])
    assert found == [
        "prefix", "db_name", "table_name", "total_budget", "residual_budget", "consumed_budget", "recover_cycle", "exhausted_strategy",
        "create_time", "last_update_time", "last_recover_time", "slack", "num_dpcall", "sum_eps", "sum_del", "sum_sq_eps", "sum_exp_eps", "prod_del",
    ]  # fmt: skip


def test_html_in_a_reply_is_no_html(gateway: Gateway) -> None:
    text = CASES["suspend"](gateway).text
    assert "<" not in text
    assert "\\u003cb\\u003e" in text
    CASES["lift"](gateway)


def masked(value: Any, key: str = "") -> Any:
    """The value without what differs from run to run."""
    match value:
        case dict():
            return {name: masked(item, name) for name, item in value.items()}
        case list() if key == "functions":
            return ["<names>"]
        case list() if key in ("Data", "n", "a") and value and all(isinstance(item, int | float) for item in value):
            return ["<number>"] * len(value)
        case list() if key in ("tables", "debited"):  # the ledger's order of locks, no promise of the API
            return sorted((masked(item, key) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        case list():
            return [masked(item, key) for item in value]
        case str() if key in {"sha256sum", "checksum"}:
            return "<checksum>"
        case str() if key == "request_id":
            return value if value == "some-id" else "<request id>"
        case str() if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", value):
            return "<time>"
        case str():
            return re.sub(r"[0-9a-f]{64}", "<checksum>", value)
        case float() | int() if key in ("before", "after", "people", "*", "analyst:people", "analyst:*") or (
            key == "n" and not isinstance(value, bool)
        ):
            return "<number>"
        case _:
            return value
