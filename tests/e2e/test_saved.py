"""What was kept with ``--save``, and gateways that a notebook starts itself: both known to chip, completion and status bar."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.lab import CONNECT, Lab, Notebook

pytestmark = pytest.mark.e2e
Open = Callable[..., Notebook]

TITANIC = CONNECT.format(name="titanic")
SAVE = "%%dpsql --epsilon 0.25 --save classes\nSELECT pclass, COUNT(*) AS n FROM passengers GROUP BY pclass"
READ = "%%dpsql\nSELECT pclass, n, n * 2 AS twice FROM saved.classes ORDER BY pclass"
OWN = """import os
for name in ("DPJUPYTER_DEMO", "DPJUPYTER_CONNECTIONS"):
    os.environ.pop(name, None)
from dpjupyter.demo import start
demo = start()
%load_ext dpjupyter
%dpsql connect"""


def test_a_saved_answer_is_priced_as_free_completed_and_read(lab: Lab, open_notebook: Open, shots: Path) -> None:
    notebook = open_notebook("saved", TITANIC, SAVE, READ, "%%dpsql\nSELECT 1 FROM sav", "%dpsql saved")
    notebook.run(0)
    expect(notebook.squiggle(2)).to_have_text("classes")  # not kept yet
    notebook.run(1)
    expect(notebook.output(1)).to_contain_text("Kept as saved.classes until its budget cycle ends.")
    expect(notebook.chip(2)).to_have_text("free")
    expect(notebook.squiggle(2)).to_have_count(0)
    notebook.run(2)
    expect(notebook.output(2)).to_contain_text("±")
    expect(notebook.output(2)).to_contain_text("cost nothing")
    notebook.editor(3).click()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.press("Tab")
    offered = lab.page.locator(".jp-Completer-item code", has_text="saved.classes")
    expect(offered.or_(notebook.editor(3).get_by_text("saved.classes")).first).to_be_visible()
    lab.page.keyboard.press("Escape")
    notebook.run(4)
    expect(notebook.output(4)).to_contain_text("saved.classes")
    panel = lab.open_panel()
    table = panel.locator(".dpj-table", has_text="saved.classes")
    expect(table).to_contain_text("kept by you: free")
    lab.page.screenshot(path=shots / "saved.png")
    notebook.write(3, "%%dpsql\n")
    table.evaluate("node => { node.open = true; }")
    table.get_by_role("button", name=re.compile("^saved.classes")).click()
    expect(notebook.editor(3)).to_contain_text("saved.classes")


def test_a_notebook_with_a_demo_of_its_own_has_chip_status_bar_and_panel(lab: Lab, open_notebook: Open, shots: Path) -> None:
    notebook = open_notebook("own", OWN, SAVE, "%dpsql connect owner")
    notebook.run(0)
    expect(notebook.output(0)).to_contain_text("Connected to titanic as ada")
    expect(notebook.chip(1)).to_have_text(re.compile(r"^ε 0\.25 · n ± \d+"))
    expect(lab.status).to_contain_text("titanic")
    notebook.run(1)
    expect(lab.status).to_contain_text("24.8 / 25")  # a quota of its own gateway: nobody else asked it
    panel = lab.open_panel()
    expect(panel).not_to_contain_text("not in your connections file")
    expect(panel.locator("select")).to_contain_text(re.compile(r"owner \(process \d+\)"))
    lab.page.screenshot(path=shots / "own-demo.png")
    notebook.run(2)  # the owner's token sees the owner's budgets
    expect(notebook.output(2)).to_contain_text("grace")
    expect(panel.locator("label option").first).to_have_text(re.compile(r"notebook: owner \(process"))
