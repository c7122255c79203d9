"""JupyterLab as a person uses it: the page objects of the browser tests."""

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
CONNECT = "%load_ext dpjupyter\n%dpsql connect {name}"
OURS = "/dpjupyter/api/"

OPEN = """async path => {
    const app = window.jupyterapp;
    const panel = await app.commands.execute('docmanager:open', { path, factory: 'Notebook', kernel: { name: 'python3' } });
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
    return panel.id;
}"""
CLOSE = """async id => {
    const app = window.jupyterapp;
    const panel = [...app.shell.widgets('main')].find(each => each.id === id);
    if (panel) {
        await panel.context.save();
        await panel.sessionContext.shutdown();
        panel.dispose();
    }
}"""


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
    id: str

    @property
    def node(self) -> Locator:
        """The notebook's panel."""
        return self.page.locator(f"#{self.id}")

    def cell(self, index: int) -> Locator:
        """The cell's node."""
        return self.node.locator(f".jp-Cell[data-windowed-list-index='{index}']")

    def editor(self, index: int) -> Locator:
        """The cell's text."""
        return self.cell(index).locator(".cm-content")

    def chip(self, index: int) -> Locator:
        """The price below the cell."""
        return self.cell(index).locator(".dpj-chip")

    def squiggle(self, index: int) -> Locator:
        """What is underlined in the cell."""
        return self.cell(index).locator(".cm-lintRange-error")

    def output(self, index: int) -> Locator:
        """What the cell showed."""
        return self.cell(index).locator(".jp-OutputArea")

    def write(self, index: int, text: str) -> None:
        """Replace the cell's text at once."""
        self.editor(index).click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def start(self, index: int) -> None:
        """Run a cell and do not wait."""
        self.editor(index).click()
        self.page.keyboard.press("Control+Enter")

    def run(self, index: int, *, wait_s: float = READY_S) -> None:
        """Run a cell and wait until it has run."""
        self.start(index)
        self.ran(index, wait_s=wait_s)

    def ran(self, index: int, *, wait_s: float = READY_S) -> None:
        """Wait until a cell has run."""
        expect(self.cell(index).locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]"), timeout=wait_s * 1000)


@dataclass
class Lab:
    """JupyterLab in a browser."""

    page: Page
    server: Server

    @property
    def status(self) -> Locator:
        """Our item in the status bar."""
        return self.page.locator(".dpj-status-button")

    @property
    def panel(self) -> Locator:
        """The side panel."""
        return self.page.locator(".dpj-panel")

    def load(self) -> None:
        """Load the page."""
        self.page.goto(f"{self.server.url}/lab?reset&token={self.server.token}")
        self.page.wait_for_function("() => window.jupyterapp !== undefined", timeout=READY_S * 1000)
        self.page.evaluate("() => window.jupyterapp.restored.then(() => null)")

    def open(self, name: str, cells: Sequence[str]) -> Notebook:
        """Write a notebook, open it and wait for its kernel."""
        write(self.server, name, cells)
        opened = Notebook(self.page, self.page.evaluate(OPEN, f"{name}.ipynb"))
        expect(opened.cell(0)).to_be_visible()
        return opened

    def open_existing(self, name: str) -> Notebook:
        """Open a notebook that is there, in the kernel it runs in."""
        return Notebook(self.page, self.page.evaluate(OPEN, f"{name}.ipynb"))

    def close(self, notebook: Notebook) -> None:
        """Close a notebook and end its kernel."""
        self.page.evaluate(CLOSE, notebook.id)

    def command(self, name: str, **arguments: Any) -> None:
        """Run one of JupyterLab's commands."""
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)", [name, arguments])

    def open_panel(self) -> Locator:
        """Click the status bar: the panel opens."""
        self.status.click()
        expect(self.panel).to_be_visible()
        return self.panel

    def theme(self, name: str) -> None:
        """Switch JupyterLab's theme."""
        self.command("apputils:change-theme", theme=name)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", "false" if "Dark" in name else "true")


def write(server: Server, name: str, cells: Sequence[str]) -> None:
    """Write a notebook where the server finds it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, server.root / f"{name}.ipynb")


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
