"""The analyst's path: connect, see prices while typing, ask, watch the budget."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from playwright.sync_api import expect

from dpjupyter import wire
from dpjupyter.demo.gateway import Demo
from tests.e2e.conftest import Heard
from tests.e2e.lab import CONNECT, Lab, Notebook

pytestmark = pytest.mark.e2e
Open = Callable[..., Notebook]

TITANIC = CONNECT.format(name="titanic")
QUESTION = "%%dpsql --epsilon 0.5\nSELECT pclass, COUNT(*) AS n FROM passengers GROUP BY pclass ORDER BY pclass"


def _left(lab: Lab) -> float:
    match = re.search(r"ε ([\d.]+) /", lab.status.inner_text())
    assert match is not None
    return float(match[1])


def test_a_first_question_is_priced_asked_and_paid_for(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook("first", TITANIC, QUESTION, "%%dpsql --epsilon 0.25\nSELECT COUNT(*) AS n FROM passengers")
    notebook.run(0)
    expect(notebook.output(0)).to_contain_text("Connected to titanic as ada")
    expect(notebook.chip(1)).to_have_text(re.compile(r"^ε 0\.5 · n ± \d+(\.\d+)? · \d+% of balance$"))
    notebook.run(1)
    expect(notebook.output(1)).to_contain_text("±")
    expect(lab.status).to_contain_text("/ 25")  # the analyst's own quota begins with the first question
    before = _left(lab)
    notebook.run(2)
    expect(lab.status).not_to_contain_text(f"ε {before:g} /")
    assert _left(lab) == pytest.approx(before - 0.25, abs=0.06)
    # The same question again is answered from the ledger.
    expect(notebook.chip(1)).to_have_text(re.compile("^free: already answered"))


def test_the_panel_follows_without_being_asked(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook("live", TITANIC, QUESTION.replace("pclass", "survived"))
    notebook.run(0)
    panel = lab.open_panel()
    gauge = panel.locator(".dpj-gauge").first
    before = gauge.inner_text()
    notebook.run(1)
    expect(gauge).not_to_have_text(before)
    newest = panel.locator(".dpj-history li").first
    expect(newest).to_contain_text("SELECT survived, COUNT(*) AS n")
    expect(newest).to_contain_text("ε 0.5 · answered")


def test_the_price_follows_typing_without_a_request_for_every_key(lab: Lab, heard: Heard, open_notebook: Open) -> None:
    notebook = open_notebook("typing", TITANIC, "%%dpsql --epsilon 0.3\n", "youngest = 18")
    notebook.run(0)
    expect(notebook.chip(1)).to_have_text("Write a query: its price appears here")
    notebook.editor(1).click()
    lab.page.keyboard.press("Control+End")
    heard.requests.clear()
    lab.page.keyboard.type("SELECT COUNT(*) AS everyone FROM passengers", delay=15)
    expect(notebook.chip(1)).to_contain_text("ε 0.3 · everyone ±")
    assert 1 <= len(heard.asked("/dpjupyter/api/quote")) <= 6
    notebook.write(1, "%%dpsql --epsilon 0.3 --within 20\nSELECT COUNT(*) AS everyone FROM passengers")
    expect(notebook.chip(1)).to_have_text(re.compile(r"everyone ± (20|1\d)"))
    notebook.write(1, "%%dpsql\nSELECT COUNT(*) FROM passengers WHERE age > :oldest")
    expect(notebook.chip(1)).to_have_text("The price depends on :oldest, known when the cell runs; or add --param oldest=…")
    notebook.run(2)
    notebook.write(1, "%%dpsql --epsilon 0.2\nSELECT COUNT(*) FROM passengers WHERE age > :youngest")
    expect(notebook.chip(1)).to_contain_text("ε 0.2 · ")
    notebook.write(1, "x = 1")
    expect(notebook.chip(1)).to_have_count(0)


def test_prices_cost_nothing(lab: Lab, open_notebook: Open, owner: Callable[..., dict]) -> None:
    def spent() -> list[float]:
        return [row["consumed_budget"] for row in owner("GET", wire.BUDGET_LIST)["budgets"]]

    before = spent()
    notebook = open_notebook("free", TITANIC, "%%dpsql\n")
    notebook.run(0)
    for epsilon in (0.4, 0.5, 0.6):
        notebook.write(1, f"%%dpsql --epsilon {epsilon}\nSELECT embarked, COUNT(*) AS n FROM passengers GROUP BY embarked")
        expect(notebook.chip(1)).to_contain_text(f"ε {epsilon}")
    assert spent() == before


def test_a_refusal_is_underlined_with_a_hint(lab: Lab, heard: Heard, open_notebook: Open) -> None:
    notebook = open_notebook("refused", TITANIC, "%%dpsql\nSELECT *\nFROM passengers", "%%dpsql\nSELECT COUNT(*) FROM passengers WHERE nobody = 1")
    notebook.run(0)
    expect(notebook.squiggle(1)).to_be_visible()
    expect(notebook.chip(1)).to_have_attribute("data-tone", "refused")
    expect(notebook.squiggle(2)).to_have_text("nobody")
    notebook.squiggle(2).hover()
    tooltip = lab.page.locator(".cm-tooltip-lint")
    expect(tooltip).to_contain_text("nobody")
    notebook.write(1, "%%dpsql\nSELECT COUNT(*)\nFROM passengers")
    expect(notebook.squiggle(1)).to_have_count(0)
    assert heard.console == []  # refusals while typing are no errors


def test_sql_is_highlighted_in_our_cells_only(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook("colours", "%%dpsql\nSELECT 1 -- a comment", "SELECT = 1 # SELECT")

    def colour(cell: int, text: str) -> str:
        span = notebook.editor(cell).locator("span", has_text=re.compile(f"^{text}$")).first
        return span.evaluate("node => getComputedStyle(node).color")

    expect(notebook.editor(0).locator("span", has_text=re.compile("^SELECT$"))).to_have_count(1)
    assert colour(0, "SELECT") != notebook.editor(0).evaluate("node => getComputedStyle(node).color")
    notebook.write(0, "SELECT = 2")
    expect(notebook.editor(0).locator("span", has_text=re.compile("^SELECT$"))).to_have_count(0)
    notebook.write(0, "%%dpsql\nSELECT 2")
    expect(notebook.editor(0).locator("span", has_text=re.compile("^SELECT$"))).to_have_count(1)


@pytest.mark.parametrize(
    ("text", "expected"), [("%%dpsql\nSELECT AVG(fa", "fare"), ("%%dpsql\nSELECT COUNT(*) FROM pas", "passengers"), ("%%dpsql --mecha", "--mechanism")]
)
def test_names_and_options_are_completed(lab: Lab, open_notebook: Open, text: str, expected: str) -> None:
    notebook = open_notebook("complete", TITANIC, "")
    notebook.run(0)
    notebook.write(1, text)
    lab.page.keyboard.press("Tab")
    # One match is written at once; several are offered.
    offered = lab.page.locator(".jp-Completer-item code", has_text=re.compile(f"^{expected}$"))
    written = notebook.editor(1).get_by_text(re.compile(re.escape(expected)))
    expect(offered.or_(written).first).to_be_visible()
    if offered.count():
        offered.first.click()
    expect(notebook.editor(1)).to_contain_text(expected)


def test_a_click_inserts_a_column(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook("insert", TITANIC, "%%dpsql\nSELECT AVG()")
    notebook.run(0)
    notebook.editor(1).click()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.press("ArrowLeft")
    panel = lab.open_panel()
    panel.get_by_role("button", name=re.compile("^fare")).click()
    expect(notebook.editor(1)).to_contain_text("AVG(fare)")


def test_the_notebooks_database_is_shown_also_after_a_reload(lab: Lab, open_notebook: Open) -> None:
    notebook = open_notebook("shop", CONNECT.format(name="shop"), "%%dpsql\nSELECT COUNT(*) AS n FROM customers")
    expect(lab.status).to_contain_text("titanic")  # the default, before the kernel says otherwise
    notebook.run(0)
    expect(lab.status).to_contain_text("shop")
    lab.command("docmanager:save")
    lab.load()
    reopened = lab.open_existing("shop")
    expect(lab.status).to_contain_text("shop")
    expect(reopened.chip(1)).to_contain_text("n ±")
    lab.close(reopened)


def test_an_interrupt_stops_waiting_and_the_kernel_lives_on(lab: Lab, demo: Demo, open_notebook: Open) -> None:
    notebook = open_notebook("interrupt", TITANIC, "%%dpsql --no-cache\nSELECT COUNT(*) AS n FROM passengers", "print(6 * 7)")
    notebook.run(0)
    assert demo.leash is not None
    [gateway] = psutil.Process(demo.leash.pid).children()
    gateway.send_signal(signal.SIGSTOP)  # a warehouse that takes its time
    try:
        notebook.start(1)
        expect(notebook.cell(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
        time.sleep(1)
        lab.command("notebook:interrupt-kernel")
        time.sleep(0.5)
    finally:
        gateway.send_signal(signal.SIGCONT)
    notebook.ran(1)
    expect(notebook.output(1)).to_contain_text("interrupted")
    notebook.run(2)
    expect(notebook.output(2)).to_contain_text("42")
