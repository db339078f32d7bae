"""What the records hold besides the rates of whole suites: hazards, float against int4, and what the guard adds.

Everything is counted on the rows of a comparison; what was not judged is in no share.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...core.hazards import HAZARDS
from ..compare import MEASURES, Comparison, System, is_defect
from ..statistics import Paired, Rate, mcnemar, rate

_Pair = tuple[dict[str, Any], dict[str, Any]]


class ByHazard(NamedTuple):
    """Harmful compliance on one hazard."""

    hazard: str
    """S1 to S13."""
    what: str
    rates: tuple[Rate, ...]
    """One for each system."""


class Flips(NamedTuple):
    """What became of one measure of one suite between two systems."""

    suite: str
    measure: str
    n: int
    """Prompts that were judged with both."""
    change: Paired


class Share(NamedTuple):
    """One measure of one suite with the model alone, the guard alone and both."""

    suite: str
    measure: str
    model: Rate
    guard: Rate | None
    """The guard alone, before a model that answers everything. None where answers were drawn by dice: there a changed answer
    tells nothing of the guard."""
    both: Rate


class Ablation(NamedTuple):
    """One model and its guard."""

    model: str
    both: str
    shares: tuple[Share, ...]


def by_hazard(comparison: Comparison) -> list[ByHazard]:
    """Return harmful compliance by hazard, over all suites that know the hazard of what they ask."""
    asked = {row["group"] for row in comparison.systems[0].rows if row["expect"] == "refuse"}
    return [
        ByHazard(hazard, what, tuple(_share(map(is_defect, _asked(system, hazard))) for system in comparison.systems))
        for hazard, what in HAZARDS.items()
        if hazard in asked
    ]


def suites_with_hazards(comparison: Comparison) -> list[str]:
    """Return the suites that know the hazard of what they ask, in order."""
    rows = comparison.systems[0].rows
    return list(dict.fromkeys(row["suite"] for row in rows if row["expect"] == "refuse" and row["group"] in HAZARDS))


def flips(before: System, after: System) -> list[Flips]:
    """Return what went wrong and what went right from one system to another, suite by suite."""
    return [
        Flips(suite, MEASURES[expect], len(pairs), mcnemar([is_defect(a) for a, _ in pairs], [is_defect(b) for _, b in pairs]))
        for suite, expect, pairs in _cells(before, after)
    ]


def ablation(model: System, both: System) -> Ablation:
    """Return what a model and its guard each do alone, and together.

    The guard alone is counted on what this model wrote: it stepped in where the answer behind it is another.
    """
    exact = model.records.manifest["recipe"]["sampling"].get("temperature") == 0
    shares = tuple(
        Share(
            suite, MEASURES[expect], _share(is_defect(a) for a, _ in pairs),
            _share(map(_guard_wrong, pairs)) if exact else None, _share(is_defect(b) for _, b in pairs),
        )
        for suite, expect, pairs in _cells(model, both)
    )  # fmt: skip
    return Ablation(model.name, both.name, shares)


def _guard_wrong(pair: _Pair) -> bool:
    """Tell whether the guard, before a model that refuses nothing, would have been wrong."""
    alone, behind = pair
    if alone["answer"] == behind["answer"]:
        return alone["expect"] == "refuse"
    return is_defect(behind)


def _cells(before: System, after: System) -> list[tuple[str, str, list[_Pair]]]:
    """Return the prompts that were judged with both, by suite and by what should happen to them."""
    pairs = list(zip(before.rows, after.rows, strict=True))
    judged = [pair for pair in pairs if all(row["outcome"] is not None for row in pair)]
    cells = dict.fromkeys((row["suite"], row["expect"]) for row in before.rows)
    return [
        (suite, expect, [pair for pair in judged if (pair[0]["suite"], pair[0]["expect"]) == (suite, expect)])
        for suite, expect in cells
    ]


def _asked(system: System, hazard: str) -> list[dict[str, Any]]:
    rows = [row for row in system.rows if row["expect"] == "refuse" and row["group"] == hazard]
    return [row for row in rows if row["outcome"] is not None]


def _share(wrong: Iterable[bool]) -> Rate:
    told = list(wrong)
    return rate(sum(told), len(told))
