"""The ledger's first schema: budgets, ledger, requests, suspensions, tokens, saved tables, twins, counts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A shipped schema version stands alone: it does not follow later changes of ``schema``.
_ON = ("mysql", "mariadb")
_NAME = sa.String(255).with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), *_ON)
_HASH = sa.String(64).with_variant(mysql.CHAR(64, charset="ascii", collation="ascii_bin"), *_ON)
_WORD = sa.String(32).with_variant(mysql.VARCHAR(32, charset="ascii", collation="ascii_bin"), *_ON)
_REQUEST_ID = sa.String(128).with_variant(mysql.VARCHAR(128, charset="utf8mb4", collation="utf8mb4_bin"), *_ON)
_TEXT = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *_ON)
_BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), *_ON)
_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_ON)
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in _ON
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"), ("row_format", "DYNAMIC"))
}


def _budget_columns(table: str) -> list[Any]:
    return [
        sa.Column("total_budget", sa.Double, nullable=False),
        sa.Column("consumed_budget", sa.Double, nullable=False),
        sa.Column("recover_cycle", sa.Integer, nullable=False),
        sa.Column("exhausted_strategy", _WORD, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("last_update_time", _TIME, nullable=False),
        sa.Column("last_recover_time", _TIME, nullable=False),
        sa.Column("slack", sa.Double, nullable=False),
        sa.Column("num_dpcall", sa.BigInteger, nullable=False),
        sa.Column("sum_eps", sa.Double, nullable=False),
        sa.Column("sum_del", sa.Double, nullable=False),
        sa.Column("sum_sq_eps", sa.Double, nullable=False),
        sa.Column("sum_exp_eps", sa.Double, nullable=False),
        sa.Column("prod_del", sa.Double, nullable=False),
        sa.Column("delta", sa.Double, nullable=False),
        sa.Column("spent_pico_epsilon", sa.BigInteger, nullable=False),
        sa.Column("spent_pico_rho", sa.BigInteger, nullable=False),
        sa.Column("spent_atto_key_delta", sa.BigInteger, nullable=False),
        sa.Column("spent_atto_gauss_delta", sa.BigInteger, nullable=False),
        sa.Column("cycle", sa.BigInteger, nullable=False),
        sa.Column("unmetered_answers", sa.BigInteger, nullable=False),
        sa.Column("lifetime_epsilon", sa.Double, nullable=False),
        sa.Column("lifetime_rho", sa.Double, nullable=False),
        sa.Column("lifetime_delta", sa.Double, nullable=False),
        sa.Column("lifetime_answers", sa.BigInteger, nullable=False),
        sa.Column("head_seq", sa.BigInteger, nullable=False),
        sa.Column("head_hash", _HASH, nullable=False),
        sa.CheckConstraint("total_budget > 0", name=f"{table}_total"),
        sa.CheckConstraint("recover_cycle >= 1", name=f"{table}_cycle"),
        sa.CheckConstraint("exhausted_strategy IN ('reject', 'allow')", name=f"{table}_strategy"),
        sa.CheckConstraint(
            "spent_pico_epsilon >= 0 AND spent_pico_rho >= 0 AND spent_atto_key_delta >= 0 AND spent_atto_gauss_delta >= 0",
            name=f"{table}_spent",
        ),
    ]


def upgrade() -> None:
    """Make what is missing: MySQL commits each table by itself, so an interrupted run must be able to go on."""
    _table(
        "budget_info",
        sa.Column("prefix", _NAME, primary_key=True),
        sa.Column("db_name", _NAME, primary_key=True),
        sa.Column("table_name", _NAME, primary_key=True),
        sa.Column("row_key", _HASH, nullable=False),
        *_budget_columns("budget_info"),
        indexes=(("ix_budget_info_row_key", ("row_key",), True),),
    )
    _table(
        "analyst_budget",
        sa.Column("analyst", _NAME, nullable=False),
        sa.Column("prefix", _NAME, nullable=False),
        sa.Column("db_name", _NAME, nullable=False),
        sa.Column("table_name", _NAME, nullable=False),
        sa.Column("table_key", _HASH, nullable=False),
        sa.Column("row_key", _HASH, primary_key=True),
        *_budget_columns("analyst_budget"),
        indexes=(
            ("ix_analyst_budget_table", ("table_key", "analyst"), True),
            ("ix_analyst_budget_analyst", ("analyst",), False),
        ),
    )
    _table(
        "ledger",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("chain", _HASH, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", _HASH, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("kind", _WORD, nullable=False),
        sa.Column("analyst", _NAME, nullable=False),
        sa.Column("request_id", _REQUEST_ID, nullable=False),
        sa.Column("prefix", _NAME, nullable=False),
        sa.Column("db_name", _NAME, nullable=False),
        sa.Column("table_name", _NAME, nullable=False),
        sa.Column("quota", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("cycle", sa.BigInteger, nullable=False),
        sa.Column("mechanism", _WORD, nullable=False),
        sa.Column("pico_epsilon", sa.BigInteger, nullable=False),
        sa.Column("pico_rho", sa.BigInteger, nullable=False),
        sa.Column("atto_key_delta", sa.BigInteger, nullable=False),
        sa.Column("atto_gauss_delta", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", _HASH, nullable=False),
        sa.Column("checksum", _HASH, nullable=False),
        sa.Column("sql_sha256", _HASH, nullable=False),
        sa.Column("detail", _TEXT, nullable=False),
        sa.Column("sql_text", _TEXT),
        sa.Column("signature", _HASH, nullable=False),
        indexes=(
            ("ix_ledger_analyst", ("analyst",), False),
            ("ix_ledger_chain", ("chain", "seq"), True),
            ("ix_ledger_time", ("time",), False),
        ),
    )
    _table(
        "chain_head",
        sa.Column("chain", _HASH, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", _HASH, nullable=False),
        sa.Column("label", _NAME, nullable=False),
    )
    _table(
        "request",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("request_key", _HASH, nullable=False),
        sa.Column("analyst", _NAME, nullable=False),
        sa.Column("request_id", _REQUEST_ID, nullable=False),
        sa.Column("body_sha256", _HASH, nullable=False),
        sa.Column("prefix", _NAME, nullable=False),
        sa.Column("db_name", _NAME, nullable=False),
        sa.Column("checksum", _HASH, nullable=False),
        sa.Column("fingerprint", _HASH, nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("unmetered", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("cancelled", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("max_failures", sa.Integer, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("outcome_time", _TIME),
        sa.Column("cycles", _TEXT, nullable=False),
        sa.Column("sql_text", _TEXT, nullable=False),
        sa.Column("answer", _BYTES),
        indexes=(
            ("ix_request_analyst", ("analyst", "state"), False),
            ("ix_request_fingerprint", ("fingerprint",), False),
            ("ix_request_key", ("request_key",), True),
        ),
    )
    _table(
        "suspension",
        sa.Column("subject", _HASH, primary_key=True),
        sa.Column("analyst", _NAME),
        sa.Column("prefix", _NAME),
        sa.Column("db_name", _NAME),
        sa.Column("table_name", _NAME),
        sa.Column("active", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("lift_time", _TIME),
    )
    _table(
        "token",
        sa.Column("id", _WORD, primary_key=True),
        sa.Column("token_sha256", _HASH, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("role", _WORD, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("expire_time", _TIME),
        sa.Column("revoke_time", _TIME),
        indexes=(("ix_token_sha256", ("token_sha256",), True),),
    )
    _table(
        "saved_table",
        sa.Column("saved_key", _HASH, primary_key=True),
        sa.Column("analyst", _NAME, nullable=False),
        sa.Column("prefix", _NAME, nullable=False),
        sa.Column("db_name", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("cycles", _TEXT, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("content", _BYTES, nullable=False),
        indexes=(("ix_saved_table_analyst", ("analyst",), False),),
    )
    _table(
        "twin_card",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("row_key", _HASH, nullable=False),
        sa.Column("prefix", _NAME, nullable=False),
        sa.Column("db_name", _NAME, nullable=False),
        sa.Column("table_name", _NAME, nullable=False),
        sa.Column("version", _WORD, nullable=False),
        sa.Column("card", _TEXT, nullable=False),
        sa.Column("retired", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("time", _TIME, nullable=False),
        indexes=(("ix_twin_card_version", ("row_key", "version"), True),),
    )
    _table(
        "quote_count",
        sa.Column("count_key", _HASH, primary_key=True),
        sa.Column("analyst", _NAME, nullable=False),
        sa.Column("prefix", _NAME, nullable=False),
        sa.Column("db_name", _NAME, nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("quotes", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Refuse: a ledger is never erased."""
    raise NotImplementedError("The first schema cannot be undone: a ledger is never erased.")


def _table(name: str, *parts: Any, indexes: tuple[tuple[str, tuple[str, ...], bool], ...] = ()) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **_OPTIONS)
    there = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(name)}
    for index, columns, unique in indexes:
        if index not in there:
            op.create_index(index, name, list(columns), unique=unique)
