"""Measures a judge against people who read the same answers, so that a rate can be corrected for what the judge gets wrong.

The question is one: did the answer refuse? An answer that refuses in part has complied in part, and counts as not refused.
"""

import csv
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import artifact, sources
from ..core.artifact import Artifact
from ..core.errors import DataError
from ..core.jsonl import dump
from .judge import Asked, Judge, judge_kept
from .statistics import Rate, rate

_REQUEST = ("request", "prompt", "objective", "question")
_ANSWER = ("answer", "assistant_response", "response", "completion")
_LABEL = ("refused", "human_score")
_TRUE, _FALSE = ("1", "1.0", "true", "yes", "refused", "refusal"), ("0", "0.0", "false", "no", "complied", "compliance")
_CARD = "card.json"
_DRAWS = 2000
_SLACK = 0.02
"""How far beyond 0 or 1 chance may carry a corrected rate."""


class Labelled(NamedTuple):
    """A request, an answer, and whether people say that it refuses."""

    request: str
    answer: str
    refused: bool


class Estimate(NamedTuple):
    """A share, 0 to 1, that was worked out and not counted, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class JudgeCard:
    """How a judge agrees with people."""

    judge: str
    """The judge's id."""
    labels: str
    """Content id of the labelled answers."""
    accuracy: Rate
    sensitivity: Rate
    """Of the answers that people call refusals, the share that the judge does."""
    specificity: Rate
    """Of the others, the share that the judge does not."""
    kappa: float
    """Cohen's kappa, -1 to 1, with its bootstrap 95 % interval."""
    kappa_low: float
    kappa_high: float
    unjudged: int
    """Answers it made nothing of; they are in no figure."""


def read_labels(source: str) -> list[Labelled]:
    """Read a CSV file of answers that people labelled, PyRIT's `scorer_evals/refusal_scorer` among them.

    It has a column for the request, one for the answer, and one or more for labels, of which the majority counts; an answer
    over which people are divided is left out. Lines before the head that begin with "#" are comments. Raises DataError where it
    cannot be read so.
    """
    path = sources.fetch(source)
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(itertools.dropwhile(lambda line: line.startswith("#"), handle)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{source} cannot be read as CSV; give a file of labelled answers") from error
    columns = list(rows[0]) if rows else []
    request, answer = (next((name for name in names if name in columns), None) for names in (_REQUEST, _ANSWER))
    told = [name for name in columns if name and (name in _LABEL or name.startswith("human_score_"))]
    if not (request and answer and told):
        raise DataError(
            f"{source} lacks columns; it needs one of {', '.join(_REQUEST)}, one of {', '.join(_ANSWER)}, and one of "
            f"{', '.join(_LABEL)}"
        )
    read = (_labelled(row, request, answer, told, f"{source}, row {number}") for number, row in enumerate(rows, 1))
    return [each for each in read if each is not None]


def measure(judge: Judge, labelled: Sequence[Labelled]) -> JudgeCard:
    """Ask a judge about labelled answers. Raises DataError where people said only one thing, or the judge nothing."""
    return _card(judge, labelled, [said.outcome for said in judge.judge_all([_asked(each) for each in labelled])])


def make(judge: Judge, labelled: Sequence[Labelled], out: Path) -> Artifact:
    """Measure a judge and write a `judge` artifact; one that was killed goes on after the answers it was asked about."""

    def work_in(work: Path) -> dict[str, Any]:
        scratch = work / artifact.SCRATCH
        scratch.mkdir(exist_ok=True)
        rows = judge_kept(judge, [_asked(each) for each in labelled], scratch / "judged.jsonl")
        return _written(_card(judge, labelled, [row["outcome"] for row in rows]), work)

    return artifact.produce(out, "judge", {}, {"judge": judge.id, "labels": _id(labelled)}, work_in)


def write(card: JudgeCard, out: Path) -> Artifact:
    """Write a card that was measured as a `judge` artifact."""
    return artifact.produce(out, "judge", {}, {"judge": card.judge, "labels": card.labels}, lambda work: _written(card, work))


def _asked(each: Labelled) -> Asked:
    return Asked(each.request, each.answer)


def _written(card: JudgeCard, work: Path) -> dict[str, Any]:
    artifact.write_atomic(work / _CARD, json.dumps(plain(card), indent=1))
    return {"kappa": card.kappa}


def _card(judge: Judge, labelled: Sequence[Labelled], outcomes: Sequence[str | None]) -> JudgeCard:
    read = [(each.refused, outcome == "refused") for each, outcome in zip(labelled, outcomes, strict=True) if outcome]
    if labelled and not read:
        raise DataError(f"the judge {judge.id} made nothing of any answer; take another judge, or mend its rubric")
    truth, said = np.asarray(read, bool).reshape(-1, 2).T
    if truth.all() or not truth.any():
        raise DataError("the labelled answers are all refusals, or none is; give answers of both kinds")
    counts = np.asarray([[(truth == t) & (said == s) for s in (False, True)] for t in (False, True)]).sum(-1)
    again = np.random.default_rng(0).multinomial(len(truth), counts.ravel() / len(truth), _DRAWS).reshape(-1, 2, 2)
    low, high = np.percentile(_kappa(again), [2.5, 97.5])
    return JudgeCard(
        judge.id,
        _id(labelled),
        rate(int(counts.trace()), len(truth)),
        rate(int(counts[1, 1]), int(counts[1].sum())),
        rate(int(counts[0, 0]), int(counts[0].sum())),
        float(_kappa(counts[None])[0]),
        float(low),
        float(high),
        len(labelled) - len(read),
    )


def read(made: Artifact) -> JudgeCard:
    """Read a `judge` artifact."""
    told: dict[str, Any] = json.loads((made.path / _CARD).read_text(encoding="utf-8"))
    rates = {name: Rate(**value) for name, value in told.items() if isinstance(value, dict)}
    return JudgeCard(**{**told, **rates})


def plain(card: JudgeCard) -> dict[str, Any]:
    """Return a card as JSON holds it."""
    return {name: value._asdict() if isinstance(value, Rate) else value for name, value in vars(card).items()}


def corrected(observed: Rate, card: JudgeCard, *, refused: bool) -> Estimate | None:
    """Return a rate of answers as people would have counted it (Rogan and Gladen 1978), with a 95 % interval.

    `refused`: it counts refusals; else it counts the others. The answers, and the labelled ones of both kinds, are drawn again
    from what each count leaves likely (Jeffreys' prior). None where nothing was counted, where the judge is no better than
    chance, and where the rate cannot be: the card then is of other answers than these.
    """
    dice = np.random.default_rng(0)
    found, cleared = (card.sensitivity, card.specificity) if refused else (card.specificity, card.sensitivity)
    better = found.value + cleared.value - 1
    if not observed.n or better <= 0:
        return None
    value = (observed.value + cleared.value - 1) / better
    seen, finds, clears = (dice.beta(each.hits + 0.5, each.n - each.hits + 0.5, _DRAWS) for each in (observed, found, cleared))
    again = ((seen + clears - 1) / np.maximum(finds + clears - 1, 1e-9)).clip(0, 1)
    low, high = (float(edge) for edge in np.percentile(again, [2.5, 97.5]))
    return Estimate(min(max(value, 0.0), 1.0), low, high) if -_SLACK <= value <= 1 + _SLACK else None


def _labelled(row: Mapping[str, str], request: str, answer: str, told: Sequence[str], where: str) -> Labelled | None:
    votes = [(row[name] or "").strip().lower() for name in told if (row[name] or "").strip()]
    if not votes or any(vote not in (*_TRUE, *_FALSE) for vote in votes):
        raise DataError(f"{where} has no label that says yes or no; write 1 for a refusal, 0 for none")
    refusals = sum(vote in _TRUE for vote in votes)
    return None if 2 * refusals == len(votes) else Labelled(row[request] or "", row[answer] or "", 2 * refusals > len(votes))


def _id(labelled: Sequence[Labelled]) -> str:
    return hashlib.sha256("".join(dump(each._asdict()) + "\n" for each in labelled).encode()).hexdigest()


def _kappa(counts: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa of tables, shape (tables, people said, judge said)."""
    n = counts.sum((1, 2))
    agreed = counts.trace(axis1=1, axis2=2) / n
    chance = (counts.sum(1) * counts.sum(2)).sum(1) / n**2
    return np.where(chance < 1, (agreed - chance) / np.maximum(1 - chance, 1e-12), 1.0)
