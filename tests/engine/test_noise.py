"""From exact integers to released tables: keys, thresholds, quantiles, and the samplers themselves."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpjupyter.engine import accounting
from dpjupyter.engine.model import BIGINT, DATE, DOUBLE, INTEGER, TEXT, TIMESTAMP, Ask, ExactRows, Facts, Key, Plan, PublicTable, Selection
from dpjupyter.engine.noise import OpenDPNoise, noise, scores
from dpjupyter.engine.price import price
from tests.engine import plans


def released(plan: Plan, *parts, publics=None, ask=None, source=None):
    quote = price(plan, ask or Ask(), plans.policy())
    exact = ExactRows({("m0", n): rows for n, rows in enumerate(parts)}, publics or {})
    return noise(exact, quote, source or plans.ZeroNoise()).tables["m0"]


def keyed(*keys, **changes):
    return plans.averages(plans.measurement(keys=keys, **changes))


# ---------------------------------------------------------------- complete keys
def test_a_complete_key_shows_its_whole_domain_and_nothing_else():
    rows = [("b", 3, 30), ("intruder", 9, 90), (None, 1, 1)]
    assert released(plans.averages(), rows) == [("a", 0, 0), ("b", 3, 30)]


def test_null_belongs_to_a_domain_that_lists_it():
    key = Key("c1", Facts(TEXT, domain=("a",)), ("a", None))
    assert released(keyed(key), [(None, 2, 5)]) == [("a", 0, 0), (None, 2, 5)]


def test_domains_multiply_in_order():
    keys = Key("c1", Facts(TEXT), ("a", "b")), Key("c5", Facts(INTEGER), (1, 2, 3))
    rows = released(keyed(*keys), [("b", Decimal(2), 1, 10)])
    assert [row[:2] for row in rows] == [(g, n) for g in ("a", "b") for n in (1, 2, 3)]
    assert rows[4] == ("b", 2, 1, 10)


def test_keys_listed_by_a_public_table_come_sorted_once_each_and_keep_their_places():
    keys = Key("c5", Facts(INTEGER), None), Key("c1", Facts(TEXT), ("a", "b")), Key("c6", Facts(TEXT), None)
    m = plans.measurement(keys=keys, fetched=(("p0", ("c6", "c5")),))
    plan = plans.averages(m)
    table = PublicTable("p0", plans.statement("SELECT name AS c6, id AS c5 FROM p"), (("c6", TEXT), ("c5", INTEGER)))
    plan = Plan(plan.measurements, plan.items, (table,), plan.finishing, plan.outputs, plan.tables, plan.notes, plan.fingerprint)
    rows = released(plan, [(7, "b", "x", 2, 20), (8, "b", "x", 5, 5)], publics={"p0": [("y", 3), ("x", 7), ("x", 7)]})
    assert rows == [(3, "a", "y", 0, 0), (3, "b", "y", 0, 0), (7, "a", "x", 0, 0), (7, "b", "x", 2, 20)]


def test_without_keys_there_is_exactly_one_row_even_from_an_empty_table():
    assert released(keyed(), [(None, None)]) == [(0, 0)]
    assert released(keyed(), []) == [(0, 0)]


def test_parts_of_one_measurement_are_brought_together_by_their_keys():
    parts = (plans.Part(plans.statement("SELECT 1"), (plans.UNITS,)), plans.Part(plans.statement("SELECT 2"), (plans.TOTAL,)))
    plan = plans.averages(plans.measurement(parts=parts))
    assert released(plan, [("b", 3)], [("a", 30), ("b", 31)]) == [("a", 0, 30), ("b", 3, 31)]


def test_noise_is_drawn_for_empty_groups_too():
    source = plans.ZeroNoise()
    released(plans.averages(), [], source=source)
    assert source.asked == [("laplace", pytest.approx(1 / 0.9), 2), ("laplace", pytest.approx(100 * 2**20 / 0.9), 2)]


def test_sums_beyond_64_bits_stay_exact():
    assert released(keyed(), [(1, 2**100 + 1)], source=plans.Fixed(1)) == [(2, 2**100 + 2)]


@pytest.mark.parametrize("bad", [True, 1.5, "7", Decimal("0.5"), 2.0**60, float("nan")])
def test_a_statistic_that_is_no_integer_is_a_fault(bad):
    with pytest.raises(ValueError):
        released(keyed(), [(1, bad)])


def test_one_group_coming_twice_is_a_fault():
    with pytest.raises(ValueError, match="twice"):
        released(plans.averages(), [("a", 1, 1), ("a", 1, 1)])


# ---------------------------------------------------------------- open keys
def test_open_keys_are_released_from_the_threshold_on_sorted_with_null_last():
    plan = plans.averages(plans.thresholded())
    least = accounting.laplace_threshold(1 / 0.9, 1, 1e-6)
    rows = [("z", least, 1), (None, least + 1, 2), ("a", least + 5, 3), ("q", least - 1, 4), ("none", 0, 5)]
    assert released(plan, rows) == [("a", least + 5, 3), ("z", least, 1), (None, least + 1, 2)]


def test_a_group_without_any_unit_never_passes_whatever_the_noise():
    plan = plans.averages(plans.thresholded())
    assert released(plan, [("ghost", 0, 7)], source=plans.Fixed(10**6)) == []


def test_beside_an_open_key_the_domains_of_the_others_still_hold() -> None:
    keys = Key("c1", Facts(TEXT), ("a", "b")), Key("c5", Facts(TEXT), None)
    plan = plans.averages(plans.thresholded(keys=keys))
    assert released(plan, [("a", "x", 1000, 1), ("intruder", "x", 1000, 1)]) == [("a", "x", 1000, 1)]


def test_a_group_that_other_statements_know_of_is_not_released_without_its_unit_count():
    parts = (plans.Part(plans.statement("SELECT 1"), (plans.UNITS,)), plans.Part(plans.statement("SELECT 2"), (plans.TOTAL,)))
    plan = plans.averages(plans.thresholded(parts=parts))
    assert released(plan, [("a", 10**6)], [("a", 1), ("b", 2)]) == [("a", 10**6, 1)]


def test_noise_of_the_other_columns_is_drawn_for_released_groups_only():
    source = plans.ZeroNoise()
    released(plans.averages(plans.thresholded()), [("a", 1000, 1), ("b", 1, 1)], source=source)
    assert [n for _, _, n in source.asked] == [2, 1]


# ---------------------------------------------------------------- quantiles
def quantile(values, **changes):
    plan = plans.median(**changes)
    counts = {b: n * changes.get("weight", 1) for b, n in Counter(min(99, math.floor(v)) for v in values).items()}
    return released(plan, list(counts.items()))[0][0]


def test_without_noise_the_median_lies_in_the_bin_of_the_true_one():
    assert quantile([1, 2, 50, 60, 99]) == 50.5
    assert quantile([7] * 10) == 7.5
    assert 3 < quantile([3, 3, 7, 7]) < 8


def test_without_noise_other_quantiles_do_too():
    values = list(range(100))
    assert quantile(values, numerator=1, denominator=4) == pytest.approx(25, abs=1)
    assert quantile(values, numerator=9, denominator=10) == pytest.approx(90, abs=1)


def test_without_noise_minimum_and_maximum_lie_in_the_outermost_bins_that_hold_rows():
    for weight in (1, 2**20):
        assert quantile([30, 40, 50], numerator=0, denominator=1, weight=weight) == 30.5
        assert quantile([30, 40, 50], numerator=1, denominator=1, weight=weight) == 50.5


def test_an_empty_table_gives_some_value_within_the_bounds():
    assert 0 <= quantile([]) <= 100


def test_values_take_the_type_of_the_column():
    def at(type_, **changes):
        return quantile([50], type=type_, **changes)

    assert at(INTEGER, integral=True) in (50, 51)
    assert at(DATE, integral=True, lower=0, upper=100) == "1970-02-20"
    assert at(TIMESTAMP, integral=True, lower=0, upper=1e8) == "1970-01-01 00:00:50.500000"
    assert at(BIGINT, integral=True, upper=3.0, lower=0.0) in (1, 2)
    assert at(DOUBLE) == 50.5


@st.composite
def histograms(draw):
    bins = draw(st.integers(1, 12))
    rows, weight = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2**20]))
    counts = draw(st.lists(st.integers(0, 9), min_size=bins, max_size=bins))
    unit = draw(st.lists(st.integers(0, bins - 1), max_size=rows))
    den = draw(st.integers(1, 20))
    return bins, rows, weight, counts, unit, draw(st.integers(0, den)), den


@settings(deadline=None)
@given(histograms())
def test_one_unit_moves_no_score_by_more_than_the_priced_sensitivity(histogram):
    bins, rows, weight, counts, unit, num, den = histogram
    selection = Selection("q", num, den, 0.0, 1.0, bins, rows, weight, integral=False, type=DOUBLE)
    without = {n: c * weight for n, c in enumerate(counts) if c}
    with_ = {n: (c + unit.count(n)) * weight for n, c in enumerate(counts) if c + unit.count(n)}
    most = rows * max(num, den - num) * weight
    moved = [abs(a - b) for a, b in zip(scores(selection, without), scores(selection, with_), strict=True)]
    assert max(moved) <= most


def test_scores_of_huge_counts_stay_within_64_bits():
    selection = Selection("q", 99, 100, 0.0, 1.0, 4, 1, 2**20, integral=False, type=DOUBLE)
    found = scores(selection, {0: 2**60, 3: 2**61})
    assert all(-(2**62) <= s <= 0 for s in found)
    assert found[3] == 0


# ---------------------------------------------------------------- the shipped samplers
def _rates(drawn: list[int], expected: dict[int, float]) -> None:
    n, counts = len(drawn), Counter(drawn)
    for value, p in expected.items():
        # Six standard deviations: a false alarm once in 10^9.
        assert abs(counts[value] - n * p) <= 6 * math.sqrt(n * p * (1 - p)) + 1, value


def test_laplace_draws_have_the_discrete_laplace_masses():
    scale = 1.7
    a = math.exp(-1 / scale)
    _rates(OpenDPNoise().laplace(scale, 20_000), {x: (1 - a) / (1 + a) * a ** abs(x) for x in range(-6, 7)})


def test_gaussian_draws_have_the_discrete_gaussian_masses():
    sigma = 1.3
    masses = {x: math.exp(-(x**2) / (2 * sigma**2)) for x in range(-20, 21)}
    whole = sum(masses.values())
    _rates(OpenDPNoise().gaussian(sigma, 20_000), {x: masses[x] / whole for x in range(-4, 5)})


def test_selections_have_the_masses_of_the_exponential_mechanism():
    values, scale = [0, -1, -2, -5], 2.0
    masses = [math.exp(v / scale) for v in values]
    source = OpenDPNoise()
    _rates([source.select(values, scale) for _ in range(5_000)], {n: mass / sum(masses) for n, mass in enumerate(masses)})


def test_large_scales_do_not_saturate():
    drawn = OpenDPNoise().laplace(2.0**54, 2_000)
    assert max(map(abs, drawn)) < 2**62
    assert 0.4 < sum(abs(v) > 2**54 * math.log(2) for v in drawn) / len(drawn) < 0.6


def test_noise_differs_between_groups_and_between_calls():
    plan = plans.averages()
    quote = price(plan, Ask(), plans.policy())
    exact = ExactRows({("m0", 0): [("a", 5, 5), ("b", 5, 5)]}, {})
    seen = {noise(exact, quote, OpenDPNoise()).tables["m0"][n][2] for n in (0, 1) for _ in range(5)}
    assert len(seen) == 10


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("mechanism", ["laplace", "gauss"])
def test_a_single_unit_opens_a_key_no_more_often_than_key_delta(groups, mechanism):
    key_delta = 0.02
    plan = plans.averages(plans.thresholded(key_delta=key_delta, max_groups=groups))
    quote = price(plan, Ask(epsilon=1.0, delta=1e-6, mechanism=mechanism), plans.policy())
    exact = ExactRows({("m0", 0): [(f"k{n}", 1, 1) for n in range(groups)]}, {})
    runs = 4_000
    opened = sum(bool(noise(exact, quote, OpenDPNoise()).tables["m0"]) for _ in range(runs))
    how, least = quote.noise["m0_s0"], quote.thresholds["m0"]
    tail = accounting.laplace_tail if mechanism == "laplace" else accounting.gaussian_tail
    p = float(accounting.released_probability(tail(least - 1, how.scale), groups))
    assert p <= key_delta < float(accounting.released_probability(tail(least - 2, how.scale), groups))
    assert abs(opened - runs * p) <= 6 * math.sqrt(runs * p) + 1


def test_exact_rows_do_not_show_themselves():
    assert "17" not in repr(ExactRows({("m0", 0): [(17,)]}, {}))
    assert Fraction(1) == plans.UNITS.grid


def test_equal_keys_are_spelled_alike() -> None:
    """Zero and minus zero are one group to a warehouse, which shows it by whichever row came first: one person's."""
    shown = [released(plans.averages(plans.thresholded(keys=(Key("c1", Facts(DOUBLE), None),))), [(zero, 90, 5)])[0][0] for zero in (0.0, -0.0)]
    assert [math.copysign(1, zero) for zero in shown] == [1, 1]


# ---------------------------------------------------------------- accuracy
def test_a_median_is_as_accurate_as_the_mechanism_allows() -> None:
    """Two ranks of score per rank of error at Gumbel scale 2/eps: errors fall off as exp(-eps*|ranks|), on average 1/eps ranks."""
    n, epsilon, draws = 4_000, 0.5, 400
    selection = Selection("q", 1, 2, 0.0, 4_000.0, 4_000, 1, 1, integral=False, type=DOUBLE)
    source, found = OpenDPNoise(), scores(selection, dict.fromkeys(range(n), 1))
    errors = [abs(source.select(found, accounting.selection_scale(1, epsilon)) + 0.5 - n / 2) for _ in range(draws)]
    optimum = 1 / epsilon
    assert sum(errors) / draws <= 1.2 * optimum + 4 * optimum / math.sqrt(draws)
