"""How sure a rate is, and whether two rates on the same prompts differ. Thin over scipy."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from scipy.optimize import brentq
from scipy.stats import binomtest, norm

_ONE_SIDED, _POWER = float(norm.ppf(0.95)), float(norm.ppf(0.8))


class Rate(NamedTuple):
    """A share with its 95 % Wilson interval."""

    hits: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """Return the share, 0 to 1; a rate of nothing is not a number."""
        return self.hits / self.n if self.n else float("nan")


class Paired(NamedTuple):
    """The same prompts judged on two systems."""

    gained: int
    """Hits of the second system only."""
    lost: int
    """Hits of the first system only."""
    p: float
    """Exact McNemar, two-sided."""


def rate(hits: int, n: int) -> Rate:
    """Return hits of n with a 95 % Wilson score interval (Wilson 1927); without samples it spans 0 to 1."""
    if n == 0:
        return Rate(0, 0, 0.0, 1.0)
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return Rate(hits, n, float(interval.low), float(interval.high))


def mcnemar(first: list[bool], second: list[bool]) -> Paired:
    """Compare two systems on the same prompts, in the same order, by McNemar's exact test (1947)."""
    gained = sum(b and not a for a, b in zip(first, second, strict=True))
    lost = sum(a and not b for a, b in zip(first, second, strict=True))
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Paired(gained, lost, p)


class Difference(NamedTuple):
    """How much likelier a hit is on the second system than on the first, on the same prompts."""

    value: float
    """Share of the second less share of the first, -1 to 1."""
    low: float
    high: float
    """One-sided 95 % bounds, each by itself."""
    n: int


def difference(paired: Paired, n: int) -> Difference:
    """Return the difference of two rates on the same `n` prompts with Tango's score bounds (1998).

    They hold for few prompts and for few that differ, where the usual normal ones are too narrow.
    """
    value = (paired.gained - paired.lost) / n if n else float("nan")
    if n == 0:
        return Difference(value, -1.0, 1.0, 0)
    high = _tango(paired.gained, paired.lost, n)
    return Difference(value, -_tango(paired.lost, paired.gained, n), high, n)


def rise(paired: Paired, n: int, margin: float) -> float:
    """Return how likely so large a rise is if the true one is `margin` at most: Tango's score test, one-sided."""
    if n == 0:
        return 1.0
    spread = _spread(paired.gained, paired.lost, n, margin)
    over = paired.gained - paired.lost - n * margin
    return float(norm.sf(over / spread)) if spread else float(over <= 0)


def _tango(gained: int, lost: int, n: int) -> float:
    """Return the largest difference that the score test does not reject."""

    def surprise(d: float) -> float:
        return gained - lost - n * d + _ONE_SIDED * _spread(gained, lost, n, d)

    # Right above what was seen nothing surprises; at 1 everything but the same does.
    start = (gained - lost) / n + 1e-12
    root: Any = brentq(surprise, start, 1.0) if start < 1 else 1.0
    return float(root)


def _spread(gained: int, lost: int, n: int, d: float) -> float:
    """Return the standard deviation of gained less lost if the true difference is `d`, the likeliest share lost given that."""
    a, b, c = 2 * n, -gained - lost + (2 * n - gained + lost) * d, -lost * d * (1 - d)
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    return math.sqrt(max(n * (2 * share + d * (1 - d)), 0.0))


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values adjusted for having been looked at together (Holm 1979), in the order given."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, ps[index] * (len(ps) - rank)))
        adjusted[index] = highest
    return adjusted


def needed(paired: Paired, n: int, effect: float) -> int:
    """Return about how many prompts would show a difference of `effect`, four times out of five.

    It takes as many prompts to change as were seen to, or the fewest that could have gone unseen.
    """
    changed = max((paired.gained + paired.lost) / n, effect)
    return math.ceil(changed * ((_ONE_SIDED + _POWER) / effect) ** 2)
