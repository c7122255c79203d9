"""JupyterLab as a person uses it: the page object of the browser tests."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page, expect

from dpjupyter import wire

READY_S = 60.0


@dataclass
class Server:
    """A running JupyterLab with the extension, connected to a gateway."""

    url: str
    token: str
    root: Path  # where notebooks are
    environment: dict[str, str]


@dataclass
class Notebook:
    """An open notebook."""

    page: Page

    def cell(self, index: int) -> Locator:
        """The cell's node."""
        return self.page.locator(f".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell[data-windowed-list-index='{index}']")

    def editor(self, index: int) -> Locator:
        """The cell's text."""
        return self.cell(index).locator(".cm-content")

    def chip(self, index: int) -> Locator:
        """The price below the cell."""
        return self.cell(index).locator(".dpj-chip")

    def output(self, index: int) -> Locator:
        """What the cell showed."""
        return self.cell(index).locator(".jp-OutputArea")

    def write(self, index: int, text: str) -> None:
        """Replace the cell's text by typing."""
        self.editor(index).click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def run(self, index: int, *, wait_s: float = READY_S) -> None:
        """Run a cell and wait until it has run."""
        self.start(index)
        expect(self.cell(index).locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]"), timeout=wait_s * 1000)

    def start(self, index: int) -> None:
        """Run a cell and do not wait."""
        self.editor(index).click()
        self.page.keyboard.press("Control+Enter")

    @property
    def status(self) -> Locator:
        """Our item in the status bar."""
        return self.page.locator(".dpj-status-button")

    @property
    def panel(self) -> Locator:
        """The side panel."""
        return self.page.locator(".dpj-panel")

    def open_panel(self) -> Locator:
        """Click the status bar; the panel opens."""
        self.status.click()
        expect(self.panel).to_be_visible()
        return self.panel

    def theme(self, name: str) -> None:
        """Switch JupyterLab's theme."""
        self.page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', { theme: name })", name)
        light = "false" if "Dark" in name else "true"
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", light)


def open_notebook(page: Page, server: Server, name: str, cells: Sequence[str]) -> Notebook:
    """Write a notebook, open it and wait for its kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, server.root / f"{name}.ipynb")
    page.goto(f"{server.url}/lab/workspaces/{name}/tree/{name}.ipynb?reset&token={server.token}")
    page.wait_for_function("() => window.jupyterapp !== undefined", timeout=READY_S * 1000)
    page.evaluate("() => window.jupyterapp.restored")
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell", timeout=READY_S * 1000)
    page.evaluate(
        """async () => {
            const panel = window.jupyterapp.shell.currentWidget;
            await panel.context.ready;
            await panel.sessionContext.ready;
            await panel.sessionContext.session.kernel.info;
        }"""
    )
    return Notebook(page)


def ask_gateway(url: str, token: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request straight to the gateway, as an owner's script would make it. Returns: status.data."""
    request = urllib.request.Request(  # noqa: S310 - our own gateway
        url + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        status = json.load(response)["status"]
    assert status["code"] == wire.SUCCEEDED
    return status.get("data") or {}
