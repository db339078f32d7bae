"""How sure a rate is, and whether two rates on the same prompts differ. Thin over scipy."""

from typing import NamedTuple

from scipy.stats import binomtest


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
