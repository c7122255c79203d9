"""Statistical audit (docs: privacy promise): what is charged is never less than what can be measured from outside."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from dpjupyter.engine.backends.duckdb import DuckDBBackend
from dpjupyter.engine.finish import finish
from dpjupyter.engine.ledger.store import open_ledger
from dpjupyter.engine.model import Ask
from dpjupyter.engine.noise import OpenDPNoise, noise
from dpjupyter.engine.road import Question, answer, quote
from tests.audit.neighbours import (
    Batched,
    at_most,
    audit,
    audited_policy,
    epsilon_below,
    exact_rows,
    with_one_more,
    without,
)

pytestmark = pytest.mark.slow

RUNS = 5_000
FEWER = 1_500  # selections draw one noise per bin

SUMS = [
    "COUNT(*)", "COUNT(x)", "COUNT_IF(x > 5)", "COUNT(DISTINCT u)", "COUNT(DISTINCT name)", "SUM(x)", "AVG(x)", "SUM(DISTINCT i)",
    "VAR_POP(x)", "STDDEV_SAMP(y)", "COVAR_POP(x, y)", "CORR(x, y)",
]
QUANTILES = ["MEDIAN(i)", "QUANTILE_CONT(i, 0.25)", "MIN(i)", "MAX(i)"]


@pytest.mark.parametrize("aggregate", SUMS)
def test_no_aggregate_loses_more_than_it_costs_with_laplace(aggregate: str) -> None:
    found = audit(f"SELECT {aggregate} AS a FROM t", Ask(), runs=RUNS)
    assert found.measured <= found.claimed


@pytest.mark.parametrize("aggregate", QUANTILES)
def test_no_quantile_loses_more_than_it_costs(aggregate: str) -> None:
    found = audit(f"SELECT {aggregate} AS a FROM t", Ask(epsilon=2.0), runs=FEWER)
    assert found.measured <= found.claimed


@pytest.mark.parametrize("aggregate", SUMS)
def test_no_aggregate_loses_more_than_it_costs_with_gauss(aggregate: str) -> None:
    found = audit(f"SELECT {aggregate} AS a FROM t", Ask(mechanism="gauss"), runs=RUNS // 2)
    assert found.measured <= found.claimed


@pytest.mark.parametrize("mechanism", ["laplace", "gauss"])
@pytest.mark.parametrize("select", ["COUNT(*)", "SUM(x), COUNT(DISTINCT u)"])
def test_groups_lose_no_more_than_they_cost(select: str, mechanism: str) -> None:
    found = audit(f"SELECT g, {select} FROM t GROUP BY g", Ask(mechanism=mechanism), runs=RUNS // 2)  # type: ignore[arg-type]
    assert found.measured <= found.claimed


def test_quantiles_of_groups_lose_no_more_than_they_cost() -> None:
    found = audit("SELECT g, MEDIAN(i) FROM t GROUP BY g", Ask(epsilon=3.0), runs=FEWER // 2)
    assert found.measured <= found.claimed


@pytest.mark.parametrize("select", ["COUNT(*)", "SUM(x)", "MAX(i)"])
def test_rows_as_units_lose_no_more_than_they_cost(select: str) -> None:
    found = audit(f"SELECT {select} AS a FROM r", Ask(), runs=RUNS // 2)
    assert found.measured <= found.claimed


def test_a_query_of_several_answers_loses_no_more_than_their_sum() -> None:
    found = audit("SELECT COUNT(*), SUM(x), AVG(y), MEDIAN(i) FROM t", Ask(epsilon=0.5), runs=FEWER)
    assert found.claimed == pytest.approx(2.0)
    assert found.measured <= found.claimed


@pytest.mark.parametrize(("sql", "mechanism"), [("SELECT COUNT(*) FROM t", "laplace"), ("SELECT SUM(x) FROM t", "gauss"), ("SELECT MAX(i) FROM r", "laplace")])
def test_the_audit_notices_noise_that_is_too_small(sql: str, mechanism: str) -> None:
    found = audit(sql, Ask(mechanism=mechanism), runs=FEWER, shrink=0.1)  # type: ignore[arg-type]
    assert found.measured > found.claimed


def test_the_audit_of_a_count_is_tight() -> None:
    found = audit("SELECT COUNT(*) FROM r", Ask(), runs=4 * RUNS)
    assert 0.8 * found.claimed <= found.measured <= found.claimed


# ---------------------------------------------------------------- open keys
@pytest.mark.parametrize("mechanism", ["laplace", "gauss"])
@pytest.mark.parametrize("table", ["t", "r"])
def test_keys_of_one_person_appear_no_more_often_than_key_delta(table: str, mechanism: str) -> None:
    priced = quote(f"SELECT name, COUNT(*) FROM {table} GROUP BY name", Ask(mechanism=mechanism), audited_policy())  # type: ignore[arg-type]
    rows, source = exact_rows(priced, with_one_more()), Batched()
    opened = 0
    for _ in range(RUNS):
        opened += any(str(row[0]).startswith("only") for row in noise(rows, priced, source).tables["m0"])
    assert priced.cost.atto_key_delta == 10**16
    assert opened > 0  # T is not far above what delta needs
    assert at_most(opened, RUNS) <= 0.01


# ---------------------------------------------------------------- with finishing, and end to end
def test_finished_averages_lose_no_more_than_they_cost() -> None:
    priced = quote("SELECT AVG(x) AS mean, COUNT(x) AS n FROM t", Ask(epsilon=2.0), audited_policy())
    runs, hits = 150, {}
    for name, database in (("with", with_one_more), ("without", without)):
        rows = exact_rows(priced, database())
        answers = [finish(noise(rows, priced, OpenDPNoise()), priced).rows[0] for _ in range(runs)]
        hits[name] = sum(n >= 82 for _, n in answers)  # two rows more than the forty others have
    measured = epsilon_below(hits["with"], hits["without"], runs, 0.0)
    assert measured <= priced.cost.pico_epsilon / 1e12


def test_answers_of_the_whole_road_lose_no_more_than_they_cost(tmp_path: Path) -> None:
    policy, runs, hits = audited_policy(), 60, []
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.ensure_rows(policy)
    for n, database in enumerate((with_one_more, without)):
        backend = DuckDBBackend(database())
        counts = []
        for run in range(runs):
            question = Question("SELECT COUNT(*) AS n FROM r", Ask(epsilon=2.0), "auditor", f"{n}.{run}", "0" * 64, skip_cache=True)
            outcome = answer(question, policy, ledger=ledger, backend=backend, noise_source=OpenDPNoise(), cancelled=threading.Event(), progress=lambda _: None)
            counts.append(outcome.answer.rows[0][0])
        hits.append(sum(isinstance(c, int) and c >= 61 for c in counts))
        backend.close()
    ledger.close()
    assert 0 < hits[1] < hits[0]
    assert epsilon_below(hits[0], hits[1], runs, 0.0) <= 2.0
    assert math.isclose(hits[0] / runs, 1 / (1 + math.exp(-2)), abs_tol=0.3)
