"""Widgets: replies in, text and escaped HTML out; buttons do what they are given. No kernel, no network."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import ipywidgets
import matplotlib as mpl
import pytest

from dpjupyter import wire
from dpjupyter.answer import Answer, Quoted
from dpjupyter.errors import BadRequest, Forbidden, GatewayUnreachable
from dpjupyter.widgets import AnswerView, BudgetPanel, OwnerActions, OwnerPanel, QuoteView
from dpjupyter.widgets.audit import csv_text
from dpjupyter.widgets.base import Panel
from dpjupyter.widgets.suspicion import repetitions, shape
from tests.magics.test_answer import ATTACK, elements, reply

mpl.use("agg")
NOW = datetime(2030, 1, 10, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_widget_stays() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


def row(table: str, consumed: float = 0.0, **more: Any) -> wire.BudgetRow:
    time = "2030-01-01 00:00:00"
    known = {
        "prefix": "host", "db_name": "shop", "table_name": table, "total_budget": 10.0, "residual_budget": max(0.0, 10.0 - consumed),
        "consumed_budget": consumed, "recover_cycle": 30, "exhausted_strategy": "reject", "create_time": time, "last_update_time": time,
        "last_recover_time": time, "slack": 1e-7, "num_dpcall": 1, "sum_eps": consumed, "sum_del": 0, "sum_sq_eps": 0, "sum_exp_eps": 0, "prod_del": 1,
        "next_recover_time": "2030-01-31 00:00:00", "lifetime_epsilon": consumed,
    }  # fmt: skip
    return wire.BudgetRow.model_validate(known | more)


def asked(sql: str, analyst: str = "ann", verdict: str = "answered", epsilon: float = 0.5, **more: Any) -> wire.AuditRow:
    return wire.AuditRow(
        time="2030-01-10 10:00:00", request_id="r", analyst=analyst, prefix="host", db_name="shop", verdict=verdict, sql=sql, epsilon=epsilon, **more
    )


def html(widget: ipywidgets.Widget) -> str:
    """All HTML inside a widget."""
    own = widget.value if isinstance(widget, ipywidgets.HTML) else ""
    return own + "".join(html(child) for child in getattr(widget, "children", ()))


ROWS = [
    row("*", 7.5, lifetime_epsilon=19.25),
    row("orders", 10.0),
    row("customers", 2.0, exhausted_strategy="allow", unmetered_answers=2),
    row("customers", 1.0, analyst="ann", suspended=True, next_recover_time="2030-01-10 17:00:00"),
]


def test_budgets_as_text() -> None:
    panel = BudgetPanel(ROWS, now=lambda: NOW)
    assert (
        repr(panel)
        == """\
shop (host)
  customers                ██░░░░░░░░  ε 2 of 10 spent, 8 left, recovers in 21 days
                                       2 UNMETERED ANSWERS: THE PROMISE OF THIS BUDGET IS VOID UNTIL IT RECOVERS
  orders                   ██████████  ε 10 of 10 spent, 0 left, recovers in 21 days
  whole database           ████████░░  ε 7.5 of 10 spent, 2.5 left, recovers in 21 days, ε 19.25 over all cycles
  customers, quota of ann  █░░░░░░░░░  ε 1 of 10 spent, 9 left, recovers in 5 h
                                       suspended by the owner"""
    )
    assert "No budget is visible to you." in repr(BudgetPanel([], now=lambda: NOW))


def test_a_panels_text_form_is_whole_and_stable() -> None:
    panel = BudgetPanel(ROWS, now=lambda: NOW)
    bundle = panel._repr_mimebundle_()
    assert bundle["text/plain"] == repr(panel)
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_gauges_are_meters_for_screen_readers() -> None:
    shown = html(BudgetPanel(ROWS, now=lambda: NOW))
    assert shown.count('role="meter"') == 4
    assert 'aria-valuenow="75"' in shown
    assert 'aria-label="customers, quota of ann: share of the budget spent"' in shown


def test_a_refresh_that_fails_keeps_the_figures_and_says_offline() -> None:
    replies: list[Any] = [[row("orders", 3.0)], GatewayUnreachable("no gateway answers")]

    def refresh() -> list[wire.BudgetRow]:
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    panel = BudgetPanel(ROWS, refresh=refresh, now=lambda: NOW)
    assert panel.refresh()
    assert "ε 3 of 10 spent" in html(panel)
    assert not panel.refresh()
    assert "ε 3 of 10 spent" in html(panel)
    assert "offline: no gateway answers" in html(panel)


class Gateway:
    """Actions that note what was asked of them."""

    def __init__(self) -> None:
        self.set: list[wire.BudgetSetRequest] = []
        self.suspended: list[wire.SuspendRequest] = []
        self.filters: list[dict[str, Any]] = []
        self.refuses: Exception | None = None

    def actions(self) -> OwnerActions:
        return OwnerActions(lambda: ROWS, self._set, self._audit, self._suspend)

    def _set(self, request: wire.BudgetSetRequest) -> None:
        if self.refuses:
            raise self.refuses
        self.set.append(request)

    def _suspend(self, request: wire.SuspendRequest) -> None:
        self.suspended.append(request)

    def _audit(self, **filters: Any) -> wire.AuditReply:
        self.filters.append(filters)
        if filters.get("since") == "yesterday":
            raise BadRequest("since is not a time")
        return wire.AuditReply(rows=[asked("SELECT 2")], total=17)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def owner(gateway: Gateway) -> OwnerPanel:
    return OwnerPanel(ROWS, wire.AuditReply(rows=[asked("SELECT 1", fingerprint="f")] * 3, total=3), gateway.actions(), now=lambda: NOW)


def test_a_budget_is_set_only_after_confirmation(owner: OwnerPanel, gateway: Gateway) -> None:
    form = owner.form
    form.row.value = next(index for label, index in form.row.options if label == "shop: whole database")
    assert (form.total.value, form.cycle.value, form.strategy.value) == ("10", "30", "reject")
    form.total.value, form.strategy.value = "5", "allow"
    form.check.click()
    assert not gateway.set
    said = form.said.value
    for part in ("total ε 10 → 5", "less than the 7.5 spent", "UNMETERED", "What was spent stays spent"):
        assert part in said
    form.confirm.click()
    assert [request.model_dump(exclude_none=True) for request in gateway.set] == [
        {"prefix": "host", "db_name": "shop", "table_name": "*", "total_budget": 5.0, "recover_cycle": 30, "exhausted_strategy": "allow"}
    ]
    form.confirm.click()
    assert len(gateway.set) == 1


@pytest.mark.parametrize(("total", "cycle"), [("nan", "30"), ("-1", "30"), ("0", "30"), ("9000001", "30"), ("x", "30"), ("1", "0"), ("1", "1.5"), ("1", "x")])
def test_wrong_budgets_are_refused_before_they_are_sent(owner: OwnerPanel, gateway: Gateway, total: str, cycle: str) -> None:
    owner.form.total.value, owner.form.cycle.value = total, cycle
    owner.form.check.click()
    assert owner.form.confirm.layout.display == "none"
    assert owner.form.said.value
    owner.form.confirm.click()
    assert not gateway.set


@pytest.mark.parametrize(
    ("total", "cycle", "said"),
    [("-3", "30", "total ε: must be greater than 0"), ("x", "30", "total ε: must be a number"), ("1", "x", "cycle, days: must be a whole number")],
)
def test_what_is_wrong_is_said_by_the_forms_own_names(owner: OwnerPanel, total: str, cycle: str, said: str) -> None:
    owner.form.total.value, owner.form.cycle.value = total, cycle
    owner.form.check.click()
    assert f">{said}<" in owner.form.said.value


def test_what_the_gateway_refuses_is_shown(owner: OwnerPanel, gateway: Gateway) -> None:
    gateway.refuses = Forbidden("only owners may", hint=ATTACK)
    owner.form.total.value = "20"
    owner.form.check.click()
    owner.form.confirm.click()
    assert "only owners may" in owner.form.said.value
    assert "img" not in elements(owner.form.said.value)


def test_a_quota_for_an_analyst(owner: OwnerPanel, gateway: Gateway) -> None:
    owner.form.analyst.value = "ben"
    owner.form.total.value = "3"
    owner.form.check.click()
    assert "the quota of ben" in owner.form.said.value
    owner.form.confirm.click()
    assert gateway.set[0].analyst == "ben"


def test_suspending_needs_exactly_one_name(owner: OwnerPanel, gateway: Gateway) -> None:
    form = owner.suspension
    form.suspend.click()
    assert "either an analyst or a table" in form.said.value
    form.analyst.value = "ann"
    form.suspend.click()
    form.analyst.value = ""
    form.table.value = ("host", "shop", "orders")
    form.lift.click()
    assert [(one.analyst, one.table_name, one.lift) for one in gateway.suspended] == [("ann", None, False), (None, "orders", True)]


def test_the_audit_log_is_filtered_by_the_gateway(owner: OwnerPanel, gateway: Gateway) -> None:
    view = owner.audit
    assert "<b>Repeated:</b> ann paid 3 times for the same question (ε 1.5): select ?" in view.flags.value
    view.analyst.value, view.verdict.value = " ann ", "answered"
    view.button.click()
    assert gateway.filters[-1] == {"analyst": "ann", "table": None, "verdict": "answered", "since": None, "until": None, "limit": 200}
    assert "1 of 17 requests" in view.export.value
    view.since.value = "yesterday"
    view.button.click()
    assert "since is not a time" in view.flags.value


def test_exported_csv_cannot_run_formulas() -> None:
    text = csv_text([asked("=HYPERLINK(1)", analyst="@a", reason='x,"y"\nz', tables=["t", "u"])])
    read = next(csv.DictReader(io.StringIO(text)))
    assert (read["sql"], read["analyst"], read["reason"], read["tables"]) == ("'=HYPERLINK(1)", "'@a", 'x,"y"\nz', "t, u")


def test_repeated_questions_are_found_whatever_their_literals() -> None:
    log = [asked(f"SELECT COUNT(*) FROM t WHERE age > {n} AND c = 'x{n}' -- {n}", fingerprint=str(n)) for n in range(4)]
    log += [asked("select  count(*) from t1", analyst="ben")] * 2 + [asked("SELECT 1", verdict="cached", epsilon=0)] * 5
    found = repetitions(log)
    assert [(one.analyst, one.times, one.distinct, one.epsilon) for one in found] == [("ann", 4, 4, 2.0)]
    assert shape("SELECT a1, 'it''s', 1.5e3 /* 7 */ FROM t2") == "select a1, ?, ? from t2"


def test_every_text_is_inert() -> None:
    hostile = row(ATTACK, 1.0, db_name=ATTACK, prefix=ATTACK, analyst=ATTACK)
    log = wire.AuditReply(rows=[asked(ATTACK, analyst=ATTACK, reason=ATTACK, tables=[ATTACK])] * 3)
    answer = Answer(reply({ATTACK: [ATTACK, "b"], "n": [1, 2]}, {ATTACK: "VARCHAR", "n": "BIGINT"}, {"n": [1, 1]}, notes=[ATTACK]))
    quote = wire.QuoteReply.model_validate(
        {"privacy": {"epsilon": 1, "rho": 1, "delta": 0}, "utility": [{"name": ATTACK}], "affordable": True, "notes": [ATTACK], "checksum": ""}
    )
    panels: list[Panel] = [
        BudgetPanel([hostile], now=lambda: NOW),
        OwnerPanel([hostile], log, Gateway().actions(), now=lambda: NOW),
        AnswerView(answer),
        QuoteView(Quoted(quote)),
    ]
    for panel in panels:
        assert "img" not in elements(html(panel))
        assert ATTACK not in html(panel)


def test_answer_view_charts_and_compares() -> None:
    answer = Answer(reply({"k": ["a", "b"], "n": [100, 103]}, {"k": "VARCHAR", "n": "BIGINT"}, {"n": [4.0, 4.0]}))
    view = answer.view()
    assert repr(view) == repr(answer)
    assert "indistinguishable at 95%" in view.verdict.value
    view.second.value = 0
    view.first.value = 1
    view.confidence.value = 0.5
    assert "± at 50%" in html(view)
    view.tabs.selected_index = 1
    chart = view._chart.children[0].value
    assert chart.startswith('<img alt="Bar chart of n by k, with intervals at 50%: a: 100 ± 2; b: 103 ± 2."')
    assert base64.b64decode(chart.partition("base64,")[2].partition('"')[0]).startswith(b"\x89PNG")


def test_quote_view_asks_when_pressed() -> None:
    pressed: list[int] = []
    reply = wire.QuoteReply.model_validate(
        {
            "privacy": {"epsilon": 1, "rho": 1, "delta": 0, "tables": [{"table": "t", "epsilon": 1, "delta": 0}]},
            "utility": [{"name": "n", "mechanism": "discrete_laplace", "half_width": {"0.5": 1.0, "0.95": 3.0}}],
            "affordable": True, "checksum": "",
        }
    )  # fmt: skip
    view = QuoteView(Quoted(reply), ask=lambda: pressed.append(1))
    view.button.click()
    assert pressed == [1]
    assert "±3.0" in html(view)
    view.confidence.value = 0.5
    assert "±1.0" in html(view)
    assert QuoteView(Quoted(reply.model_copy(update={"affordable": False})), ask=lambda: None).button.disabled


def test_csv_link_holds_the_rows(owner: OwnerPanel) -> None:
    data = owner.audit.export.value.partition("base64,")[2].partition('"')[0]
    assert base64.b64decode(data).decode() == csv_text(owner.audit.rows)
