"""Scripts in queries, policies and answers stay text; a gateway that is away is a quiet word."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from dpjupyter import connections
from dpjupyter.demo.gateway import Demo, free_port
from tests.e2e.conftest import SCRIPT, Heard
from tests.e2e.lab import CONNECT, Lab, Notebook

pytestmark = pytest.mark.e2e
POLL_S = 10


def test_scripts_stay_text_everywhere(lab: Lab, open_notebook: Callable[..., Notebook]) -> None:
    quoted = SCRIPT.replace('"', '""')
    notebook = open_notebook(
        "inert",
        CONNECT.format(name="trap"),
        f'%%dpsql\nSELECT \'{SCRIPT.replace(chr(39), chr(39) * 2)}\' AS said, COUNT(*) AS "{quoted}" FROM passengers',
        "%%dpsql\nSELECT sex, COUNT(*) AS n FROM passengers GROUP BY sex",
        f'%%dpsql\nSELECT COUNT(*) FROM "{quoted}"',
        "%dpsql describe passengers",
        "%dpsql history",
        "%dpsql budget",
        "",
    )
    notebook.run(0)
    panel = lab.open_panel()
    expect(panel.locator(".dpj-table")).to_contain_text(SCRIPT)
    for index in (1, 2, 3, 4, 5, 6):
        notebook.run(index)
    expect(notebook.output(2)).to_contain_text(SCRIPT)
    expect(notebook.output(4)).to_contain_text(SCRIPT)
    expect(panel.locator(".dpj-history")).to_contain_text("<img src=x onerror=")
    expect(notebook.chip(3)).to_contain_text("<img")
    notebook.squiggle(3).first.hover()
    expect(lab.page.locator(".cm-tooltip-lint").first).to_be_visible()
    notebook.write(7, "%%dpsql\nSELECT pcl")
    lab.page.keyboard.press("Tab")
    lab.page.wait_for_timeout(500)
    lab.status.hover()
    assert lab.page.locator("img[src='x']").count() == 0
    assert lab.page.evaluate("() => window.caught") is None


def test_a_gateway_that_is_away_is_a_quiet_word(lab: Lab, heard: Heard, demo: Demo, open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook("away", CONNECT.format(name="titanic"), "%%dpsql --epsilon 0.1\nSELECT COUNT(*) AS n FROM passengers")
    notebook.run(0)
    expect(notebook.chip(1)).to_contain_text("n ±")
    known = connections.read({"DPJUPYTER_CONNECTIONS": str(demo.connections_file)})
    nowhere = f"http://127.0.0.1:{free_port()}"
    away = {name: {**entry, "url": nowhere} for name, entry in known.entries.items()}
    connections.write(demo.connections_file, away, known.default)
    try:
        expect(lab.status).to_contain_text("offline", timeout=POLL_S * 2500)
        expect(notebook.chip(1)).to_have_text("offline")
        heard.requests.clear()
        heard.console.clear()
        notebook.editor(1).click()
        lab.page.keyboard.type("-- typing on", delay=30)
        lab.page.wait_for_timeout(25_000)
        assert len(heard.asked("/dpjupyter/api/quote")) == 0
        assert len(heard.asked("/dpjupyter/api/budget/list")) <= 2  # less and less often
        assert len(heard.console) <= 3
        expect(lab.page.locator(".jp-Dialog, .Toastify__toast")).to_have_count(0)
        expect(lab.open_panel()).to_contain_text("Offline: the gateway does not answer.")
    finally:
        connections.write(demo.connections_file, dict(known.entries), known.default)
    lab.panel.get_by_role("button", name="Refresh").click()
    expect(lab.status).to_contain_text(re.compile("ε .* / "))
    expect(notebook.chip(1)).to_contain_text("n ±")
