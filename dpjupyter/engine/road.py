"""The whole program on one page: parse, bind, plan, price, debit, run, noise, finish.

quote()   a price, from the text and the public policy: free
answer()  an answer: paid for before the warehouse is asked, filed before it is sent
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from dpjupyter.engine.backends import Backend, BackendFailed
from dpjupyter.engine.backends.waits import Waits
from dpjupyter.engine.bind import bind
from dpjupyter.engine.finish import Head, finish, from_json, head_of, keep, kept, tables_behind, to_json, tried
from dpjupyter.engine.ledger import Asked, Charge, Ledger
from dpjupyter.engine.model import Answer, Ask, ExactRows, Plan, Quote, Receipt, Saved, SavedTable, nothing_saved
from dpjupyter.engine.noise import NoiseSource, noise
from dpjupyter.engine.parse import parse
from dpjupyter.engine.plan import plan
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.price import price
from dpjupyter.errors import DpError, LedgerUnavailable, QueryFailed, RequestReused, UnsupportedSQL

__all__ = ["Head", "Outcome", "Question", "answer", "head_of", "keep_outcome", "quote", "saved_by"]

_log = logging.getLogger(__name__)
MAX_READ = 8_000_000  # characters of all saved tables of one question: reading them takes time and memory, and prices are free


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks what, and how. ``analyst`` comes from the token, never from the request's body."""

    sql: str
    ask: Ask
    analyst: str
    request_id: str
    body_sha256: str
    skip_cache: bool = False
    timeout_s: float = 120.0  # for all of the warehouse's statements together
    saved: Saved = nothing_saved  # what ``saved.NAME`` means to this analyst


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a question led to."""

    answer: Answer
    receipt: Receipt | None  # None: nothing was paid (a filed release, or public tables only)
    cached: bool  # the same question was answered before in this cycle
    quote: Quote | None  # None: a retry got its filed answer
    timings_ms: Mapping[str, float] = field(default_factory=dict[str, float])  # per stage; for owners alone


def quote(sql: str, ask: Ask, policy: Policy, saved: Saved = nothing_saved) -> Quote:
    """Price a question from its text and the public policy: free, and leaks nothing.

    ``saved`` are tables the analyst kept: released already, so as public to the analyst as the policy.
    Raises: Refused.
    """
    try:
        priced = price(plan(bind(parse(sql, policy.dialect, ask.parameters), policy, saved), policy, ask), ask, policy)
        tried(priced)
    except DpError:
        raise
    except Exception as error:  # noqa: BLE001 - a query that nobody thought of is refused, like any other not on the list
        last = traceback.extract_tb(error.__traceback__)[-1]
        _log.warning("a query was refused because planning failed: %s in %s, line %s", type(error).__name__, last.name, last.lineno)
    else:
        return priced
    raise UnsupportedSQL("This query is not understood, so it is not answered.", hint="Nothing was charged. Write it in simpler steps.")


def answer(
    question: Question,
    policy: Policy,
    *,
    ledger: Ledger,
    backend: Backend,
    noise_source: NoiseSource,
    cancelled: threading.Event,
    progress: Callable[[str], None],
) -> Outcome:
    """Answer a question: replay, price, look for the same release, debit, run, noise, finish, file.

    Raises:
        Refused, BudgetExhausted, BudgetMissing, Suspended, RequestReused, LedgerUnavailable: nothing was paid.
        QueryFailed: it was paid and failed; the message is the same whatever happened.
    """
    asked = _asked(question, policy)
    filed = ledger.replay(asked)
    if filed is not None:
        again, paid = from_json(filed)
        return Outcome(again, paid, cached=False, quote=None)
    clock = _Clock()
    with _recorded(ledger, asked):
        with clock("price"):
            priced = quote(question.sql, question.ask, policy, question.saved)
        charge = _charge(asked, priced, policy)
        private = bool(priced.plan.measurements)
        released = ledger.release(charge.fingerprint) if private and not question.skip_cache else None
        if released is not None:
            ledger.record(asked, "cached", "the same question was answered before")
            return Outcome(_labelled(*from_json(released)), None, cached=True, quote=priced, timings_ms=clock.ms)
        progress("running")
        with clock("debit"):
            receipt = ledger.debit(charge) if private else None

    try:
        with clock("run"):
            exact = _run(priced.plan, backend, question, cancelled, progress)
        with clock("noise"):
            noisy = noise(exact, priced, noise_source)
            del exact  # nothing after this point has seen the data
        with clock("finish"):
            result = finish(noisy, priced)
        with clock("file"):
            if private:
                ledger.file(charge, to_json(result, receipt))
            else:
                ledger.record(asked, "answered", _free(priced.plan))  # free, and written down like every other request
        return Outcome(result, receipt, cached=False, quote=priced, timings_ms=clock.ms)
    except Exception as error:  # noqa: BLE001 - no error may say anything about the data
        reason = _reason(error)
    except BaseException:
        _failed(ledger, asked, "interrupted", paid=private)
        raise
    _failed(ledger, asked, reason, paid=private)
    # Outside the handler: the error, and the rows its frames hold, must not ride along as context.
    raise QueryFailed(question.request_id)


def saved_by(load: Callable[[str], str | None]) -> Saved:
    """The saved tables of an analyst, from the ledger's contents by name; for one question, which sees each as it was first read."""
    read: dict[str, SavedTable | None] = {}
    characters = 0

    def found(name: str) -> SavedTable | None:
        nonlocal characters
        if name in read:
            return read[name]
        content = load(name)
        characters += len(content or "")
        if characters > MAX_READ:
            raise UnsupportedSQL(
                "The saved tables of this question are too large together.", hint="Read fewer of them, or aggregate one first."
            )
        try:
            read[name] = None if content is None else kept(name, content)
        except (ValueError, KeyError, TypeError):
            _log.warning("a saved table cannot be read: it was kept by another version")
            read[name] = None
        return read[name]

    return found


def keep_outcome(outcome: Outcome, policy: Policy) -> tuple[str, tuple[str, ...]]:
    """An answer as content for the ledger's saved tables, and the private tables by whose cycles it lives.

    Raises: AskRefused: it is too large.
    """
    answer_ = outcome.answer
    tables = [str(said["table"]) for said in answer_.cost["tables"]]  # type: ignore[attr-defined]
    unmetered = outcome.receipt is not None and bool(outcome.receipt.unmetered)
    content = keep(answer_, tables, policy, unmetered=unmetered)
    return content, tables_behind(content)


def _labelled(answer_: Answer, paid: Receipt | None) -> Answer:
    """A filed answer that a budget row did not pay for says so to whoever gets it."""
    return replace(answer_, unmetered=answer_.unmetered or bool(paid is not None and paid.unmetered))


def _free(plan_: Plan) -> str:
    return "saved and public tables only" if plan_.saved else "public tables only"


def _asked(question: Question, policy: Policy) -> Asked:
    return Asked(
        analyst=question.analyst,
        request_id=question.request_id,
        body_sha256=question.body_sha256,
        sql=question.sql,
        prefix=policy.database.prefix,
        db_name=policy.database.name,
        checksum=policy.checksum,
    )


def _charge(asked: Asked, priced: Quote, policy: Policy) -> Charge:
    return Charge(
        asked=asked,
        tables=priced.plan.tables,
        has_total=policy.total is not None,
        cost=priced.cost,
        fingerprint=priced.fingerprint,
        analyst_default=policy.analysts,
        max_failures=policy.limits.max_failures,
    )


def _run(plan_: Plan, backend: Backend, question: Question, cancelled: threading.Event, progress: Callable[[str], None]) -> ExactRows:
    """Every statement of the plan, in its order, within the question's time."""
    deadline = time.monotonic() + question.timeout_s
    waits = Waits(progress)

    def rows(statement: str) -> list[tuple[object, ...]]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise BackendFailed("timeout")
        found = backend.fetch(statement, tag=question.request_id, timeout_s=left, cancelled=cancelled, progress=waits.tell)
        waits.begun()
        return found

    publics = {public.name: rows(public.statement.sql(backend.dialect)) for public in plan_.publics}
    parts = [((m.name, n), part.statement) for m in plan_.measurements for n, part in enumerate(m.parts)]
    return ExactRows({place: rows(statement.sql(backend.dialect)) for place, statement in parts}, publics)


@contextmanager
def _recorded(ledger: Ledger, asked: Asked) -> Generator[None]:
    """Before the warehouse: write down a refusal before it is told."""
    try:
        yield
    except (LedgerUnavailable, QueryFailed, RequestReused):
        raise
    except DpError as refusal:
        try:
            ledger.record(asked, "refused", refusal.kind)
        except LedgerUnavailable:
            _log.warning("request %s refused (%s) but not recorded", asked.request_id, refusal.kind)
        raise


def _failed(ledger: Ledger, asked: Asked, reason: str, *, paid: bool) -> None:
    _log.warning("request %s failed: %s", asked.request_id, reason)
    try:
        if paid:
            ledger.failed(asked)
        else:
            ledger.record(asked, "failed", "public tables only")
    except Exception as error:  # noqa: BLE001 - a debit without an outcome is settled as failed later
        _log.warning("request %s could not be filed as failed: %s", asked.request_id, type(error).__name__)


def _reason(error: Exception) -> str:
    # A driver's text may quote values: only the error's type is logged.
    return f"warehouse: {error.reason}" if isinstance(error, BackendFailed) else type(error).__name__


class _Clock:
    """Milliseconds spent per stage."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Generator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.ms[stage] = (time.perf_counter() - started) * 1000
