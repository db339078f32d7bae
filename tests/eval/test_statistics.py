import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.eval.statistics import Paired, mcnemar, rate

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
