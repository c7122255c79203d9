"""Two ledgers for every contract test: a SQLite file and a private MariaDB server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dpjupyter.engine.ledger.schema import metadata
from dpjupyter.engine.ledger.store import LedgerStore, open_ledger
from tests.contracts.ledger.mariadb import MariaDB


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    # No power fails while tests run: without fsync a schema is made in a tenth of the time.
    server = MariaDB.install(tmp_path_factory.mktemp("mariadb"), "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb_url(mariadb: MariaDB) -> str:
    """A ledger whose schema is made once: making it takes longer than most tests."""
    url = mariadb.url("shared_ledger")
    open_ledger(url).close()
    return url


@pytest.fixture(params=["sqlite", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty ledger."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    url: str = request.getfixturevalue("mariadb_url")
    server: MariaDB = request.getfixturevalue("mariadb")
    with server.connect("shared_ledger") as connection, connection.cursor() as cursor:
        for table in metadata.tables:
            cursor.execute(f"DELETE FROM {table}")
        connection.commit()
    return url


@pytest.fixture(params=["sqlite", "mariadb"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a ledger that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'ledger.sqlite'}"
    server: MariaDB = request.getfixturevalue("mariadb")
    return server.url(f"ledger_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def open_store() -> Iterator[Callable[[str], LedgerStore]]:
    """Opens ledgers, and closes them at the end."""
    opened: list[LedgerStore] = []

    def start(url: str) -> LedgerStore:
        opened.append(open_ledger(url))
        return opened[-1]

    yield start
    for store in opened:
        store.close()


@pytest.fixture
def store(url: str, open_store: Callable[[str], LedgerStore]) -> LedgerStore:
    """A fresh, empty ledger."""
    return open_store(url)
