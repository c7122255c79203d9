"""A real gateway, a real JupyterLab with the built extension, and the system's Chromium."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from dpjupyter import connections
from dpjupyter.demo.build import build_titanic
from dpjupyter.demo.gateway import Demo, free_port, launch
from tests.e2e.lab import READY_S, Lab, Notebook, Server, ask_gateway

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "dpjupyter" / "labextension"
SCREENSHOTS = ROOT / ".artifacts" / "e2e"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# A quiet browser: no network of its own, works as root and in small containers.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip

SCRIPT = """<img src=x onerror="window.caught = 'ran'"><script>window.caught = 'ran'</script>"""
TRAP = """
[database]
prefix = "demo"
name = "trap"
backend = "duckdb:///{folder}/trap.duckdb"
unit_entity = "passenger"
[total]
total_budget = 10.0
delta = 1e-6
recover_cycle = 30
[tables.passengers]
description = {trap}
unit = "row"
total_budget = 10.0
delta = 1e-6
recover_cycle = 30
[tables.passengers.columns]
pclass = {{ type = "INTEGER", nullable = false, bounds = [1, 3], domain = [1, 2, 3], description = {trap} }}
sex = {{ type = "VARCHAR", domain = ["female", "male", {trap}] }}
"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium; without one, playwright's own."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def built() -> Path:
    """The built extension; made where it is missing or older than its sources."""
    source = ROOT / "labextension"
    manifest = BUILT / "package.json"
    if shutil.which("node") is None:
        pytest.skip("node is not installed: there is no extension to test")
    files = [*(source / "src").glob("*"), *(source / "style").glob("*"), *(source / "schema").glob("*")]
    stale = not manifest.exists() or manifest.stat().st_mtime < max(file.stat().st_mtime for file in files)
    commands = [] if (source / "node_modules").exists() and not stale else [["jlpm", "install", "--immutable"]]
    commands += [["jlpm", "build:prod"]] if stale else []
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in commands:
        subprocess.run(command, cwd=source, env=environ, check=True, stdout=subprocess.DEVNULL)
    return BUILT


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo's gateway, with fresh budgets, and a database whose policy tries to run scripts in the browser."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "policies").mkdir()
    build_titanic(folder / "trap.duckdb")
    (folder / "policies" / "trap.toml").write_text(TRAP.format(folder=folder, trap=json.dumps(SCRIPT)), encoding="utf-8")
    with launch(folder) as running:
        known = connections.read({"DPJUPYTER_CONNECTIONS": str(running.connections_file)})
        trap = dict(known.entries["titanic"]) | {"database": "trap"}
        connections.write(running.connections_file, dict(known.entries) | {"trap": trap}, known.default)
        yield running


@pytest.fixture(scope="session")
def server(demo: Demo, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab with the extension and the relay."""
    folder = tmp_path_factory.mktemp("lab")
    with served(demo, built, folder, "jupyterlab", "--LabApp.expose_app_in_browser=True") as running:
        yield running


@pytest.fixture(scope="session")
def notebook7(demo: Demo, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Notebook 7 with the extension and the relay."""
    with served(demo, built, tmp_path_factory.mktemp("notebook7"), "notebook") as running:
        yield running


@contextmanager
def served(demo: Demo, built: Path, folder: Path, app: str, *arguments: str) -> Iterator[Server]:
    """A Jupyter application of its own folders, connected to the demo's gateway."""
    root = folder / "notebooks"
    extensions = folder / "data" / "labextensions"
    extensions.mkdir(parents=True)
    root.mkdir()
    poll = folder / "settings" / "dpjupyter" / "plugin.jupyterlab-settings"
    poll.parent.mkdir(parents=True)
    poll.write_text('{"pollIntervalSeconds": 10}', encoding="utf-8")
    news = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}', encoding="utf-8")  # no pop-up over what is tested
    (extensions / "dpjupyter").symlink_to(built)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DPJUPYTER_", "JUPYTER"))}
    token = secrets.token_hex(16)
    environ = kept | demo.environment | {
        "HOME": str(folder), "JUPYTER_TOKEN": token, "JUPYTER_PLATFORM_DIRS": "1", "PYTHONPATH": str(ROOT), "JUPYTER_PATH": str(folder / "data"),
        **{f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")},
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
    }  # fmt: skip
    port = free_port()
    command = [
        sys.executable, "-m", app, "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={root}", f"--ServerApp.jpserver_extensions={{'dpjupyter.relay': True, '{app}': True}}", *arguments,
    ]  # fmt: skip
    log = folder / "jupyter.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, cwd=folder, stdout=output, stderr=output)
    running = Server(f"http://127.0.0.1:{port}", token, root, environ)
    try:
        _wait(running, process, log)
        yield running
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class Heard:
    """What the page said and asked for since the test began."""

    console: list[str] = field(default_factory=list)  # errors and warnings
    uncaught: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)  # method and path

    def asked(self, end: str) -> list[str]:
        """Requests whose path ends so."""
        return [request for request in self.requests if request.split("?")[0].endswith(end)]


@pytest.fixture(scope="session")
def loaded(browser: Browser, server: Server) -> Iterator[tuple[Lab, Heard]]:
    """One JupyterLab page for all tests; each opens a notebook of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(20_000)
    heard = Heard()
    page.on("pageerror", lambda error: heard.uncaught.append(str(error)))
    page.on("console", lambda message: heard.console.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: heard.requests.append(f"{request.method} {request.url}"))
    lab = Lab(page, server)
    lab.load()
    yield lab, heard
    context.close()


@pytest.fixture
def heard(loaded: tuple[Lab, Heard]) -> Iterator[Heard]:
    """What the page says during this test; an uncaught error fails it."""
    _, heard = loaded
    heard.console, heard.uncaught, heard.requests = [], [], []
    yield heard
    assert heard.uncaught == []


@pytest.fixture
def lab(loaded: tuple[Lab, Heard], heard: Heard) -> Lab:
    return loaded[0]


@pytest.fixture
def open_notebook(lab: Lab) -> Iterator[Callable[..., Notebook]]:
    """Opens a notebook; it is closed, and its kernel ended, after the test."""
    opened: list[Notebook] = []

    def open_(name: str, *cells: str) -> Notebook:
        opened.append(lab.open(name, cells))
        return opened[-1]

    yield open_
    for notebook in opened:
        lab.close(notebook)


@pytest.fixture
def owner(demo: Demo) -> Callable[..., dict[str, Any]]:
    """Asks the gateway as the owner does."""
    token = connections.read({"DPJUPYTER_CONNECTIONS": str(demo.connections_file)}).entries["owner"]["token"]
    return lambda method, path, body=None: ask_gateway(demo.url, token, method, path, body)


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where screenshots go: an ignored folder, looked at by people."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + READY_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/api/status?token={server.token}", timeout=5):  # noqa: S310 - our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(log.read_text(encoding="utf-8", errors="replace")[-4000:])
