"""Everyone can use it: axe finds nothing serious, the keyboard reaches everything, both themes are legible."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.e2e.conftest import ROOT
from tests.e2e.lab import CONNECT, Lab, Notebook

pytestmark = pytest.mark.e2e
AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
OURS = [".dpj-panel", ".dpj-status", ".dpj-chip"]
OVERFLOWING = """node => [...node.querySelectorAll('*')]
    .filter(each => each.clientWidth > 0 && each.scrollWidth > each.clientWidth + 1)
    .filter(each => getComputedStyle(each).textOverflow !== 'ellipsis')
    .map(each => each.className)"""


def _serious(lab: Lab) -> list[dict[str, Any]]:
    if not lab.page.evaluate("() => 'axe' in window"):
        # RequireJS-like loaders on the page would swallow the script's export.
        lab.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = lab.page.evaluate("include => window.axe.run({ include })", OURS)
    return [
        {"rule": violation["id"], "nodes": [node["html"] for node in violation["nodes"]]}
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def _box(node: Locator) -> dict[str, float]:
    box = node.bounding_box()
    assert box is not None
    return dict(box)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_both_themes_are_legible_and_nothing_overlaps(lab: Lab, open_notebook: Callable[..., Notebook], shots: Path, theme: str) -> None:
    notebook = open_notebook(
        f"look-{theme.replace(' ', '-')}",
        CONNECT.format(name="shop"),
        "%%dpsql totals << --epsilon 0.4\nSELECT segment, COUNT(*) AS n -- customers\nFROM customers WHERE newsletter GROUP BY segment",
        "%%dpsql\nSELECT *\nFROM customers",
        "%%dpsql --epsilon 5\nSELECT segment, COUNT(*) AS n, AVG(birth_year) AS born FROM customers GROUP BY segment",
    )
    lab.theme(theme)
    try:
        notebook.run(0)
        notebook.run(1)
        lab.open_panel()
        expect(notebook.chip(1)).to_contain_text("free")
        expect(notebook.chip(2)).to_have_attribute("data-tone", "refused")
        expect(notebook.chip(3)).to_contain_text("ε")
        lab.page.wait_for_timeout(500)
        lab.page.screenshot(path=shots / f"{theme.replace(' ', '-').lower()}.png")
        assert _serious(lab) == []
        assert lab.panel.evaluate(OVERFLOWING) == []
        for index in (1, 2, 3):
            chip, cell = _box(notebook.chip(index)), _box(notebook.cell(index).locator(".cm-editor"))
            assert chip["y"] + chip["height"] <= cell["y"] + cell["height"] + 1
            last_line = _box(notebook.editor(index).locator(".cm-line").last)
            assert chip["y"] >= last_line["y"] + last_line["height"] - 1  # below the query, never over it
        notebook.squiggle(2).hover()
        expect(lab.page.locator(".cm-tooltip-lint").first).to_be_visible()
        lab.page.screenshot(path=shots / f"{theme.replace(' ', '-').lower()}-hint.png")
    finally:
        lab.theme("JupyterLab Light")


def test_a_narrow_panel_and_a_small_window_clip_nothing(lab: Lab, open_notebook: Callable[..., Notebook], shots: Path) -> None:
    notebook = open_notebook("narrow", CONNECT.format(name="shop"), "%%dpsql\nSELECT *\nFROM customers")
    lab.page.set_viewport_size({"width": 900, "height": 600})
    try:
        notebook.run(0)
        lab.open_panel()
        expect(notebook.chip(1)).to_be_visible()
        lab.page.wait_for_timeout(300)
        lab.page.screenshot(path=shots / "small-window.png")
        assert lab.panel.evaluate(OVERFLOWING) == []
    finally:
        lab.page.set_viewport_size({"width": 1440, "height": 900})


def test_names_of_columns_stay_whole_in_the_panel(lab: Lab, open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook("names", CONNECT.format(name="titanic"), "")
    notebook.run(0)
    lab.open_panel()
    names = lab.panel.locator(".dpj-column-name")
    expect(names.get_by_text("passenger_id", exact=True)).to_be_visible()
    one_line = _box(names.get_by_text("age", exact=True))["height"]
    assert _box(names.get_by_text("passenger_id", exact=True))["height"] == one_line


def test_the_price_does_not_make_the_cell_jump(lab: Lab, open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook("steady", CONNECT.format(name="titanic"), "%%dpsql\nSELECT COUNT(*) AS n FROM passengers")
    notebook.run(0)
    expect(notebook.chip(1)).to_contain_text("n ±")
    height = _box(notebook.cell(1))["height"]
    notebook.editor(1).click()
    lab.page.keyboard.press("Control+End")
    seen = set()
    for _ in range(20):
        lab.page.keyboard.type(" ")
        seen.add(_box(notebook.cell(1))["height"])
        lab.page.wait_for_timeout(60)
    assert seen == {height}


def test_everything_is_reached_by_keyboard(lab: Lab, open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook("keys", CONNECT.format(name="titanic"), "%%dpsql\nSELECT nobody FROM passengers -- ")
    notebook.run(0)
    lab.command("application:toggle-right-area")
    lab.status.focus()
    lab.page.keyboard.press("Enter")
    expect(lab.panel).to_be_visible()
    notebook.editor(1).click()
    lab.page.keyboard.press("Control+End")
    lab.panel.get_by_role("button", name="Refresh").focus()
    for _ in range(30):
        lab.page.keyboard.press("Tab")
        focused = lab.page.evaluate("() => document.activeElement.textContent")
        if re.match("^fare", focused):
            break
    lab.page.keyboard.press("Enter")
    expect(notebook.editor(1)).to_contain_text("-- fare")
    expect(notebook.squiggle(1)).to_be_visible()
    lab.page.keyboard.press("F8")
    selected = lab.page.evaluate("() => document.getSelection().toString()")
    assert selected == "nobody"
    lab.command("dpjupyter:toggle-price-chip")
    expect(notebook.chip(1)).to_have_count(0)
    expect(notebook.squiggle(1)).to_be_visible()
    lab.command("dpjupyter:toggle-price-chip")
    expect(notebook.chip(1)).to_be_visible()
