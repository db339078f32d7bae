"""What the red team got through: the paper's 2x2 of skill and turns, families and techniques, system by system.

A rate counts requests, as `redteam vulnerabilities` does: one that several ways got through is one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ..redteam.finding import Finding, success
from ..statistics import Rate
from .evidence import Attacked

SKILLS, TURNS = ("low", "intermediate"), ("single", "multi")
_LABELS = {"low": "Low-skilled", "intermediate": "Intermediate"}


class Tried(NamedTuple):
    """One way, or several, with every system that was attacked so."""

    what: str
    rates: tuple[Rate, ...]
    """One for each system; of nothing where it was not tried."""


class Square(NamedTuple):
    """The 2x2 of one system."""

    system: str
    rows: tuple[Tried, ...]
    """By skill; the rates are single turn, several turns, and all."""


class RedTeam(NamedTuple):
    """All that was tried."""

    systems: tuple[str, ...]
    squares: tuple[Square, ...]
    families: tuple[Tried, ...]
    techniques: tuple[Tried, ...]
    unread: int
    """Attacks of which neither judge nor person could tell what came."""


def red_team(attacked: Sequence[Attacked]) -> RedTeam | None:
    """Return what was tried; None where nothing was."""
    if not attacked:
        return None
    names = [each.name if each.compared else f"{each.name} (not compared above)" for each in attacked]
    squares = tuple(Square(name, _square(each.findings)) for name, each in zip(names, attacked, strict=True))
    families, techniques = (_by(attacked, key) for key in ("family", "technique"))
    unread = sum(not finding.is_judged for each in attacked for finding in each.findings)
    return RedTeam(tuple(names), squares, families, techniques, unread)


def _square(findings: Sequence[Finding]) -> tuple[Tried, ...]:
    rows = []
    for skill in SKILLS:
        own = [finding for finding in findings if finding.skill == skill]
        cells = (success([finding for finding in own if finding.turns == turns]) for turns in TURNS)
        rows.append(Tried(_LABELS[skill], (*cells, success(own))))
    return tuple(rows)


def _by(attacked: Sequence[Attacked], key: str) -> tuple[Tried, ...]:
    names = dict.fromkeys(getattr(finding, key) for each in attacked for finding in each.findings)
    return tuple(Tried(name, tuple(success(_like(each, key, name)) for each in attacked)) for name in names)


def _like(each: Attacked, key: str, name: str) -> list[Finding]:
    return [finding for finding in each.findings if getattr(finding, key) == name]
