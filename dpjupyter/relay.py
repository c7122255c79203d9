"""The browser's door to the gateway: an extension of the analyst's own Jupyter Server.

The browser never holds the gateway's token and never talks to the gateway. It asks this server, under the
same origin and the same login as everything else in JupyterLab; the request is then made anew from the few
parts allowed below, with the token of the connections file. No header, cookie or other path gets through.

    GET  dpjupyter/api/connections      names and addresses in the connections file and of gateways that
                                        notebooks started (dpjupyter.lent), never tokens
    GET  dpjupyter/api/{catalog, budget/list, me, health}
    GET  dpjupyter/api/audit            the caller's own questions, newest first
    POST dpjupyter/api/quote            what a question would cost; nothing is run

Each takes ``?connection=NAME``; without it the default connection is asked.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, cast

import httpx
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from pydantic import ValidationError
from tornado import web

from dpjupyter import __version__, connections, wire
from dpjupyter.connections import Connection, is_loopback
from dpjupyter.errors import BadRequest, DpError, GatewayUnreachable, NotConnected, Unauthorized
from dpjupyter.lent import lent

PREFIX = "dpjupyter/api"
RESOURCE = "dpjupyter"  # what a Jupyter authorizer is asked about
READABLE: Mapping[str, str] = {"catalog": wire.CATALOG, "budget/list": wire.BUDGET_LIST, "me": wire.ME, "health": wire.HEALTH}
TIMEOUT = httpx.Timeout(15.0, connect=3.0)
MAX_REPLY_BYTES = 8 << 20  # a catalogue of thousands of columns fits
MAX_QUESTION_BYTES = 256 << 10
HISTORY_ROWS = 50
ENVIRONMENT = "environment"  # the name dpjupyter.connections gives to DPJUPYTER_URL


class Doors:
    """Open HTTP clients, one for each connection in use; made anew when address or token change."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Args: transport: where requests go instead of the network (tests)."""
        self._transport = transport
        self._open: dict[str, tuple[Connection, httpx.AsyncClient]] = {}

    async def ask(
        self, connection: Connection, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send one request to the gateway.

        Returns: HTTP status and the reply's envelope.
        Raises: GatewayUnreachable: nothing answers, too late, too long, or not in our protocol.
        """
        headers = {"Content-Type": "application/json"} if body is not None else None
        try:
            async with self._client(connection).stream(method, path, params=query, content=body, headers=headers) as response:
                received = bytearray()
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > MAX_REPLY_BYTES:
                        raise GatewayUnreachable("the gateway's reply is too long")
        except httpx.HTTPError:
            raise GatewayUnreachable("the gateway does not answer", hint=f"Is it running? {connection.url}") from None
        try:
            envelope: Any = json.loads(received)
        except ValueError:
            envelope = None
        if not isinstance(envelope, dict) or not isinstance(cast("dict[str, Any]", envelope).get("status"), dict):
            raise GatewayUnreachable("what answers there is not a dpjupyter gateway", hint=f"Check the address: {connection.url}")
        return response.status_code, cast("dict[str, Any]", envelope)

    async def close(self) -> None:
        """Give back all connections."""
        opened, self._open = self._open, {}
        for _, client in opened.values():
            await client.aclose()

    def _client(self, connection: Connection) -> httpx.AsyncClient:
        known = self._open.get(connection.name)
        if known is not None and known[0] == connection:
            return known[1]
        if known is not None:
            asyncio.get_running_loop().create_task(known[1].aclose(), name="dpjupyter: close a replaced connection")
        client = httpx.AsyncClient(
            base_url=connection.url,
            headers={"Authorization": f"token {connection.token}", "User-Agent": f"dpjupyter-relay/{__version__}"},
            timeout=TIMEOUT,
            transport=self._transport,
            verify=_trusted(connection),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # the gateway's are not kept, either
            follow_redirects=False,  # the token goes to the configured address only
            trust_env=not is_loopback(connection.url),
        )
        self._open[connection.name] = (connection, client)
        return client


class _Door(APIHandler):
    """What all routes share: Jupyter's login, XSRF check and authorizer, one way to fail."""

    auth_resource = RESOURCE

    def initialize(self, doors: Doors) -> None:
        self._doors = doors
        self._asking: asyncio.Task[tuple[int, dict[str, Any]]] | None = None

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    def on_connection_close(self) -> None:
        """The browser gave up (a newer question was typed): stop asking, too."""
        if self._asking is not None:
            self._asking.cancel()

    async def forward(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes | None = None, said_in_body: bool = False
    ) -> None:
        """Ask the gateway and send its envelope on.

        Args: said_in_body: refusals (4xx) are sent as HTTP 200; the envelope alone says no.
        """
        try:
            status, envelope = await self.asked(method, path, query=query, body=body)
        except asyncio.CancelledError:
            self.fail(499, GatewayUnreachable("the browser no longer waits"))
        except DpError as error:
            self.fail(503 if isinstance(error, NotConnected) else error.status, error)
        else:
            # 401 would tell the browser that its own login to Jupyter has ended.
            status = 502 if status == Unauthorized.status else status
            self.set_status(200 if said_in_body and 400 <= status < 500 else status)
            self.finish(envelope)

    async def asked(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The gateway's reply over the connection the browser named."""
        connection = chosen(self.get_query_argument("connection", None))
        self._asking = asyncio.ensure_future(self._doors.ask(connection, method, path, query=query, body=body))
        return await self._asking

    def fail(self, status: int, error: DpError) -> None:
        """Reply in the gateway's envelope."""
        self.set_status(status, "Client Closed Request" if status == 499 else None)
        self.finish({"status": {"code": 1, "Message": error.message, "error": {"type": error.kind, "hint": error.hint}}})


class ConnectionsDoor(_Door):
    """Which gateways this analyst's file names."""

    @web.authenticated
    @authorized("read", resource=RESOURCE)  # pyright: ignore[reportUntypedFunctionDecorator]
    async def get(self) -> None:
        """Names, addresses and databases; never tokens."""
        try:
            listed, default = known()
        except NotConnected as error:
            self.fail(503, error)
            return
        self.finish({"status": {"code": wire.SUCCEEDED, "Message": "succeed", "data": {"connections": listed, "default": default}}})


class ReadDoor(_Door):
    """The public reading routes of the gateway."""

    @web.authenticated
    @authorized("read", resource=RESOURCE)  # pyright: ignore[reportUntypedFunctionDecorator]
    async def get(self, route: str) -> None:
        """Forward one of READABLE."""
        await self.forward("GET", READABLE[route])


class HistoryDoor(_Door):
    """The caller's own questions: an owner's token sees everybody's elsewhere, not here."""

    @web.authenticated
    @authorized("read", resource=RESOURCE)  # pyright: ignore[reportUntypedFunctionDecorator]
    async def get(self) -> None:
        """The newest questions of the token's holder."""
        try:
            status, me = await self.asked("GET", wire.ME)
        except (DpError, asyncio.CancelledError):
            status, me = 0, {}
        name: Any = (me.get("status", {}).get("data") or {}).get("name") if status == wire.SUCCEEDED else None
        if not isinstance(name, str):
            self.fail(503, GatewayUnreachable("the gateway does not say who asks"))
            return
        await self.forward("GET", wire.AUDIT, query={"analyst": name, "limit": str(HISTORY_ROWS)})


class QuoteDoor(_Door):
    """What a question would cost."""

    @web.authenticated
    @authorized("read", resource=RESOURCE)  # pyright: ignore[reportUntypedFunctionDecorator]
    async def post(self) -> None:
        """Forward a well-formed question to the quote route, and nowhere else."""
        if len(self.request.body) > MAX_QUESTION_BYTES:
            self.fail(200, BadRequest("the question is too long"))
            return
        try:
            request = wire.QueryRequest.model_validate_json(self.request.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            self.fail(200, BadRequest(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"))
            return
        # Half-typed queries are refused all the time: as HTTP errors each would be a red line in the browser's console.
        await self.forward("POST", wire.QUOTE, body=request.model_dump_json(exclude_unset=True).encode(), said_in_body=True)


def known() -> tuple[list[dict[str, Any]], str | None]:
    """The connections the browser may choose from, and the default one's name.

    Raises: NotConnected: the connections file is broken.
    """
    file = connections.read()
    listed: list[dict[str, Any]] = [
        {"name": name, "alias": name, "url": str(entry["url"]).rstrip("/"), "database": entry.get("database")}
        for name, entry in file.entries.items()
    ]
    borrowed: list[dict[str, Any]] = [
        {"name": each.connection.name, "alias": each.alias, "url": each.connection.url, "database": each.connection.database}
        for each in lent()
        if each.connection.name not in file.entries
    ]
    default = file.default or (listed[0]["name"] if len(listed) == 1 else None)
    try:
        configured = connections.resolve()  # looks at the environment first, as %dpsql connect does
    except NotConnected:
        return [*listed, *borrowed], default
    if configured.name not in file.entries:
        listed.insert(0, {"name": configured.name, "alias": configured.name, "url": configured.url, "database": configured.database})
    return [*listed, *borrowed], configured.name


def chosen(name: str | None) -> Connection:
    """The connection of this name; only configured ones, never an address from the browser.

    Raises: NotConnected: no such name, or no token for it.
    """
    if name == ENVIRONMENT:
        configured = connections.resolve()
        if configured.name == ENVIRONMENT:
            return configured
    if name is not None and "://" in name:
        raise NotConnected("connections are chosen by name")
    if name is not None and name not in connections.names():
        borrowed = next((each.connection for each in lent() if each.connection.name == name), None)
        if borrowed is not None:
            return borrowed
    return connections.resolve(name)


def _trusted(connection: Connection) -> bool | ssl.SSLContext:
    if connection.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(connection.ca_file))
    except (OSError, ssl.SSLError):
        raise NotConnected("the connection's ca_file cannot be read") from None


def routes(base_url: str, doors: Doors) -> list[tuple[str, type[web.RequestHandler], dict[str, Any]]]:
    """Tornado's table of our handlers."""
    base = url_path_join(base_url, PREFIX)
    given = {"doors": doors}
    return [
        (f"{base}/connections", ConnectionsDoor, given),
        (f"{base}/({'|'.join(READABLE)})", ReadDoor, given),
        (f"{base}/audit", HistoryDoor, given),
        (f"{base}/quote", QuoteDoor, given),
    ]


def _jupyter_server_extension_points() -> list[dict[str, str]]:  # pyright: ignore[reportUnusedFunction] - called by Jupyter Server
    return [{"module": "dpjupyter.relay"}]


def _load_jupyter_server_extension(server_app: ServerApp) -> None:  # pyright: ignore[reportUnusedFunction]
    web_app = server_app.web_app
    web_app.add_handlers(".*$", routes(web_app.settings["base_url"], Doors()))
