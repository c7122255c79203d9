"""The demo's two databases in an emulated Snowflake, and the same two in DuckDB."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dpjupyter.demo.build import build_shop, build_titanic
from dpjupyter.engine import policy as policies
from dpjupyter.engine.backends import Backend, open_backend
from dpjupyter.engine.ledger.store import open_ledger
from dpjupyter.engine.model import Ask
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import Outcome, Question, answer
from tests.contracts.emulator import Emulator
from tests.engine.plans import ZeroNoise


@dataclass
class House:
    """One policy, one warehouse, one ledger, no noise."""

    policy: Policy
    backend: Backend
    ledger: Any
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def ask(self, sql: str, ask: Ask | None = None, **given: Any) -> Outcome:
        question = Question(sql, ask or Ask(), **({"analyst": "alice", "request_id": f"r{next(self.numbers)}", "body_sha256": "0" * 64} | given))
        return answer(
            question, self.policy, ledger=self.ledger, backend=self.backend, noise_source=ZeroNoise(), cancelled=threading.Event(),
            progress=lambda _: None,
        )  # fmt: skip


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with titanic.duckdb, shop.duckdb and one Parquet file per table."""
    folder = tmp_path_factory.mktemp("data")
    build_titanic(folder / "titanic.duckdb")
    build_shop(folder / "shop.duckdb")
    for name in ("titanic", "shop"):
        with duckdb.connect(str(folder / f"{name}.duckdb"), read_only=True) as connection:
            for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                connection.execute(f"COPY {table} TO '{folder / table}.parquet' (FORMAT parquet)")
    return folder


@pytest.fixture(scope="session")
def emulator(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("emulator")) as running:
        running.run(*(f"CREATE TABLE {file.stem} AS SELECT * FROM read_parquet('{file}')" for file in sorted(data.glob("*.parquet"))))
        yield running


def policy_text(name: str, backend: str, total: float = 9000.0) -> str:
    """The demo's policy with another backend, one total for every row, and no time grid."""
    text = (files("dpjupyter.demo") / "policies" / f"{name}.toml").read_text(encoding="utf-8")
    changed = {"backend =": f'backend = "{backend}"', "total_budget =": f"total_budget = {total}"}
    lines = [next((new for start, new in changed.items() if line.startswith(start)), line) for line in text.splitlines()]
    return "\n".join(lines).replace("[limits]", "[limits]\ntime_grid_ms = 0")


def shipped(name: str, backend: str) -> Policy:
    """The same, loaded."""
    return policies.parse(policy_text(name, backend))


def _house(name: str, url: str, folder: Path) -> House:
    policy = shipped(name, url)
    ledger = open_ledger(f"sqlite:///{folder}/{name}-{policy.dialect}.db")
    ledger.ensure_rows(policy)
    return House(policy, open_backend(url), ledger)


@pytest.fixture(scope="session")
def houses(data: Path, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], House]]:
    """(database, warehouse) -> house."""
    folder = tmp_path_factory.mktemp("ledgers")
    built = {
        (name, kind): _house(name, url, folder)
        for name in ("titanic", "shop")
        for kind, url in (("duckdb", f"duckdb:///{data / name}.duckdb"), ("snowflake", emulator.url()))
    }
    yield built
    for house in built.values():
        house.backend.close()
        house.ledger.close()
