"""REST client of the gateway: one typed method per route, errors rebuilt as ``dpjupyter.errors``.

A request that loses its connection is sent again with the same request id: the gateway answers
a known id from its ledger, so nothing is ever paid twice.
"""

from __future__ import annotations

import json
import ssl
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from urllib.parse import quote as url_quote

import httpx
from pydantic import BaseModel, ValidationError

from dpjupyter import __version__, errors, wire
from dpjupyter.connections import Connection, is_loopback
from dpjupyter.errors import BadRequest, Busy, DpError, GatewayUnreachable, Place

Reply = TypeVar("Reply", bound=BaseModel)
OnProgress = Callable[[wire.Progress], None]

BACKOFF_S = (0.2, 1.0)  # waits before the second and third attempt
BUSY_ATTEMPTS = 6
BUSY_WAIT_S = 10.0  # longest single wait that a 429 may ask for
NDJSON = "application/x-ndjson"
BY_STATUS: Mapping[int, type[DpError]] = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.RequestReused,
    422: errors.Refused,
    429: errors.Busy,
    503: errors.LedgerUnavailable,
}


class Client:
    """A gateway, as seen by one token's holder. Not shared between threads that use progress."""

    def __init__(
        self,
        connection: Connection,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            connection: address and token.
            transport: where requests go instead of the network (tests).
            timeout_s: longest silence of the gateway, except while a query runs.
            sleep: how to wait between attempts.
        """
        self.connection = connection
        self._sleep = sleep
        self._timeout_s = timeout_s
        verify: bool | ssl.SSLContext = True
        if connection.ca_file is not None:
            try:
                verify = ssl.create_default_context(cafile=str(connection.ca_file))
            except (OSError, ssl.SSLError):
                raise errors.NotConnected(f"the certificate file {connection.ca_file} cannot be read") from None
        self._http = httpx.Client(
            base_url=connection.url,
            headers={"Authorization": f"token {connection.token}", "User-Agent": f"dpjupyter/{__version__}"},
            timeout=timeout_s,
            transport=transport,
            verify=verify,
            follow_redirects=False,  # the token goes to the configured address only
            trust_env=not is_loopback(connection.url),  # and never through a proxy to this very machine
        )
        # Panels outlive the session's change to another gateway: the last user of a client closes it.
        weakref.finalize(self, self._http.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    # ------------------------------------------------------------ asking
    def query(self, request: wire.QueryRequest, on_progress: OnProgress | None = None) -> wire.QueryReply:
        """Ask and pay. An interrupt (KeyboardInterrupt) cancels the query in the warehouse; what was charged stays.

        Args:
            request: without a traceid it is given one.
            on_progress: called with every progress line.
        Raises: any of ``dpjupyter.errors``.
        """
        request = with_traceid(request)
        traceid = cast("str", request.queryconfig.traceid)
        try:
            return _checked(wire.QueryReply, self._retried(lambda: self._streamed(request, on_progress)))
        except KeyboardInterrupt:
            self.cancel(traceid)
            raise

    def cancel(self, request_id: str) -> bool:
        """Ask for the cancellation of a running query; whether the gateway heard it."""
        try:
            reply = self._http.request("DELETE", f"{wire.QUERY}/{url_quote(request_id, safe='')}", timeout=5.0)
        except httpx.HTTPError:
            return False
        return reply.is_success

    def quote(self, request: wire.QueryRequest) -> wire.QuoteReply:
        """Price a question: free, and touches no data."""
        return _checked(wire.QuoteReply, self._call("POST", wire.QUOTE, json=request.model_dump(exclude_defaults=True)))

    # ------------------------------------------------------------ looking
    def catalog(self) -> wire.CatalogReply:
        """The declared databases, tables and columns."""
        return _checked(wire.CatalogReply, self._call("GET", wire.CATALOG))

    def forget(self, name: str, db_name: str, prefix: str | None = None) -> list[wire.SavedTable]:
        """Forget a saved table; those that are left.

        Raises: NotFound: there is none of this name.
        """
        where = {"db_name": db_name} | ({"prefix": prefix} if prefix is not None else {})
        path = f"{wire.SAVED}/{url_quote(name, safe='')}"
        return _checked(wire.SavedReply, self._call("DELETE", path, params=where)).saved

    def twins(self, **filters: str | None) -> list[wire.TwinCard]:
        """Cards of published synthetic twins, newest first. Filters: prefix, db_name, table_name, retired."""
        known = {name: value for name, value in filters.items() if value is not None}
        return _checked(wire.TwinListReply, self._call("GET", wire.TWIN, params=known)).twins

    def budgets(self) -> list[wire.BudgetRow]:
        """Budget rows this token may see."""
        return _checked(wire.BudgetListReply, self._call("GET", wire.BUDGET_LIST)).budgets

    def budget(self, prefix: str, db_name: str, table_name: str, analyst: str | None = None) -> wire.BudgetInfo:
        """One budget row."""
        names = {"prefix": prefix, "db_name": db_name, "table_name": table_name} | ({"analyst": analyst} if analyst else {})
        return _checked(wire.BudgetInfo, self._call("GET", wire.BUDGET_GET, params=names))

    def audit(self, **filters: str | float | None) -> wire.AuditReply:
        """The audit log, newest first. Filters: analyst, table, verdict, since, until, limit, offset."""
        return _checked(wire.AuditReply, self._call("GET", wire.AUDIT, params={k: v for k, v in filters.items() if v is not None}))

    def me(self) -> wire.MeReply:
        """Whose token this is."""
        return _checked(wire.MeReply, self._call("GET", wire.ME))

    def health(self) -> wire.HealthReply:
        """Whether the gateway is well."""
        return _checked(wire.HealthReply, self._call("GET", wire.HEALTH))

    # ------------------------------------------------------------ owner's
    def set_budget(self, request: wire.BudgetSetRequest) -> None:
        """Create or change a budget row; what was spent stays spent."""
        self._call("POST", wire.BUDGET_SET, json=request.model_dump(exclude_defaults=True))

    def suspend(self, request: wire.SuspendRequest) -> None:
        """Suspend an analyst or a table, or lift a suspension."""
        self._call("POST", wire.SUSPEND, json=request.model_dump(exclude_defaults=True))

    def quote_twin(self, request: wire.TwinRequest) -> wire.TwinQuoteReply:
        """What publishing a synthetic twin would cost: free, and touches no data."""
        return _checked(wire.TwinQuoteReply, self._call("POST", wire.TWIN_QUOTE, json=request.model_dump(exclude_defaults=True)))

    def publish_twin(self, request: wire.TwinRequest, *, timeout_s: float = 600.0) -> wire.TwinCard:
        """Pay for a synthetic twin and publish it; asked again with the same traceid, the same twin.

        Args:
            request: without a traceid it is given one.
            timeout_s: how long the gateway may take.
        """
        if request.traceid is None:
            request = request.model_copy(update={"traceid": uuid.uuid4().hex})
        timeout = httpx.Timeout(self._timeout_s, read=timeout_s + self._timeout_s)
        reply = self._call("POST", wire.TWIN_PUBLISH, json=request.model_dump(exclude_defaults=True), timeout=timeout)
        return _checked(wire.TwinListReply, reply).twins[0]

    def retire_twin(self, request: wire.TwinRetireRequest) -> list[wire.TwinCard]:
        """Offer a twin no longer; nothing is refunded. All of the table's twins afterwards."""
        return _checked(wire.TwinListReply, self._call("POST", wire.TWIN_RETIRE, json=request.model_dump(exclude_defaults=True))).twins

    # ------------------------------------------------------------ sending
    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        def once() -> Any:
            response = self._http.request(method, path, **arguments)
            return _data(response, _envelope(response.content, self.connection.url, response))

        return self._retried(once)

    def _streamed(self, request: wire.QueryRequest, on_progress: OnProgress | None) -> Any:
        silence_s = (request.queryconfig.timeout_s or 600.0) + self._timeout_s
        timeout = httpx.Timeout(self._timeout_s, read=silence_s)
        body = request.model_dump(exclude_defaults=True)
        with self._http.stream("POST", wire.QUERY, json=body, headers={"Accept": NDJSON}, timeout=timeout) as response:
            if NDJSON not in response.headers.get("content-type", ""):
                return _data(response, _envelope(response.read(), self.connection.url, response))
            for line in _lines(response):
                envelope = _envelope(line, self.connection.url, response)
                if "status" in envelope:
                    return _data(response, envelope)
                if on_progress is not None:
                    on_progress(_checked(wire.Progress, envelope))
        raise httpx.RemoteProtocolError("the reply ended before its envelope")

    def _retried(self, once: Callable[[], Any]) -> Any:
        lost = busy = 0
        while True:
            try:
                return once()
            except _BusyFor as error:
                busy += 1
                if busy >= BUSY_ATTEMPTS:
                    raise error.busy from None
                self._sleep(min(error.wait_s, BUSY_WAIT_S))
            except httpx.RequestError as error:
                # After a silent read the answer may still be on its way: asking again at once would not help.
                if lost >= len(BACKOFF_S) or isinstance(error, httpx.ReadTimeout):
                    raise self._unreachable(error) from None
                self._sleep(BACKOFF_S[lost])
                lost += 1

    def _unreachable(self, error: httpx.RequestError) -> GatewayUnreachable:
        url = self.connection.url
        match error:
            case httpx.ConnectError() if "CERTIFICATE" in str(error).upper():
                said, hint = f"the certificate of {url} is not trusted", "For your own authority, set ca_file in the connections file."
            case httpx.ConnectError():
                said, hint = f"no gateway answers at {url}", "Is it running, and is the address right? %dpsql connect tries again."
            case httpx.TimeoutException():
                said, hint = f"the gateway at {url} did not answer in time", "Run the same cell again: nothing is paid twice."
            case _:
                said, hint = f"the connection to {url} was lost", "Run the same cell again: a question already paid for is free."
        return GatewayUnreachable(said, hint=hint)


def with_traceid(request: wire.QueryRequest) -> wire.QueryRequest:
    """The same request with a request id, so that it can be repeated and cancelled."""
    if request.queryconfig.traceid is not None:
        return request
    config = request.queryconfig.model_copy(update={"traceid": uuid.uuid4().hex})
    return request.model_copy(update={"queryconfig": config})


def rebuilt(status: int, message: str, info: Mapping[str, Any]) -> DpError:
    """The gateway's error as the exception it was there."""
    kinds = {kind.__name__: kind for kind in _tree(DpError)}
    kind = kinds.get(str(info.get("type"))) or BY_STATUS.get(status, DpError)
    line, column, length = info.get("line"), info.get("column"), info.get("length")
    place = Place(line, column, length if isinstance(length, int) else 1) if isinstance(line, int) and isinstance(column, int) else None
    error = kind.__new__(kind)
    # Not kind(message): a subclass may take something else than its message (QueryFailed takes the request id).
    DpError.__init__(error, message, hint=str(info.get("hint") or ""), place=place)
    return error


class _BusyFor(Exception):
    """A 429, and how long the gateway asks to wait."""

    def __init__(self, busy: DpError, wait_s: float) -> None:
        super().__init__()
        self.busy, self.wait_s = busy, wait_s


def _tree(kind: type[DpError]) -> Iterator[type[DpError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _lines(response: httpx.Response) -> Iterator[bytes]:
    # Not iter_lines(): it also splits at U+2028 and the like, which JSON strings may hold.
    rest = b""
    for chunk in response.iter_bytes():
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def _envelope(content: bytes, url: str, response: httpx.Response) -> dict[str, Any]:
    try:
        envelope = json.loads(content)
    except ValueError:
        envelope = None
    if not isinstance(envelope, dict):
        raise GatewayUnreachable(
            f"what answers at {url} is not a dpjupyter gateway (HTTP {response.status_code})", hint="Check the address and its port."
        )
    return cast("dict[str, Any]", envelope)


def _data(response: httpx.Response, envelope: Mapping[str, Any]) -> Any:
    status: Any = envelope.get("status")
    if not isinstance(status, dict):
        raise GatewayUnreachable(f"the reply has no status (HTTP {response.status_code}): this is not a dpjupyter gateway")
    fields = cast("dict[str, Any]", status)
    if fields.get("code") == wire.SUCCEEDED and response.is_success:
        return fields.get("data")
    error = rebuilt(response.status_code, str(fields.get("Message", "unknown error")), fields.get("error") or {})
    if isinstance(error, Busy):
        raise _BusyFor(error, _retry_after(response))
    raise error


def _retry_after(response: httpx.Response) -> float:
    try:
        return max(0.05, float(response.headers.get("retry-after", "1")))
    except ValueError:
        return 1.0


def _checked(kind: type[Reply], data: Any) -> Reply:
    try:
        return kind.model_validate(data, extra="ignore")  # a newer gateway may say more
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(
            f"the gateway's reply does not fit this version ({kind.__name__}.{where}: {first['msg']})",
            hint="Gateway and notebook have different versions of dpjupyter: upgrade the older one.",
        ) from None
