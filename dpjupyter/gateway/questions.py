"""Questions on their way: priced, run in a worker, joined by retries, cancelled."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dpjupyter import wire
from dpjupyter.engine import road
from dpjupyter.engine.backends.waits import WAITING
from dpjupyter.engine.ledger import Asked, Charge
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.model import Ask, Quote, Saved
from dpjupyter.engine.noise import NoiseSource
from dpjupyter.engine.policy import Policy
from dpjupyter.errors import (
    AskRefused,
    BadRequest,
    Cancelled,
    DpError,
    LedgerUnavailable,
    PolicyChanged,
    QueryFailed,
    Refused,
    RequestReused,
)
from dpjupyter.gateway import replies
from dpjupyter.gateway.identity import Caller
from dpjupyter.gateway.metrics import Metrics
from dpjupyter.gateway.saved import SavedTables
from dpjupyter.gateway.shelf import Shelf
from dpjupyter.gateway.twins import Asking, TwinDesk
from dpjupyter.gateway.warehouses import Warehouses
from dpjupyter.gateway.workers import Workers

CANCEL_POLL_S = 1.0  # how soon a cancel that reached another replica is heard
_MECHANISMS = {"Laplace": "laplace", "Gauss": "gauss"}


@dataclass(frozen=True, slots=True)
class Question:
    """One request, with the policy it is asked under."""

    request: wire.QueryRequest
    caller: Caller
    policy: Policy
    ask: Ask
    asked: Asked


@dataclass(slots=True)
class Running:
    """A question in a worker's hands, or waiting for one."""

    question: Question
    cancelled: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)  # for a warehouse that is resuming
    future: asyncio.Future[wire.QueryReply] = field(init=False)

    def told(self, text: str) -> None:
        """Progress of the road. Stages depend on data: only the wait before the first statement is kept."""
        if text == WAITING:
            self.waiting.set()
        else:
            self.waiting.clear()


class Questions:
    """Everything between a request for an answer and the road. Methods other than ``ask`` block."""

    def __init__(
        self,
        *,
        shelf: Callable[[], Shelf],
        ledger: LedgerStore,
        warehouses: Warehouses,
        workers: Workers,
        noise: NoiseSource,
        timeout_s: float,
        metrics: Metrics,
        log: logging.Logger,
        twins: TwinDesk,
    ) -> None:
        """``shelf`` gives the policies in force; ``timeout_s`` bounds the time in the warehouse."""
        self._shelf = shelf
        self._ledger = ledger
        self._warehouses = warehouses
        self._workers = workers
        self._noise = noise
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._log = log
        self._twins = twins
        self._running: dict[tuple[str, str], Running] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    def question(self, request: wire.QueryRequest, caller: Caller, request_id: str) -> Question:
        """Read a request under the policies in force.

        Raises: NotFound: no such database. PolicyChanged: the caller assumes another policy. BadRequest, AskRefused.
        """
        policy = self._shelf().find(request.dbconfig.database, request.dbconfig.prefix_given, request.dbconfig.reader)
        given = request.dbconfig.sha256sum
        if given is not None and given.lower() != policy.checksum:
            raise PolicyChanged(
                "the policy of this database has changed since you looked",
                hint=f"Look at the catalog again; its checksum is now {policy.checksum}.",
            )
        config = request.queryconfig
        if config.rehearse is not None and config.save_as is not None:
            raise BadRequest("a rehearsal is not kept: it is no answer", hint="Leave out --save or --rehearse.")
        asked = Asked(
            analyst=caller.username,
            request_id=request_id,
            body_sha256=_digest(request),
            sql=request.sql,
            prefix=policy.database.prefix,
            db_name=policy.database.name,
            checksum=policy.checksum,
        )
        return Question(request, caller, policy, _ask(request), asked)

    # ------------------------------------------------------------ price
    def quote(self, question: Question) -> wire.QuoteReply:
        """The price, and what it would do to the budget rows now.

        Raises: Refused, BudgetMissing, LedgerUnavailable.
        """
        saved = self._saved(question).read
        if question.request.queryconfig.synthetic:
            return self._free_quote(question, saved)
        try:
            priced = road.quote(question.request.sql, question.ask, question.policy, saved)
        except Refused as refusal:
            asking = self._asking(question, saved)
            if self._twins.stands_in(asking):
                return self._free_quote(question, saved)
            raise self._twins.hinted(refusal, asking) from None
        if not priced.plan.measurements:
            return replies.quote_reply(priced, (), cached=False)
        cached = not question.request.dbconfig.queryOption.skip_cache and self._ledger.release(priced.fingerprint) is not None
        return replies.quote_reply(priced, self._ledger.outlook(_charge(question, priced)), cached=cached)

    # ------------------------------------------------------------ answer
    def ask(self, question: Question) -> Running:
        """Hand a question to a worker, or join the one that already has it. Called on the event loop.

        Raises: Busy. RequestReused: the id is in use for another question.
        """
        key = (question.asked.analyst, question.asked.request_id)
        known = self._running.get(key)
        if known is not None:
            # A client that lost its connection asks again with the same id: it waits for the same answer.
            if known.question.asked.body_sha256 != question.asked.body_sha256:
                raise RequestReused("this request id is in use for another question", hint="Use a new request id.")
            return known
        running = Running(question)
        running.future = self._workers.ask(lambda: self._work(running))
        self._running[key] = running
        running.future.add_done_callback(lambda future: self._done(key, future))
        watcher = asyncio.get_running_loop().create_task(self._watch(running))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return running

    def cancel(self, caller: Caller, request_id: str) -> None:
        """Stop a question of the caller, here or at another replica; silent where there is none."""
        running = self._running.get((caller.username, request_id))
        if running is not None:
            running.cancelled.set()
        self._ledger.cancel(caller.username, request_id)

    def _work(self, running: Running) -> wire.QueryReply:
        question = running.question
        asked, config = question.asked, question.request.queryconfig
        started = time.monotonic()
        verdict, epsilon, delta = "failed", 0.0, 0.0
        try:
            running.begun.set()
            if running.cancelled.is_set():
                raise Cancelled("the query was cancelled before it began; nothing was charged")
            kept = self._saved(question)
            if config.save_as is not None:
                kept.check_room(config.save_as)
            outcome, rehearsal = self._outcome(running, kept.read)
            reply = replies.query_reply(outcome, question.request, owner=question.caller.role == "owner")
            reply.dp_info.rehearsal = rehearsal
            if config.save_as is not None:
                reply.dp_info.notes.append(kept.keep(config.save_as, outcome))
            verdict = "cached" if outcome.cached else "unmetered" if reply.dp_info.unmetered else "answered"
            epsilon, delta = reply.dp_info.privacy.epsilon, reply.dp_info.privacy.delta
        except DpError as error:
            verdict = "failed" if isinstance(error, QueryFailed) else "refused"
            raise
        else:
            return reply
        finally:
            elapsed = time.monotonic() - started
            self._metrics.question(verdict, elapsed)
            self._log.info(
                "request=%s stage=done verdict=%s epsilon=%g delta=%g elapsed_s=%.1f", asked.request_id, verdict, epsilon, delta, elapsed
            )

    def _outcome(self, running: Running, saved: Saved) -> tuple[road.Outcome, wire.Rehearsal | None]:
        """The private answer; or where the question says so, or has no other answer, one from synthetic twins."""
        question, cancelled = running.question, running.cancelled
        asked, config = question.asked, question.request.queryconfig
        asking = self._asking(question, saved)
        if config.rehearse is not None:
            return self._twins.rehearse(asking, config.rehearse, cancelled=cancelled)
        if config.synthetic or self._twins.stands_in(asking):
            return self._twins.answer(asking, cancelled=cancelled), None
        try:
            outcome = road.answer(
                road.Question(
                    sql=question.request.sql,
                    ask=question.ask,
                    analyst=asked.analyst,
                    request_id=asked.request_id,
                    body_sha256=asked.body_sha256,
                    skip_cache=question.request.dbconfig.queryOption.skip_cache,
                    timeout_s=asking.timeout_s,
                    saved=saved,
                ),
                question.policy,
                ledger=self._ledger,
                backend=self._warehouses.get(question.policy.database.backend),
                noise_source=self._noise,
                cancelled=cancelled,
                progress=running.told,
            )
        except Refused as refusal:
            raise self._twins.hinted(refusal, asking) from None
        return outcome, None

    def _asking(self, question: Question, saved: Saved) -> Asking:
        timeout_s = min(question.request.queryconfig.timeout_s or self._timeout_s, self._timeout_s)
        return Asking(question.request.sql, question.ask, question.policy, question.asked, saved, timeout_s)

    def _free_quote(self, question: Question, saved: Saved) -> wire.QuoteReply:
        reply = replies.quote_reply(self._twins.quote(self._asking(question, saved)), (), cached=False)
        reply.notes.insert(0, "Answered from the synthetic twin: free.")
        return reply

    def _saved(self, question: Question) -> SavedTables:
        return SavedTables(self._ledger, question.asked.analyst, question.policy)

    def _done(self, key: tuple[str, str], future: asyncio.Future[wire.QueryReply]) -> None:
        self._running.pop(key, None)
        if not future.cancelled():
            future.exception()  # looked at even if the caller has gone: asyncio would print its text

    async def _watch(self, running: Running) -> None:
        """Hear cancels that reached another replica."""
        asked = running.question.asked
        while not running.cancelled.is_set():
            done, _ = await asyncio.wait({running.future}, timeout=CANCEL_POLL_S)
            if done:
                return
            try:
                wanted = await self._workers.read(lambda: self._ledger.cancel_requested(asked.analyst, asked.request_id))
            except (LedgerUnavailable, RuntimeError):  # RuntimeError: the pool is shut down
                continue
            if wanted:
                running.cancelled.set()


def _charge(question: Question, priced: Quote) -> Charge:
    policy = question.policy
    return Charge(
        asked=question.asked,
        tables=priced.plan.tables,
        has_total=policy.total is not None,
        cost=priced.cost,
        fingerprint=priced.fingerprint,
        analyst_default=policy.analysts,
        max_failures=policy.limits.max_failures,
    )


def _ask(request: wire.QueryRequest) -> Ask:
    """What the request offers to pay. Limits are the policy's: the engine checks them.

    Raises: AskRefused: delta outside [0, 1).
    """
    config, budget = request.dpconfig, request.dpconfig.budget_setting
    delta = budget.delt
    if delta is not None and not 0 <= delta < 1:
        raise AskRefused(f"delt must lie in [0, 1), not {delta:g}")
    if config.dp_method != "Gauss":
        delta = None  # the requirement's default key carries a delta for Laplace, too, where it means nothing
    return Ask(
        epsilon=budget.epsilon,
        delta=delta,
        mechanism=_MECHANISMS[config.dp_method] if config.dp_method is not None else None,  # pyright: ignore[reportArgumentType]
        answers={name: setting["epsilon"] for name, setting in budget.answers.items()},
        max_rows=config.max_rows,
        max_groups=config.max_groups,
        parameters=request.queryconfig.parameters,
    )


def _digest(request: wire.QueryRequest) -> str:
    body = request.model_dump(mode="json", exclude={"queryconfig": {"traceid", "timeout_s"}, "extra": True})
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()
