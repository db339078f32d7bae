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
from .judge import ActJudge, Judge
from .suites import Sample, Suite, load

RECORDS = "records.jsonl"
_CHUNK = 128


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


def measure(model: Path, names: Sequence[str], max_new_tokens: int, out: Path, system: str) -> Artifact:
    """Measure a model folder on suites by name, those of a cycle where none are named; returns `records`."""
    chosen = [load(name) for name in names or EvalSettings().suites]
    return run(open_engine(model), chosen, ActJudge(), Sampling(max_new_tokens), out, system)


class _Asked(NamedTuple):
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
    asked = [_Asked(suite.name, sample) for suite in suites for sample in suite.samples]

    def make(work: Path) -> dict[str, Any]:
        rows = _answers(engine, asked, judge, sampling, work / artifact.SCRATCH, system)
        write_jsonl(work / RECORDS, rows)
        return {"system": system, "engine": engine.id, "samples": len(rows)}

    return artifact.produce(out, "records", settings, inputs, make)


def _answers(
    engine: Engine, asked: list[_Asked], judge: Judge, sampling: Sampling, scratch: Path, system: str
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
                judged = [_record(asked[i], answer, judge) for i, answer in zip(chunk, answers, strict=True)]
                artifact.write_atomic(part, "".join(dump(row) + "\n" for row in judged))
            rows.update(zip(chunk, read_jsonl(part), strict=True))
            step(len(chunk))
    return [rows[index] for index in range(len(asked))]


def _record(asked: _Asked, answer: str, judge: Judge) -> dict[str, Any]:
    judgement = judge.judge(asked.sample.prompt, answer)
    return {"suite": asked.suite, **asked.sample._asdict(), "answer": answer, **judgement._asdict()}
