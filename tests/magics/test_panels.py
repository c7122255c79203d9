"""``%dpsql budget`` and ``%dpsql owner`` against a real gateway: live after each query, quiet while it is down."""

from __future__ import annotations

from dataclasses import dataclass, field

import ipywidgets
import pytest

from dpjupyter import wire
from dpjupyter.errors import GatewayUnreachable
from dpjupyter.magics.panels import FRESH_S, LONGEST_S, Follower
from dpjupyter.magics.session import Session
from dpjupyter.widgets import BudgetPanel, OwnerPanel
from tests.magics.conftest import Shell
from tests.magics.test_widgets import row


@pytest.fixture(autouse=True)
def no_widget_stays():
    yield
    ipywidgets.Widget.close_all()


def spent(panel: BudgetPanel, table: str, analyst: str | None = None) -> float:
    return next(row.consumed_budget for row in panel.rows if (row.db_name, row.table_name, row.analyst) == ("clinic", table, analyst))


def test_the_budget_panel_follows_each_query(shell: Shell) -> None:
    shell.run("%%dpsql --epsilon 0.1\nSELECT COUNT(*) AS n FROM people")
    panel = shell.run("%dpsql budget")
    assert isinstance(panel, BudgetPanel)
    assert "clinic (test)" in shell.said
    before = spent(panel, "people", "alice")
    shell.run("%%dpsql --epsilon 0.5 --no-cache\nSELECT COUNT(*) AS n FROM people")
    assert spent(panel, "people", "alice") == pytest.approx(before + 0.5)
    assert not [row for row in panel.rows if row.analyst not in (None, "alice")]


def test_an_owner_sets_a_budget_and_the_analyst_sees_it(shell: Shell) -> None:
    shell.run("%dpsql connect olga")
    panel = shell.run("%dpsql owner")
    assert isinstance(panel, OwnerPanel)
    form = panel.form
    form.row.value = next(index for label, index in form.row.options if label == "clinic: admissions")
    form.total.value = "77"
    form.check.click()
    form.confirm.click()
    assert "of 77 spent" in repr(panel)
    shell.run("%dpsql connect alice")
    assert "of 77 spent" in repr(shell.run("%dpsql budget"))


def test_an_owner_suspends_and_lifts_an_analyst(shell: Shell) -> None:
    shell.run("%dpsql connect olga")
    panel = shell.run("%dpsql owner")
    panel.suspension.analyst.value = "bob"
    panel.suspension.suspend.click()
    assert panel.suspension.said.value == "Suspended."
    shell.run("%dpsql connect bob")
    assert shell.fail("%%dpsql\nSELECT COUNT(*) AS n FROM people WHERE age > 77").startswith("Suspended: ")
    panel.suspension.lift.click()
    shell.run("%dpsql connect bob")
    shell.run("%%dpsql\nSELECT COUNT(*) AS n FROM people WHERE age > 77")


def test_the_owner_reads_who_asked_what(shell: Shell) -> None:
    shell.run("%dpsql connect alice")
    shell.run("%%dpsql\nSELECT COUNT(*) AS asked_by_alice FROM people")
    shell.run("%dpsql connect olga")
    panel = shell.run("%dpsql owner")
    panel.audit.analyst.value = "alice"
    panel.audit.button.click()
    assert {row.analyst for row in panel.audit.rows} == {"alice"}
    assert "asked_by_alice" in panel.audit.rows[0].sql
    panel.audit.since.value = "tomorrow"
    panel.audit.button.click()
    assert "BadRequest" in panel.audit.flags.value


@dataclass(slots=True)
class Down:
    """A gateway that can go away; counts how often it is asked."""

    up: bool = True
    asked: int = 0
    rows: list[wire.BudgetRow] = field(default_factory=lambda: [row("orders")])

    def budgets(self) -> list[wire.BudgetRow]:
        self.asked += 1
        if not self.up:
            raise GatewayUnreachable("no gateway answers")
        return self.rows


def test_a_gateway_that_is_down_is_asked_less_and_less() -> None:
    gateway, now = Down(), [0.0]
    follower = Follower(Session(), clock=lambda: now[0])
    panel = BudgetPanel(gateway.rows, refresh=gateway.budgets)
    follower.add(panel)
    follower.refresh()
    assert gateway.asked == 0  # the figures are fresh
    gateway.up = False
    for _ in range(3600):  # an hour of cells, one a second
        now[0] += 1
        follower.refresh()
    assert gateway.asked <= 11
    gateway.up = True
    now[0] += LONGEST_S
    follower.refresh()
    now[0] += FRESH_S
    before = gateway.asked
    follower.refresh()
    assert gateway.asked == before + 1
    panel.close()
    now[0] += LONGEST_S
    follower.refresh()
    assert gateway.asked == before + 1  # nobody looks
