import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.eval.statistics import Paired, difference, holm, mcnemar, needed, rate, rise

SHARES = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200)
Z = 1.959963984540054


def wilson(hits, n):
    """Return Wilson's interval in its closed form."""
    share, square = hits / n, Z * Z / n
    middle, half = share + square / 2, Z * math.sqrt(share * (1 - share) / n + square / (4 * n))
    return (middle - half) / (1 + square), (middle + half) / (1 + square)


def binomial(gained, lost):
    """Return the exact two-sided p value of a fair coin, which is symmetric."""
    n, least = gained + lost, min(gained, lost)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (8, 10, 0.4902, 0.9433), (50, 100, 0.4038, 0.5962), (200, 200, 0.9812, 1.0)],
)
def test_a_rate_has_the_interval_of_the_tables(hits, n, low, high):
    found = rate(hits, n)
    assert (found.hits, found.n, found.value) == (hits, n, hits / n)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(SHARES)
def test_an_interval_is_wilsons_and_holds_its_rate(share):
    found = rate(*share)
    assert (found.low, found.high) == pytest.approx(wilson(*share), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(SHARES)
def test_hits_and_misses_have_mirrored_intervals(share):
    hits, n = share
    found, mirrored = rate(hits, n), rate(n - hits, n)
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)


def test_a_rate_of_nothing_is_no_number_and_knows_nothing():
    found = rate(0, 0)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (0.0, 1.0)


def test_mcnemar_counts_only_what_changed():
    first = [True] * 2 + [False] * 10 + [True] * 30 + [False] * 30
    second = [False] * 2 + [True] * 10 + [True] * 30 + [False] * 30
    # 2 * (1 + 12 + 66) / 4096
    assert mcnemar(first, second) == Paired(10, 2, pytest.approx(158 / 4096))


def test_systems_that_agree_do_not_differ():
    assert mcnemar([True, False], [True, False]) == Paired(0, 0, 1.0)
    assert mcnemar([], []) == Paired(0, 0, 1.0)


@given(PAIRS)
def test_mcnemar_is_the_exact_test_and_looks_both_ways(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    there, back = mcnemar(first, second), mcnemar(second, first)
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert there.p == pytest.approx(back.p) == pytest.approx(binomial(there.gained, there.lost))
    assert there.gained - there.lost == sum(second) - sum(first)


def test_answers_to_different_prompts_cannot_be_paired():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        mcnemar([True, False], [True])


CHANGES = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 400)).map(
    lambda t: (Paired(t[0], t[1], 1.0), sum(t))
)


@given(CHANGES)
def test_a_difference_lies_between_its_bounds_and_turns_with_the_systems(change):
    paired, n = change
    found, turned = difference(paired, n), difference(Paired(paired.lost, paired.gained, 1.0), n)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


@pytest.mark.parametrize("n", [1, 20, 200, 3000])
def test_where_nothing_changed_the_bound_has_a_closed_form(n):
    square = 1.6448536269514722**2
    assert difference(Paired(0, 0, 1.0), n).high == pytest.approx(square / (n + square), rel=1e-6)


def test_nothing_measured_bounds_nothing():
    found = difference(Paired(0, 0, 1.0), 0)
    assert (found.low, found.high) == (-1.0, 1.0) and math.isnan(found.value)


@pytest.mark.parametrize(("gains", "loses"), [(0.01, 0.01), (0.06, 0.04), (0.0, 0.15), (0.3, 0.2)])
def test_the_bound_covers_the_truth_as_often_as_it_says(gains, loses):
    dice, n, tries = np.random.default_rng(5), 200, 2000
    drawn = dice.multinomial(n, [gains, loses, 1 - gains - loses], size=tries)
    covered = sum(difference(Paired(int(g), int(lost), 1.0), n).high >= gains - loses for g, lost, _ in drawn)
    assert covered / tries >= 0.94


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_adjusts_upwards_keeps_the_order_and_is_never_stricter_than_bonferroni(ps):
    adjusted = holm(ps)
    assert all(p <= a <= min(1.0, p * len(ps)) + 1e-12 for p, a in zip(ps, adjusted, strict=True))
    order = sorted(range(len(ps)), key=ps.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_holms_own_steps():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(CHANGES, st.floats(0.001, 0.5))
def test_a_rise_is_shown_where_its_lower_bound_is_above_the_margin(change, margin):
    paired, n = change
    low, p = difference(paired, n).low, rise(paired, n, margin)
    assert 0 <= p <= 1
    if abs(low - margin) > 1e-6:
        assert (p < 0.05) == (low > margin)


def test_as_many_prompts_as_needed_decide_four_times_out_of_five():
    before = Paired(8, 8, 1.0)
    n = needed(before, 200, 0.03)
    dice, shown = np.random.default_rng(3), 0
    for gained, lost, _ in dice.multinomial(n, [0.04, 0.04, 0.92], size=1000):
        shown += difference(Paired(int(gained), int(lost), 1.0), n).high <= 0.03
    assert 0.75 < shown / 1000 < 0.87
