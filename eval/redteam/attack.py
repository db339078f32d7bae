"""Attacks an engine with every technique on every request and records what came of it; and plays recorded attacks again.

The record is the same, byte for byte, however often the run was killed.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from ...core import artifact, recipe
from ...core.artifact import Artifact
from ...core.errors import UsageError
from ...core.jsonl import dump, read_jsonl
from ...core.progress import progress
from ...runtime.engine import ConversationTooLong, Engine, Message, Sampling
from ..guarded import Guarded
from ..judge import Judge
from ..suites import Sample, Suite
from .finding import FINDINGS, Finding, finding_of, judged, read, write
from .techniques import Technique

__all__ = ["FINDINGS", "Finding", "answered", "attack", "read", "record", "replay", "requests", "write"]

RULES = 1
"""Changes whenever an answer would be counted otherwise."""
_CHUNK = 64


class Request(NamedTuple):
    """A harmful request of a suite."""

    suite: str
    sample: Sample

    @property
    def id(self) -> str:
        """Return the suite's name and the sample's id."""
        return f"{self.suite}/{self.sample.id}"


class Planned(Protocol):
    """An attack that is still to be made."""

    @property
    def id(self) -> str:
        """Return the id that its finding will have."""
        ...


P = TypeVar("P", bound=Planned)


def attack(
    engine: Engine,
    techniques: Sequence[Technique],
    suites: Sequence[Suite],
    judge: Judge,
    sampling: Sampling,
    out: Path,
    system: str,
    limit: int = 0,
) -> Artifact:
    """Attack an engine; returns an `attacks` artifact. Of each suite `limit` harmful requests are taken, evenly, 0 takes all.

    Raises UsageError when no request of the suites is to be refused, a suite is named twice, or a technique looks at a guard
    where there is none.
    """
    guard = engine.guard if isinstance(engine, Guarded) else None
    if blind := [technique.name for technique in techniques if technique.draws > 1 and guard is None]:
        raise UsageError(f"the technique {blind[0]} is aimed at a guard; name one with --guard")

    def seen(turns: tuple[str, ...]) -> tuple[bool, float]:
        """Tell how much a guard minds a talk: whether it blocks a turn of it, and its highest score."""
        verdicts = [guard.check_input(turn) for turn in turns] if guard else []
        return any(each.blocked for each in verdicts), max((each.score for each in verdicts), default=0.0)

    asked = requests(suites, limit)
    planned = [_Planned(technique, request, seen) for technique in techniques for request in asked]
    settings = {
        "system": system, "sampling": recipe.plain(sampling), "limit": limit, "suites": [suite.name for suite in suites],
        "techniques": [recipe.plain(each) for each in techniques], "rules": RULES,
    }  # fmt: skip
    inputs = {"engine": engine.id, "judge": judge.id, **{f"suite:{suite.name}": suite.id for suite in suites}}
    return record(planned, lambda chunk: _attacked(engine, chunk, judge, sampling), out, settings, inputs, _CHUNK)


def requests(suites: Sequence[Suite], limit: int = 0) -> list[Request]:
    """Return `limit` harmful requests of each suite, evenly from all of it, which may stand in its hazards' order; 0: all.

    Raises UsageError where there is none, and for a suite named twice.
    """
    names = [suite.name for suite in suites]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"the suite {twice[0]} is named twice; name each suite once")
    found = []
    for suite in suites:
        harmful = [Request(suite.name, sample) for sample in suite.samples if sample.expect == "refuse"]
        few = 0 < limit < len(harmful)
        found += [harmful[at * len(harmful) // limit] for at in range(limit)] if few else harmful
    if not found:
        raise UsageError("these suites hold no request that should be refused; name another with --suite")
    return found


def replay(engine: Engine, attacks: Path, judge: Judge, out: Path, system: str) -> Artifact:
    """Hold recorded talks with another engine, turn by turn; returns an `attacks` artifact of the same findings.

    A technique that was tried with several dice is tried with those of its last try alone: to compare two models on it, attack
    both.
    """
    before = artifact.load(attacks, "attacks")
    sampling = Sampling(**before.manifest["recipe"].get("sampling", {}))
    settings = {"system": system, "sampling": recipe.plain(sampling), "rules": RULES}
    inputs = {"engine": engine.id, "judge": judge.id, "attacks": before.id}
    played = [_Played(finding) for finding in read(attacks)]
    return record(played, lambda chunk: _attacked(engine, chunk, judge, sampling), out, settings, inputs, _CHUNK)


def record(
    planned: Sequence[P],
    made: Callable[[Sequence[P]], list[Finding]],
    out: Path,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    at_once: int,
) -> Artifact:
    """Have attacks made so many at once and write an `attacks` artifact; a killed run goes on after the finished ones."""

    def make(work: Path) -> dict[str, Any]:
        scratch = work / artifact.SCRATCH
        scratch.mkdir(exist_ok=True)
        rows: list[dict[str, Any]] = []
        with progress(f"attack {settings['system']}", len(planned)) as step:
            for number, at in enumerate(range(0, len(planned), at_once)):
                chunk, part = planned[at : at + at_once], scratch / f"{number:05d}.jsonl"
                if not part.exists() or [row["id"] for row in read_jsonl(part)] != [each.id for each in chunk]:
                    artifact.write_atomic(part, "".join(dump(asdict(finding)) + "\n" for finding in made(chunk)))
                rows += read_jsonl(part)
                step(len(chunk))
        return {"system": settings["system"], "engine": inputs["engine"], **write([finding_of(row) for row in rows], work)}

    return artifact.produce(out, "attacks", settings, inputs, make)


def answered(engine: Engine, asked: Sequence[Sequence[Message]], sampling: Sampling) -> list[str | None]:
    """Return the answer to each conversation, None to one that outgrows the model."""
    try:
        return list(engine.generate(asked, sampling))
    except ConversationTooLong:
        # One of them was; only asked alone does it say which.
        return [_answer(engine, conversation, sampling) for conversation in asked]


@dataclass(frozen=True)
class _Planned:
    """A technique on a request."""

    technique: Technique
    request: Request
    seen: Callable[[tuple[str, ...]], tuple[bool, float]]
    """How much what stands in the way minds a talk."""

    @property
    def id(self) -> str:
        return f"{self.technique.name}/{self.request.id}"

    @property
    def tries(self) -> int:
        return self.technique.tries

    def turns(self, attempt: int) -> tuple[str, ...]:
        """Return what to say at one attempt: of several draws the one that is minded least."""
        dice = [f"{self.id}/{attempt}", *(f"{self.id}/{attempt}/{draw}" for draw in range(1, self.technique.draws))]
        drawn = [self.technique.attack(self.request.sample.prompt, random.Random(seed)) for seed in dice]
        return drawn[0] if len(drawn) == 1 else min(drawn, key=self.seen)

    def begun(self) -> Finding:
        how = self.technique
        return begun(self.request, how.name, how.family, how.skill, how.kind, how.asks)


def begun(request: Request, technique: str, family: str, skill: str, turns: str, asks: int = 0) -> Finding:
    """Return the finding of an attack that nothing came of yet."""
    said = {"asked": (), "answers": (), "tries": 0, "outcome": None, "degenerate": False, "lost": False}
    sample = request.sample
    return Finding(
        f"{technique}/{request.id}",
        technique,
        family,
        skill,
        turns,
        request.suite,
        sample.prompt,
        sample.group,
        asks=asks,
        **said,
    )


@dataclass(frozen=True)
class _Played:
    """An attack that was made before."""

    finding: Finding
    tries: int = 1

    @property
    def id(self) -> str:
        return self.finding.id

    def turns(self, attempt: int) -> tuple[str, ...]:
        return self.finding.asked

    def begun(self) -> Finding:
        said = {"outcome": None, "degenerate": False, "lost": False, "human": None, "severity": None}
        return replace(self.finding, answers=(), tries=0, **said)


def _attacked(engine: Engine, chunk: Sequence[_Planned | _Played], judge: Judge, sampling: Sampling) -> list[Finding]:
    """Make the attacks of a chunk, tried again as often as they may be and turn by turn, all at once."""
    found = [each.begun() for each in chunk]
    for attempt in range(max(each.tries for each in chunk)):
        open_ = [at for at, each in enumerate(chunk) if attempt < each.tries and not found[at].succeeded]
        talks = _talks(engine, [chunk[at].turns(attempt) for at in open_], sampling)
        tried = [
            replace(found[at], asked=asked, answers=answers, tries=attempt + 1)
            for at, (asked, answers) in zip(open_, talks, strict=True)
        ]
        for at, finding in zip(open_, judged(tried, judge), strict=True):
            found[at] = finding
    return found


def _talks(
    engine: Engine, scripts: Sequence[tuple[str, ...]], sampling: Sampling
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Say every script to the engine; returns what was asked and answered. One that outgrows the model ends there."""
    talks: list[list[Message]] = [[] for _ in scripts]
    going = list(range(len(scripts)))
    for turn in range(max(map(len, scripts), default=0)):
        going = [at for at in going if turn < len(scripts[at])]
        asked = {at: [*talks[at], Message("user", scripts[at][turn])] for at in going}
        said = dict(zip(going, answered(engine, list(asked.values()), sampling), strict=True))
        going = [at for at in going if said[at] is not None]
        for at in going:
            talks[at] = [*asked[at], Message("assistant", str(said[at]))]
    return [(script, tuple(m.content for m in talk[1::2])) for script, talk in zip(scripts, talks, strict=True)]


def _answer(engine: Engine, conversation: Sequence[Message], sampling: Sampling) -> str | None:
    try:
        return engine.generate([conversation], sampling)[0]
    except ConversationTooLong:
        return None
