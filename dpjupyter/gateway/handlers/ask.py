"""POST /quote, POST /query, DELETE /query/{id}, /saved: pricing, asking, cancelling, what was kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import ClassVar

from dpjupyter.engine.backends.waits import WAITING
from dpjupyter.errors import BadRequest, DpError
from dpjupyter.gateway.handlers.base import Access, GatewayHandler, envelope, error_envelope
from dpjupyter.gateway.questions import Running
from dpjupyter.gateway.saved import SavedTables
from dpjupyter.wire import Progress, QueryReply, QueryRequest, SavedReply

NDJSON = "application/x-ndjson"
LONGEST_ID = 128  # characters of a request id, as wire.QueryConfig allows
PROGRESS_S = 0.5  # between two progress lines, rounded up to the time grid


class Quote(GatewayHandler):
    """The price of a question: free, and computed from text and policy alone."""

    access: ClassVar[Mapping[str, Access]] = {"POST": ("read", "ask")}

    async def post(self) -> None:
        """Price the request's SQL."""
        request = self.body(QueryRequest)
        question = self.service.questions.question(request, self.caller, self.request_id)
        self.service.count_quote(self.caller, question.policy)
        self.succeed(await self.service.workers.price(lambda: self.service.questions.quote(question)))


class Query(GatewayHandler):
    """A question, charged and answered."""

    access: ClassVar[Mapping[str, Access]] = {"POST": ("read", "ask")}

    async def post(self) -> None:
        """Answer the request's SQL; with ``Accept: application/x-ndjson`` long answers are preceded by progress lines."""
        request = self.body(QueryRequest)
        self.request_id = request.queryconfig.traceid or self.request_id
        question = self.service.questions.question(request, self.caller, self.request_id)
        grid_ms = question.policy.limits.time_grid_ms
        streams = NDJSON in self.request.headers.get("Accept", "")
        running = self.service.questions.ask(question)
        first_s = self._tick_s(grid_ms)
        done, _ = await asyncio.wait({running.future}, timeout=first_s if streams else None)
        if streams and not done:
            await self._stream(running, grid_ms)
            return
        # Quick or not streamed: one reply with its own HTTP status.
        await self.until_grid(grid_ms)
        try:
            reply = running.future.result()
        except DpError as error:
            self.refuse(error)
            return
        self.succeed(reply)

    async def _stream(self, running: Running, grid_ms: int) -> None:
        self.set_header("Content-Type", NDJSON)
        tick_s = self._tick_s(grid_ms)
        while True:
            stage = "running" if running.begun.is_set() else "queued"
            elapsed = round(time.monotonic() - self.arrived, 1)
            waits = WAITING if running.waiting.is_set() else ""
            line = Progress(stage=stage, elapsed_s=elapsed, request_id=self.request_id, waits=waits)
            self.write(line.model_dump_json(exclude_defaults=True) + "\n")
            await self.flush()
            done, _ = await asyncio.wait({running.future}, timeout=tick_s)
            if done:
                break
        await self.until_grid(grid_ms)
        self.finish(self._last_line(running.future) + "\n")

    def _last_line(self, future: asyncio.Future[QueryReply]) -> str:
        # The HTTP status has gone out already: the envelope alone says how it ended.
        error = future.exception()
        match error:
            case None:
                return envelope(future.result())
            case DpError():
                return error_envelope(error, self.request_id)
            case _:
                self.log_exception(type(error), error, error.__traceback__)
                return error_envelope(DpError(f"the gateway failed; request {self.request_id}"), self.request_id)

    @staticmethod
    def _tick_s(grid_ms: int) -> float:
        if grid_ms <= 0:
            return PROGRESS_S
        return max(1, round(PROGRESS_S * 1000 / grid_ms)) * grid_ms / 1000


class Cancel(GatewayHandler):
    """Stop a running question in the warehouse. Its charge stays."""

    access: ClassVar[Mapping[str, Access]] = {"DELETE": ("read", "ask")}

    async def delete(self, request_id: str) -> None:
        """Always "accepted": whether something was still running would tell how long it took."""
        if len(request_id) > LONGEST_ID:
            raise BadRequest(f"a request id has at most {LONGEST_ID} characters")
        await self.read(lambda: self.service.questions.cancel(self.caller, request_id))
        self.succeed({"cancel": "accepted", "request_id": request_id})


class Saved(GatewayHandler):
    """The caller's saved tables of one database."""

    access: ClassVar[Mapping[str, Access]] = {"GET": ("read", "ask"), "DELETE": ("read", "ask")}

    async def get(self, name: str | None = None) -> None:
        """All of them, by name."""
        if name is not None:
            raise BadRequest("one saved table is read by asking SQL", hint="SELECT * FROM saved.NAME")
        self.succeed(SavedReply(saved=await self.read(self._tables().all)))

    async def delete(self, name: str | None = None) -> None:
        """Forget one; what is left."""
        if name is None or len(name) > LONGEST_ID:
            raise BadRequest("which saved table?", hint="DELETE /api/v1/saved/NAME?db_name=...")
        tables = self._tables()
        await self.read(lambda: tables.forget(name))
        self.succeed(SavedReply(saved=await self.read(tables.all)))

    def _tables(self) -> SavedTables:
        database = self.get_query_argument("db_name", "")
        return self.service.saved(self.caller, database, self.get_query_argument("prefix", None))
