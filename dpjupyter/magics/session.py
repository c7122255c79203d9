"""One notebook's conversation with its gateway: connection, catalogue, settings, and the asking of questions."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from dpjupyter import connections
from dpjupyter.connections import Connection
from dpjupyter.errors import AskRefused, BadRequest, Cancelled, DpError, NotConnected, NotFound, PolicyChanged
from dpjupyter.magics import parameters
from dpjupyter.magics.options import CellOptions
from dpjupyter.magics.settings import Settings, from_file

if TYPE_CHECKING:
    from dpjupyter import wire
    from dpjupyter.answer import Answer, Quoted
    from dpjupyter.client import Client, OnProgress
    from dpjupyter.magics.panels import Follower

HISTORY_LENGTH = 1000
Reply = TypeVar("Reply")


def ask_person(prompt: str) -> str:
    """Ask for a secret without showing it; a kernel asks in the browser."""
    # Looked up now: ipykernel replaces getpass.getpass while a cell runs.
    return getpass.getpass(prompt)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of this notebook and what became of it."""

    time: float  # seconds since 1970, this machine's clock
    sql: str
    verdict: str  # answered, cached, unmetered, or the error's name
    epsilon: float = 0.0  # charged


@dataclass(slots=True)
class Session:
    """Mutable state of one notebook. ``client`` and ``catalog`` are set together, by ``connect``."""

    ask_token: connections.Ask = ask_person
    client: Client | None = None
    me: wire.MeReply | None = None
    catalog: wire.CatalogReply | None = None
    database: wire.CatalogDatabase | None = None
    settings: Settings = field(default_factory=Settings)
    history: list[Asked] = field(default_factory=list[Asked])
    last: Answer | None = None  # the newest answer
    on_connected: list[Callable[[Session], None]] = field(default_factory=list[Callable[["Session"], None]])
    on_answered: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    follower: Follower | None = None  # made with the first panel

    # ------------------------------------------------------------ connecting
    def connect(self, which: str | None = None, database: str | None = None) -> None:
        """Connect to a gateway by name or address, or to the default one; what was connected before stays if this fails.

        Raises: NotConnected, Unauthorized, NotFound and what else the gateway says.
        """
        from dpjupyter.client import Client  # noqa: PLC0415 - httpx and pydantic, 0.2 s

        connection = connections.resolve(which, ask=self.ask_token)
        chosen = from_file(connections.read().settings)
        client = Client(connection)
        try:
            me, catalog = client.me(), client.catalog()
            wanted = database or connection.database
            selected = find_database(catalog, wanted) if wanted else catalog.databases[0] if len(catalog.databases) == 1 else None
        except BaseException:
            client.close()
            raise
        self.client, self.me, self.catalog, self.database, self.settings = client, me, catalog, selected, chosen
        self._announce()

    def connected(self) -> Client:
        """The client; connects to the default gateway if nothing is connected yet."""
        if self.client is None:
            self.connect()
        if self.client is None:
            raise NotConnected("no gateway is connected", hint="%dpsql connect")
        return self.client

    def use(self, name: str) -> wire.CatalogDatabase:
        """Choose the database that later cells ask."""
        self.connected()
        self.database = self.database_named(name)
        self._announce()
        return self.database

    def refresh(self) -> None:
        """Read the catalogue again."""
        catalog = self.connected().catalog()
        name = address(self.database) if self.database else None
        self.catalog = catalog
        self.database = next((database for database in catalog.databases if address(database) == name), None)

    def database_named(self, name: str | None) -> wire.CatalogDatabase:
        """A database of the catalogue by name, or the chosen one."""
        self.connected()
        if self.catalog is None:
            raise NotConnected("no gateway is connected", hint="%dpsql connect")
        if name is not None:
            return find_database(self.catalog, name)
        if self.database is None:
            known = ", ".join(database.name for database in self.catalog.databases)
            raise BadRequest("which database is meant?", hint=f"%dpsql use NAME, one of: {known or 'none'}.")
        return self.database

    def close(self) -> None:
        """Forget the connection; panels that were made with it go on."""
        self.client = self.me = self.catalog = self.database = None

    @property
    def connection(self) -> Connection | None:
        """The connection in use."""
        return self.client.connection if self.client else None

    def _announce(self) -> None:
        for heard in self.on_connected:
            heard(self)

    # ------------------------------------------------------------ asking
    def request(self, sql: str, options: CellOptions, variables: Mapping[str, Any]) -> wire.QueryRequest:
        """The request of a cell: its options over the notebook's settings.

        Raises: BadRequest, AskRefused: parameters are missing, or an option does not fit the contract.
        """
        from pydantic import ValidationError  # noqa: PLC0415 - 0.1 s

        from dpjupyter import wire  # noqa: PLC0415 - 0.1 s

        if not sql.strip():
            raise BadRequest("there is no SQL to ask", hint="Write it below the %%dpsql line.")
        database = self.database_named(options.database)
        chosen = self.settings
        body = {
            "sql": sql,
            "dbconfig": {
                "prefix": database.prefix,
                "database": database.name,
                "reader": database.reader,
                "sha256sum": database.sha256sum,
                "queryOption": {"skip_cache": options.no_cache},
            },
            "queryconfig": {
                "timeout_s": options.timeout or chosen.timeout,
                "parameters": parameters.bound(sql, options.param, variables),
                "save_as": options.save,
                "synthetic": options.synthetic,
                "rehearse": options.rehearse,
            },
            "dpconfig": {
                "dp_method": options.mechanism or chosen.mechanism,
                "budget_setting": {
                    "epsilon": chosen.epsilon if options.epsilon is None else options.epsilon,
                    "delt": chosen.delta if options.delta is None else options.delta,
                    "answers": {column: {"epsilon": value} for column, value in options.answers.items()},
                },
                "max_rows": options.max_rows,
                "max_groups": options.max_groups,
            },
        }
        try:
            return wire.QueryRequest.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            raise AskRefused(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None

    def quote(self, sql: str, options: CellOptions, variables: Mapping[str, Any]) -> Quoted:
        """Price a question: free.

        Raises: what ``query`` raises.
        """
        from dpjupyter.answer import Quoted  # noqa: PLC0415 - pydantic

        request, asides = self._solved(self.request(sql, options, variables), options)
        confidence = options.confidence or self.settings.confidence
        return Quoted(self._fresh(lambda: self.connected().quote(request)), sql=sql, asides=asides, confidence=confidence)

    def query(self, sql: str, options: CellOptions, variables: Mapping[str, Any], on_progress: OnProgress | None = None) -> Answer:
        """Ask and pay.

        Raises: any of ``dpjupyter.errors``; Cancelled when interrupted.
        """
        from dpjupyter.answer import Answer  # noqa: PLC0415 - pydantic

        client = self.connected()
        try:
            request, asides = self._solved(self.request(sql, options, variables), options)
            reply = self._fresh(lambda: client.query(request, on_progress))
        except KeyboardInterrupt:
            self._remember(sql, "Cancelled")
            raise Cancelled("the query was interrupted", hint="What was charged stays charged: %dpsql budget") from None
        except DpError as error:
            self._remember(sql, error.kind)
            raise
        answer = Answer(reply, sql=sql, confidence=options.confidence or self.settings.confidence, asides=asides)
        verdict = "cached" if reply.dp_info.cached else "unmetered" if reply.dp_info.unmetered else "answered"
        self._remember(sql, verdict, answer.charged)
        self.last = answer
        if options.save is not None:
            with suppress(DpError):  # the answer is here; that completion does not know its name yet is no failure
                self.refresh()
        for heard in self.on_answered:
            heard()
        return answer

    def _solved(self, request: wire.QueryRequest, options: CellOptions) -> tuple[wire.QueryRequest, tuple[str, ...]]:
        if options.within is None:
            return request, ()
        from dpjupyter.magics import within  # noqa: PLC0415 - pydantic

        database = self.database_named(options.database)
        allowed = within.Allowed(start=database.default_epsilon, least=database.min_epsilon)
        confidence = options.confidence or self.settings.confidence
        client = self.connected()
        solved, said = within.solve(lambda tried: self._fresh(lambda: client.quote(tried)), request, options.within, confidence, allowed)
        return solved, (said,)

    def _fresh(self, ask: Callable[[], Reply]) -> Reply:
        """Pass the reply on; where the policy changed, read the catalogue again so that the next try fits."""
        try:
            return ask()
        except PolicyChanged as error:
            self.refresh()
            hint = "The catalogue was read again: look at %dpsql describe, then run the cell again."
            raise PolicyChanged(error.message, hint=hint) from None

    def _remember(self, sql: str, verdict: str, epsilon: float = 0.0) -> None:
        self.history.append(Asked(time.time(), sql, verdict, epsilon))
        del self.history[:-HISTORY_LENGTH]

    def change_settings(self, name: str, text: str) -> None:
        """Set one of the notebook's defaults."""
        self.settings = self.settings.with_value(name, text)
        if self.client is not None:
            self._announce()


def find_database(catalog: wire.CatalogReply, name: str) -> wire.CatalogDatabase:
    """A database by "name" or "prefix/name".

    Raises: NotFound: none or several are so called.
    """
    found = [database for database in catalog.databases if name in (database.name, address(database))]
    if len(found) == 1:
        return found[0]
    known = ", ".join(address(database) if found else database.name for database in found or catalog.databases)
    if found:
        raise NotFound(f"several databases are named {name!r}", hint=f"Say which: {known}.")
    raise NotFound(f"this gateway has no database {name!r}", hint=f"It has: {known or 'none'}.")


def address(database: wire.CatalogDatabase) -> str:
    """A database's full name, "prefix/name"."""
    return f"{database.prefix}/{database.name}"
