"""Publishing: paid first, never more than priced, and nothing in a card or file that was not released."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from pathlib import Path

import duckdb
import numpy as np
import pytest

from dpjupyter.engine import accounting
from dpjupyter.engine.backends.duckdb import DuckDBBackend
from dpjupyter.engine.synthetic.layout import layout
from dpjupyter.engine.synthetic.measure import measure
from dpjupyter.engine.synthetic.price import price
from dpjupyter.engine.synthetic.projection import fitted, on_simplex
from dpjupyter.engine.synthetic.publish import Prepared, Publication, draw, run
from dpjupyter.engine.synthetic.statements import statements
from dpjupyter.engine.synthetic.store import TwinStore
from dpjupyter.errors import AskRefused, BudgetExhausted, NotFound, QueryFailed, RequestReused
from tests.engine.plans import ZeroNoise
from tests.engine.synthetic.conftest import CREATE, ROWS, Shop, policy_of


def rows(shop: Shop, table: str, sql: str) -> list[tuple[object, ...]]:
    path = shop.store.rows_of(shop.twins().cards[table])
    return duckdb.sql(sql.replace("TWIN", f"read_parquet('{path}')")).fetchall()


class Spy(ZeroNoise):
    """Nothing is added; what was asked for is remembered."""


# ---------------------------------------------------------------- the price
@pytest.mark.parametrize("table", ["people", "orders", "lines", "survey"])
@pytest.mark.parametrize("epsilon", [0.01, 0.5, 1.0, 20.0])
def test_the_scales_spend_no_more_than_rho(table: str, epsilon: float) -> None:
    """Recomputed from the scales alone, worst case over how many pairs are chosen."""
    policy = policy_of()
    plan = layout(table, policy)
    priced = price(plan, policy, epsilon=epsilon, delta=1e-6)
    assert priced.cost.pico_epsilon == accounting.pico_up(epsilon)
    assert priced.cost.atto_gauss_delta == accounting.atto_up(1e-6)
    assert priced.cost.pico_rho == accounting.pico_up(accounting.rho_max(epsilon, 1e-6))
    for pairs in range(1, priced.rounds + 1):
        spent = len(plan.own) * accounting.gaussian_rho(plan.largest**2, priced.one_way_sigma)
        if plan.link is not None and priced.children_sigma is not None:
            spent += accounting.gaussian_rho(plan.link.largest**2, priced.children_sigma)
            if priced.cause_sigma is not None and priced.cause_scale is not None:
                spent += accounting.gaussian_rho(plan.link.largest**2, priced.cause_sigma) + _selection(plan.link.largest, priced.cause_scale)
        if priced.choice_scale is not None:
            spent += priced.rounds * _selection(plan.largest, priced.choice_scale)
            spent += pairs * accounting.gaussian_rho(plan.largest**2, priced.two_way_sigma(pairs))
        assert spent <= Fraction(priced.cost.pico_rho, 10**12)


def _selection(sensitivity: int, scale: float) -> Fraction:
    return (2 * Fraction(sensitivity) / Fraction(scale)) ** 2 / 8


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 1e-6), (-1, 1e-6), (float("nan"), 1e-6), (101, 1e-6), (1, 0), (1, 1), (1, float("inf"))])
def test_epsilon_and_delta_outside_the_policy_are_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(AskRefused):
        price(layout("people", policy_of()), policy_of(), epsilon=epsilon, delta=delta)


def test_all_noise_is_asked_of_the_source_and_as_much_as_was_priced(shop: Shop) -> None:
    shop.noise = spy = Spy()
    shop.publish("people", epsilon=1.0)
    priced = price(layout("people", shop.policy), shop.policy, epsilon=1.0, delta=1e-7)
    asked = [(kind, scale) for kind, scale, _ in spy.asked]
    assert asked.count(("gaussian", priced.children_sigma)) == 1
    assert asked.count(("gaussian", priced.one_way_sigma)) == len(priced.layout.own)
    assert asked.count(("select", priced.choice_scale)) == priced.rounds
    assert {kind for kind, _ in asked} == {"gaussian", "select"}


# ---------------------------------------------------------------- without noise a twin is its table, as far as bins tell
def test_without_noise_one_and_two_way_counts_are_those_of_the_table(shop: Shop) -> None:
    shop.noise = ZeroNoise()
    card = shop.publish("survey", epsilon=100.0)
    assert card.rows == 500
    found = rows(shop, "survey", "SELECT k, COUNT(*) FROM TWIN GROUP BY ALL ORDER BY 1")
    assert found == [(1, 167), (2, 167), (3, 166)]
    assert rows(shop, "survey", "SELECT b, COUNT(*) FROM TWIN GROUP BY ALL ORDER BY 1") == [(False, 333), (True, 167)]
    # k and b depend on each other wholly: their pair is always chosen, and the twin keeps it.
    assert ("k", "b") in [pair.columns for pair in card.pairs]
    assert rows(shop, "survey", "SELECT COUNT(*) <= 2 FROM TWIN WHERE b <> (k = 1)") == [(True,)]
    assert rows(shop, "survey", "SELECT COUNT(*) BETWEEN 49 AND 51 FROM TWIN WHERE v < 1") == [(True,)]
    assert rows(shop, "survey", "SELECT MIN(t) >= '2024-01-01', MAX(t) <= '2024-01-02' FROM TWIN") == [(True, True)]
    assert card.mean_error_1 < 0.01


def test_children_keep_their_parents_and_joins_work(shop: Shop) -> None:
    for table in ("people", "orders", "lines"):
        shop.publish(table, epsilon=100.0)
    twins = shop.twins()
    paths = {name: f"read_parquet('{shop.store.rows_of(card)}')" for name, card in twins.cards.items()}
    people, orders, lines = paths["people"], paths["orders"], paths["lines"]
    count = lambda sql: duckdb.sql(sql).fetchall()[0][0]  # noqa: E731
    assert count(f"SELECT COUNT(*) FROM {people}") == pytest.approx(400, abs=5)
    assert count(f"SELECT COUNT(*) FROM {orders} o ANTI JOIN {people} p USING (uid)") == 0
    assert count(f"SELECT COUNT(*) FROM {lines} l ANTI JOIN {orders} o USING (oid)") == 0
    assert count(f"SELECT COUNT(*) - COUNT(DISTINCT oid) FROM {orders}") == 0
    assert count(f"SELECT COUNT(*) - COUNT(DISTINCT (oid, n)) FROM {lines}") == 0
    assert count(f"SELECT COUNT(*) FROM {orders}") == pytest.approx(600, abs=40)
    assert count(f"SELECT MAX(c) FROM (SELECT COUNT(*) c FROM {orders} GROUP BY uid)") <= 3
    assert count(f"SELECT COUNT(*) FROM (SELECT uid FROM {orders} GROUP BY uid)") == pytest.approx(300, abs=20)


def test_the_number_of_children_follows_the_parents_column_it_depends_on(shop: Shop) -> None:
    shop.backend._root.execute("DELETE FROM orders; INSERT INTO orders SELECT i, uid, DATE '2024-01-03', 'x' FROM (SELECT uid, UNNEST(range(CASE WHEN city = 'B' THEN 3 ELSE 1 END)) AS i FROM people)")
    shop.publish("people", epsilon=100.0)
    shop.publish("orders", epsilon=100.0)
    a, b = (float(str(r[0])) for r in shop.ask("SELECT AVG(n) FROM (SELECT p.uid, p.city = 'B' AS b, COUNT(*) AS n FROM people p JOIN orders o ON o.uid = p.uid WHERE p.city IS NOT NULL GROUP BY ALL) GROUP BY b ORDER BY b").rows)
    assert a == pytest.approx(1, abs=0.2)
    assert b == pytest.approx(3, abs=0.2)


def test_a_child_without_its_parents_twin_is_refused_and_free(shop: Shop) -> None:
    with pytest.raises(AskRefused, match="no twin") as refused:
        shop.publish("orders")
    assert "dpjupyter twin publish people" in refused.value.hint
    assert set(shop.spent().values()) == {0.0}


# ---------------------------------------------------------------- paying
def test_publishing_debits_the_table_those_on_its_path_and_the_whole(shop: Shop) -> None:
    shop.publish("people", epsilon=2.0)
    before = shop.spent()
    assert before["people"] == before["*"] > 0
    shop.publish("orders", epsilon=3.0)
    after = shop.spent()
    assert after["orders"] == pytest.approx(3.0, abs=1)
    assert after["people"] > before["people"]
    assert after["lines"] == 0
    quotas = [row for row in shop.ledger.list_budgets() if row.analyst == "owner"]
    assert {row.table_name for row in quotas} == {"*", "people", "orders"}


def test_a_budget_that_cannot_pay_refuses_and_the_warehouse_is_not_asked(shop: Shop) -> None:
    shop.ledger.set_budget("test", "shop", "survey", total_budget=0.5, recover_cycle=None, exhausted_strategy=None, analyst=None, default=None, by="owner")
    shop.backend.fetch = None  # type: ignore[assignment, method-assign] - whoever calls it fails
    with pytest.raises(BudgetExhausted):
        shop.publish("survey", epsilon=2.0)
    assert shop.twins().cards == {}


def test_a_retry_gets_the_same_twin_and_pays_once(shop: Shop) -> None:
    first = shop.publish("survey", request_id="one")
    spent = shop.spent()
    assert shop.publish("survey", request_id="one") == first
    assert shop.spent() == spent
    with pytest.raises(RequestReused):
        shop.publish("survey", request_id="one", body="1" * 64)


@pytest.mark.parametrize("broken", ["backend", "noise", "file", "card"])
def test_a_failure_after_the_debit_is_charged_says_nothing_and_publishes_nothing(shop: Shop, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("pay of name 17 is 12345")

    match broken:
        case "backend":
            monkeypatch.setattr(shop.backend, "fetch", fail)
        case "noise":
            monkeypatch.setattr(type(shop.noise), "gaussian", fail)
        case "file":
            monkeypatch.setattr(TwinStore, "write", fail)
        case _:
            monkeypatch.setattr(type(shop.ledger), "publish_twin", fail)
    with pytest.raises(QueryFailed) as failed:
        shop.publish("survey", request_id="r1")
    assert failed.value.message == "the query could not be completed; request r1"
    assert failed.value.__context__ is None
    assert "12345" not in caplog.text
    assert shop.spent()["survey"] > 0
    assert shop.twins().cards == {}
    with pytest.raises(QueryFailed):
        shop.publish("survey", request_id="r1")  # charged once, never run again


def test_a_killed_gateway_leaves_a_charge_and_no_twin(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(TwinStore, "write_card", kill)
    with pytest.raises(Killed):
        shop.publish("survey")
    assert shop.spent()["survey"] > 0
    assert shop.ledger.twins("test", "shop") == ()
    assert not [p for p in shop.store.folder.iterdir() if p.name.startswith(".")]  # no half-written file is left


def test_retiring_offers_the_older_twin_again_and_refunds_nothing(shop: Shop) -> None:
    first, second = shop.publish("survey"), shop.publish("survey")
    spent = shop.spent()
    assert shop.twins().cards["survey"].version == second.version
    shop.ledger.retire_twin("test", "shop", "survey", version=second.version)
    assert shop.twins().cards["survey"].version == first.version
    assert shop.spent() == spent


# ---------------------------------------------------------------- what is kept
def test_the_card_says_how_it_was_made_and_quotes_no_exact_number(shop: Shop) -> None:
    card = shop.publish("people", epsilon=1.0)
    said = json.loads(card.model_dump_json())
    assert said["checksum"] == shop.policy.checksum
    assert said["epsilon"] == 1.0
    assert said["tables"] == ["people"]
    assert {c["name"]: c["kind"] for c in said["columns"]} == {"uid": "key", "city": "values", "name": "empty", "pay": "ranges"}
    path = shop.store.rows_of(card)
    assert json.loads(path.with_suffix(".json").read_text()) == said
    assert path.parent == shop.store.folder


def test_the_same_seed_and_counts_give_the_same_rows() -> None:
    policy = policy_of()
    plan = layout("survey", policy)
    priced = price(plan, policy, epsilon=1.0, delta=1e-6)
    with duckdb.connect() as connection:
        connection.execute(CREATE + ROWS)
        prepared = Prepared(priced, None, statements(plan, policy))
        counts = run(prepared, DuckDBBackend(connection.cursor()), Publication("survey", 1, 1e-6, "o", "r", ""), threading.Event())
    assert repr(counts) == "ExactCounts(...)"
    released = measure(counts, priced, {}, 0, ZeroNoise())
    one, other = (draw(released, plan, policy, None, np.random.default_rng(7))[1] for _ in range(2))
    assert all((one[n] == other[n]).all() for n in one)


@pytest.mark.parametrize("version", ["../../etc/passwd", "", "ABCDEF0123456789", "0123456789abcdef0", "0123456789abcde/"])
def test_no_name_or_version_becomes_a_path(tmp_path: Path, version: str) -> None:
    store = TwinStore(tmp_path)
    with pytest.raises(NotFound):
        store.path("p", "d", "t", version)
    path = store.path("../..", "/etc", "passwd\0", "0123456789abcdef")
    assert path.parent == tmp_path
    assert path.name.endswith("-0123456789abcdef.parquet")


def test_a_file_that_is_not_the_cards_is_not_read(shop: Shop) -> None:
    card = shop.publish("survey")
    path = shop.store.rows_of(card)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(NotFound):
        shop.ask("SELECT COUNT(*) FROM survey")


# ---------------------------------------------------------------- arithmetic
def test_projection_keeps_the_total_and_nothing_negative() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        table = rng.normal(0, 100, size=(4, 5))
        there = on_simplex(table, 77.0)
        assert there.min() >= 0
        assert there.sum() == pytest.approx(77)
        # Nearest: no other table of that total is closer (checked against random ones).
        other = rng.dirichlet(np.ones(20)).reshape(4, 5) * 77
        assert ((there - table) ** 2).sum() <= ((other - table) ** 2).sum() + 1e-9
    assert on_simplex(np.array([-1.0, -2.0]), 0.0).tolist() == [0, 0]


def test_fitting_reaches_the_given_sums() -> None:
    rng = np.random.default_rng(2)
    table = np.maximum(rng.normal(5, 10, size=(3, 4)), 0)
    rows_, columns = np.array([10.0, 0.0, 20.0]), np.array([5.0, 5.0, 15.0, 5.0])
    found = fitted(table, rows_, columns)
    assert np.allclose(found.sum(axis=1), rows_, atol=1e-3)
    assert np.allclose(found.sum(axis=0), columns, atol=1e-3)
