"""The schema is made and upgraded before serving, by whoever comes first."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pymysql
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from dpjupyter.engine.ledger.migrate import HEAD, VERSION_TABLE
from dpjupyter.engine.ledger.schema import metadata
from dpjupyter.engine.ledger.store import LedgerStore, open_ledger
from dpjupyter.errors import LedgerUnavailable, PolicyError
from tests.contracts.ledger.asks import DB, PREFIX, charge
from tests.contracts.ledger.mariadb import MariaDB

REQUIRED = {
    "prefix", "db_name", "table_name", "total_budget", "consumed_budget", "recover_cycle", "exhausted_strategy", "create_time",
    "last_update_time", "last_recover_time", "slack", "num_dpcall", "sum_eps", "sum_del", "sum_sq_eps", "sum_exp_eps", "prod_del",
}  # fmt: skip


def test_the_migrations_make_exactly_the_schema(new_url: str, open_store: Callable[[str], LedgerStore]) -> None:
    store = open_store(new_url)
    with store._db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        # Boolean is TINYINT(1) in MySQL; alembic knows, and reports nothing else either.
        assert compare_metadata(context, metadata) == []
        columns = {column["name"]: column for column in inspect(connection).get_columns("budget_info")}
        assert set(columns) >= REQUIRED
        assert not any(column["nullable"] for column in columns.values())
        assert inspect(connection).get_pk_constraint("budget_info")["constrained_columns"] == ["prefix", "db_name", "table_name"]


def test_the_newest_version_is_the_one_looked_for() -> None:
    config = Config()
    config.set_main_option("script_location", "dpjupyter.engine.ledger:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_servers_that_start_together_make_one_schema(new_url: str) -> None:
    opened: list[LedgerStore] = []
    errors: list[Exception] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        try:
            opened.append(open_ledger(new_url))
        except Exception as error:  # noqa: BLE001 - told by the main thread
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    opened[0].set_budget(PREFIX, DB, "orders")
    assert all(len(store.list_budgets()) == 1 for store in opened)
    for store in opened:
        store.close()


def test_opening_again_keeps_everything(new_url: str, open_store: Callable[[str], LedgerStore]) -> None:
    store = open_store(new_url)
    store.set_budget(PREFIX, DB, "orders")
    store.debit(charge("r", has_total=False))
    before = store.list_budgets()
    assert open_store(new_url).list_budgets() == before


def test_an_interrupted_first_start_is_completed(new_url: str, open_store: Callable[[str], LedgerStore]) -> None:
    store = open_store(new_url)
    for statement in ("DROP TABLE twin_card", "DROP TABLE quote_count", f"DELETE FROM {VERSION_TABLE}"):
        store._db.write(lambda c: c.execute(text(statement)))  # noqa: B023
    again = open_store(new_url)
    again.publish_twin(PREFIX, DB, "orders", version="1", card="{}")
    assert again.health().schema_version == "0001"


def test_a_newer_schema_is_not_touched(new_url: str, open_store: Callable[[str], LedgerStore]) -> None:
    store = open_store(new_url)
    store._db.write(lambda c: c.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")))
    with pytest.raises(LedgerUnavailable, match="newer version"):
        open_ledger(new_url)


@pytest.mark.parametrize("bad", ["", "nonsense", "postgresql://x/y", "sqlite://", "sqlite:///:memory:", "mysql+pymysql://root@127.0.0.1", "mysql+mysqldb://h/d"])
def test_other_urls_are_refused_with_the_two_that_work(bad: str) -> None:
    with pytest.raises(PolicyError, match=r"sqlite:///|mysql"):
        open_ledger(bad)


def test_a_sqlite_ledger_is_private_to_its_account(tmp_path: Path) -> None:
    open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}").close()
    assert stat.S_IMODE((tmp_path / "ledger.sqlite").stat().st_mode) == 0o600


def test_a_server_that_is_away_is_said_to_be_unavailable() -> None:
    with pytest.raises(LedgerUnavailable) as refused:
        open_ledger("mysql+pymysql://root:sesame@127.0.0.1:1/ledger")
    assert "sesame" not in refused.value.shown()


def test_an_account_without_the_right_to_create_databases_uses_the_one_it_has(mariadb: MariaDB) -> None:
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE DATABASE given")
        cursor.execute("CREATE OR REPLACE USER 'gate'@'127.0.0.1' IDENTIFIED BY 'it''s @ secret/ü'")
        cursor.execute("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON given.* TO 'gate'@'127.0.0.1'")
    store = open_ledger(f"mysql+pymysql://gate@127.0.0.1:{mariadb.port}/given", password="it's @ secret/ü")
    store.set_budget(PREFIX, DB, "orders")
    store.debit(charge("r", has_total=False))
    assert store.verify().sound
    store.close()
    for url, password in ((f"mysql+pymysql://gate@127.0.0.1:{mariadb.port}/other", "it's @ secret/ü"), (f"mysql+pymysql://gate@127.0.0.1:{mariadb.port}/given", "wrong")):
        with pytest.raises(LedgerUnavailable) as refused:
            open_ledger(url, password=password)
        assert password not in refused.value.shown()


def test_the_session_is_utc_strict_and_read_committed(mariadb_url: str, mariadb: MariaDB, open_store: Callable[[str], LedgerStore]) -> None:
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL time_zone = '+09:00', GLOBAL sql_mode = ''")
    try:
        store = open_store(mariadb_url)
        # MariaDB 10's name of transaction_isolation.
        statement = text("SELECT @@session.time_zone, @@session.sql_mode, @@session.tx_isolation")
        zone, mode, isolation = store._db.read(lambda c: c.execute(statement).one())
        assert (zone, isolation) == ("+00:00", "READ-COMMITTED")
        assert "STRICT_ALL_TABLES" in mode
    finally:
        with mariadb.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SET GLOBAL time_zone = 'SYSTEM', GLOBAL sql_mode = DEFAULT")


def test_a_table_named_budget_info_of_someone_else_is_not_written_to(mariadb: MariaDB) -> None:
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE DATABASE theirs")
        cursor.execute("CREATE TABLE theirs.budget_info (x INT)")
    with pytest.raises((LedgerUnavailable, pymysql.err.Error)):
        open_ledger(mariadb.url("theirs"))
