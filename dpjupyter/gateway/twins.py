"""Synthetic twins at the gateway: owners publish and retire them, analysts ask them. Asking them is free."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dpjupyter import wire
from dpjupyter.engine import road
from dpjupyter.engine.accounting import ATTO, PICO
from dpjupyter.engine.ledger import Asked
from dpjupyter.engine.ledger.records import TwinCard
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.model import Ask, Quote, Saved
from dpjupyter.engine.noise import NoiseSource
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.road import Outcome
from dpjupyter.engine.synthetic import Publication, TwinStore, publish_twin, quote_twin
from dpjupyter.engine.synthetic.price import Price
from dpjupyter.engine.synthetic.publish import charge_of
from dpjupyter.engine.synthetic.rehearse import Rehearsal, rehearse
from dpjupyter.engine.synthetic.store import read_card
from dpjupyter.engine.synthetic.use import Free, Twins, answer_free, asks_for_rows, prepare
from dpjupyter.errors import AskRefused, DpError, LedgerUnavailable, NotFound, QueryFailed, Refused, RequestReused, Suspended
from dpjupyter.gateway.identity import Caller
from dpjupyter.gateway.shelf import Shelf
from dpjupyter.gateway.warehouses import Warehouses

_RECORDED = "synthetic twin: free"


@dataclass(frozen=True, slots=True)
class Asking:
    """A question as the twins see it."""

    sql: str
    ask: Ask
    policy: Policy
    asked: Asked
    saved: Saved
    timeout_s: float


class TwinDesk:
    """Everything about twins. Methods block."""

    def __init__(
        self,
        *,
        folder: Path,
        shelf: Callable[[], Shelf],
        ledger: LedgerStore,
        warehouses: Warehouses,
        noise: NoiseSource,
        timeout_s: float,
        log: logging.Logger,
    ) -> None:
        """``folder`` holds the twins' files, and is shared by all gateways on one ledger."""
        self._store = TwinStore(folder)
        self._shelf = shelf
        self._ledger = ledger
        self._warehouses = warehouses
        self._noise = noise
        self._timeout_s = timeout_s
        self._log = log
        self._publishing = threading.Lock()

    # ------------------------------------------------------------ asking
    def _twins(self, policy: Policy) -> Twins:
        database = policy.database
        cards = self._store.cards(self._ledger, database.prefix, database.name)
        return Twins(policy, cards, self._store.rows_of, lambda: self._warehouses.get(database.backend))

    def stands_in(self, asking: Asking) -> bool:
        """Whether a question for rows has no private answer, but one from twins."""
        try:
            if not asks_for_rows(asking.sql, asking.ask, asking.policy, asking.saved):
                return False
            road.quote(asking.sql, asking.ask, asking.policy, asking.saved)
        except Refused:
            pass
        else:
            return False
        try:
            prepare(asking.sql, asking.ask, self._twins(asking.policy), asking.saved)
        except DpError:
            return False
        return True

    def hinted(self, refusal: Refused, asking: Asking) -> Refused:
        """A refusal of a question for rows says what would make it answerable."""
        try:
            if not asks_for_rows(asking.sql, asking.ask, asking.policy, asking.saved):
                return refusal
            prepare(asking.sql, asking.ask, self._twins(asking.policy), asking.saved)
        except AskRefused as missing:
            refusal.hint = f"{refusal.hint} Rows come from a synthetic twin only. {missing.message} {missing.hint}".strip()
        except DpError:
            pass
        return refusal

    def quote(self, asking: Asking) -> Quote:
        """The price of a question on twins, which is nothing.

        Raises: Refused.
        """
        return self._prepared(asking)[0].priced

    def answer(self, asking: Asking, *, cancelled: threading.Event) -> Outcome:
        """A question answered from twins.

        Raises: Refused, Suspended, RequestReused, NotFound.
        """
        with self._recorded(asking):
            free, twins = self._prepared(asking)
            found = answer_free(free, twins, cancelled=cancelled, timeout_s=asking.timeout_s)
        return Outcome(found, None, cached=False, quote=free.priced)

    def rehearse(self, asking: Asking, times: int, *, cancelled: threading.Event) -> tuple[Outcome, wire.Rehearsal]:
        """A private question rehearsed on twins.

        Raises: Refused, Suspended, RequestReused, NotFound.
        """
        with self._recorded(asking):
            twins = self._prepared(asking)[1]
            found, shown = rehearse(
                asking.sql, asking.ask, twins, times=times, noise_source=self._noise, cancelled=cancelled, saved=asking.saved,
                timeout_s=asking.timeout_s,
            )  # fmt: skip
        return Outcome(found, None, cached=False, quote=shown.priced), _rehearsal(shown)

    def _prepared(self, asking: Asking) -> tuple[Free, Twins]:
        """The question on twins, none of them of a suspended table.

        Raises: Refused, Suspended.
        """
        twins = self._twins(asking.policy)
        free = prepare(asking.sql, asking.ask, twins, asking.saved)
        database = asking.policy.database
        read = {card.table for card in free.cards}
        for found in self._ledger.suspensions():
            if (found.prefix, found.db_name) == (database.prefix, database.name) and found.table_name in read | {"*"}:
                raise Suspended(f"table {found.table_name} is suspended, and so is its synthetic twin")
        return free, twins

    def _recorded(self, asking: Asking) -> _Recorded:
        return _Recorded(self._ledger, asking.asked, self._log)

    # ------------------------------------------------------------ the owner's
    def price(self, request: wire.TwinRequest, caller: Caller) -> wire.TwinQuoteReply:
        """What publishing would cost, and do to the budget rows now.

        Raises: NotFound, AskRefused, BudgetMissing.
        """
        policy = self._shelf().find(request.db_name, request.prefix, None)
        priced = quote_twin(request.table_name, policy, epsilon=request.epsilon, delta=request.delta)
        charge = charge_of(_publication(request, caller, "quote", self._timeout_s), priced, policy)
        return quote_reply(priced, [
            wire.TablePrice(
                table=row.name.table_name, analyst=row.name.analyst, epsilon=priced.epsilon, delta=priced.delta,
                before=row.before, after=row.after, affordable=row.affordable, unmetered=row.unmetered,
            )
            for row in self._ledger.outlook(charge)
        ])  # fmt: skip

    def publish(self, request: wire.TwinRequest, caller: Caller, request_id: str, *, cancelled: threading.Event) -> wire.TwinListReply:
        """Publish a twin; one at a time here, as each takes the warehouse for itself.

        Raises: see engine.synthetic.publish_twin.
        """
        policy = self._shelf().find(request.db_name, request.prefix, None)
        with self._publishing:
            card = publish_twin(
                _publication(request, caller, request_id, self._timeout_s),
                policy,
                ledger=self._ledger,
                backend=self._warehouses.get(policy.database.backend),
                noise_source=self._noise,
                store=self._store,
                cancelled=cancelled,
            )
        self._log.info("request=%s stage=twin verdict=published epsilon=%g delta=%g", request_id, card.epsilon, card.delta)
        return wire.TwinListReply(
            twins=[t for t in self.list(card.prefix, card.db_name, card.table, retired=True) if t.version == card.version]
        )

    def retire(self, request: wire.TwinRetireRequest) -> wire.TwinListReply:
        """Offer a twin no longer; what it cost stays spent.

        Raises: NotFound.
        """
        policy = self._shelf().find(request.db_name, request.prefix, None)
        prefix, db_name = policy.database.prefix, policy.database.name
        version = request.version or next((t.version for t in self.list(prefix, db_name, request.table_name)), None)
        if version is None:
            raise NotFound(f"{request.table_name} has no twin")
        self._ledger.retire_twin(prefix, db_name, request.table_name, version=version)
        self._log.info("stage=twin verdict=retired")
        return wire.TwinListReply(twins=self.list(prefix, db_name, request.table_name, retired=True))

    # ------------------------------------------------------------ cards
    def cards(self, prefix: str | None, db_name: str | None, table: str | None, *, retired: bool) -> wire.TwinListReply:
        """Cards of twins of the databases served here."""
        served = set(self._shelf().policies)
        found = self.list(prefix, db_name, table, retired=retired)
        return wire.TwinListReply(twins=[twin for twin in found if (twin.prefix, twin.db_name) in served])

    def list(self, prefix: str | None, db_name: str | None, table: str | None, *, retired: bool = False) -> list[wire.TwinCard]:
        """Cards, newest first."""
        return shown(row for row in self._ledger.twins(prefix, db_name, retired=retired) if table in (None, row.table_name))


class _Recorded:
    """Context manager: a free question is written down like every other one, answered or refused."""

    def __init__(self, ledger: LedgerStore, asked: Asked, log: logging.Logger) -> None:
        self._ledger, self._asked, self._log = ledger, asked, log

    def __enter__(self) -> None:
        # Who is suspended is stopped here; an id that was used for another question, too.
        if self._ledger.replay(self._asked) is not None:
            raise RequestReused("this request id belongs to another question", hint="Use a new request id.")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LedgerUnavailable | QueryFailed | RequestReused):
            return
        refused = isinstance(error, DpError)
        verdict, reason = ("answered", _RECORDED) if error is None else ("refused" if refused else "failed", type(error).__name__)
        try:
            self._ledger.record(self._asked, verdict, reason)  # pyright: ignore[reportArgumentType] - one of the ledger's verdicts
        except LedgerUnavailable:
            self._log.warning("request %s %s but not recorded", self._asked.request_id, verdict)
            if error is None:
                raise


def default_twins(ledger_url: str) -> Path:
    """Where twins are kept if the owner names no folder: beside a SQLite ledger, else among this account's data."""
    kind, _, path = ledger_url.partition(":///")
    if kind.startswith("sqlite") and path and path != ":memory:":
        return Path(path.partition("?")[0]).parent / "twins"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "dpjupyter" / "twins"


def shown(rows: Iterable[TwinCard]) -> list[wire.TwinCard]:
    """Cards as the wire carries them; the newest of a table that is not retired is the current one."""
    found: list[wire.TwinCard] = []
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        card = read_card(row)
        name = (row.prefix, row.db_name, row.table_name)
        current = not row.retired and card is not None and name not in seen
        if current:
            seen.add(name)
        found.append(
            wire.TwinCard(
                prefix=row.prefix,
                db_name=row.db_name,
                table_name=row.table_name,
                version=row.version,
                time=row.time,
                retired=row.retired,
                current=current,
                card=card.model_dump(mode="json") if card is not None else {},
            )
        )
    return found


def quote_reply(priced: Price, tables: list[wire.TablePrice]) -> wire.TwinQuoteReply:
    """A price as the wire carries it."""
    layout = priced.layout
    notes: list[str] = []
    parent = layout.link.parent if layout.link is not None else None
    if layout.max_rows > 1:
        notes.append(f"At most {layout.max_rows} rows of one unit count in full; of a unit with more, each counts less.")
    if parent is not None:
        notes.append(f"Its rows will belong to rows of the current twin of {parent}.")
    return wire.TwinQuoteReply(
        table=layout.table,
        epsilon=priced.cost.pico_epsilon / PICO,
        delta=priced.cost.atto_gauss_delta / ATTO,
        rho=priced.cost.pico_rho / PICO,
        tables=tables,
        affordable=all(row.affordable for row in tables),
        columns=[axis.name for axis in layout.own],
        left_out=dict(layout.left_out),
        parent=parent,
        one_way_sigma=priced.one_way_sigma / layout.weight,
        two_way_sigma=priced.two_way_sigma(priced.rounds) / layout.weight if priced.rounds else None,
        notes=notes,
    )


def _publication(request: wire.TwinRequest, caller: Caller, request_id: str, timeout_s: float) -> Publication:
    body = request.model_dump(mode="json", exclude={"traceid"})
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return Publication(request.table_name, request.epsilon, request.delta, caller.username, request_id, digest, timeout_s)


def _rehearsal(found: Rehearsal) -> wire.Rehearsal:
    return wire.Rehearsal(
        runs=found.runs,
        epsilon=found.priced.cost.pico_epsilon / PICO,
        columns=[
            wire.ColumnRehearsal(name=c.name, median_error=c.median_error, p95_error=c.p95_error, bias=c.bias, row_p95=list(c.row_p95))
            for c in found.columns
        ],
        shown=list(found.shown),
    )
