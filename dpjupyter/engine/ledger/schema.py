"""The ledger's tables, for MySQL/MariaDB and SQLite alike. What is deployed is made by ``migrations``.

    budget_info      one row per table and '*': the requirement's columns, then ours
    analyst_budget   the same columns per analyst
    ledger           append-only, one hash chain per budget row, per analyst (refused, cached) and one of the owner
    chain_head       last link of the chains that have no budget row
    request          one row per charged request: identity, outcome, filed answer
    suspension, token, saved_table, twin_card, quote_count

Integers are 1e-12 (pico) of epsilon and rho and 1e-18 (atto) of delta: decisions use these alone.
Times are UTC by the database's clock. Hashes are hex in ASCII columns.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

_ON = ("mysql", "mariadb")
NAME = String(255).with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), *_ON)
HASH = String(64).with_variant(mysql.CHAR(64, charset="ascii", collation="ascii_bin"), *_ON)
WORD = String(32).with_variant(mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), *_ON)
REQUEST_ID = String(128).with_variant(mysql.VARCHAR(128, charset="utf8mb4", collation="utf8mb4_bin"), *_ON)
LONG_TEXT = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *_ON)
LONG_BYTES = LargeBinary().with_variant(mysql.LONGBLOB(), *_ON)
TIME = DateTime().with_variant(mysql.DATETIME(fsp=6), *_ON)
ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only in an INTEGER PRIMARY KEY

OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in _ON
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("row_format", "DYNAMIC"))
}

metadata = MetaData()


class utc_now(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock, UTC."""

    type = TIME
    inherit_cache = True


@compiles(utc_now)
def _now_mysql(*_: object, **__: object) -> str:
    return "UTC_TIMESTAMP(6)"


@compiles(utc_now, "sqlite")
def _now_sqlite(*_: object, **__: object) -> str:
    # Six digits, so that stored times compare as texts.
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"


class plus_days(FunctionElement[Any]):  # noqa: N801 - same
    """``plus_days(time, days)``: a time that many days later."""

    type = TIME
    inherit_cache = True

    def __init__(self, time: ColumnElement[Any], days: ColumnElement[Any]) -> None:
        super().__init__(time, days)


@compiles(plus_days)
def _days_mysql(element: plus_days, compiler: Any, **options: object) -> str:
    time, days = (compiler.process(clause, **options) for clause in element.clauses)
    return f"TIMESTAMPADD(DAY, {days}, {time})"


@compiles(plus_days, "sqlite")
def _days_sqlite(element: plus_days, compiler: Any, **options: object) -> str:
    time, days = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(strftime('%Y-%m-%d %H:%M:%f', {time}, '+' || {days} || ' days') || '000')"


def _budget_columns() -> list[Column[Any]]:
    return [
        Column("total_budget", Double, nullable=False),
        Column("consumed_budget", Double, nullable=False),
        Column("recover_cycle", Integer, nullable=False),
        Column("exhausted_strategy", WORD, nullable=False),
        Column("create_time", TIME, nullable=False),
        Column("last_update_time", TIME, nullable=False),
        Column("last_recover_time", TIME, nullable=False),
        Column("slack", Double, nullable=False),
        Column("num_dpcall", BigInteger, nullable=False),
        Column("sum_eps", Double, nullable=False),
        Column("sum_del", Double, nullable=False),
        Column("sum_sq_eps", Double, nullable=False),
        Column("sum_exp_eps", Double, nullable=False),
        Column("prod_del", Double, nullable=False),
        # Ours: the gate, the cycle, lifetime sums, the head of the row's chain.
        Column("row_key", HASH, nullable=False),
        Column("delta", Double, nullable=False),
        Column("spent_pico_epsilon", BigInteger, nullable=False),
        Column("spent_pico_rho", BigInteger, nullable=False),
        Column("spent_atto_key_delta", BigInteger, nullable=False),
        Column("spent_atto_gauss_delta", BigInteger, nullable=False),
        Column("cycle", BigInteger, nullable=False),
        Column("unmetered_answers", BigInteger, nullable=False),
        Column("lifetime_epsilon", Double, nullable=False),
        Column("lifetime_rho", Double, nullable=False),
        Column("lifetime_delta", Double, nullable=False),
        Column("lifetime_answers", BigInteger, nullable=False),
        Column("head_seq", BigInteger, nullable=False),
        Column("head_hash", HASH, nullable=False),
    ]


def _budget_checks(name: str) -> list[CheckConstraint]:
    return [
        CheckConstraint("total_budget > 0", name=f"{name}_total"),
        CheckConstraint("recover_cycle >= 1", name=f"{name}_cycle"),
        CheckConstraint("exhausted_strategy IN ('reject', 'allow')", name=f"{name}_strategy"),
        CheckConstraint(
            "spent_pico_epsilon >= 0 AND spent_pico_rho >= 0 AND spent_atto_key_delta >= 0 AND spent_atto_gauss_delta >= 0",
            name=f"{name}_spent",
        ),
    ]


budget_info = Table(
    "budget_info",
    metadata,
    Column("prefix", NAME, primary_key=True),
    Column("db_name", NAME, primary_key=True),
    Column("table_name", NAME, primary_key=True),
    *_budget_columns(),
    *_budget_checks("budget_info"),
    Index("ix_budget_info_row_key", "row_key", unique=True),
    **OPTIONS,
)

# Four names do not fit in one InnoDB key, hence the hash as primary key.
analyst_budget = Table(
    "analyst_budget",
    metadata,
    Column("analyst", NAME, nullable=False),
    Column("prefix", NAME, nullable=False),
    Column("db_name", NAME, nullable=False),
    Column("table_name", NAME, nullable=False),
    Column("table_key", HASH, nullable=False),  # row_key of the table's own row
    *(column if column.name != "row_key" else Column("row_key", HASH, primary_key=True) for column in _budget_columns()),
    *_budget_checks("analyst_budget"),
    Index("ix_analyst_budget_analyst", "analyst"),
    Index("ix_analyst_budget_table", "table_key", "analyst", unique=True),
    **OPTIONS,
)

ledger = Table(
    "ledger",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("chain", HASH, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", HASH, nullable=False),  # of the previous link's hash and every column below
    Column("time", TIME, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("analyst", NAME, nullable=False),
    Column("request_id", REQUEST_ID, nullable=False),
    Column("prefix", NAME, nullable=False),
    Column("db_name", NAME, nullable=False),
    Column("table_name", NAME, nullable=False),
    Column("quota", Boolean(create_constraint=False), nullable=False),  # the analyst's quota row rather than the table's
    Column("cycle", BigInteger, nullable=False),
    Column("mechanism", WORD, nullable=False),
    Column("pico_epsilon", BigInteger, nullable=False),
    Column("pico_rho", BigInteger, nullable=False),
    Column("atto_key_delta", BigInteger, nullable=False),
    Column("atto_gauss_delta", BigInteger, nullable=False),
    Column("fingerprint", HASH, nullable=False),
    Column("checksum", HASH, nullable=False),
    Column("sql_sha256", HASH, nullable=False),
    Column("detail", LONG_TEXT, nullable=False),
    Column("sql_text", LONG_TEXT),  # refused and cached only; a charged request's text is in ``request``
    Column("signature", HASH, nullable=False),  # checkpoints only
    Index("ix_ledger_chain", "chain", "seq", unique=True),
    Index("ix_ledger_analyst", "analyst"),
    Index("ix_ledger_time", "time"),
    **OPTIONS,
)

chain_head = Table(
    "chain_head",
    metadata,
    Column("chain", HASH, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", HASH, nullable=False),
    Column("label", NAME, nullable=False),  # analyst, or '' for the owner's chain
    **OPTIONS,
)

request = Table(
    "request",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("request_key", HASH, nullable=False),
    Column("analyst", NAME, nullable=False),
    Column("request_id", REQUEST_ID, nullable=False),
    Column("body_sha256", HASH, nullable=False),
    Column("prefix", NAME, nullable=False),
    Column("db_name", NAME, nullable=False),
    Column("checksum", HASH, nullable=False),
    Column("fingerprint", HASH, nullable=False),
    Column("state", WORD, nullable=False),  # debited, answered, failed
    Column("unmetered", Boolean(create_constraint=False), nullable=False),
    Column("cancelled", Boolean(create_constraint=False), nullable=False),
    Column("max_failures", Integer, nullable=False),
    Column("time", TIME, nullable=False),
    Column("outcome_time", TIME),
    Column("cycles", LONG_TEXT, nullable=False),  # JSON: row_key -> cycle it was charged in
    Column("sql_text", LONG_TEXT, nullable=False),
    Column("answer", LONG_BYTES),  # zlib of the filed JSON
    Index("ix_request_key", "request_key", unique=True),
    Index("ix_request_fingerprint", "fingerprint"),
    Index("ix_request_analyst", "analyst", "state"),
    **OPTIONS,
)

suspension = Table(
    "suspension",
    metadata,
    Column("subject", HASH, primary_key=True),
    Column("analyst", NAME),
    Column("prefix", NAME),
    Column("db_name", NAME),
    Column("table_name", NAME),
    Column("active", Boolean(create_constraint=False), nullable=False),
    Column("reason", LONG_TEXT, nullable=False),
    Column("time", TIME, nullable=False),
    Column("lift_time", TIME),  # failures before it no longer count
    **OPTIONS,
)

token = Table(
    "token",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("token_sha256", HASH, nullable=False),
    Column("name", NAME, nullable=False),
    Column("role", WORD, nullable=False),
    Column("create_time", TIME, nullable=False),
    Column("expire_time", TIME),
    Column("revoke_time", TIME),
    Index("ix_token_sha256", "token_sha256", unique=True),
    **OPTIONS,
)

saved_table = Table(
    "saved_table",
    metadata,
    Column("saved_key", HASH, primary_key=True),
    Column("analyst", NAME, nullable=False),
    Column("prefix", NAME, nullable=False),
    Column("db_name", NAME, nullable=False),
    Column("name", NAME, nullable=False),
    Column("cycles", LONG_TEXT, nullable=False),
    Column("time", TIME, nullable=False),
    Column("content", LONG_BYTES, nullable=False),
    Index("ix_saved_table_analyst", "analyst"),
    **OPTIONS,
)

twin_card = Table(
    "twin_card",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("row_key", HASH, nullable=False),
    Column("prefix", NAME, nullable=False),
    Column("db_name", NAME, nullable=False),
    Column("table_name", NAME, nullable=False),
    Column("version", WORD, nullable=False),
    Column("card", LONG_TEXT, nullable=False),
    Column("retired", Boolean(create_constraint=False), nullable=False),
    Column("time", TIME, nullable=False),
    Index("ix_twin_card_version", "row_key", "version", unique=True),
    **OPTIONS,
)

quote_count = Table(
    "quote_count",
    metadata,
    Column("count_key", HASH, primary_key=True),
    Column("analyst", NAME, nullable=False),
    Column("prefix", NAME, nullable=False),
    Column("db_name", NAME, nullable=False),
    Column("day", String(10), nullable=False),
    Column("quotes", BigInteger, nullable=False),
    **OPTIONS,
)
