"""What a warehouse declares about its tables: names, types, keys, comments. Never a value of the data."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dpjupyter.engine.backends.duckdb import DuckDBBackend
from dpjupyter.engine.backends.snowflake_grants import quoted
from dpjupyter.errors import PolicyError

if TYPE_CHECKING:
    from snowflake.snowpark import Session

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``columns`` of this table are ``ref_columns`` of ``ref_table``, in order."""

    columns: tuple[str, ...]
    ref_table: str
    ref_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableDescription:
    """One table or view as its warehouse's catalogue shows it; names as the policy should spell them."""

    name: str
    columns: tuple[tuple[str, str, bool], ...]  # (name, type, nullable) in the table's order
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    comment: str = ""
    unique_keys: tuple[tuple[str, ...], ...] = ()
    column_comments: Mapping[str, str] = field(default_factory=dict[str, str])
    source: str = ""  # name in the warehouse, if ``name`` does not lead to it
    enforced: bool = False  # the warehouse enforces the keys
    view: bool = False


@dataclass(slots=True)
class _Draft:
    """A table while its catalogue rows come in."""

    schema: str
    comment: str
    view: bool
    columns: list[tuple[str, str, bool]] = field(default_factory=list[tuple[str, str, bool]])
    column_comments: dict[str, str] = field(default_factory=dict[str, str])
    keys: dict[str, tuple[str, list[str]]] = field(default_factory=dict[str, tuple[str, list[str]]])  # constraint -> kind, columns
    foreign: dict[str, tuple[tuple[str, str], list[str], list[str]]] = field(
        default_factory=dict[str, tuple[tuple[str, str], list[str], list[str]]]
    )

    def finished(self, name: str, names: Mapping[tuple[str, str], str], *, source: str, enforced: bool) -> TableDescription:
        of_kind = {kind: [tuple(columns) for k, columns in self.keys.values() if k == kind] for kind in ("primary", "unique")}
        return TableDescription(
            name=name,
            columns=tuple(self.columns),
            primary_key=next(iter(of_kind["primary"]), ()),
            foreign_keys=tuple(ForeignKey(tuple(own), names[to], tuple(there)) for to, own, there in self.foreign.values() if to in names),
            comment=self.comment,
            unique_keys=tuple(of_kind["unique"]),
            column_comments=self.column_comments,
            source=source,
            enforced=enforced,
            view=self.view,
        )


def describe(url: str) -> list[TableDescription]:
    """Tables and views behind a backend's URL, sorted by name.

    Raises: PolicyError: the URL is wrong, or the catalogue cannot be read with these rights.
    """
    kind = url.partition(":")[0]
    if kind == "duckdb":
        return describe_duckdb(DuckDBBackend.open(url))
    if kind == "snowflake":
        from dpjupyter.engine.backends.snowflake_session import close, login  # noqa: PLC0415 - 1 s, 145 MB
        from dpjupyter.engine.backends.snowflake_settings import read  # noqa: PLC0415

        settings = read(url)
        session = None
        reason = ""
        try:
            session = login(settings)
            return describe_snowflake(session)
        except PolicyError:
            raise
        except Exception as error:  # noqa: BLE001 - the driver's text may hold the account's secrets
            reason = type(error).__name__
        finally:
            if session is not None:
                close(session)
        raise PolicyError(f"Snowflake's catalogue cannot be read ({reason})", hint="The URL must name a database the role may USE.")
    raise PolicyError(f"backend {kind!r} is not known; use duckdb:///file or snowflake://connection")


# ---------------------------------------------------------------- DuckDB
_DUCKDB_TABLES = """
SELECT schema_name, table_name, comment, false AS is_view FROM duckdb_tables() WHERE NOT internal AND database_name = current_database()
UNION ALL
SELECT schema_name, view_name, comment, true FROM duckdb_views() WHERE NOT internal AND database_name = current_database()
ORDER BY 1, 2"""
_DUCKDB_COLUMNS = """
SELECT schema_name, table_name, column_name, data_type, is_nullable, comment
FROM duckdb_columns() WHERE NOT internal AND database_name = current_database() ORDER BY schema_name, table_name, column_index"""
_DUCKDB_KEYS = """
SELECT schema_name, table_name, constraint_type, constraint_name, referenced_table,
       unnest(constraint_column_names) AS column_name, unnest(referenced_column_names) AS referenced_column
FROM duckdb_constraints()
WHERE constraint_type IN ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY') AND database_name = current_database()"""


def describe_duckdb(backend: DuckDBBackend) -> list[TableDescription]:
    """Tables of an open DuckDB database; closes it."""
    def ask(sql: str) -> list[tuple[object, ...]]:
        return backend.fetch(sql, tag="describe", timeout_s=60, cancelled=threading.Event())

    try:
        drafts = {(str(s), str(t)): _Draft(str(s), _text(c), bool(v)) for s, t, c, v in ask(_DUCKDB_TABLES)}
        for schema, table, column, type_, nullable, comment in ask(_DUCKDB_COLUMNS):
            if draft := drafts.get((str(schema), str(table))):
                draft.columns.append((str(column), str(type_), bool(nullable)))
                if comment:
                    draft.column_comments[str(column)] = _text(comment)
        for schema, table, kind, name, ref_table, column, ref_column in ask(_DUCKDB_KEYS):
            draft = drafts.get((str(schema), str(table)))
            if draft is None:
                continue
            if kind == "FOREIGN KEY":
                # DuckDB's foreign keys stay within one schema.
                _, here, there = draft.foreign.setdefault(str(name), ((str(schema), str(ref_table)), [], []))
                here.append(str(column))
                there.append(str(ref_column))
            else:
                draft.keys.setdefault(str(name), ("primary" if kind == "PRIMARY KEY" else "unique", []))[1].append(str(column))
    finally:
        backend.close()
    return _finished(drafts, home="main", enforced=True)


# ---------------------------------------------------------------- Snowflake
def describe_snowflake(session: Session) -> list[TableDescription]:
    """Tables of the session's schema, or of all schemas of its database where none is set."""
    from dpjupyter.engine.backends.snowflake_session import rows  # noqa: PLC0415

    (here,) = rows(session, "SELECT CURRENT_DATABASE() AS database_name, CURRENT_SCHEMA() AS schema_name")
    database, schema = here.get("database_name"), here.get("schema_name")
    if not database:
        raise PolicyError("the Snowflake URL names no database", hint="Add &database=..&schema=.. to it.")
    info = f"{quoted(str(database))}.INFORMATION_SCHEMA"
    where = "table_schema = CURRENT_SCHEMA()" if schema else "table_schema <> 'INFORMATION_SCHEMA'"
    tables = rows(
        session,
        f"SELECT table_schema AS s, table_name AS t, comment AS c, table_type AS k FROM {info}.TABLES WHERE {where}",  # noqa: S608
    )
    columns = rows(
        session,
        "SELECT table_schema AS s, table_name AS t, column_name AS n, data_type AS d, numeric_precision AS p, numeric_scale AS q, "  # noqa: S608
        f"is_nullable AS z, comment AS c FROM {info}.COLUMNS WHERE {where} ORDER BY table_schema, table_name, ordinal_position",
    )
    schemas = sorted({str(row["s"]) for row in tables})

    def show(what: str) -> list[Row]:
        return [row for s in schemas for row in rows(session, f"SHOW {what} KEYS IN SCHEMA {quoted(str(database))}.{quoted(s)}")]

    return from_snowflake_rows(tables, columns, show("PRIMARY"), show("UNIQUE"), show("IMPORTED"))


def from_snowflake_rows(
    tables: Iterable[Row], columns: Iterable[Row], primary: Iterable[Row], unique: Iterable[Row], imported: Iterable[Row]
) -> list[TableDescription]:
    """Put Snowflake's catalogue rows together: s, t, ... as selected above, and the columns of SHOW ... KEYS."""
    drafts = {(str(row["s"]), str(row["t"])): _Draft(str(row["s"]), _text(row.get("c")), "VIEW" in str(row.get("k"))) for row in tables}
    for row in columns:
        if draft := drafts.get((str(row["s"]), str(row["t"]))):
            name = _spelled(str(row["n"]))
            draft.columns.append((name, _snowflake_type(row), str(row["z"]).upper() != "NO"))
            if row.get("c"):
                draft.column_comments[name] = _text(row["c"])
    for kind, keys in (("primary", primary), ("unique", unique)):
        for row in sorted(keys, key=_sequence):
            if draft := drafts.get((str(row.get("schema_name")), str(row.get("table_name")))):
                draft.keys.setdefault(str(row.get("constraint_name")), (kind, []))[1].append(_spelled(str(row["column_name"])))
    for row in sorted(imported, key=_sequence):
        ref = (str(row.get("pk_schema_name")), str(row.get("pk_table_name")))
        draft = drafts.get((str(row.get("fk_schema_name")), str(row.get("fk_table_name"))))
        if draft is not None and ref in drafts:
            _, here, there = draft.foreign.setdefault(str(row.get("fk_name")), (ref, [], []))
            here.append(_spelled(str(row["fk_column_name"])))
            there.append(_spelled(str(row["pk_column_name"])))
    return _finished(drafts, home=None, enforced=False)


def _snowflake_type(row: Row) -> str:
    kind = str(row["d"]).upper()
    if kind in ("NUMBER", "DECIMAL", "NUMERIC") and row.get("p") is not None:
        return f"NUMBER({int(str(row['p']))},{int(str(row.get('q') or 0))})"
    return {"TEXT": "VARCHAR", "FLOAT": "DOUBLE"}.get(kind, kind)


def _sequence(row: Row) -> int:
    return int(str(row.get("key_sequence") or 0))


# ---------------------------------------------------------------- both
def _finished(drafts: Mapping[tuple[str, str], _Draft], *, home: str | None, enforced: bool) -> list[TableDescription]:
    """Name every table: by its own name where that is unique and leads to it, else by schema and name with a source.

    ``home`` is the schema that unqualified names reach; None: the session's, if all tables are in one schema.
    """
    snowflake = home is None
    spell = _spelled if snowflake else str
    if home is None and len({schema for schema, _ in drafts}) == 1:
        home = next(iter(drafts))[0]
    folded = [table.casefold() for _, table in drafts]
    names: dict[tuple[str, str], str] = {}
    sources: dict[tuple[str, str], str] = {}
    for key in drafts:
        schema, table = key
        alone = folded.count(table.casefold()) == 1
        names[key] = spell(table) if alone or schema == home else f"{spell(schema)}_{spell(table)}"
        sources[key] = "" if schema == home else f"{spell(schema)}.{spell(table)}"
    found = [draft.finished(names[key], names, source=sources[key], enforced=enforced) for key, draft in drafts.items()]
    return sorted(found, key=lambda table: table.name)


def _spelled(name: str) -> str:
    """Snowflake's unquoted names are upper case and written in lower case in a policy (see engine/render)."""
    return name.lower() if name.isascii() and name.isupper() and name.replace("_", "a").isalnum() and not name[0].isdigit() else name


def _text(value: object) -> str:
    return " ".join(str(value).split()) if value else ""
