"""A real gateway, a real JupyterLab with the built extension, and the system's Chromium."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from dpjupyter.demo.gateway import Demo, free_port, launch
from tests.e2e.lab import READY_S, Server

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "dpjupyter" / "labextension"
SCREENSHOTS = ROOT / ".artifacts" / "e2e"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# A quiet browser: no network of its own, works as root and in small containers.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium; without one, playwright's own."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh browser profile, and what went wrong in it: an uncaught error fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    uncaught: list[str] = []
    opened.on("pageerror", lambda error: uncaught.append(str(error)))
    yield opened
    context.close()
    assert uncaught == []


@pytest.fixture(scope="session")
def built() -> Path:
    """The built extension; made where it is missing or older than its sources."""
    source = ROOT / "labextension"
    manifest = BUILT / "package.json"
    files = [*(source / "src").glob("*"), *(source / "style").glob("*"), *(source / "schema").glob("*")]
    if not manifest.exists() or manifest.stat().st_mtime < max(file.stat().st_mtime for file in files):
        environ = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        for command in (["jlpm", "install", "--immutable"], ["jlpm", "build:prod"]):
            subprocess.run(command, cwd=source, env=environ, check=True, stdout=subprocess.DEVNULL)
    return BUILT


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo's gateway, with fresh budgets."""
    with launch(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="session")
def server(demo: Demo, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("lab")
    root = folder / "notebooks"
    extensions = folder / "data" / "labextensions"
    extensions.mkdir(parents=True)
    root.mkdir()
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
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True",
        "--ServerApp.jpserver_extensions={'dpjupyter.relay': True, 'jupyterlab': True}",
    ]  # fmt: skip
    log = folder / "lab.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, cwd=folder, stdout=output, stderr=output)
    running = Server(f"http://127.0.0.1:{port}", token, root, environ)
    try:
        _wait(running, process, log)
        yield running
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def console(page: Page) -> list[ConsoleMessage]:
    """What the page wrote to the browser's console."""
    messages: list[ConsoleMessage] = []
    page.on("console", lambda message: messages.append(message))  # noqa: PLW0108 - playwright marks its handlers; builtins cannot be
    return messages


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
