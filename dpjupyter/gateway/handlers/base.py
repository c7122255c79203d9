"""What every route shares: who asks, strict JSON in, the envelope out, nothing about data in the log."""

from __future__ import annotations

import asyncio
import json
import math
import time
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from jupyter_server.base.handlers import JupyterHandler
from pydantic import BaseModel, ValidationError
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from dpjupyter.errors import BadRequest, Busy, DpError, Forbidden, NotFound, PolicyError, Unauthorized
from dpjupyter.gateway.identity import Caller, Resource
from dpjupyter.gateway.replies import html_safe_json
from dpjupyter.wire import ErrorInfo

if TYPE_CHECKING:
    from types import TracebackType

    from dpjupyter.gateway.service import Service

MAX_BODY_BYTES = 1 << 20
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

Access = tuple[str, Resource]  # (action, resource) asked of the authorizer
PUBLIC: Access = ("public", "me")
_CREDENTIALS = ("user", "username", "password", "passwd", "pwd", "token", "account", "role", "warehouse", "private_key", "privatekey",
                "authenticator", "passphrase", "secret", "key")  # fmt: skip


class GatewayHandler(JupyterHandler):
    """Base of all routes. A subclass says per HTTP method what the caller must be allowed to do."""

    access: ClassVar[Mapping[str, Access]] = {}  # method -> what is needed; a method that is not named is refused
    service: Service
    request_id: str
    arrived: float  # monotonic seconds

    def initialize(self, service: Service) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - tornado passes the route's arguments
        """Keep what the route table gives."""
        self.service = service
        self.request_id = uuid.uuid4().hex
        self.arrived = time.monotonic()

    # ------------------------------------------------------------ coming in
    @property
    def identity_provider(self) -> Any:
        """Ours, also inside an owner's own Jupyter Server: its cookies and its token mean nothing here."""
        return self.service.identity

    async def prepare(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - nothing here redirects to a login page
        """Authenticate, then authorize.

        Raises: Unauthorized, Forbidden, HTTPError 405.
        """
        self.current_user = self._jupyter_current_user = None
        if not self.check_host():
            raise Forbidden("this host name is not served", hint="The owner sets ServerApp.allow_remote_access or uses a proxy.")
        if len(self.request.body) > MAX_BODY_BYTES:
            raise BadRequest(f"the request is longer than {MAX_BODY_BYTES} bytes")
        needed = self.access.get(self.request.method or "")
        if needed is None:
            raise HTTPError(405)
        if needed is PUBLIC:
            return
        user = await self.identity_provider.get_user(self)
        if user is None:
            raise Unauthorized("no token came with the request", hint="Send it as `Authorization: token <your token>`.")
        self.current_user = self._jupyter_current_user = user
        action, resource = needed
        if not self.service.authorizer.is_authorized(self, user, action, resource):
            raise Forbidden(f"a token with role {getattr(user, 'role', '?')!r} may not do this")

    @property
    def caller(self) -> Caller:
        """The authenticated caller; prepare() has made sure there is one."""
        return cast("Caller", self.current_user)

    def body(self, model: type[M]) -> M:
        """The request's JSON body as a record.

        Raises: BadRequest: not JSON, NaN or infinity, a name twice, or a field that the record refuses.
        """
        return checked(model, strict_json(self.request.body))

    # ------------------------------------------------------------ going out
    def set_default_headers(self) -> None:
        """JSON, never cached, never guessed at by a browser."""
        super().set_default_headers()
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def succeed(self, data: BaseModel | Mapping[str, Any] | None = None) -> None:
        """Finish with the envelope of success."""
        self.finish(envelope(data))

    def refuse(self, error: DpError) -> None:
        """Finish with the envelope of an error."""
        self.set_status(http_status(error))
        if isinstance(error, Busy):
            self.set_header("Retry-After", "1")
        if isinstance(error, Unauthorized):
            self.set_header("WWW-Authenticate", "token")
        self.finish(error_envelope(error, self.request_id))

    async def read(self, work: Callable[[], T]) -> T:
        """Run blocking work off the event loop."""
        return await self.service.workers.read(work)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Everything that was raised, as the envelope."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        match error:
            case DpError():
                self.refuse(error)
            case HTTPError() if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
                self._plain(405, BadRequest(f"{self.request.method} is not a method of this path"))
            case HTTPError() if status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._plain(status_code, BadRequest("the request could not be read"))
            case _:
                # The exception's text may quote data: the reply says nothing of it.
                self._plain(
                    500, DpError(f"the gateway failed; request {self.request_id}", hint="The owner finds the request id in the log.")
                )

    def _plain(self, status: int, error: DpError) -> None:
        self.set_status(status)
        self.finish(error_envelope(error, self.request_id))

    def log_exception(self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        """Where it happened, never what it says: texts of drivers and parsers hold literals and data."""
        if isinstance(value, DpError | HTTPError | StreamClosedError) or typ is None:
            return
        while tb is not None and tb.tb_next is not None:
            tb = tb.tb_next
        place = f"{tb.tb_frame.f_code.co_filename}:{tb.tb_lineno}" if tb is not None else "?"
        self.service.log.error("request=%s failed with %s at %s", self.request_id, typ.__name__, place)

    def on_finish(self) -> None:
        """Count the reply."""
        super().on_finish()
        self.service.metrics.request(type(self).__name__, self.get_status())

    async def until_grid(self, step_ms: int) -> None:
        """Wait for the next step of the time grid, counted from the request's arrival.

        How long the warehouse took depends on data; the reply tells it only to this coarseness.
        """
        if step_ms <= 0:
            return
        step = step_ms / 1000
        elapsed = time.monotonic() - self.arrived
        due = math.ceil(elapsed / step) * step
        await asyncio.sleep(max(0.0, due - elapsed))


class Missing(GatewayHandler):
    """Everything that is not a route of ours: kernels, terminals, contents, login pages."""

    access: ClassVar[Mapping[str, Access]] = dict.fromkeys(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), PUBLIC)

    async def prepare(self) -> None:
        """Refuse before anything else is looked at."""
        raise NotFound("there is nothing at this path", hint="The routes are listed in /api/v1/openapi.json.")


# ---------------------------------------------------------------- the envelope
def envelope(data: BaseModel | Mapping[str, Any] | None = None) -> str:
    """``{"status": {"code": 200, "Message": "succeed", "data"?: ...}}`` as text."""
    status: dict[str, Any] = {"code": 200, "Message": "succeed"}
    if isinstance(data, BaseModel):
        status["data"] = data.model_dump(mode="json")
    elif data is not None:
        status["data"] = dict(data)
    return html_safe_json({"status": status})


def error_envelope(error: DpError, request_id: str) -> str:
    """``{"status": {"code": 1, "Message": ..., "error": {...}}}`` as text."""
    place = error.place
    info = ErrorInfo(
        type=error.kind,
        hint=error.hint,
        request_id=request_id,
        line=place.line if place else None,
        column=place.column if place else None,
        length=place.length if place else None,
    )
    status = {"code": 1, "Message": error.message, "error": info.model_dump(exclude_none=True)}
    return html_safe_json({"status": status})


def http_status(error: DpError) -> int:
    """HTTP status beside the envelope. A broken policy is the owner's file, not the server's failure."""
    return 422 if isinstance(error, PolicyError) else error.status


# ---------------------------------------------------------------- strict reading
def strict_json(body: bytes) -> Any:
    """JSON without the holes of Python's reader: no NaN, no Infinity, no name given twice.

    Raises: BadRequest.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except RecursionError:
        raise BadRequest("the request's JSON is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        what = str(error) if type(error) is ValueError else "the body must be a JSON object in UTF-8"
        raise BadRequest(f"the request is not valid JSON: {what}") from None


def checked(model: type[M], data: Any) -> M:
    """``data`` as a record.

    Raises: BadRequest: naming every field that is wrong, never its value.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        wrong: list[str] = []
        hint = ""
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            where = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden" and where.startswith("dbconfig.") and str(item["loc"][-1]).casefold() in _CREDENTIALS:
                wrong.append(f"{where}: credentials do not travel with a question")
                hint = "The gateway holds the warehouse's credentials; send your token in the Authorization header only."
                continue
            text = "is not a field of this request" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
            wrong.append(f"{where}: {text}" if where else text)
        raise BadRequest("; ".join(wrong), hint=hint) from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number here")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice in one object")
    return found
