"""The README's picture: a first question and its answer. `make picture` takes it anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.lab import CONNECT, Lab, Notebook

pytestmark = pytest.mark.e2e
QUESTION = """\
%%dpsql --epsilon 0.5
SELECT pclass, COUNT(*) AS n, AVG(survived) AS survived
FROM passengers
WHERE age >= 18
GROUP BY pclass
ORDER BY pclass"""
SIZE = {"width": 1080, "height": 590}  # pixels that show the question, its answer, the budgets and the status bar


def test_a_first_question_looks_as_in_the_readme(lab: Lab, open_notebook: Callable[..., Notebook], shots: Path) -> None:
    lab.page.set_viewport_size(SIZE)
    lab.command("application:toggle-left-area")
    try:
        notebook = open_notebook("First question", CONNECT.format(name="titanic"), QUESTION)
        notebook.run(0)
        lab.open_panel()
        notebook.run(1)
        expect(notebook.output(1)).to_contain_text("±")
        expect(notebook.output(1)).to_contain_text("balance")
        expect(notebook.chip(1)).to_contain_text("free")  # answered already in this cycle
        lab.page.wait_for_timeout(700)  # the panel's gauges follow the answer
        lab.page.screenshot(path=shots / "answer.png")
    finally:
        lab.command("application:toggle-left-area")
        lab.page.set_viewport_size({"width": 1440, "height": 900})
