"""Accounting against its definitions (mpmath), against opendp and against dp-accounting."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from functools import cache

import mpmath
import opendp.prelude as dp
import pytest
from dp_accounting import pld
from dp_accounting.rdp import rdp_privacy_accountant as rdp
from hypothesis import given, settings
from hypothesis import strategies as st

from dpjupyter.engine import accounting as acc
from dpjupyter.errors import AskRefused

dp.enable_features("contrib")

epsilons = st.floats(1e-4, 20, allow_nan=False)
deltas = st.floats(1e-14, 1e-2)
NOT_NUMBERS = [math.nan, math.inf, -math.inf, -0.0, 0.0, 0, -1, -1e-300, 1e308, True, "1", None]


# ---------------------------------------------------------------- zCDP
@pytest.mark.parametrize(
    ("total", "slack", "rho"),
    [(1, 1e-6, 0.0243560), (3, 1e-6, 0.185070), (10, 1e-6, 1.539279), (10, 1e-8, 1.208374),
     (1, 5e-7, 0.0229374), (3, 5e-7, 0.1757499), (10, 5e-7, 1.4784420), (10, 5e-9, 1.1704177)],
)  # fmt: skip
def test_rho_max_has_the_check_values_of_the_privacy_page(total: float, slack: float, rho: float) -> None:
    assert acc.pico_rho_max(total, slack) / acc.PICO == pytest.approx(rho, rel=3e-6)


@cache
def true_delta(rho: float, epsilon: float) -> mpmath.mpf:
    """The formula at 40 digits, minimised over a dense set of alphas: an upper bound that cannot be too low."""
    with mpmath.workdps(40):
        r, e = mpmath.mpf(rho), mpmath.mpf(epsilon)

        def at(log_over: float) -> mpmath.mpf:
            over = mpmath.exp(log_over)
            alpha = 1 + over
            return over * (alpha * r - e) + alpha * mpmath.log(over / alpha) - mpmath.log(over)

        points = [x / 20 for x in range(-200, 500)]
        best = min(points, key=at)
        fine = min((best + y / 2000 for y in range(-100, 101)), key=at)
        return mpmath.exp(at(fine))


@settings(max_examples=15, deadline=None)
@given(epsilons, deltas)
def test_the_rho_limit_converts_back_to_at_most_the_budget_and_wastes_nothing(total: float, slack: float) -> None:
    rho = acc.rho_max(total, slack)
    # The dense minimum is above the true one by a relative 1e-6 at most.
    assert true_delta(float(rho), total) <= slack * (1 + 1e-5)
    assert true_delta(float(rho) * 1.001, total) > slack * (1 - 1e-5)
    assert acc.zcdp_delta(rho, total) <= slack * (1 + 1e-8)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 50), deltas)
def test_conversion_agrees_with_opendp_and_dp_accounting(rho: float, delta: float) -> None:
    ours = acc.zcdp_epsilon(rho, delta)
    orders = [1 + x / 100 for x in range(1, 200)] + [3 + x / 4 for x in range(400)] + [2.0**x for x in range(7, 40)]
    google, _ = rdp.compute_epsilon(orders, [rho * order for order in orders], delta)
    assert ours <= google + 1e-9
    sigma = math.sqrt(1 / (2 * rho))
    measurement = dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64"), sigma)
    theirs = dp.c.make_zCDP_to_approxDP(measurement).map(1.0).epsilon(delta)
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("total", [9e6, 1e4, 1.0, 1e-3])
def test_rho_limit_of_any_total_fits_in_64_bits_and_stays_below_it(total: float) -> None:
    assert 0 < acc.pico_rho_max(total, 5e-7) < acc.pico_down(total) <= acc.MAX_INTEGER


# ---------------------------------------------------------------- mechanisms
def renyi_of_randomised_response(epsilon: float, alpha: float) -> mpmath.mpf:
    with mpmath.workdps(40):
        p = 1 / (1 + mpmath.exp(-mpmath.mpf(epsilon)))
        a = mpmath.mpf(alpha)
        return mpmath.log(p**a * (1 - p) ** (1 - a) + (1 - p) ** a * p ** (1 - a)) / (a - 1)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-3, 30), st.floats(1.0001, 1e4))
def test_pure_rho_bounds_every_renyi_divergence_of_a_pure_mechanism(epsilon: float, alpha: float) -> None:
    # Randomised response is the worst epsilon-DP pair: every other is a post-processing of it.
    assert renyi_of_randomised_response(epsilon, alpha) <= alpha * mpmath.mpf(float(acc.pure_rho(epsilon))) * (1 + mpmath.mpf(2) ** -50)
    assert acc.pure_rho(epsilon) <= acc.exact(epsilon, "e") ** 2 / 2


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10**6), st.floats(1e-3, 50))
def test_laplace_scale_never_costs_more_than_was_asked(l1: int, epsilon: float) -> None:
    scale = acc.laplace_scale(l1, epsilon)
    assert acc.laplace_epsilon(l1, scale) <= acc.exact(epsilon, "epsilon")
    assert float(acc.laplace_epsilon(l1, scale)) == pytest.approx(epsilon, rel=1e-14)
    measurement = dp.m.make_laplace(dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64"), scale)
    assert measurement.map(l1) == pytest.approx(float(acc.laplace_epsilon(l1, scale)), rel=1e-12)


def exact_gaussian_delta(sensitivity: int, sigma: float, epsilon: float) -> mpmath.mpf:
    """Canonne, Kamath, Steinke 2020, Thm 7, summed term by term."""
    with mpmath.workdps(30):
        s2 = mpmath.mpf(sigma) ** 2
        reach = int(40 * sigma) + 40
        mass = {x: mpmath.exp(-mpmath.mpf(x) ** 2 / (2 * s2)) for x in range(-reach, reach + 1)}
        whole = mpmath.fsum(mass.values())
        cut = mpmath.mpf(epsilon) * s2 / sensitivity

        def above(level: mpmath.mpf) -> mpmath.mpf:
            return mpmath.fsum(m for x, m in mass.items() if x > level) / whole

        half = mpmath.mpf(sensitivity) / 2
        return above(cut - half) - mpmath.exp(epsilon) * above(cut + half)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 3), st.floats(0.5, 10), st.floats(1e-10, 1e-4))
def test_gaussian_sigma_keeps_its_exact_discrete_delta(sensitivity: int, epsilon: float, delta: float) -> None:
    sigma = acc.gaussian_sigma(sensitivity**2, epsilon, delta)
    assert exact_gaussian_delta(sensitivity, sigma, epsilon) <= delta
    assert acc.gaussian_rho(sensitivity**2, sigma) <= acc.rho_max(epsilon, delta)
    measurement = dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64"), sigma)
    assert measurement.map(float(sensitivity)) == pytest.approx(float(acc.gaussian_rho(sensitivity**2, sigma)), rel=1e-12)


@given(st.integers(1, 1000), st.floats(1e-3, 20), st.integers(1, 50))
@settings(max_examples=30, deadline=None)
def test_selection_is_priced_as_opendp_prices_gumbel_noise(sensitivity: int, epsilon: float, groups: int) -> None:
    scale = acc.selection_scale(sensitivity, epsilon)
    # Scores fall as well as rise: opendp's linf distance (not its monotonic form) doubles the sensitivity itself.
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.linf_distance(T="i64")
    measurement = dp.m.make_noisy_max(*space, dp.zero_concentrated_divergence(), scale=scale)
    assert groups * measurement.map(sensitivity) == pytest.approx(float(acc.selection_rho(epsilon, groups)), rel=1e-9)
    assert acc.selection_rho(epsilon, groups) == groups * acc.exact(epsilon, "e") ** 2 / 8
    assert acc.selection_epsilon(epsilon, groups) == groups * acc.exact(epsilon, "e")


# ---------------------------------------------------------------- thresholds
def laplace_mass(x: int, scale: float) -> mpmath.mpf:
    a = mpmath.exp(-1 / mpmath.mpf(scale))
    return (1 - a) / (1 + a) * a ** abs(x)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 30), st.integers(1, 20), st.floats(1e-12, 1e-2), st.integers(1, 30))
def test_laplace_threshold_hides_a_single_unit_and_is_the_smallest_that_does(scale: float, groups: int, key_delta: float, few: int) -> None:
    with mpmath.workdps(40):
        chosen = acc.laplace_threshold(scale, groups, key_delta, few)

        def passes(threshold: int, units: int) -> mpmath.mpf:  # noisy count of a key of `units` units reaches the threshold
            return mpmath.nsum(lambda x: laplace_mass(int(x), scale), [threshold - units, mpmath.inf], method="d")

        def hidden(threshold: int) -> bool:
            single = 1 - (1 - passes(threshold, 1)) ** groups
            return single <= key_delta and (few == 1 or passes(threshold, few - 1) <= key_delta)

        assert hidden(chosen)
        assert chosen in (2, few) or not hidden(chosen - 1)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.5, 5.0, 63.0, 65.0, 150.0])
@pytest.mark.parametrize("sigmas_out", [0, 1, 3, 6])
def test_gaussian_tail_is_never_below_the_exact_one_and_close_to_it(sigma: float, sigmas_out: int) -> None:
    start = math.ceil(sigma * sigmas_out)
    with mpmath.workdps(30):
        bell = [mpmath.exp(-mpmath.mpf(x) ** 2 / (2 * mpmath.mpf(sigma) ** 2)) for x in range(int(40 * sigma) + 40)]
        whole = 1 + 2 * mpmath.fsum(bell[1:])
        true = mpmath.fsum(bell[start:]) / whole
    ours = mpmath.mpf(str(acc.gaussian_tail(start, sigma)))
    assert true <= ours <= true * (1 + mpmath.mpf("2e-2" if sigma > 64 and sigmas_out < 2 else "2e-3"))


@pytest.mark.parametrize("sigma", [0.7, 6.0, 200.0])
@pytest.mark.parametrize(("groups", "few"), [(1, 1), (7, 1), (2, 12)])
def test_gaussian_threshold_hides_a_single_unit_and_small_groups(sigma: float, groups: int, few: int) -> None:
    key_delta = 1e-9
    chosen = acc.gaussian_threshold(sigma, groups, key_delta, few)
    assert acc.released_probability(acc.gaussian_tail(chosen - 1, sigma), groups) <= Decimal(key_delta)
    assert acc.gaussian_tail(chosen - few + 1, sigma) <= Decimal(key_delta)
    tighter = acc.released_probability(acc.gaussian_tail(chosen - 2, sigma), groups) > Decimal(key_delta)
    assert tighter or acc.gaussian_tail(chosen - few, sigma) > Decimal(key_delta)


def test_thresholds_of_enormous_noise_are_found_quickly() -> None:
    assert acc.laplace_threshold(2.0**50, 3, 1e-12) > 2**50
    assert acc.gaussian_threshold(2.0**50, 3, 1e-12) > 2**50


# ---------------------------------------------------------------- exact numbers
def test_an_epsilon_is_the_decimal_that_was_written() -> None:
    assert acc.pico_up(acc.exact(0.9, "epsilon")) * 50 == acc.pico_down(45.0)
    assert acc.exact(0.1, "epsilon") * 3 == acc.exact(0.3, "epsilon")


def test_costs_round_up_and_limits_down() -> None:
    assert acc.pico_up(1e-13) == 1
    assert acc.pico_up(Fraction(1, 3)) == 333333333334
    assert acc.pico_down(Fraction(1, 3)) == 333333333333
    assert acc.atto_up(1e-30) == 1
    assert acc.atto_down(1.5e-18) == 1
    assert acc.pico_up(0) == acc.atto_up(0.0) == 0
    assert acc.pico_up(1e300) == acc.MAX_INTEGER


@pytest.mark.parametrize("bad", NOT_NUMBERS)
def test_what_is_no_positive_ordinary_number_is_refused_everywhere(bad: object) -> None:
    calls = [
        lambda: acc.laplace_scale(1, bad), lambda: acc.pure_rho(bad), lambda: acc.gaussian_sigma(1, bad, 1e-8),
        lambda: acc.gaussian_sigma(1, 0.9, bad), lambda: acc.selection_scale(1, bad), lambda: acc.selection_rho(bad, 1),
        lambda: acc.rho_max(bad, 1e-6), lambda: acc.rho_max(1, bad), lambda: acc.zcdp_delta(bad, 1), lambda: acc.zcdp_delta(1, bad),
        lambda: acc.zcdp_epsilon(1, bad), lambda: acc.laplace_threshold(1.0, 1, bad), lambda: acc.laplace_threshold(bad, 1, 1e-8),
        lambda: acc.gaussian_threshold(bad, 1, 1e-8), lambda: acc.pico_down(bad), lambda: acc.atto_down(bad),
        lambda: acc.row_limits(bad, 1e-6, 5e-7), lambda: acc.row_limits(1, bad, 5e-7), lambda: acc.row_limits(1, 1e-6, bad),
        lambda: acc.laplace_epsilon(1, bad), lambda: acc.gaussian_rho(1, bad),
    ]  # fmt: skip
    accepted: list[int] = []
    for number, call in enumerate(calls):
        try:
            call()
        except AskRefused:
            continue
        accepted.append(number)
    assert accepted == []


@pytest.mark.parametrize("bad", [0, -1, 1.0, True, 2.5, "1", None])
def test_sensitivities_and_counts_are_whole_and_positive(bad: object) -> None:
    for call in (
        lambda: acc.laplace_scale(bad, 1), lambda: acc.gaussian_sigma(bad, 1, 1e-8), lambda: acc.selection_scale(bad, 1),
        lambda: acc.selection_rho(1, bad), lambda: acc.laplace_threshold(1.0, bad, 1e-8), lambda: acc.laplace_threshold(1.0, 1, 1e-8, bad),
    ):  # fmt: skip
        with pytest.raises(AskRefused):
            call()


def test_noise_that_64_bit_samplers_cannot_draw_is_refused() -> None:
    with pytest.raises(AskRefused, match="64-bit"):
        acc.laplace_scale(2**50, 1e-3)
    with pytest.raises(AskRefused, match="64-bit"):
        acc.gaussian_sigma(2**120, 1e-3, 1e-8)


# ---------------------------------------------------------------- filter
costs = st.builds(acc.Spent, st.integers(0, 3 * 10**12), st.integers(0, 3 * 10**11), st.integers(0, 10**11), st.integers(0, 10**11))


@settings(max_examples=80, deadline=None)
@given(st.lists(costs, max_size=60), st.sampled_from([(1.0, 1e-6), (10.0, 1e-6), (3.0, 2e-6)]))
def test_filter_admits_exactly_what_basic_or_zcdp_composition_allows(asked: list[acc.Spent], budget: tuple[float, float]) -> None:
    total, delta = budget
    limits = acc.row_limits(total, delta, delta / 2)
    spent, paid = acc.Spent(), list[acc.Spent]()
    for cost in asked:
        eps, rho = (sum(getattr(c, name) for c in (*paid, cost)) for name in ("pico_epsilon", "pico_rho"))
        key, gauss = (sum(getattr(c, name) for c in (*paid, cost)) for name in ("atto_key_delta", "atto_gauss_delta"))
        basic = Fraction(eps, acc.PICO) <= total and Fraction(key + gauss, acc.ATTO) <= Fraction(str(delta)) / 2
        by_rho = Fraction(rho, acc.PICO) <= acc.rho_max(total, delta / 2) and Fraction(key, acc.ATTO) <= Fraction(str(delta)) / 2
        assert acc.admits(spent, cost, limits) == (basic or by_rho)
        if basic or by_rho:
            spent = acc.add(spent, cost)
            paid.append(cost)
    assert acc.consumed_epsilon(spent, delta / 2, limits) <= total * (1 + 1e-8)


def test_sums_saturate_above_every_limit_and_admit_nothing_more() -> None:
    limits = acc.row_limits(9e6, 0.5, 0.1)
    full = acc.add(acc.Spent(acc.MAX_INTEGER - 1, acc.MAX_INTEGER - 1, 0, 0), acc.Spent(10**18, 10**18, 0, 0))
    assert full.pico_epsilon == full.pico_rho == acc.MAX_INTEGER
    assert not acc.admits(full, acc.Spent(0, 0, 0, 0), limits)


@pytest.mark.parametrize("bad", [-1, 1.0, True])
def test_a_cost_that_is_no_whole_amount_is_refused(bad: int) -> None:
    with pytest.raises(AskRefused):
        acc.admits(acc.Spent(), acc.Spent(pico_epsilon=bad), acc.row_limits(1, 1e-6, 5e-7))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-3, 3), min_size=1, max_size=300), st.floats(1e-9, 1e-3))
def test_filter_spends_no_more_than_the_closed_forms_say(epsilons: list[float], slack: float) -> None:
    spent = acc.Spent()
    for epsilon in epsilons:
        spent = acc.add(spent, acc.Spent(acc.pico_up(epsilon), acc.pico_up(acc.pure_rho(epsilon))))
    sums = math.fsum(e * e for e in epsilons), math.fsum(e * math.tanh(e / 2) for e in epsilons)
    closed = min(math.fsum(epsilons), acc.drv_epsilon(*sums, slack), acc.kov_epsilon(*sums, slack))
    limits = acc.row_limits(9e6, min(0.9, 2 * slack), slack)
    assert acc.consumed_epsilon(spent, slack, limits) <= closed * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(("epsilon", "count"), [(0.1, 50), (0.5, 30), (0.9, 20)])
def test_consumed_budget_is_never_below_the_true_loss_of_fixed_queries(epsilon: float, count: int) -> None:
    # PLD accounting is exact for queries fixed in advance: a filter may not report less.
    slack = 1e-6
    spent = acc.Spent(acc.pico_up(acc.exact(epsilon, "e") * count), acc.pico_up(acc.pure_rho(epsilon) * count))
    one = pld.privacy_loss_distribution.from_discrete_laplace_mechanism(epsilon, 1, value_discretization_interval=1e-3)
    true = one.self_compose(count).get_epsilon_for_delta(slack)
    limits = acc.row_limits(9e6, 2 * slack, slack)
    assert acc.consumed_epsilon(spent, slack, limits) >= true * (1 - 1e-2)
