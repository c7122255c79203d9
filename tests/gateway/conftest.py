"""A small warehouse, policies over it, and a real gateway process that serves them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.contracts.ledger.mariadb import MariaDB
from tests.gateway.running import PEOPLE_POLICY, Gateway, Starter


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DuckDB file: people (unit = person_id) and their visits, and public cities."""
    path = tmp_path_factory.mktemp("warehouse") / "clinic.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE people (person_id INTEGER PRIMARY KEY, age INTEGER NOT NULL, city VARCHAR NOT NULL, income DOUBLE)"
        )
        connection.execute(
            "INSERT INTO people SELECT i, 18 + i % 70, ['Bern', 'Genf', 'Basel'][1 + i % 3], 1000.0 * (i % 90) FROM range(3000) t(i)"
        )
        connection.execute(
            "CREATE TABLE visits (visit_id INTEGER PRIMARY KEY, person_id INTEGER NOT NULL REFERENCES people(person_id), day DATE NOT NULL, cost DECIMAL(8,2))"
        )
        connection.execute(
            "INSERT INTO visits SELECT i, i % 3000, DATE '2024-01-01' + (i % 360)::INTEGER, (i % 500)::DECIMAL(8,2) FROM range(9000) t(i)"
        )
        connection.execute("COMMENT ON TABLE visits IS 'One row per visit'")
    return path


@pytest.fixture
def policies(tmp_path: Path, warehouse: Path) -> Path:
    """A folder with one policy."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "clinic.toml").write_text(PEOPLE_POLICY.format(warehouse=warehouse, prefix="test", name="clinic"))
    return folder


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    """Starts gateway processes quickly."""
    running = Starter()
    yield running
    running.close()


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A private MariaDB server."""
    server = MariaDB.install(tmp_path_factory.mktemp("mariadb"), "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2")
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "mariadb"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a ledger that does not exist yet, on either database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/own.sqlite"
    server: MariaDB = request.getfixturevalue("mariadb")
    return server.url(f"ledger_{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, warehouse: Path, starter: Starter) -> Iterator[Gateway]:
    """One gateway for all tests that leave it as it was: two databases, the second on a time grid."""
    folder = tmp_path_factory.mktemp("gateway")
    served = folder / "policies"
    served.mkdir()
    (served / "clinic.toml").write_text(PEOPLE_POLICY.format(warehouse=warehouse, prefix="test", name="clinic"))
    other = folder / "other.duckdb"
    shutil.copy(warehouse, other)
    gridded = PEOPLE_POLICY.format(warehouse=other, prefix="test", name="gridded").replace("time_grid_ms = 0", "time_grid_ms = 400")
    (served / "gridded.toml").write_text(gridded)
    with starter.run(folder, served) as running:
        yield running
