"""``%dpsql`` commands: each takes the session and the words after its name, and returns what is to be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from dpjupyter.errors import BadRequest, BudgetMissing, Forbidden, NotFound
from dpjupyter.magics.listing import Listing
from dpjupyter.magics.options import BY_FLAG, OPTIONS, CellOptions, split_query
from dpjupyter.magics.options import parse as parse_options
from dpjupyter.magics.session import Session, address

if TYPE_CHECKING:
    from dpjupyter import wire

HISTORY_ROWS = 50
LONGEST_SQL = 100  # characters of a question in a list
SECONDS = len("2030-01-01 00:00:00")
LONGEST_DOMAIN = 8  # values shown of a domain
SAVED_PREFIX = "saved."
SQL_WORDS = ("SELECT", "WITH", "FROM", "VALUES", "(")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of ``%dpsql``."""

    name: str
    usage: str
    help: str
    run: Callable[[Session, str, Mapping[str, Any]], Any]


def run(session: Session, line: str, variables: Mapping[str, Any]) -> Any:
    """Carry out a ``%dpsql`` line that is not SQL.

    Raises: BadRequest: the command is not known or wrongly used; and what the gateway says.
    """
    name, _, rest = line.strip().partition(" ")
    command = BY_NAME.get(name.casefold() or "help")
    if command is None:
        near = get_close_matches(name.casefold(), BY_NAME, n=1)
        hint = f"Did you mean %dpsql {near[0]}?" if near else f"Commands: {', '.join(BY_NAME)}. Or a question: %dpsql SELECT ..."
        raise BadRequest(f"%dpsql {name}: there is no such command", hint=hint)
    return command.run(session, rest.strip(), variables)


def is_sql(line: str) -> bool:
    """Whether a ``%dpsql`` line is a question, perhaps after options."""
    _, sql = split_query(line)
    return line.lstrip().startswith("--") or sql.lstrip().upper().startswith(SQL_WORDS)


def _connect(session: Session, rest: str, _: Mapping[str, Any]) -> Listing:
    words = rest.split()
    database = None
    if "--database" in words:
        position = words.index("--database")
        if position + 1 >= len(words):
            raise BadRequest("--database needs a value", hint=BY_NAME["connect"].usage)
        database = words.pop(position + 1)
        words.pop(position)
    if len(words) > 1 or any(word.startswith("-") for word in words):
        raise BadRequest("connect takes one name or address", hint=BY_NAME["connect"].usage)
    session.connect(words[0] if words else None, database)
    me, connection = session.me, session.connection
    said = f"Connected to {connection.name if connection else ''} as {me.name} ({me.role})." if me else ""
    if session.database is not None:
        tables = len(session.database.tables)
        return Listing(f"{said} Database {session.database.name}: {tables} table{'' if tables == 1 else 's'}.")
    names = [database.name for database in session.catalog.databases] if session.catalog else []
    which = f"Databases: {', '.join(names)}. Choose one with %dpsql use NAME." if names else "It serves no database yet."
    return Listing(said, notes=(which,))


def _use(session: Session, rest: str, _: Mapping[str, Any]) -> Listing:
    if not rest:
        database = session.database_named(None)
        return Listing(f"Database {address(database)}.")
    return Listing(f"Database {session.use(_unquoted(rest)).name}.")


def _tables(session: Session, rest: str, _: Mapping[str, Any]) -> Listing:
    _none(rest, "tables")
    session.connected()
    session.refresh()
    databases = session.catalog.databases if session.catalog else []
    chosen = [session.database] if session.database is not None else databases
    rows: list[list[str]] = []
    for database in chosen:
        for table in database.tables:
            kind = (f"private, unit {table.unit}" if table.private else "public") + (", twin" if table.synthetic else "")
            rows.append([database.name, table.name, kind, str(len(table.columns)), table.description])
    named = len(chosen) == 1
    header = ["table", "rows are", "columns", "about"]
    others = [database.name for database in databases if database not in chosen]
    notes = [f"Other databases: {', '.join(others)} (%dpsql use NAME)"] if others else []
    if named:
        title = f"{chosen[0].name}: one privacy unit is one {chosen[0].unit_entity}"
        return Listing(title, header, [row[1:] for row in rows], notes, right=("columns",))
    return Listing("", ["database", *header], rows, notes, right=("columns",))


def _describe(session: Session, rest: str, _: Mapping[str, Any]) -> Listing:
    database = session.database_named(None)
    if not rest:
        return _tables(session, "", {})
    kept = _saved_named(database, _unquoted(rest))
    if kept is not None:
        notes = [f"{_label(kept)}; {kept.rows} row{'' if kept.rows == 1 else 's'}; free to read until its budget cycle ends."]
        return Listing(f"{SAVED_PREFIX}{kept.name}", ["column", "type"], [[column.name, column.type] for column in kept.columns], notes)
    table = _table_named(database, _unquoted(rest), session.catalog)
    rows = [[column.name, column.type, "yes" if column.nullable else "no", _values(column), column.description] for column in table.columns]
    notes = [table.description] if table.description else []
    if table.private:
        one = database.unit_entity
        belongs = f"each row is one {one}" if table.unit == "row" else f"a row belongs to one {one}, by {table.unit}"
        notes.append(f"Private: {belongs}.")
        if table.unit != "row":
            limits = f"max_rows = {table.max_rows} rows in each of at most max_groups = {table.max_groups} groups"
            notes.append(f"Of each {one} are counted: at most {limits} (--max-rows, --max-groups).")
        hidden = f"; groups of fewer than {table.min_units} stay hidden" if table.min_units > 1 else ""
        notes.append(f"Groups by values that are not declared: {'possible' + hidden if table.open_keys else 'refused'}.")
    else:
        notes.append("Public: read exactly, at no cost.")
    if table.synthetic:
        notes.append("A synthetic twin is published: --synthetic asks it, free.")
    return Listing(f"{database.name}.{table.name}", ["column", "type", "NULL", "values", "about"], rows, notes)


def _saved(session: Session, rest: str, _: Mapping[str, Any]) -> Listing:
    word, name = [*rest.split(maxsplit=1), "", ""][:2]
    if word == "forget" and name.strip():
        named = _unquoted(name.strip()).removeprefix(SAVED_PREFIX)
        database = session.database_named(None)
        session.connected().forget(named, database.name, database.prefix)
        session.refresh()
        return Listing(f"{SAVED_PREFIX}{named.casefold()} is forgotten.")
    if rest:
        raise BadRequest(f"%dpsql saved {rest}: this is not understood", hint=BY_NAME["saved"].usage)
    session.connected()
    session.refresh()
    database = session.database_named(None)
    if not database.saved:
        return Listing(
            f"Nothing is saved of {database.name}.",
            notes=("%%dpsql --save NAME keeps an answer; later questions read it as saved.NAME, free.",),
        )
    rows = [
        [
            SAVED_PREFIX + table.name,
            str(table.rows),
            ", ".join(column.name for column in table.columns),
            _label(table),
            table.time[:SECONDS],
        ]
        for table in database.saved
    ]
    note = "Free to read, and kept until the budget cycle of a table behind it ends. %dpsql saved forget NAME drops one."
    return Listing("", ["table", "rows", "columns", "is", "kept (UTC)"], rows, (note,), right=("rows",))


def _label(table: wire.SavedTable) -> str:
    released = {"private": "released", "public": "exact", "synthetic": "SYNTHETIC"}[table.kind]
    return f"{released}, UNMETERED" if table.unmetered else released


def _budget(session: Session, rest: str, _: Mapping[str, Any]) -> Any:
    _none(rest, "budget")
    from dpjupyter.magics import panels  # noqa: PLC0415 - ipywidgets, 0.3 s

    return panels.budget(session)


def _owner(session: Session, rest: str, _: Mapping[str, Any]) -> Any:
    _none(rest, "owner")
    client = session.connected()
    if session.me is not None and session.me.role != "owner":
        raise Forbidden(f"{session.me.name} is no owner", hint="Connect with an owner's token: %dpsql connect NAME")
    from dpjupyter.magics import panels  # noqa: PLC0415 - ipywidgets, 0.3 s

    return panels.owner(session, client)


def _history(session: Session, rest: str, _: Mapping[str, Any]) -> Listing:
    _none(rest, "history")
    client = session.connected()
    me = session.me
    try:
        rows = client.audit(limit=HISTORY_ROWS, analyst=me.name if me and me.role == "owner" else None).rows
        shown = [[row.time[:SECONDS], row.verdict, f"{row.epsilon:.6g}" if row.epsilon else "", _brief(row.sql)] for row in rows]
    except (Forbidden, NotFound, BudgetMissing):
        # A gateway may keep its log to owners: then what this notebook itself asked.
        shown = [
            [_utc(asked.time), asked.verdict, f"{asked.epsilon:.6g}" if asked.epsilon else "", _brief(asked.sql)]
            for asked in reversed(session.history[-HISTORY_ROWS:])
        ]
    if not shown:
        return Listing("Nothing was asked yet.")
    return Listing("", ["time (UTC)", "verdict", "ε", "question"], shown, right=("ε",))


def _explain(session: Session, rest: str, variables: Mapping[str, Any]) -> Any:
    from dpjupyter.answer import Answer  # noqa: PLC0415 - pydantic

    if is_sql(rest):
        options, sql = split_query(rest)
        return session.quote(sql, parse_options(options), variables)
    found = variables.get(rest) if rest else session.last
    if not isinstance(found, Answer):
        said = f"{rest} is not an answer" if rest else "nothing was answered yet"
        raise BadRequest(said, hint="Write %dpsql explain NAME for an answer, %dpsql explain SELECT ... for a question not yet asked.")
    return found.explain()


def _config(session: Session, rest: str, _: Mapping[str, Any]) -> Listing:
    for word in rest.split():
        name, equals, value = word.partition("=")
        if not equals:
            raise BadRequest(f"{word!r} sets nothing", hint="Write: %dpsql config epsilon=0.5 traceback=on")
        session.change_settings(name, value)
    return Listing("", ["setting", "value", "meaning"], session.settings.shown())


def _help(_: Session, rest: str, __: Mapping[str, Any]) -> Listing:
    if rest in BY_NAME:
        return Listing(BY_NAME[rest].usage, notes=(BY_NAME[rest].help,))
    option = BY_FLAG.get(rest if rest.startswith("--") else f"--{rest}")
    if rest and option is not None:
        return Listing(f"{option.flag} {option.value}".strip(), notes=(option.help,))
    if rest:
        raise BadRequest(f"there is no help on {rest!r}", hint="%dpsql help lists commands and options.")
    rows = [[command.usage, command.help] for command in COMMANDS]
    rows += [["%%dpsql [name <<] [options]", "ask the SQL below; without name << the answer is shown and kept in _"]]
    rows += [[f"  {option.flag} {option.value}".rstrip(), option.help] for option in OPTIONS]
    return Listing("", ["write", "to"], rows, (":x in the SQL stands for --param x=... or the notebook variable x, bound as a value.",))


COMMANDS: Sequence[Command] = (
    Command("connect", "%dpsql connect [NAME | https://...] [--database DB]", "connect to a gateway; alone: the default one", _connect),
    Command("use", "%dpsql use DB", "choose the database that later cells ask", _use),
    Command("tables", "%dpsql tables", "the tables you may ask", _tables),
    Command("describe", "%dpsql describe TABLE", "columns of a table: types, bounds, domains, limits", _describe),
    Command("budget", "%dpsql budget", "what is left of the budgets", _budget),
    Command("history", "%dpsql history", "your questions and what they cost", _history),
    Command("saved", "%dpsql saved [forget NAME]", "the answers you kept with --save, or drop one", _saved),
    Command("explain", "%dpsql explain [NAME | SELECT ...]", "how an answer was made, or what a question would cost", _explain),
    Command("config", "%dpsql config [NAME=VALUE ...]", "show or change this notebook's defaults", _config),
    Command("owner", "%dpsql owner", "the owner's panel: budgets, analysts, audit log", _owner),
    Command("help", "%dpsql help [COMMAND | OPTION]", "this list", _help),
)
BY_NAME: Mapping[str, Command] = {command.name: command for command in COMMANDS}


def cell(session: Session, options: CellOptions, sql: str, variables: Mapping[str, Any], on_progress: Any = None) -> Any:
    """What a ``%%dpsql`` cell gives: an Answer, or with ``--dry-run`` a quote."""
    if options.dry_run:
        return session.quote(sql, options, variables)
    return session.query(sql, options, variables, on_progress)


def _table_named(database: wire.CatalogDatabase, name: str, catalog: wire.CatalogReply | None) -> wire.CatalogTable:
    for table in database.tables:
        if table.name == name:
            return table
    loose = [table for table in database.tables if table.name.casefold() == name.casefold()]
    if len(loose) == 1:
        return loose[0]
    known = [table.name for table in database.tables]
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Tables: {', '.join(known)}."
    elsewhere = [other.name for other in (catalog.databases if catalog else []) if any(table.name == name for table in other.tables)]
    if elsewhere:
        hint = f"{name} is a table of {elsewhere[0]}: %dpsql use {elsewhere[0]}"
    raise NotFound(f"{database.name} declares no table {name!r}", hint=hint)


def _saved_named(database: wire.CatalogDatabase, name: str) -> wire.SavedTable | None:
    return next((table for table in database.saved if name.casefold() == SAVED_PREFIX + table.name), None)


def _values(column: wire.CatalogColumn) -> str:
    from dpjupyter.answer import formats  # noqa: PLC0415 - pydantic

    if column.domain is not None:
        values = ", ".join(formats.plain(value) for value in column.domain[:LONGEST_DOMAIN])
        return values + (f", … ({len(column.domain)})" if len(column.domain) > LONGEST_DOMAIN else "")
    if column.bounds is not None:
        return f"{formats.plain(column.bounds[0])} … {formats.plain(column.bounds[1])}"
    return ""


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _brief(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= LONGEST_SQL else text[: LONGEST_SQL - 1] + "…"


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _none(rest: str, command: str) -> None:
    if rest:
        raise BadRequest(f"%dpsql {command} takes nothing after it", hint=BY_NAME[command].usage)
