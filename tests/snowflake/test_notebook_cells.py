"""From a notebook's cell to an answer: magics, client, gateway, Snowpark, and back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from dpjupyter import connections
from tests.contracts.emulator import Emulator
from tests.gateway.running import Gateway, Starter
from tests.snowflake.conftest import policy_text


@pytest.fixture(scope="module")
def gateway(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("cells")
    served = folder / "policies"
    served.mkdir()
    for name in ("titanic", "shop"):
        (served / f"{name}.toml").write_text(policy_text(name, emulator.url(folder)))
    starter = Starter()
    try:
        with starter.run(folder / "gateway", served) as running:
            yield running
    finally:
        starter.close()


@pytest.fixture
def shell(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    for name in list(os.environ):
        if name.startswith("DPJUPYTER"):
            monkeypatch.delenv(name)
    file = tmp_path / "connections.toml"
    connections.write(file, {"snow": {"url": gateway.url, "token": gateway.tokens["alice"], "database": "shop"}}, default="snow")
    monkeypatch.setenv("DPJUPYTER_CONNECTIONS", str(file))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    InteractiveShell.clear_instance()
    ip = InteractiveShell.instance()
    ip.run_line_magic("colors", "nocolor")
    ip.run_line_magic("load_ext", "dpjupyter")
    yield ip
    ip.run_line_magic("unload_ext", "dpjupyter")
    ip.history_manager.end_session()
    InteractiveShell.clear_instance()


def run(ip: InteractiveShell, source: str) -> object:
    done = ip.run_cell(source, store_history=False)
    error = done.error_before_exec or done.error_in_exec
    assert error is None, error
    return done.result


def test_a_cell_in_snowflakes_dialect_is_answered(shell: InteractiveShell) -> None:
    run(shell, "%dpsql connect")
    cell = """%%dpsql orders << --epsilon 1.0
SELECT channel, COUNT(*) AS n, SUM(IFF(status = 'returned', 1, 0)) AS back
FROM orders WHERE DATEADD('day', 30, ordered_at) < '2024-12-31'::DATE
GROUP BY channel ORDER BY channel"""
    run(shell, cell)
    answer = shell.user_ns["orders"]
    frame = answer.df
    assert [name.lower() for name in frame.columns] == ["channel", "n", "back"]
    assert list(frame.iloc[:, 0]) == ["app", "phone", "web"]
    assert len(answer.intervals(0.95)) == 3


def test_a_refusal_is_free_and_says_where(shell: InteractiveShell) -> None:
    run(shell, "%dpsql connect")
    done = shell.run_cell("%%dpsql\nSELECT customer_id, COUNT(*) FROM orders GROUP BY customer_id", store_history=False)
    assert done.error_in_exec is not None
