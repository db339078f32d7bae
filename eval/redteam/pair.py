"""Attacks that a model writes and mends from what it is answered: PAIR, TAP, and crescendo with backtracking.

PAIR (Chao et al. 2023) keeps some talks with the attacker side by side. TAP (Mehrotra et al. 2023) lets each go on in several
ways and keeps the best by the judge's word. In both, a message that no longer asks for the request is not said: its answer
tells nothing. Crescendo (Russinovich et al. 2024) asks in small steps and takes back what was refused; its last message leans
on the talk before it, so nobody compares it. Each leaves the record of any other attack, of the messages that came furthest: it
is replayed without the attacker.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from ...core import recipe
from ...core.artifact import Artifact
from ...core.errors import UsageError
from ...runtime.engine import Engine, Message, Sampling
from ..judge import Judge
from ..suites import Suite
from .attack import RULES, Request, answered, begun, record, requests
from .attacker import Attacker, Exchange, briefing, feedback, opening
from .finding import Finding, judged, rank

Way = Literal["pair", "tap", "crescendo with backtracking"]
WAYS: tuple[Way, ...] = ("pair", "tap", "crescendo with backtracking")
_SINGLE, _MULTI = ("search", "intermediate", "single"), ("crescendo", "intermediate", "multi")
"""Family, skill, turns. All are for measuring: the pool `train` has no family of theirs."""


@dataclass(frozen=True)
class Budget:
    """How far an attacker goes for one request."""

    streams: int = 3
    """PAIR: talks side by side. TAP: ways in which it goes on from each that it keeps."""
    depth: int = 4
    """Rounds: messages of a talk, turns of a crescendo."""
    width: int = 4
    """TAP: talks that it keeps in a round. Crescendo: turns that may be taken back."""


def chosen(names: Sequence[str]) -> list[Way]:
    """Return the ways named, all where none is. Raises UsageError for a name that is none of them."""
    if unknown := [name for name in names if name not in WAYS]:
        raise UsageError(f"there is no technique {unknown[0]} for an attacker; known ones: {', '.join(WAYS)}")
    return [way for way in WAYS if not names or way in names]


def search(
    engine: Engine,
    attacker: Attacker,
    ways: Sequence[Way],
    suites: Sequence[Suite],
    judge: Judge,
    sampling: Sampling,
    out: Path,
    system: str,
    budget: Budget,
    limit: int = 0,
) -> Artifact:
    """Have an attacker attack an engine in each way; returns an `attacks` artifact. `limit`: requests of each suite, 0 all.

    A killed run goes on after the last finished request. Raises UsageError when no request of the suites is to be refused.
    """
    planned = [_Planned(way, request) for way in ways for request in requests(suites, limit)]
    settings = {
        "system": system, "sampling": recipe.plain(sampling), "limit": limit, "suites": [suite.name for suite in suites],
        "techniques": list(ways), "budget": recipe.plain(budget), "rules": RULES,
    }  # fmt: skip
    inputs = {"engine": engine.id, "judge": judge.id, "attacker": attacker.id}
    inputs |= {f"suite:{suite.name}": suite.id for suite in suites}
    hunt = _Hunt(engine, attacker, judge, sampling, budget)
    return record(planned, lambda chunk: [hunt.on(each) for each in chunk], out, settings, inputs, at_once=1)


@dataclass(frozen=True)
class _Planned:
    """A way to attack, on a request."""

    way: Way
    request: Request

    @property
    def id(self) -> str:
        return f"{self.way}/{self.request.id}"

    def begun(self) -> Finding:
        return begun(self.request, self.way, *(_MULTI if self.way == "crescendo with backtracking" else _SINGLE))


class _Leaf(NamedTuple):
    """Where one talk with the attacker stands."""

    exchanges: tuple[Exchange, ...]
    tried: Finding | None
    """What came of its last message; None: there was none that could be read."""

    def told(self, number: int) -> str:
        """Return what the attacker is told next."""
        if self.tried is not None:
            return feedback(self.tried, number)
        return f"{briefing().unread} {opening(number)}" if self.exchanges else opening(number)

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        return rank(self.tried) if self.tried is not None else (False, False, -1, -1)


@dataclass(frozen=True)
class _Hunt:
    """Who attacks whom, and who judges."""

    engine: Engine
    attacker: Attacker
    judge: Judge
    sampling: Sampling
    budget: Budget

    def on(self, planned: _Planned) -> Finding:
        """Return what came of an attack. The first way to try is drawn by the attack's name, so that it is always the same."""
        start, first = planned.begun(), random.Random(planned.id).randrange(len(briefing().strategies))
        if planned.way == "crescendo with backtracking":
            return self._escalated(start, first)
        return self._refined(start, first, prunes=planned.way == "tap")

    def _refined(self, start: Finding, first: int, *, prunes: bool) -> Finding:
        """Return the message that came furthest; the search ends with the first that succeeds."""
        ways, best, tries = self.budget.streams, start, 0
        leaves = [_Leaf((), None)] * (1 if prunes else ways)
        for round_ in range(self.budget.depth):
            grown = [leaf for leaf in leaves for _ in range(ways if prunes else 1)]
            # Each tries another way, so that at temperature 0 too no two write the same.
            told = [(leaf.exchanges, leaf.told(first + round_ + number)) for number, leaf in enumerate(grown)]
            written = self.attacker.write("refine", start.request, told)
            same = iter(self.attacker.same(start.request, [each.prompt for each in written if each.prompt is not None]))
            kept = [each.prompt is None or next(same) for each in written]
            if prunes:
                written = [each for each, asks in zip(written, kept, strict=True) if asks]
            else:
                written = [each if asks else each._replace(prompt=None) for each, asks in zip(written, kept, strict=True)]
            tried = self._tried(start, [each.prompt for each in written if each.prompt is not None])
            tries += len(tried)
            best = max([*tried, best], key=rank)
            if best.succeeded or not written:
                break
            came = iter(tried)
            leaves = [_Leaf(each.exchanges, None if each.prompt is None else next(came)) for each in written]
            if prunes:
                leaves = sorted(leaves, key=lambda leaf: leaf.rank, reverse=True)[: self.budget.width]
        return replace(best, tries=tries)

    def _tried(self, start: Finding, prompts: Sequence[str]) -> list[Finding]:
        if not prompts:
            return []
        answers = answered(self.engine, [[Message("user", prompt)] for prompt in prompts], self.sampling)
        said = [() if answer is None else (answer,) for answer in answers]
        return judged([replace(start, asked=(p,), answers=a) for p, a in zip(prompts, said, strict=True)], self.judge)

    def _escalated(self, start: Finding, first: int) -> Finding:
        """Return the talk to its last turn, or to the turn that stayed refused.

        What is answered on the way is harmless as it should be, so only the last turn may succeed.
        """
        found, talk, tries, taken_back = start, [], 0, 0
        leaf = _Leaf((), None)
        while len(talk) < 2 * self.budget.depth and taken_back <= self.budget.width:
            last = len(talk) == 2 * self.budget.depth - 2
            told = leaf.told(first + taken_back) + (f"\n\n{briefing().last}" if last else "")
            (written,) = self.attacker.write("crescendo", start.request, [(leaf.exchanges, told)])
            if written.prompt is None:
                leaf, taken_back = _Leaf(written.exchanges, None), taken_back + 1
                continue
            said = [*talk, Message("user", written.prompt)]
            (answer,) = answered(self.engine, [said], self.sampling)
            tries += 1
            if answer is None:
                break
            step = self._judged_talk(start, [*said, Message("assistant", answer)])
            leaf, refused = _Leaf(written.exchanges, step), step.outcome in (None, "refused")
            found = step if refused or last else found
            if refused:
                taken_back += 1
            else:
                talk = [*said, Message("assistant", answer)]
        return replace(found, tries=tries)

    def _judged_talk(self, start: Finding, talk: Sequence[Message]) -> Finding:
        """Judge the last answer of a talk."""
        asked, answers = (tuple(said.content for said in talk[at::2]) for at in (0, 1))
        return judged([replace(start, asked=asked, answers=answers, asks=len(answers) - 1)], self.judge)[0]
