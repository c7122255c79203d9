"""Who may ask: tokens, and suspensions of analysts and tables."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from dpjupyter.engine.ledger import rows
from dpjupyter.engine.ledger.chain import OWNER_CHAIN, append
from dpjupyter.engine.ledger.names import check_name, digest
from dpjupyter.engine.ledger.records import Role, Suspension, Token, shown_time
from dpjupyter.engine.ledger.schema import suspension, token, utc_now
from dpjupyter.errors import BadRequest, NotFound, Suspended

_ROLES = ("analyst", "owner", "viewer")
_PREFIX = "dpj_"  # lets scanners for leaked secrets recognise one
MAX_TOKEN_DAYS = 3660


# ---------------------------------------------------------------- suspensions
def analyst_subject(analyst: str) -> str:
    """Key of an analyst's suspension."""
    return digest("suspend analyst", analyst)


def table_subject(prefix: str, db_name: str, table_name: str) -> str:
    """Key of a table's suspension; ``*`` is the whole database."""
    return digest("suspend table", prefix, db_name, table_name)


def subjects_of(analyst: str | None, prefix: str, db_name: str, tables: Iterable[str]) -> list[str]:
    """Keys of everything whose suspension stops a query: its tables, its database, its analyst."""
    subjects = [table_subject(prefix, db_name, table) for table in sorted({*tables, "*"})]
    return subjects if analyst is None else [*subjects, analyst_subject(analyst)]


def refuse_suspended(connection: Connection, analyst: str | None, prefix: str, db_name: str, tables: Iterable[str]) -> None:
    """Refuse while the analyst, the database or one of the tables is suspended.

    Raises: Suspended.
    """
    subjects = subjects_of(analyst, prefix, db_name, tables)
    statement = select(suspension).where(suspension.c.subject.in_(subjects), suspension.c.active).limit(1)
    found = connection.execute(statement).first()
    if found is None:
        return
    what = "You are" if found.analyst is not None else "The database is" if found.table_name == "*" else f"Table {found.table_name} is"
    reason = f": {found.reason}" if found.reason else ""
    raise Suspended(f"{what} suspended{reason}.", hint="The owner can lift the suspension.")


def suspend(connection: Connection, analyst: str | None, prefix: str | None, db_name: str | None, table_name: str | None,
            *, reason: str, by: str) -> None:  # fmt: skip
    """Suspend an analyst, or a table (``*``: the whole database), until lifted.

    Raises: BadRequest: neither or both are named.
    """
    subject = _subject(analyst, prefix, db_name, table_name)
    time = rows.now(connection)
    values: dict[str, Any] = {
        "analyst": analyst, "prefix": prefix, "db_name": db_name, "table_name": table_name, "active": True,
        "reason": reason[:500], "time": time,
    }  # fmt: skip
    changed = connection.execute(update(suspension).where(suspension.c.subject == subject).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(suspension).values(subject=subject, **values))
    _log(connection, time, "suspend", by, subject=(analyst, prefix, db_name, table_name), reason=reason[:500])


def lift(connection: Connection, analyst: str | None, prefix: str | None, db_name: str | None, table_name: str | None,
         *, by: str, reason: str = "") -> None:  # fmt: skip
    """Lift a suspension; an analyst's failures so far no longer count.

    Raises: NotFound: not suspended. BadRequest.
    """
    subject = _subject(analyst, prefix, db_name, table_name)
    time = rows.now(connection)
    here = (suspension.c.subject == subject) & suspension.c.active
    if connection.execute(update(suspension).where(here).values(active=False, lift_time=time)).rowcount == 0:
        raise NotFound("There is no such suspension.")
    _log(connection, time, "lift", by, subject=(analyst, prefix, db_name, table_name), reason=reason[:500])


def suspensions(connection: Connection) -> tuple[Suspension, ...]:
    """Everything suspended now."""
    found = connection.execute(select(suspension).where(suspension.c.active).order_by(suspension.c.time, suspension.c.subject))
    return tuple(Suspension(row.analyst, row.prefix, row.db_name, row.table_name, row.reason, shown_time(row.time)) for row in found)


def _subject(analyst: str | None, prefix: str | None, db_name: str | None, table_name: str | None) -> str:
    if analyst is not None and prefix is None and db_name is None and table_name is None:
        return analyst_subject(check_name(analyst, "analyst"))
    if analyst is None and prefix is not None and db_name is not None and table_name is not None:
        return table_subject(check_name(prefix, "prefix"), check_name(db_name, "db_name"), check_name(table_name, "table_name"))
    raise BadRequest("Name either an analyst, or a prefix, db_name and table_name.")


def _log(connection: Connection, time: datetime, kind: str, by: str, *, subject: tuple[str | None, ...], reason: str) -> None:
    analyst, prefix, db_name, table_name = (part or "" for part in subject)
    detail = f"{analyst}: {reason}" if analyst else reason
    append(connection, OWNER_CHAIN, "", time, kind, analyst=by, prefix=prefix, db_name=db_name, table_name=table_name, detail=detail)


# ---------------------------------------------------------------- tokens
def token_sha256(secret: str) -> str:
    """What is stored of a token. Secrets are 256 random bits: a plain hash cannot be searched."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create_token(connection: Connection, name: str, role: Role, days: int | None, by: str) -> tuple[str, Token]:
    """Make a token; the secret is returned once and never stored.

    ``name`` is whom budgets are keyed on; ``days`` until it expires, None: never.

    Raises: BadRequest.
    """
    check_name(name, "name")
    if role not in _ROLES:
        raise BadRequest("role must be analyst, owner or viewer.")
    if days is not None and not 1 <= days <= MAX_TOKEN_DAYS:
        raise BadRequest(f"days must be between 1 and {MAX_TOKEN_DAYS}.")
    time = rows.now(connection)
    secret = _PREFIX + secrets.token_urlsafe(32)
    identity = secrets.token_hex(6)
    expire = None if days is None else time + timedelta(days=days)
    connection.execute(
        insert(token).values(id=identity, token_sha256=token_sha256(secret), name=name, role=role, create_time=time, expire_time=expire)
    )
    append(connection, OWNER_CHAIN, "", time, "token_create", analyst=by, detail=f"{identity} {role} {name}")
    return secret, Token(identity, name, role, shown_time(time), shown_time(expire), "")


def lookup_token(connection: Connection, secret: str) -> Token | None:
    """The valid token with this secret, or None (unknown, expired by the database's clock, revoked)."""
    # The database compares hashes, not secrets: how far a guess agrees says nothing about the secret.
    statement = select(token).where(
        token.c.token_sha256 == token_sha256(secret),
        token.c.revoke_time.is_(None),
        or_(token.c.expire_time.is_(None), token.c.expire_time > utc_now()),
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else _token(row)


def list_tokens(connection: Connection) -> tuple[Token, ...]:
    """All tokens, oldest first; never their secrets."""
    return tuple(_token(row) for row in connection.execute(select(token).order_by(token.c.create_time, token.c.id)))


def revoke_token(connection: Connection, identity: str, by: str) -> None:
    """Make a token invalid at once.

    Raises: NotFound: no such token, or already revoked.
    """
    time = rows.now(connection)
    here = (token.c.id == identity) & token.c.revoke_time.is_(None)
    if connection.execute(update(token).where(here).values(revoke_time=time)).rowcount == 0:
        raise NotFound("There is no such token, or it is revoked already.")
    append(connection, OWNER_CHAIN, "", time, "token_revoke", analyst=by, detail=identity)


def _token(row: rows.AnyRow) -> Token:
    return Token(row.id, row.name, row.role, shown_time(row.create_time), shown_time(row.expire_time), shown_time(row.revoke_time))
