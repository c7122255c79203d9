"""The owner's form for synthetic twins, and how a rehearsal is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ipywidgets
import pytest

from dpjupyter import wire
from dpjupyter.answer import Answer
from dpjupyter.errors import BudgetExhausted
from dpjupyter.widgets import TwinActions
from dpjupyter.widgets.twins import TwinForm
from tests.magics.test_answer import ATTACK, elements
from tests.magics.test_widgets import row


@pytest.fixture(autouse=True)
def no_widget_stays() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


def card(**changes: Any) -> wire.TwinCard:
    known = {
        "prefix": "host", "db_name": "shop", "table_name": "orders", "version": "0" * 16, "time": "2030-01-01 00:00:00", "current": True,
        "card": {"rows": 10, "epsilon": 1.0, "mean_error_1": 0.01, "mean_error_2": 0.02},
    }  # fmt: skip
    return wire.TwinCard.model_validate(known | changes)


class Gateway:
    """Actions that note what was asked of them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.published: list[wire.TwinCard] = []
        self.affordable = True
        self.refuses: Exception | None = None

    def actions(self) -> TwinActions:
        return TwinActions(lambda: self.published, self._quote, self._publish, self._retire)

    def _quote(self, request: wire.TwinRequest) -> wire.TwinQuoteReply:
        self.asked.append(("quote", request))
        prices = [wire.TablePrice(table="orders", epsilon=1, delta=0, before=5, after=4, affordable=self.affordable)]
        return wire.TwinQuoteReply(
            table="orders", epsilon=request.epsilon, delta=request.delta, rho=0.1, tables=prices, affordable=self.affordable, columns=["kind"],
            left_out={"name": ATTACK}, one_way_sigma=12.5,
        )  # fmt: skip

    def _publish(self, request: wire.TwinRequest) -> wire.TwinCard:
        self.asked.append(("publish", request))
        if self.refuses:
            raise self.refuses
        self.published = [card()]
        return self.published[0]

    def _retire(self, request: wire.TwinRetireRequest) -> list[wire.TwinCard]:
        self.asked.append(("retire", request))
        self.published = []
        return []


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def form(gateway: Gateway) -> TwinForm:
    return TwinForm([row("*"), row("orders"), row("orders", analyst="ann")], gateway.actions(), lambda: gateway.asked.append(("done", None)))


def test_a_twin_is_published_only_after_its_price_was_shown(form: TwinForm, gateway: Gateway) -> None:
    assert [label for label, _ in form.table.options] == ["shop: orders"]
    form.confirm.click()
    assert gateway.asked == []
    form.epsilon.value, form.delta.value = "2.5", "1e-6"
    form.check.click()
    assert "costs ε 2.5" in form.said.value
    assert "standard deviation 12.5 rows" in form.said.value
    assert "img" not in elements(form.said.value)
    form.confirm.click()
    assert [what for what, _ in gateway.asked] == ["quote", "publish", "done"]
    assert gateway.asked[1][1].epsilon == 2.5
    assert "10 rows" in form.published.value
    form.confirm.click()
    assert len(gateway.asked) == 3


def test_a_change_after_the_price_needs_a_new_price(form: TwinForm, gateway: Gateway) -> None:
    form.check.click()
    form.epsilon.value = "5"
    form.confirm.click()
    assert [what for what, _ in gateway.asked] == ["quote"]


def test_what_cannot_be_paid_cannot_be_published(form: TwinForm, gateway: Gateway) -> None:
    gateway.affordable = False
    form.check.click()
    assert "CANNOT PAY" in form.said.value
    form.confirm.click()
    assert [what for what, _ in gateway.asked] == ["quote"]


@pytest.mark.parametrize(("epsilon", "delta"), [("x", "1e-6"), ("0", "1e-6"), ("-1", "1e-6"), ("1", "1"), ("1", ""), ("nan", "1e-6")])
def test_nonsense_is_said_and_not_sent(form: TwinForm, gateway: Gateway, epsilon: str, delta: str) -> None:
    form.epsilon.value, form.delta.value = epsilon, delta
    form.check.click()
    assert form.said.value
    assert gateway.asked == []


def test_a_refusal_is_shown_and_retiring_says_that_nothing_comes_back(form: TwinForm, gateway: Gateway) -> None:
    gateway.refuses = BudgetExhausted("cannot pay")
    form.check.click()
    form.confirm.click()
    assert "cannot pay" in form.said.value
    form.retire.click()
    assert "Press again" in form.said.value
    assert "Retired" not in form.said.value
    form.epsilon.value = "3"  # doing something else is no second press
    form.retire.click()
    assert "Press again" in form.said.value
    form.retire.click()
    assert "Retired. What it cost stays spent." in form.said.value


def test_a_rehearsal_says_what_to_expect_in_text_and_html() -> None:
    rehearsal = wire.Rehearsal(
        runs=20, epsilon=0.5, columns=[wire.ColumnRehearsal(name="n", median_error=2.0, p95_error=6.0, bias=-1.5, row_p95=[6.0])], shown=[1.0]
    )
    reply = wire.QueryReply(
        Meta=[{"Name": "n", "Type": "BIGINT"}],
        Data={"n": [100]},
        dp_info=wire.DpInfo(
            privacy=wire.Privacy(epsilon=0, rho=0, delta=0), utility=[wire.ColumnUtility(name="n", mechanism="discrete_laplace")],
            intervals={"0.95": {"n": [[94, 106]]}}, kind="synthetic", rehearsal=rehearsal,
        ),
    )  # fmt: skip
    answer = Answer(reply, sql="SELECT COUNT(*) AS n FROM people")
    for shown in (repr(answer), answer.to_html()):
        assert "SYNTHETIC" in shown
        assert "REHEARSAL" in shown
        assert "rehearsed 20 times: n strays ±2.0 in half of all cases, ±6.0 in 95%, on average -1.5" in shown
    assert "100 ± 6" in repr(answer)
    assert answer.rehearsal == rehearsal
    assert answer.charged == 0
