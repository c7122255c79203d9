"""Statistical audit of publishing a twin: what is charged is never less than what can be measured from outside.

All that a publication releases is looked at: noisy one-way counts, which pairs were chosen, noisy two-way counts, numbers of
rows per unit. The event is fixed before any draw: that the likelihood ratio of all of it is above half of what it is on
average for the neighbour with one unit more.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pytest

from dpjupyter.engine.backends.duckdb import DuckDBBackend
from dpjupyter.engine.ledger.store import open_ledger
from dpjupyter.engine.noise import OpenDPNoise
from dpjupyter.engine.policy import Policy, parse
from dpjupyter.engine.synthetic import Publication, TwinStore, publish_twin
from dpjupyter.engine.synthetic.choose import STOP, scores, still_open
from dpjupyter.engine.synthetic.counts import ExactCounts
from dpjupyter.engine.synthetic.layout import layout
from dpjupyter.engine.synthetic.measure import Released, coarse, measure
from dpjupyter.engine.synthetic.price import Price, price
from dpjupyter.engine.synthetic.publish import Prepared, run
from dpjupyter.engine.synthetic.statements import statements
from tests.audit.neighbours import POLICY, Batched, epsilon_below, with_one_more, without
from tests.engine.plans import ZeroNoise

pytestmark = pytest.mark.slow

RUNS = 400
DELTA = 1e-5


def audited(table: str) -> Policy:
    assert f"[tables.{table}]" in POLICY
    return parse(POLICY.replace("default_epsilon = 1.0", "default_epsilon = 1.0\nmax_epsilon = 50.0"))


@dataclass
class Twin:
    """One publication on two neighbours."""

    priced: Price
    one: ExactCounts
    other: ExactCounts

    def release(self, exact: ExactCounts, source: Batched) -> tuple[Released, list[int]]:
        source.chosen.clear()
        return measure(exact, self.priced, {}, 0, source), list(source.chosen)

    def ratio(self, found: Released, picked: list[int]) -> float:
        """Log-likelihood of a release under the neighbour with one unit more, less that without."""
        layout_, weight = self.priced.layout, self.priced.layout.weight
        total = 0.0
        for n, noisy in found.one_way.items():
            total += _gauss(noisy * weight, self.one.table((n,), layout_), self.other.table((n,), layout_), self.priced.one_way_sigma)
        if found.children is not None and self.one.children is not None and self.other.children is not None and self.priced.children_sigma:
            assert layout_.link is not None
            total += _gauss(found.children * layout_.link.weight, self.one.children, self.other.children, self.priced.children_sigma)
        groups, expected = coarse(found.one_way, {}, self.priced)
        both = [scores(exact, self.priced, groups, expected) for exact in (self.one, self.other)]
        chosen: list[tuple[int, int]] = []
        for at in picked:
            open_ = still_open(both[0], chosen, layout_)
            one, other = ([*(scored[pair] for pair in open_), STOP] for scored in both)
            total += _softmax(one, at, self.priced.choice_scale) - _softmax(other, at, self.priced.choice_scale)
            if at < len(open_):
                chosen.append(open_[at])
        for (a, b), noisy in found.two_way.items():
            sides = []
            for exact in (self.one, self.other):
                merged = np.zeros(noisy.shape)
                np.add.at(merged, (groups[a][:, None], groups[b][None, :]), exact.table((a, b), layout_))
                sides.append(merged)
            total += _gauss(noisy * weight, *sides, self.priced.two_way_sigma(len(found.two_way)))
        return total


def _gauss(noisy: np.ndarray, one: np.ndarray, other: np.ndarray, sigma: float) -> float:
    return float((((noisy - other) ** 2 - (noisy - one) ** 2) / (2 * sigma**2)).sum())


def _softmax(values: list[int], at: int, scale: float | None) -> float:
    assert scale is not None
    weights = np.array(values, dtype=np.float64) / scale
    return float(weights[at] - weights.max() - math.log(np.exp(weights - weights.max()).sum()))


def prepared(table: str, epsilon: float) -> Twin:
    policy = audited(table)
    plan = layout(table, policy)
    priced = price(plan, policy, epsilon=epsilon, delta=DELTA)
    found = []
    for database in (with_one_more, without):
        backend = DuckDBBackend(database())
        found.append(run(Prepared(priced, None, statements(plan, policy)), backend, Publication(table, epsilon, DELTA, "o", "r", ""), threading.Event()))
        backend.close()
    return Twin(priced, *found)


def measured(twin: Twin, *, shrink: float = 1.0) -> float:
    """Lower bound on epsilon at the priced delta."""
    # Fixed in advance, without noise: half of what the one-way counts alone tell on average.
    half = twin.ratio(measure(twin.one, twin.priced, {}, 0, ZeroNoise()), [])
    hits = []
    for exact in (twin.one, twin.other):
        source = Batched(shrink)
        hits.append(sum(twin.ratio(*twin.release(exact, source)) >= half for _ in range(RUNS)))
    hit, other = hits
    return max(epsilon_below(hit, other, RUNS, DELTA), epsilon_below(RUNS - other, RUNS - hit, RUNS, DELTA))


@pytest.mark.parametrize("table", ["t", "r"])
@pytest.mark.parametrize("epsilon", [2.0, 20.0])
def test_publishing_loses_no_more_than_it_costs(table: str, epsilon: float) -> None:
    """t: a person with 21 rows where two are counted; r: rows as units."""
    twin = prepared(table, epsilon)
    assert any(not np.array_equal(twin.one.table(n, twin.priced.layout), twin.other.table(n, twin.priced.layout)) for n in twin.one.rows)
    assert measured(twin) <= epsilon


@pytest.mark.parametrize("table", ["t", "r"])
def test_the_audit_notices_noise_that_is_too_small(table: str) -> None:
    assert measured(prepared(table, 1.0), shrink=0.03) > 1.0


def test_whole_publications_lose_no_more_than_they_cost(tmp_path: Path) -> None:
    """End to end: ledger, warehouse, noise, fit, file. The event: the twin has more rows than the smaller table."""
    policy, epsilon, runs, hits = audited("r"), 6.0, 40, []
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.ensure_rows(policy)
    store = TwinStore(tmp_path / "twins")
    for n, database in enumerate((with_one_more, without)):
        backend = DuckDBBackend(database())
        rows = []
        for turn in range(runs):
            publication = Publication("r", epsilon, DELTA, "owner", f"{n}.{turn}", "")
            card = publish_twin(
                publication, policy, ledger=ledger, backend=backend, noise_source=OpenDPNoise(), store=store, cancelled=threading.Event()
            )
            rows.append(duckdb.sql(f"SELECT COUNT(*) FROM '{store.rows_of(card)}'").fetchall()[0][0])
        hits.append(sum(count >= 61 for count in rows))
        backend.close()
    ledger.close()
    assert epsilon_below(hits[0], hits[1], runs, DELTA) <= epsilon
