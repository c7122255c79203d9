"""What the owner changes, the analyst sees; what is spent is refused, clearly."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from dpjupyter import wire
from tests.e2e.lab import CONNECT, Lab, Notebook

pytestmark = pytest.mark.e2e
SHOP = CONNECT.format(name="shop")
POLL_S = 10


def test_a_budget_set_by_the_owner_reaches_the_analyst_by_itself(
    lab: Lab, open_notebook: Callable[..., Notebook], owner: Callable[..., dict[str, Any]]
) -> None:
    notebook = open_notebook("set", SHOP)
    notebook.run(0)
    gauge = lab.open_panel().locator(".dpj-gauge", has=lab.page.get_by_text("products", exact=True).or_(lab.page.get_by_text("orders", exact=True)))
    expect(gauge.first).to_contain_text("of 40 left")
    owner("POST", wire.BUDGET_SET, {"prefix": "demo", "db_name": "shop", "table_name": "orders", "total_budget": 31.5})
    expect(gauge.first).to_contain_text("of 31.5 left", timeout=POLL_S * 2500)


def test_an_exhausted_budget_is_said_before_and_after_asking(
    lab: Lab, open_notebook: Callable[..., Notebook], owner: Callable[..., dict[str, Any]]
) -> None:
    def set_total(total: float) -> None:
        owner("POST", wire.BUDGET_SET, {"prefix": "demo", "db_name": "shop", "table_name": "customers", "total_budget": total})

    rows = owner("GET", wire.BUDGET_LIST)["budgets"]
    [spent] = [row["consumed_budget"] for row in rows if row["table_name"] == "customers" and row["analyst"] is None]
    set_total(spent + 0.4)
    question = "%%dpsql --epsilon {}\nSELECT segment, COUNT(*) AS n FROM customers GROUP BY segment"
    notebook = open_notebook("spent", SHOP, question.format(0.3), question.format(0.31), "%%dpsql --epsilon 0.1\nSELECT COUNT(*) AS n FROM customers")
    notebook.run(0)
    expect(notebook.chip(1)).to_contain_text("ε 0.3 · n ±")
    notebook.run(1)
    expect(notebook.chip(2)).to_have_text(re.compile(r"^ε 0\.31 is more than the 0\.1\d* left$"))
    expect(notebook.chip(2)).to_have_attribute("data-tone", "refused")
    notebook.run(2)
    expect(notebook.output(2)).to_contain_text("BudgetExhausted")
    expect(notebook.output(2)).not_to_contain_text("Traceback")
    gauge = lab.open_panel().locator(".dpj-gauge", has=lab.page.get_by_text("customers", exact=True)).first
    notebook.run(3)
    expect(gauge).to_have_attribute("data-level", "out")
    expect(gauge).to_contain_text("recovers in")
    set_total(40)
    lab.panel.get_by_role("button", name="Refresh").click()
    expect(notebook.chip(2)).to_contain_text("ε 0.31 · n ±")
