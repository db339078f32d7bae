"""Asks an engine every prompt of some suites and records each answer with its judgement.

The record file is the same, byte for byte, however often the run was killed. This module counts nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..core import artifact, recipe
from ..core.artifact import Artifact
from ..core.errors import UsageError
from ..core.jsonl import dump, read_jsonl, write_jsonl
from ..core.progress import progress
from ..runtime.engine import Engine, Message, Sampling
from .judge import Asked, Judge, judge_kept
from .suites import Sample, Suite

RECORDS = "records.jsonl"
_CHUNK = 128
_ANSWERED = ("suite", *Sample._fields, "answer")
"""What a record holds before anybody judged it."""


@dataclass(frozen=True)
class EvalSettings:
    """How a system is measured."""

    suites: tuple[str, ...] = ("harmbench", "contrast-held-out", "everyday")
    """Suites by name, or NAME=SOURCE."""
    sampling: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=48))
    """Greedy by default, so that the same file gives the same records."""


def open_engine(model: str | Path) -> Engine:
    """Open an int4 artifact, a checkpoint as its float reference, or `http://HOST/v1#MODEL`.

    Raises ArtifactError, EngineError or UsageError.
    """
    if str(model).startswith(("http://", "https://")):
        from .endpoint import EndpointEngine

        return EndpointEngine(str(model))
    folder = Path(model)
    if artifact.load(folder).kind == "int4":
        from ..runtime.genai import GenAIEngine

        return GenAIEngine(folder, keeps=False)
    from .torch_engine import TorchEngine  # only a checkpoint needs torch

    return TorchEngine(folder)


class _Planned(NamedTuple):
    suite: str
    sample: Sample


def run(engine: Engine, suites: Sequence[Suite], judge: Judge, sampling: Sampling, out: Path, system: str) -> Artifact:
    """Measure an engine on suites; returns a `records` artifact that names the engine's and the suites' content ids.

    `system` is what reports call it. Answers are asked in a fixed order of chunks; a killed run keeps its whole chunks.
    Raises UsageError when a suite is named twice.
    """
    inputs = {"engine": engine.id, "judge": judge.id, **{f"suite:{suite.name}": suite.id for suite in suites}}
    names = [suite.name for suite in suites]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"the suite {twice[0]} is named twice; name each suite once")
    settings = {"system": system, "sampling": recipe.plain(sampling), "suites": names}
    asked = [_Planned(suite.name, sample) for suite in suites for sample in suite.samples]

    def make(work: Path) -> dict[str, Any]:
        rows = _answers(engine, asked, judge, sampling, work / artifact.SCRATCH, system)
        write_jsonl(work / RECORDS, rows)
        return {"system": system, "engine": engine.id, "samples": len(rows)}

    return artifact.produce(out, "records", settings, inputs, make)


def rejudge(records: Path, judge: Judge, out: Path) -> Artifact:
    """Judge recorded answers again without asking the model again; returns `records` of the other judge."""
    before = artifact.load(records, "records")
    settings = {**before.manifest["recipe"], "rejudged": before.id}

    def make(work: Path) -> dict[str, Any]:
        scratch = work / artifact.SCRATCH
        scratch.mkdir(exist_ok=True)
        write_jsonl(work / RECORDS, _judged(read_jsonl(before.path / RECORDS), judge, scratch / "judged.jsonl"))
        return dict(before.facts)

    return artifact.produce(out, "records", settings, {**before.manifest["inputs"], "judge": judge.id}, make)


def _answers(
    engine: Engine, asked: list[_Planned], judge: Judge, sampling: Sampling, scratch: Path, system: str
) -> list[dict[str, Any]]:
    """Return a record for each sample in order, going on after the chunks that an earlier run finished."""
    scratch.mkdir(exist_ok=True)
    conversations = [[Message("user", one.sample.prompt)] for one in asked]
    # Equal lengths share a chunk, so that they share batches.
    order = sorted(range(len(asked)), key=lambda i: (engine.length(conversations[i]), i))
    chunks = [order[at : at + _CHUNK] for at in range(0, len(order), _CHUNK)]
    rows: dict[int, dict[str, Any]] = {}
    with progress(f"measure {system}", len(asked)) as step:
        for number, chunk in enumerate(chunks):
            part, told = scratch / f"{number:05d}.jsonl", [(asked[i].suite, asked[i].sample.id) for i in chunk]
            # An earlier version may have asked in another order.
            if not part.exists() or [(row["suite"], row["id"]) for row in read_jsonl(part)] != told:
                answers = engine.generate([conversations[i] for i in chunk], sampling)
                said = [_record(asked[i], answer) for i, answer in zip(chunk, answers, strict=True)]
                artifact.write_atomic(part, "".join(dump(row) + "\n" for row in said))
            rows.update(zip(chunk, _judged(read_jsonl(part), judge, scratch / f"{number:05d}.judged.jsonl"), strict=True))
            step(len(chunk))
    return [rows[index] for index in range(len(asked))]


def _record(asked: _Planned, answer: str) -> dict[str, Any]:
    return {"suite": asked.suite, **asked.sample._asdict(), "answer": answer}


def _judged(rows: list[dict[str, Any]], judge: Judge, kept: Path) -> list[dict[str, Any]]:
    """Return records with what the judge says of them in place of what anybody said before."""
    said = judge_kept(judge, [Asked(row["prompt"], row["answer"]) for row in rows], kept)
    return [{key: row[key] for key in _ANSWERED} | judged for row, judged in zip(rows, said, strict=True)]
