"""Which figures a page has, with what each says in words: the same numbers, for those who do not see it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from ..compare import Comparison
from ..statistics import Rate
from . import figures
from .attacks import RedTeam
from .breakdown import Ablation, ByHazard, Flips
from .figures import Dot, Group
from .history import History
from .markdown import percent


class Picture(NamedTuple):
    """One figure."""

    name: str
    """Of its file and its place on the page."""
    title: str
    told: str
    """Its numbers in words."""
    figure: Figure


def systems(comparison: Comparison) -> Picture:
    """Return every system's rates."""
    names = [system.name for system in comparison.systems]
    groups = [_group(f"{line.suite}, {line.measure}", names, line.rates) for line in comparison.lines]
    return Picture("systems", "Defects of every system, in percent", _told(groups), figures.dots(groups))


def hazards(found: Sequence[ByHazard], names: Sequence[str]) -> Picture:
    """Return harmful compliance by hazard with the first and the last system."""
    ends = (0, len(names) - 1)
    groups = [Group(f"{each.hazard} {each.what}", [Dot(names[at], each.rates[at], at) for at in ends]) for each in found]
    title = f"Harmful compliance by hazard, {names[0]} and {names[-1]}, in percent"
    return Picture("hazards", title, _told(groups), figures.rows(groups, " → "))


def turned(flips: Sequence[Flips]) -> Picture:
    """Return what turned between the float model and the int4 one."""
    said = [f"{f.suite}, {f.measure}: of {f.n}, {f.change.gained} went wrong and {f.change.lost} went right" for f in flips]
    return Picture("turned", "Answers that turned from float to int4", _sentences(said), figures.turned(flips))


def guard(name: str, found: Ablation, names: Sequence[str]) -> Picture:
    """Return the rates of a model, its guard, and both; model and both in the colours of those systems, of which these are the
    names.
    """
    series = (names.index(found.model), len(names), names.index(found.both))
    groups = []
    for share in found.shares:
        parts = zip(("model alone", "guard alone", "both"), (share.model, share.guard, share.both), series, strict=True)
        groups.append(Group(f"{share.suite}, {share.measure}", [Dot(label, rate, at) for label, rate, at in parts if rate]))
    return Picture(name, f"Defects of {found.model}, of its guard and of both, in percent", _told(groups), figures.dots(groups))


def families(red: RedTeam, names: Sequence[str]) -> Picture:
    """Return attack success by family, each system in its colour where it is one of these."""
    series = [names.index(name) if name in names else len(names) + at for at, name in enumerate(red.systems)]
    groups = [
        Group(each.what, [Dot(name, rate, at) for name, rate, at in zip(red.systems, each.rates, series, strict=True)])
        for each in red.families
    ]
    title = "Attack success rate by technique family, in percent"
    return Picture("families", title, _told(groups), figures.rows(groups, " · "))


def history(told: History) -> Picture:
    """Return each measure over the cycles."""
    said = [
        f"{suite}, {measure}: " + ", ".join(f"cycle {c.number} {_said(c.rates[at])}" for c in told.cycles)
        for at, (suite, measure) in enumerate(told.lines)
    ]
    return Picture("history", "Defects of what shipped, cycle by cycle, in percent", _sentences(said), figures.lines(told))


def _group(title: str, names: Sequence[str], rates: Iterable[Rate]) -> Group:
    return Group(title, [Dot(name, rate, at) for at, (name, rate) in enumerate(zip(names, rates, strict=True))])


def _told(groups: Sequence[Group]) -> str:
    said = [", ".join(f"{dot.label} {_said(dot.rate)}" for dot in group.dots) for group in groups]
    return _sentences(f"{group.title}: {told}" for group, told in zip(groups, said, strict=True))


def _said(rate: Rate | None) -> str:
    return percent(rate) if rate else "not measured"


def _sentences(said: Iterable[str]) -> str:
    return ". ".join(said) + "."
