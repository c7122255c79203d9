"""A shop of three tables whose keys nobody enforces, a survey of rows, and a gateway's worth of parts around them."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from dpjupyter.engine.backends.duckdb import DuckDBBackend
from dpjupyter.engine.ledger.store import LedgerStore, open_ledger
from dpjupyter.engine.model import Answer, Ask
from dpjupyter.engine.noise import NoiseSource, OpenDPNoise
from dpjupyter.engine.policy import Policy, parse
from dpjupyter.engine.synthetic import Card, Publication, TwinStore, publish_twin
from dpjupyter.engine.synthetic.use import Twins, answer_free, prepare

POLICY = """
[database]
prefix = "test"
name = "shop"
backend = "duckdb:///:memory:"
[limits]
max_epsilon = 100.0
public_row_cap = 200
[total]
total_budget = 10000.0
[analysts]
total_budget = 10000.0
[tables.people]
unit = "uid"
keys = [["uid"]]
columns.uid = {type = "INTEGER"}
columns.city = {type = "VARCHAR", domain = ["A", "B", "C"]}
columns.name = {type = "VARCHAR"}
columns.pay = {type = "DOUBLE", bounds = [0, 100], bins = 4}
[tables.orders]
unit = "uid"
keys = [["oid"]]
max_rows = 3
columns.oid = {type = "BIGINT"}
columns.uid = {type = "INTEGER"}
columns.day = {type = "DATE", bounds = ["2024-01-01", "2024-01-31"], nullable = false}
columns.kind = {type = "VARCHAR", domain = ["x", "y"]}
[tables.lines]
unit = "oid -> orders.oid -> uid"
keys = [["oid", "n"]]
max_rows = 4
columns.oid = {type = "BIGINT"}
columns.n = {type = "INTEGER"}
columns.place = {type = "INTEGER", bounds = [1, 3], nullable = false}
columns.cost = {type = "DECIMAL(6,2)", bounds = [0, 10]}
[tables.survey]
unit = "row"
columns.v = {type = "DOUBLE", bounds = [0, 10], bins = [1, 5]}
columns.k = {type = "INTEGER", domain = [1, 2, 3]}
columns.b = {type = "BOOLEAN", nullable = false}
columns.t = {type = "TIMESTAMP", bounds = ["2024-01-01 00:00:00", "2024-01-02 00:00:00"], bins = 3}
[tables.places]
private = false
keys = [["place"]]
rows = 3
columns.place = {type = "INTEGER", bounds = [1, 3], nullable = false}
columns.region = {type = "VARCHAR", domain = ["north", "south"]}
"""
CREATE = """
CREATE TABLE people (uid INTEGER, city VARCHAR, name VARCHAR, pay DOUBLE);
CREATE TABLE orders (oid BIGINT, uid INTEGER, day DATE, kind VARCHAR);
CREATE TABLE lines (oid BIGINT, n INTEGER, place INTEGER, cost DECIMAL(6,2));
CREATE TABLE survey (v DOUBLE, k INTEGER, b BOOLEAN, t TIMESTAMP);
CREATE TABLE places (place INTEGER, region VARCHAR);
INSERT INTO places VALUES (1, 'north'), (2, 'south'), (3, 'south');
"""
ROWS = """
INSERT INTO people SELECT i, CASE WHEN i % 5 < 3 THEN 'A' WHEN i % 5 = 3 THEN 'B' END, 'name ' || i, i % 100 FROM range(400) s(i);
INSERT INTO orders SELECT i, i % 300, DATE '2024-01-01' + (i % 31)::INTEGER, CASE WHEN i % 5 < 3 THEN 'x' ELSE 'y' END FROM range(600) s(i);
INSERT INTO lines SELECT i % 600, i // 600 + 1, 1 + i % 3, (i % 11) FROM range(1000) s(i);
INSERT INTO survey SELECT i % 10, 1 + i % 3, i % 3 = 0, TIMESTAMP '2024-01-01' + to_hours((i % 24)::INTEGER) FROM range(500) s(i);
"""


def policy_of(extra: str = "") -> Policy:
    return parse(POLICY + extra)


@dataclass
class Shop:
    """One owner's gateway without HTTP."""

    policy: Policy
    ledger: LedgerStore
    backend: DuckDBBackend
    store: TwinStore
    noise: NoiseSource = field(default_factory=OpenDPNoise)

    def publish(self, table: str, *, epsilon: float = 50.0, request_id: str = "", by: str = "owner", body: str = "0" * 64) -> Card:
        publication = Publication(table, epsilon, 1e-7, by, request_id or uuid.uuid4().hex, body)
        return publish_twin(
            publication, self.policy, ledger=self.ledger, backend=self.backend, noise_source=self.noise, store=self.store, cancelled=threading.Event()
        )

    def twins(self) -> Twins:
        return Twins(self.policy, self.store.cards(self.ledger, "test", "shop"), self.store.rows_of, lambda: self.backend)

    def ask(self, sql: str, **changes: object) -> Answer:
        twins = self.twins()
        return answer_free(prepare(sql, Ask(**changes), twins), twins, cancelled=threading.Event())  # type: ignore[arg-type]

    def spent(self) -> dict[str, float]:
        return {row.table_name: row.consumed_budget for row in self.ledger.list_budgets(quotas=False)}


def _open(folder: Path) -> Shop:
    connection = duckdb.connect(":memory:")
    connection.execute(CREATE + ROWS)
    policy = policy_of()
    ledger = open_ledger(f"sqlite:///{folder}/ledger.db")
    ledger.ensure_rows(policy)
    return Shop(policy, ledger, DuckDBBackend(connection), TwinStore(folder / "twins"))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = _open(tmp_path)
    yield opened
    opened.backend.close()
    opened.ledger.close()


@pytest.fixture(scope="session")
def _published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    opened = _open(folder)
    for table in ("people", "orders", "lines", "survey"):
        opened.publish(table)
    opened.backend.close()
    opened.ledger.close()
    return folder


@pytest.fixture
def published(tmp_path: Path, _published: Path) -> Iterator[Shop]:
    """The shop with twins of all its private tables."""
    shutil.copytree(_published, tmp_path / "copy")
    opened = _open(tmp_path / "copy")
    yield opened
    opened.backend.close()
    opened.ledger.close()
