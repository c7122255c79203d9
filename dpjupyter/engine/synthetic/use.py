"""Questions answered from twins: the same parse, bind, plan and finish, under a policy in which the twins are public tables.

Nothing is debited and nothing private is read: the only warehouse asked is one for public tables that a question joins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
from sqlglot import exp

from dpjupyter.engine.algebra import walk
from dpjupyter.engine.backends import Backend, BackendFailed
from dpjupyter.engine.backends.duckdb import LOCKED, DuckDBBackend
from dpjupyter.engine.bind import bind
from dpjupyter.engine.finish import finish
from dpjupyter.engine.finish.desk import duckdb_type
from dpjupyter.engine.model import Aggregate, Answer, Ask, BoundQuery, ExactRows, NoisyRows, Plan, Quote, Saved, Scan, nothing_saved
from dpjupyter.engine.noise import OpenDPNoise, noise
from dpjupyter.engine.parse import parse
from dpjupyter.engine.plan import plan
from dpjupyter.engine.policy import Policy, Table
from dpjupyter.engine.price import price
from dpjupyter.engine.render import render
from dpjupyter.engine.synthetic.card import Card
from dpjupyter.errors import AskRefused, NotFound

TIMEOUT_S = 30.0  # a free question takes no longer
MEMORY = "1GB"
ANY_SIZE = 2**62  # twins may be aggregated whatever their size; what is sent back is limited by its rows
_WAREHOUSE = "duckdb:///twins"


@dataclass(frozen=True, slots=True)
class Twins:
    """The current twins of one database and where their rows are."""

    policy: Policy  # the one in force
    cards: Mapping[str, Card]
    rows_of: Callable[[Card], Path]
    warehouse: Callable[[], Backend]  # for public tables that a question joins to twins


@dataclass(frozen=True, slots=True)
class Free:
    """A question on twins, ready to be run."""

    priced: Quote  # costs nothing: all its tables are public
    cards: tuple[Card, ...]
    publics: tuple[str, ...]
    notes: tuple[str, ...]


def asks_for_rows(sql: str, ask: Ask, policy: Policy, saved: Saved = nothing_saved) -> bool:
    """Whether a question wants rows of people: it reads a private table and aggregates nothing.

    Raises: Refused: the text is no question at all.
    """
    bound = bind(parse(sql, policy.dialect, ask.parameters), policy, saved)
    relations = list(walk(bound.root))
    private = any(isinstance(r, Scan) and r.table in policy.tables and policy.tables[r.table].private for r in relations)
    return private and not any(isinstance(r, Aggregate) and r.calls for r in relations)


def prepare(sql: str, ask: Ask, twins: Twins, saved: Saved = nothing_saved) -> Free:
    """Plan a question on the twins of the private tables it reads.

    Raises: Refused: AskRefused: a table has no twin that can be used. Others: the question itself has no answer.
    """
    policy = twins.policy
    bound = bind(parse(sql, policy.dialect, ask.parameters), policy, saved)
    read = _tables(bound, policy)
    cards = usable(read, twins)
    derived = public_policy(policy, cards)
    again = bind(parse(sql, policy.dialect, ask.parameters), derived, saved)
    planned = _limited(plan(again, derived, replace(ask, max_rows=None, max_groups=None)), policy)
    if planned.measurements:
        raise ValueError("a question on twins measures nothing")
    free = replace(ask, epsilon=None, delta=None, mechanism=None, answers={}, max_rows=None, max_groups=None)
    return Free(price(planned, free, derived), cards, _publics(read, policy), tuple(_said(cards, policy)))


def answer_free(free: Free, twins: Twins, *, cancelled: threading.Event, timeout_s: float = TIMEOUT_S) -> Answer:
    """Run a prepared question.

    Raises: AskRefused: the result is too long, or it took too long. NotFound: a twin's file is gone.
    """
    deadline = time.monotonic() + min(timeout_s, TIMEOUT_S)
    with closing(warehouse(free.cards, free.publics, twins, cancelled)) as backend:
        exact = fetched(free.priced.plan, backend, deadline, cancelled)
    cap = twins.policy.limits.public_row_cap
    if any(len(rows) > cap for rows in exact.publics.values()):
        raise AskRefused(f"The result has more than {cap} rows.", hint="Aggregate, filter or add LIMIT.")
    noisy: NoisyRows = noise(exact, free.priced, OpenDPNoise())  # nothing is measured: the rows pass through
    try:
        found = finish(noisy, free.priced, timeout_s=max(1.0, deadline - time.monotonic()))
    except duckdb.Error:
        raise AskRefused("The question could not be finished: its result is too long, or takes too long.", hint="Add LIMIT.") from None
    unmetered = found.unmetered or any(card.unmetered for card in free.cards)
    # A saved table of it is closed with the table it stands for, like the twin itself.
    drawn_from = tuple(sorted({*found.drawn_from, *(card.table for card in free.cards)}))
    return replace(found, kind="synthetic", unmetered=unmetered, drawn_from=drawn_from, notes=(*free.notes, *found.notes))


# ---------------------------------------------------------------- which twins
def _tables(bound: BoundQuery, policy: Policy) -> list[str]:
    return sorted({r.table for r in walk(bound.root) if isinstance(r, Scan) and r.table in policy.tables})


def _publics(read: list[str], policy: Policy) -> tuple[str, ...]:
    return tuple(name for name in read if not policy.tables[name].private)


def usable(read: Iterable[str], twins: Twins) -> tuple[Card, ...]:
    """Twins of the private ones among these tables; they fit today's policy and each other.

    Raises: AskRefused.
    """
    private = sorted(name for name in set(read) if twins.policy.tables[name].private)
    for name in private:
        card = twins.cards.get(name)
        if card is None:
            raise AskRefused(f"No synthetic twin of {name} is published.", hint=owner_hint(name))
        if not _fits(card, twins.policy.tables[name]):
            raise AskRefused(f"The synthetic twin of {name} has other columns than the policy declares today.", hint=owner_hint(name))
        above = card.parent
        if above is not None and above.table in private and twins.cards[above.table].version != above.version:
            raise AskRefused(f"The twin of {name} belongs to an older twin of {above.table}: they cannot be joined.", hint=owner_hint(name))
    return tuple(twins.cards[name] for name in private)


def owner_hint(table: str) -> str:
    """What an owner does for a twin."""
    return f"The owner can publish one: dpjupyter twin publish {table} --epsilon E --delta D"


def _fits(card: Card, table: Table) -> bool:
    there = {column.name: column.type for column in card.columns}
    return all(there.get(name) == declared.type for name, declared in table.columns.items())


def _said(cards: tuple[Card, ...], policy: Policy) -> list[str]:
    notes: list[str] = []
    for card in cards:
        notes.append(
            f"Rows of {card.table} are synthetic: from its twin of {card.published[:10]} (epsilon {card.epsilon:g}), nobody's data."
        )
        if card.unmetered:
            notes.append(f"The twin of {card.table} was not paid for by {', '.join(card.unmetered)}: their privacy promise is void.")
        notes += [f"The twin of {card.table}: {note}" for note in card.notes]
        if card.data_version != policy.database.data_version:
            notes.append(f"The twin of {card.table} was made of data version {card.data_version}.")
        if card.checksum != policy.checksum:
            notes.append(f"The twin of {card.table} was published under an earlier policy.")
        empty = [column.name for column in card.columns if column.kind == "empty"]
        if empty:
            notes.append(f"In the twin of {card.table} {', '.join(empty)} {'is' if len(empty) == 1 else 'are'} always NULL.")
    return notes


# ---------------------------------------------------------------- policies
def public_policy(policy: Policy, cards: tuple[Card, ...]) -> Policy:
    """The policy as it is for twins: these tables are public and as long as their cards say, the backend is DuckDB."""
    tables = dict(policy.tables)
    for card in cards:
        table = tables[card.table]
        made_up = {c.name for c in card.columns if c.kind in ("empty", "key", "reference")}
        # Numbered keys keep to no bounds, and an empty column is NULL whatever the policy says of the real one.
        columns = {
            name: c.model_copy(update={"nullable": True, "bounds": None, "domain": None}) if name in made_up else c
            for name, c in table.columns.items()
        }
        tables[card.table] = table.model_copy(
            update={
                "private": False,
                "unit": None,
                "source": "",
                "columns": columns,
                "enforced_keys": True,
                "rows": card.rows,
                "key_delta": None,
            }
        )
    return _on_duckdb(policy, tables)


def private_policy(policy: Policy) -> Policy:
    """The policy as it is for rehearsals: everything as private as ever, but the backend holds twins."""
    tables = {
        name: table.model_copy(update={"source": "", "enforced_keys": policy.keys_hold(name)}) if table.private else table
        for name, table in policy.tables.items()
    }
    return _on_duckdb(policy, tables)


def _on_duckdb(policy: Policy, tables: Mapping[str, Table]) -> Policy:
    public = {name: table if table.private else table.model_copy(update={"source": ""}) for name, table in tables.items()}
    database = policy.database.model_copy(update={"backend": _WAREHOUSE})
    limits = policy.limits.model_copy(update={"public_row_cap": ANY_SIZE})
    return policy.model_copy(update={"database": database, "limits": limits, "tables": public})


def _limited(planned: Plan, policy: Policy) -> Plan:
    """No statement returns more than one row over the policy's cap: the gateway's memory is not the analyst's."""
    most = policy.limits.public_row_cap + 1
    publics = tuple(replace(p, statement=_at_most(p.statement, most)) for p in planned.publics)
    return replace(planned, publics=publics)


def _at_most(statement: exp.Query, most: int) -> exp.Query:
    limit = statement.args.get("limit")
    if limit is not None and int(limit.expression.this) <= most:
        return statement
    return statement.copy().limit(most, copy=False)


# ---------------------------------------------------------------- the warehouse of twins
def warehouse(cards: tuple[Card, ...], publics: tuple[str, ...], twins: Twins, cancelled: threading.Event) -> DuckDBBackend:
    """A DuckDB in memory that sees these twins' files, copies of these public tables, and nothing else.

    Raises: NotFound: a twin's file is gone. AskRefused: a public table is too large, or its warehouse does not answer.
    """
    paths = {card.table: twins.rows_of(card) for card in cards}
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY, "max_temp_directory_size": "0KB", "threads": "2", "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false", "python_enable_replacements": "false",
    }  # fmt: skip
    connection = duckdb.connect(":memory:", config=settings)
    try:
        for name, path in paths.items():
            _view(connection, name, path)
        for name in publics:
            _copied(connection, name, twins, cancelled)
        allowed = exp.Array(expressions=[exp.Literal.string(str(path)) for path in paths.values()])
        connection.execute(f"SET allowed_paths = {allowed.sql('duckdb')}")
        for setting in ("enable_external_access", "lock_configuration"):
            connection.execute(f"SET {setting} = {LOCKED[setting]}")
    except duckdb.Error as error:
        connection.close()
        raise NotFound(f"a synthetic twin could not be read ({type(error).__name__})") from None
    except BaseException:
        connection.close()
        raise
    return DuckDBBackend(connection)


def _view(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    rows = exp.select("*").from_(exp.Anonymous(this="read_parquet", expressions=[exp.Literal.string(str(path))]))
    create = exp.Create(this=exp.Table(this=exp.to_identifier(name, quoted=True)), kind="VIEW", expression=rows)
    connection.execute(create.sql("duckdb"))


def _copied(connection: duckdb.DuckDBPyConnection, name: str, twins: Twins, cancelled: threading.Event) -> None:
    policy = twins.policy
    table = policy.tables[name]
    if table.rows is None or table.rows > max(policy.limits.public_row_cap, policy.limits.domain_cap):
        raise AskRefused(
            f"The public table {name} is too large to be read beside a twin.", hint="The owner can declare `rows` of the public table."
        )
    ids = {f"c{n}": column_ for n, column_ in enumerate(table.columns)}
    statement = render(Scan(name, ids, table.source), policy.dialect).limit(table.rows)
    try:
        backend = twins.warehouse()
        rows = backend.fetch(statement.sql(backend.dialect), tag=f"public table {name}", timeout_s=TIMEOUT_S, cancelled=cancelled)
    except BackendFailed:
        raise AskRefused(f"The public table {name} could not be read.", hint="Ask again in a moment.") from None
    values = [[row[n] for row in rows] for n in range(len(ids))]
    shown: list[exp.Expression] = []
    for n, declared in enumerate(table.columns.values(), 1):
        type_ = exp.DataType.build(f"{duckdb_type(declared.sql_type)}[]", dialect="duckdb")
        listed = exp.Anonymous(this="UNNEST", expressions=[exp.cast(exp.Parameter(this=exp.Literal.number(n)), type_)])
        shown.append(exp.Alias(this=listed, alias=exp.to_identifier(ids[f"c{n - 1}"], quoted=True)))
    create = exp.Create(this=exp.Table(this=exp.to_identifier(name, quoted=True)), kind="TABLE", expression=exp.Select(expressions=shown))
    connection.execute(create.sql("duckdb"), values)


def fetched(planned: Plan, backend: Backend, deadline: float, cancelled: threading.Event) -> ExactRows:
    """Every statement of a plan, run on twins.

    Raises: AskRefused: it took too long or failed; the data are nobody's, but the driver's text is kept back all the same.
    """

    def rows(statement: exp.Query) -> list[tuple[object, ...]]:
        left = deadline - time.monotonic()
        reason = "timeout"
        try:
            if left > 0:
                return backend.fetch(statement.sql(backend.dialect), tag="twin", timeout_s=left, cancelled=cancelled)
        except BackendFailed as failed:
            reason = failed.reason
        if reason == "timeout":
            raise AskRefused("The question takes too long on the synthetic twin.", hint="Read fewer rows, or join on keys.")
        raise AskRefused(f"The question could not be run on the synthetic twin ({reason}).")

    publics = {public.name: rows(public.statement) for public in planned.publics}
    parts = {(m.name, n): rows(part.statement) for m in planned.measurements for n, part in enumerate(m.parts)}
    return ExactRows(parts, publics)
