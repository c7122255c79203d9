"""Create and upgrade the schema before serving, by the alembic migrations shipped in this package."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select
from sqlalchemy.exc import DBAPIError

from dpjupyter.engine.ledger.database import Database
from dpjupyter.errors import LedgerUnavailable

VERSION_TABLE = "dpjupyter_schema"
HEAD = "0001"  # newest of migrations/versions; where the database is there already, alembic is not even imported
_LOCK = "dpjupyter_migrate"
_LOCK_WAIT_S = 120


def upgrade(database: Database) -> None:
    """Bring the schema to this version. Servers that start together take turns.

    Raises: LedgerUnavailable: the account may not change the schema, or the schema is newer than this program.
    """
    try:
        with database.engine.connect() as connection:
            connection = connection.execution_options(dpjupyter_write=True)  # noqa: PLW2901
            if database.dialect == "sqlite":
                _upgrade(connection)
                connection.commit()
                return
            # DDL commits by itself in MySQL: a named lock, not a transaction, keeps others out.
            if connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (_LOCK, _LOCK_WAIT_S)).scalar_one() != 1:
                raise LedgerUnavailable("Another server is upgrading the ledger's schema.", hint="Try again in a minute.")
            try:
                _upgrade(connection)
                connection.commit()
            finally:
                connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (_LOCK,))
    except DBAPIError as error:
        code = error.orig.args[0] if error.orig is not None and error.orig.args else "?"
        hint = "The account needs CREATE, ALTER, INDEX, SELECT, INSERT, UPDATE, DELETE on its database."
        raise LedgerUnavailable(f"The ledger's schema cannot be made or upgraded (error {code}).", hint=hint) from None


def schema_version(connection: Connection) -> str:
    """Revision the database is at; empty before the first start."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    table = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32)))
    return connection.execute(select(table.c.version_num)).scalar_one_or_none() or ""


def _upgrade(connection: Connection) -> None:
    if schema_version(connection) == HEAD:
        return
    from alembic import command  # noqa: PLC0415 - a third of a second, needed at the first start only
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "dpjupyter.engine.ledger:migrations")
    options: dict[str, Any] = {"version_table": VERSION_TABLE, "connection": connection}
    config.attributes.update(options)
    try:
        command.upgrade(config, "head")
    except CommandError:
        raise LedgerUnavailable("The ledger was made by a newer version of dpjupyter.", hint="Upgrade dpjupyter.") from None
