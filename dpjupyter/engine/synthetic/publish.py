"""Publishing a twin: quote, debit, measure, fit, draw, write, announce. Beside the road, and of the same stages.

The debit comes before the warehouse is touched, and the card last: whoever is interrupted in between has paid for nothing,
and nothing is ever published unpaid. There is no refund, and no second draw at the same price: choosing among drafts would
be a question of its own.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dpjupyter.engine.backends import Backend, BackendFailed
from dpjupyter.engine.ledger import Asked, Charge
from dpjupyter.engine.ledger.store import LedgerStore
from dpjupyter.engine.model import Receipt
from dpjupyter.engine.noise import NoiseSource
from dpjupyter.engine.policy import Policy
from dpjupyter.engine.synthetic import card as cards
from dpjupyter.engine.synthetic.bins import OUTSIDE
from dpjupyter.engine.synthetic.card import Card, ParentCard
from dpjupyter.engine.synthetic.counts import ExactCounts
from dpjupyter.engine.synthetic.fit import fit, tilted, within
from dpjupyter.engine.synthetic.layout import Layout, layout
from dpjupyter.engine.synthetic.measure import Released, measure
from dpjupyter.engine.synthetic.price import Price, price
from dpjupyter.engine.synthetic.projection import fitted, on_simplex
from dpjupyter.engine.synthetic.sample import Bins, Drawn, conditional, places, sample, shuffled
from dpjupyter.engine.synthetic.statements import Statement, statements
from dpjupyter.engine.synthetic.store import Column, Empty, Numbered, TwinStore, bins_of
from dpjupyter.errors import AskRefused, DpError, LedgerUnavailable, QueryFailed, RequestReused

_log = logging.getLogger(__name__)
MAX_ROWS = 1_000_000  # of a twin; a larger table's is a sample, and its card says so


@dataclass(frozen=True, slots=True)
class Publication:
    """Who publishes what. ``by`` pays from its own quota, like for a question."""

    table: str
    epsilon: float
    delta: float
    by: str
    request_id: str
    body_sha256: str
    timeout_s: float = 600.0  # for all of the warehouse's statements together


@dataclass(frozen=True, slots=True)
class Parent:
    """The published twin that rows will hang on: one entry per row of it."""

    card: ParentCard
    keys: npt.NDArray[np.int64]
    bins: Mapping[int, Bins]  # by number of the given axis


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is known before a debit."""

    price: Price
    parent: Parent | None
    statements: tuple[Statement, ...]


def quote_twin(table: str, policy: Policy, *, epsilon: float, delta: float) -> Price:
    """Price a twin from the policy alone: free, and leaks nothing.

    Raises: NotFound, AskRefused.
    """
    return price(layout(table, policy), policy, epsilon=epsilon, delta=delta)


def charge_of(publication: Publication, priced: Price, policy: Policy) -> Charge:
    """What publishing debits: the table, the tables on the way to its units, '*', and the publisher's quotas of them."""
    asked = Asked(
        analyst=publication.by,
        request_id=publication.request_id,
        body_sha256=publication.body_sha256,
        sql=f"PUBLISH SYNTHETIC TWIN OF {publication.table}",
        prefix=policy.database.prefix,
        db_name=policy.database.name,
        checksum=policy.checksum,
    )
    return Charge(
        asked=asked,
        tables=priced.layout.tables,
        has_total=policy.total is not None,
        cost=priced.cost,
        fingerprint=priced.fingerprint,
        analyst_default=policy.analysts,
        max_failures=policy.limits.max_failures,
    )


def publish_twin(
    publication: Publication,
    policy: Policy,
    *,
    ledger: LedgerStore,
    backend: Backend,
    noise_source: NoiseSource,
    store: TwinStore,
    cancelled: threading.Event,
) -> Card:
    """Publish a twin and return its card; a retry with the same request id gets the same card.

    Raises:
        NotFound, AskRefused, BudgetExhausted, BudgetMissing, Suspended, RequestReused, LedgerUnavailable: nothing was paid.
        QueryFailed: it was paid and failed; the message is the same whatever happened.
    """
    priced = quote_twin(publication.table, policy, epsilon=publication.epsilon, delta=publication.delta)
    charge = charge_of(publication, priced, policy)
    filed = ledger.replay(charge.asked)
    if filed is not None:
        return Card.model_validate_json(filed)
    try:
        store.check()
        prepared = Prepared(priced, _parent(priced.layout, policy, ledger, store), statements(priced.layout, policy))
        receipt = ledger.debit(charge)
    except (LedgerUnavailable, QueryFailed, RequestReused):
        raise
    except DpError as refusal:
        ledger.record(charge.asked, "refused", refusal.kind)
        raise
    try:
        made = _made(publication, prepared, policy, receipt, backend, noise_source, store, cancelled)
        text = made.model_dump_json()
        store.write_card(made)
        ledger.publish_twin(made.prefix, made.db_name, made.table, version=made.version, card=text)
        ledger.file(charge, text)
        return made  # noqa: TRY300 - an error above must not pass by the handlers below
    except Exception as error:  # noqa: BLE001 - no error may say anything about the data
        reason = f"warehouse: {error.reason}" if isinstance(error, BackendFailed) else type(error).__name__
    except BaseException:
        _failed(ledger, charge.asked, "interrupted")
        raise
    _failed(ledger, charge.asked, reason)
    # Outside the handler: the error, and the counts its frames hold, must not ride along as context.
    raise QueryFailed(publication.request_id)


def _failed(ledger: LedgerStore, asked: Asked, reason: str) -> None:
    _log.warning("request %s failed: %s", asked.request_id, reason)
    try:
        ledger.failed(asked)
    except Exception as error:  # noqa: BLE001 - a debit without an outcome is settled as failed later
        _log.warning("request %s could not be filed as failed: %s", asked.request_id, type(error).__name__)


def _parent(plan: Layout, policy: Policy, ledger: LedgerStore, store: TwinStore) -> Parent | None:
    """The current twin of the table above.

    Raises: AskRefused: there is none, or its columns are not today's.
    """
    link = plan.link
    if link is None or link.parent is None:
        return None
    hint = f"Publish it first: dpjupyter twin publish {link.parent} --epsilon E --delta D"
    found = store.cards(ledger, policy.database.prefix, policy.database.name).get(link.parent)
    if found is None:
        raise AskRefused(f"Rows of {plan.table} belong to rows of {link.parent}, which has no twin.", hint=hint)
    if not {axis.name for axis in plan.given} | {link.parent_key} <= {column.name for column in found.columns if column.kind != "empty"}:
        raise AskRefused(f"The twin of {link.parent} has not all columns that the policy declares today.", hint=hint)
    expressions = [axis.expression(f"c{n}") for n, axis in enumerate(plan.given)]
    keys, bins = bins_of(store.rows_of(found), [axis.name for axis in plan.given], expressions, link.parent_key)
    if any((column == OUTSIDE).any() for column in bins):
        raise AskRefused(f"The twin of {link.parent} was published under other bounds or domains than today's.", hint=hint)
    card = ParentCard(table=link.parent, version=found.version, key=link.parent_key, column=link.column)
    return Parent(card, keys.astype(np.int64), {n: column.astype(np.int16) for n, column in enumerate(bins)})


def _made(
    publication: Publication,
    prepared: Prepared,
    policy: Policy,
    receipt: Receipt,
    backend: Backend,
    noise_source: NoiseSource,
    store: TwinStore,
    cancelled: threading.Event,
) -> Card:
    priced, plan, parent = prepared.price, prepared.price.layout, prepared.parent
    counts = run(prepared, backend, publication, cancelled)
    released = measure(counts, priced, _shares(plan, parent), parent.keys.size if parent is not None else 0, noise_source)
    del counts  # nothing after this point has seen the data
    seed = secrets.randbits(63)
    rng = np.random.default_rng(seed)
    columns, drawn, rows, notes = draw(released, plan, policy, parent, rng)
    version = store.new_version()
    database = policy.database
    sha256 = store.write(store.path(database.prefix, database.name, plan.table, version), columns, rows, rng)
    single, pairs = cards.errors(released, plan, drawn)
    declared = policy.tables[plan.table].columns
    return Card(
        prefix=database.prefix,
        db_name=database.name,
        table=plan.table,
        version=version,
        checksum=policy.checksum,
        data_version=database.data_version,
        published=receipt.time,
        epsilon=priced.epsilon,
        delta=priced.delta,
        rho=priced.cost.pico_rho / 1e12,
        tables=list(plan.tables),
        request_id=publication.request_id,
        rows=rows,
        parent=parent.card if parent is not None else None,
        columns=cards.columns(plan, list(declared), {name: column.type for name, column in declared.items()}, single),
        pairs=pairs,
        one_way_sigma=released.one_way_sigma,
        two_way_sigma=released.two_way_sigma,
        mean_error_1=_mean(list(single.values())),
        mean_error_2=_mean([pair.error for pair in pairs]),
        seed=seed,
        file_sha256=sha256,
        unmetered=list(receipt.unmetered),
        notes=notes,
    )


def run(prepared: Prepared, backend: Backend, publication: Publication, cancelled: threading.Event) -> ExactCounts:
    """Every statement, within the publication's time."""
    deadline = time.monotonic() + publication.timeout_s
    counts = ExactCounts()
    for statement in prepared.statements:
        left = deadline - time.monotonic()
        if left <= 0:
            raise BackendFailed("timeout")
        rows = backend.fetch(statement.sql.sql(backend.dialect), tag=publication.request_id, timeout_s=left, cancelled=cancelled)
        counts.add(statement, rows, prepared.price.layout)
    counts.check()
    return counts


def _shares(plan: Layout, parent: Parent | None) -> dict[int, npt.NDArray[np.float64]]:
    """How the parent twin's rows spread over the bins of each given column."""
    if parent is None:
        return {}
    shares: dict[int, npt.NDArray[np.float64]] = {}
    for n, bins in parent.bins.items():
        held = np.bincount(bins, minlength=plan.axes[n].size).astype(np.float64)
        shares[n] = held / max(1.0, float(held.sum()))
    return shares


def draw(
    released: Released, plan: Layout, policy: Policy, parent: Parent | None, rng: np.random.Generator
) -> tuple[dict[str, Column], dict[int, Bins], int, list[str]]:
    """A twin's rows: columns in the policy's order, bins by axis (the given ones too), number of rows, what is to be said."""
    notes: list[str] = []
    owners, within = _owners(released, plan, parent, rng, notes)
    rows = owners.size
    given = {n: bins[owners] for n, bins in parent.bins.items()} if parent is not None else {}
    drawn = sample(fit(released, plan), plan, rows, given, rng)
    declared = policy.tables[plan.table].columns
    columns: dict[str, Column] = {}
    for n, bins in drawn.items():
        columns[plan.axes[n].name] = Drawn(plan.axes[n], bins)
    for name in plan.keys:
        # A key of several columns counts within its parent; a single one through the table.
        alone = (name,) in policy.tables[plan.table].keys or parent is None
        columns[name] = Numbered(declared[name].sql_type, np.arange(1, rows + 1, dtype=np.int64) if alone else within)
    if plan.link is not None:
        numbers = parent.keys[owners] if parent is not None else owners + 1
        columns[plan.link.column] = Numbered(declared[plan.link.column].sql_type, numbers)
    for name in plan.left_out:
        columns[name] = Empty(declared[name].sql_type)
    return {name: columns[name] for name in declared}, {**given, **drawn}, rows, notes


def _owners(
    released: Released, plan: Layout, parent: Parent | None, rng: np.random.Generator, notes: list[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For every row the number of the row (or made-up unit) it hangs on, and its own number there from 1."""
    if plan.link is None or released.children is None:
        rows = round(released.rows)
        if rows > MAX_ROWS:
            notes.append(f"A sample: the table has about {rows} rows.")
            rows = MAX_ROWS
        return np.arange(rows, dtype=np.int64), np.arange(1, rows + 1, dtype=np.int64)
    parents = parent.keys.size if parent is not None else max(0, round(float(released.children.sum())))
    if parents > MAX_ROWS:
        notes.append(f"A sample: there are about {parents} units.")
        parents = MAX_ROWS
    axis = plan.link.children
    group = released.children_group
    assert group is not None
    masses = on_simplex(np.bincount(group, weights=released.children).astype(np.float64), float(parents))
    middles = (np.array(axis.cuts[:-1]) + np.array(axis.cuts[1:]) - 1) / 2
    single = tilted(group, masses, middles, released.rows) if plan.own else within(released.children, group, masses)
    if released.cause is None or parent is None:
        bins = shuffled(single, parents, rng)
    else:
        classes = released.cause.group[parent.bins[released.cause.axis]]
        held = np.bincount(classes, minlength=released.cause.counts.shape[0]).astype(np.float64)
        table = fitted(on_simplex(released.cause.counts, float(parents)), held, masses)
        bins = conditional(classes, table, single, group, rng)
    children = places(axis, bins, rng).astype(np.int64)
    over = np.nonzero(np.cumsum(children) > MAX_ROWS)[0]
    if over.size:
        notes.append(f"Cut off at {MAX_ROWS} rows: later rows of {plan.link.parent or 'units'} have none here.")
        children[over] = 0
    owners = np.repeat(np.arange(parents, dtype=np.int64), children)
    starts = np.cumsum(children) - children
    return owners, np.arange(owners.size, dtype=np.int64) - np.repeat(starts, children) + 1


def _mean(errors: list[float]) -> float:
    return round(float(np.mean(errors)), 4) if errors else 0.0


__all__: list[Any] = ["Parent", "Prepared", "Publication", "charge_of", "draw", "publish_twin", "quote_twin", "run"]
