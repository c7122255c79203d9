"""What a question costs, and which asks are refused."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpjupyter.engine import accounting
from dpjupyter.engine.model import CONFIDENCES, Ask, Item, Output, Statistic
from dpjupyter.engine.price import OPEN_KEYS, price
from dpjupyter.errors import AskRefused
from tests.engine import plans


def quoted(ask: Ask | None = None, plan=None, policy=None):
    return price(plan or plans.averages(), ask or Ask(), policy or plans.policy())


def test_each_answer_gets_the_default_epsilon_and_equal_statistics_are_paid_once():
    quote = quoted()
    assert quote.epsilon == 0.9
    assert quote.noise["m0_s0"].epsilon == 0.9
    assert quote.noise["m0_s1"].epsilon == 0.9
    assert quote.cost.pico_epsilon == 1_800_000_000_000
    assert [(c.label, c.epsilon) for c in quote.cost.calls] == [("COUNT(*)", 0.9), ("SUM(x)", 0.9), ("AVG(x)", 0.0)]
    assert quote.cost.atto_key_delta == quote.cost.atto_gauss_delta == 0


def test_an_average_alone_splits_its_epsilon_between_sum_and_count():
    plan = plans.averages()
    alone = dataclasses.replace(plan, items=plan.items[2:], outputs=(plan.outputs[0], plan.outputs[3]))
    quote = quoted(plan=alone)
    assert quote.noise["m0_s0"].epsilon == quote.noise["m0_s1"].epsilon == 0.45
    assert quote.cost.pico_epsilon == 900_000_000_000


def test_a_shared_statistic_is_measured_at_the_largest_epsilon_any_answer_needs():
    quote = quoted(Ask(answers={"n": 0.1, "mean": 1.0}))
    assert quote.noise["m0_s0"].epsilon == 0.5
    assert quote.noise["m0_s1"].epsilon == 0.9
    assert quote.cost.pico_epsilon == 1_400_000_000_000
    assert [c.epsilon for c in quote.cost.calls] == [0.0, 0.9, 0.5]


def test_calls_add_up_to_the_cost():
    for ask in (Ask(), Ask(answers={"mean": 2.0}), Ask(mechanism="gauss"), Ask(mechanism="gauss", answers={"MEAN": 2.0})):
        cost = quoted(ask, plan=plans.averages(plans.thresholded())).cost
        assert math.isclose(sum(c.epsilon for c in cost.calls), cost.pico_epsilon / 1e12, rel_tol=1e-12)
        assert math.isclose(sum(c.delta for c in cost.calls), (cost.atto_key_delta + cost.atto_gauss_delta) / 1e18, rel_tol=1e-9)


def test_an_answer_nobody_asked_for_cannot_be_priced_apart():
    with pytest.raises(AskRefused, match="No answer is called 'g'") as refused:
        quoted(Ask(answers={"g": 0.5}))
    assert "mean, n, total" in refused.value.hint


@pytest.mark.parametrize("epsilon", [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, -1.0, 1e308, 1e-300, 10.0001, 0.00099, True, "0.5"])
def test_epsilons_outside_the_policy_are_refused(epsilon):
    with pytest.raises(AskRefused):
        quoted(Ask(epsilon=epsilon))
    with pytest.raises(AskRefused):
        quoted(Ask(answers={"n": epsilon}))


@pytest.mark.parametrize("delta", [float("nan"), float("inf"), -1e-9, 1.0, 2.0, True])
@pytest.mark.parametrize("mechanism", ["laplace", "gauss"])
def test_deltas_outside_zero_to_one_are_refused(delta, mechanism):
    with pytest.raises(AskRefused):
        quoted(Ask(delta=delta, mechanism=mechanism))


def test_gauss_needs_a_delta_and_laplace_has_none():
    with pytest.raises(AskRefused):
        quoted(Ask(delta=0.0, mechanism="gauss"))
    assert quoted(Ask(delta=1e-8)).cost.atto_gauss_delta == 0
    assert quoted(Ask(delta=1e-8)).delta == 0


def test_an_unknown_mechanism_is_refused():
    with pytest.raises(AskRefused):
        quoted(Ask(mechanism="exponential"))  # type: ignore[arg-type]


def test_laplace_scale_is_l1_over_epsilon_with_all_groups():
    quote = quoted(Ask(epsilon=0.5), plan=plans.averages(plans.measurement(max_groups=3)))
    assert quote.noise["m0_s0"].scale == 6.0
    assert quote.noise["m0_s1"].scale == 3 * 100 * 2**20 / 0.5
    assert quote.cost.pico_rho == accounting.pico_up(2 * accounting.pure_rho(0.5))


def test_gaussian_is_charged_by_rho_and_by_epsilon_with_delta():
    quote = quoted(Ask(epsilon=1.0, delta=1e-6, mechanism="gauss"), plan=plans.averages(plans.measurement(max_groups=4)))
    noise = quote.noise["m0_s0"]
    assert noise.mechanism == "discrete_gaussian"
    rho = 4 / (2 * noise.scale**2)
    assert accounting.zcdp_delta(rho, 1.0) <= 1e-6 * (1 + 1e-8)
    assert accounting.zcdp_delta(rho * 1.001, 1.0) > 1e-6
    assert quote.cost.atto_gauss_delta == 2 * 10**12
    assert abs(quote.cost.pico_rho - 2e12 * rho) < 10


def test_noise_that_does_not_fit_in_64_bits_is_refused_with_a_way_out():
    wide = plans.measurement(parts=(plans.Part(plans.statement(plans.SELECT), (plans.UNITS, Statistic("m0_s1", "sum", 2**55))),))
    for mechanism in ("laplace", "gauss"):
        with pytest.raises(AskRefused, match="64-bit") as refused:
            quoted(Ask(mechanism=mechanism), plan=plans.averages(wide))
        assert "bounds" in refused.value.hint


def test_open_keys_pay_a_unit_count_and_key_delta_in_both_branches():
    plan = plans.averages(plans.thresholded())
    only_sum = dataclasses.replace(plan, items=plan.items[1:2])
    quote = quoted(plan=only_sum)
    assert quote.cost.pico_epsilon == 1_800_000_000_000
    assert quote.cost.atto_key_delta == 10**12
    assert quote.cost.calls[-1].label == OPEN_KEYS
    assert quote.cost.calls[-1].epsilon == 0.9
    assert quote.thresholds == {"m0": accounting.laplace_threshold(1 / 0.9, 1, 1e-6)}


def test_the_unit_count_of_open_keys_is_free_where_it_is_asked_anyway():
    quote = quoted(plan=plans.averages(plans.thresholded()))
    assert quote.cost.pico_epsilon == 1_800_000_000_000
    assert quote.cost.calls[-1].epsilon == 0.0
    assert quote.cost.calls[-1].delta == 1e-6


def test_min_units_raises_the_threshold():
    few, many = (quoted(plan=plans.averages(plans.thresholded(min_units=n))).thresholds["m0"] for n in (1, 50))
    assert many == few + 49 or many == few + 48


def test_a_quantile_in_k_groups_pays_k_selections_that_share_the_epsilon():
    plan = plans.median(max_rows=2, numerator=1, denominator=4)
    grouped = dataclasses.replace(plan, measurements=(dataclasses.replace(plan.measurements[0], max_groups=3),))
    one, three = quoted(plan=plan), quoted(plan=grouped)
    assert one.noise["m0_q0"].mechanism == "exponential"
    assert one.noise["m0_q0"].scale == pytest.approx(2 * 2 * 3 / 0.9)
    assert three.noise["m0_q0"].scale == pytest.approx(3 * one.noise["m0_q0"].scale)
    assert one.cost.pico_epsilon == three.cost.pico_epsilon == 900_000_000_000
    assert one.cost.pico_rho == 101_250_000_000
    assert three.cost.pico_rho == 33_750_000_000


def test_expectations_are_exact_for_direct_columns_and_absent_for_derived_ones():
    n, total, mean = quoted(Ask(epsilon=0.5)).expectations
    assert (n.column, total.column, mean.column) == ("n", "total", "mean")
    assert [n.half_width[str(c)] for c in CONFIDENCES] == [1, 3, 5, 6, 9]
    assert total.half_width["0.95"] == pytest.approx(math.log(20) * 200, rel=1e-3)
    assert mean.derived
    assert not mean.half_width


def test_same_question_same_fingerprint_and_any_difference_another():
    base = quoted()
    assert quoted(Ask(epsilon=0.9, mechanism="laplace")).fingerprint == base.fingerprint
    plan = plans.averages()
    others = [
        quoted(Ask(epsilon=0.8)),
        quoted(Ask(mechanism="gauss")),
        quoted(Ask(answers={"n": 0.8})),
        quoted(Ask(max_rows=2)),
        quoted(Ask(parameters={"p": 1})),
        quoted(policy=plans.policy("columns.y = {type = 'DOUBLE'}\n")),
        quoted(policy=plans.parse(plans.POLICY.replace('name = "shop"', 'name = "shop"\ndata_version = "2"'))),
        quoted(plan=dataclasses.replace(plan, fingerprint="0" * 64)),
        quoted(plan=dataclasses.replace(plan, outputs=(Output("h", "c1", plan.outputs[0].type, is_key=True), *plan.outputs[1:]))),
    ]
    assert len({q.fingerprint for q in (base, *others)}) == 1 + len(others)


@settings(deadline=None)
@given(st.floats(0.001, 10), st.floats(0.001, 10), st.integers(1, 1000), st.sampled_from(["laplace", "gauss"]))
def test_the_cost_never_falls_short_of_the_noise(epsilon, other, groups, mechanism):
    quote = quoted(Ask(epsilon=epsilon, answers={"n": other}, mechanism=mechanism), plan=plans.averages(plans.measurement(max_groups=groups)))
    paid, rho = Fraction(quote.cost.pico_epsilon, 10**12), Fraction(quote.cost.pico_rho, 10**12)
    statistics = {s.name: s for s in (plans.UNITS, plans.TOTAL)}
    scales = {name: Fraction(noise.scale) for name, noise in quote.noise.items()}
    if mechanism == "laplace":
        assert paid >= sum(groups * statistics[name].largest / scale for name, scale in scales.items())
    else:
        assert rho >= sum(groups * statistics[name].largest ** 2 / (2 * scale**2) for name, scale in scales.items())
        assert paid >= sum(Fraction(str(n.epsilon)) for n in quote.noise.values()) - Fraction(1, 10**9)


def test_statistics_without_an_answer_are_a_fault_of_the_plan():
    plan = plans.averages()
    with pytest.raises(ValueError, match="belongs to no answer"):
        quoted(plan=dataclasses.replace(plan, items=plan.items[:1]))
    with pytest.raises(ValueError, match="exceed"):
        quoted(plan=dataclasses.replace(plan, items=(*plan.items, Item("x", (), "m0", (("m0_s0", Fraction(2)),)))))
