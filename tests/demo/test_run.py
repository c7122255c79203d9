"""The demo as a whole: a real gateway, a real kernel, one question."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from dpjupyter import connections, wire
from dpjupyter.client import Client
from dpjupyter.demo.gateway import Demo, launch
from dpjupyter.demo.run import FIRST, copy_notebooks, first_settings

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)  # several processes start, on a machine that may be busy


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory):
    with launch(tmp_path_factory.mktemp("running")) as running:
        yield running


def client(demo: Demo, name: str) -> Client:
    return Client(connections.resolve(name, environ=demo.environment))


def test_it_serves_both_databases_to_an_analyst_and_an_owner(demo: Demo) -> None:
    with client(demo, "titanic") as analyst, client(demo, "owner") as owner:
        assert {database.name for database in analyst.catalog().databases} == {"titanic", "shop"}
        assert (analyst.me().name, analyst.me().role) == ("ada", "analyst")
        assert (owner.me().name, owner.me().role) == ("grace", "owner")


def test_it_listens_on_loopback_only_and_the_tokens_are_ours_alone(demo: Demo) -> None:
    assert demo.url.startswith("http://127.0.0.1:")
    assert stat.S_IMODE(demo.connections_file.stat().st_mode) == 0o600
    assert httpx.get(demo.url + wire.HEALTH).status_code == 200


@pytest.mark.parametrize(
    ("database", "sql"),
    [
        ("titanic", "SELECT pclass, COUNT(*) AS n, AVG(fare) AS fare FROM passengers GROUP BY pclass"),
        ("shop", "SELECT status, COUNT(*) AS n FROM orders GROUP BY status"),
        ("shop", "SELECT SUM(quantity * unit_price) AS revenue FROM order_lines"),
        ("shop", "SELECT city, COUNT(*) AS n FROM customers GROUP BY city"),
    ],
)
def test_it_answers(demo: Demo, database: str, sql: str) -> None:
    with client(demo, database) as analyst:
        reply = analyst.query(wire.QueryRequest(sql=sql, dbconfig=wire.DbConfig(database=database)))
    assert reply.dp_info.kind == "private"
    assert reply.dp_info.privacy.epsilon > 0
    assert all(len(values) >= 1 for values in reply.Data.values())


def test_starting_it_in_a_notebook_is_one_line_and_ends_with_the_notebook(tmp_path: Path) -> None:
    script = "from dpjupyter.demo import start; d = start(); e = start(); print(d.url, d.leash.pid, e.url == d.url, e.leash)"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DPJUPYTER_")} | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=280)
    url, pid, same, second = done.stdout.split()
    assert (same, second) == ("True", "None")  # found, not started again
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + wire.HEALTH)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_check_asks_one_question_through_gateway_and_kernel(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DPJUPYTER_")} | {"HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "dpjupyter.demo", "--check", "--folder", str(tmp_path / "demo")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The demo works" in done.stdout
    assert "±" in done.stdout


def test_a_gateway_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir(parents=True)
    (tmp_path / "policies" / "broken.toml").write_text("[database]\n")
    with pytest.raises(RuntimeError, match=r"did not start[\s\S]*broken\.toml"):
        launch(tmp_path)


def test_your_copies_of_the_notebooks_are_left_alone(tmp_path: Path) -> None:
    copy_notebooks(tmp_path)
    (tmp_path / FIRST).write_text("mine")
    copy_notebooks(tmp_path)
    assert (tmp_path / FIRST).read_text() == "mine"
    assert {path.name for path in (ROOT / "notebooks").glob("*.ipynb")} == {path.name for path in tmp_path.iterdir()}


def test_your_copies_are_not_run_yet(tmp_path: Path) -> None:
    copy_notebooks(tmp_path)
    for path in tmp_path.iterdir():
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        assert cells
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_jupyterlab_asks_nothing_of_who_sees_it_for_the_first_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERLAB_SETTINGS_DIR", raising=False)
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    settings = Path(first_settings(tmp_path)["JUPYTERLAB_SETTINGS_DIR"])
    assert "fetchNews" in next(settings.rglob("notification.*")).read_text()
    (tmp_path / "config" / "lab" / "user-settings").mkdir(parents=True)
    assert first_settings(tmp_path) == {}
