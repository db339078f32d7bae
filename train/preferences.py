"""Finds what the current model still gets wrong, and pairs it with what it should have said.

The model is asked requests that SFT never saw. Where it complies with harm, its own answer becomes the rejected half and the
written refusal the chosen one. Where it refuses what is harmless, it is asked again with a refusal's first words out of reach:
the answer that it would have given is the chosen half, so that nothing but the decision is learned.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import artifact, recipe
from ..core.artifact import Artifact
from ..core.jsonl import read_jsonl, write_jsonl
from ..core.progress import progress
from ..eval.judge import ActJudge
from ..eval.torch_engine import TorchEngine
from ..export.threshold import LOOK_ALIKES
from ..runtime.engine import Message, Sampling
from .curate import BASE_ANSWERS, ROWS

PAIRS = "pairs.jsonl"
OVER_REFUSAL, HARM = "over-refusal", "harmful compliance"
_CHUNK = 128


@dataclass(frozen=True)
class PreferenceSettings:
    """How mistakes are looked for."""

    requests: int = 400
    """Requests asked, unsafe and safe in the order of the data."""
    answer_tokens: int = 24
    """How far each answer is heard: long enough to tell a refusal."""
    most: int = 160
    """Pairs kept at most."""
    least_harmful: float = 0.5
    """Harmful answers for each over-refusal, at least; what the model does not commit itself is taken from the base model's
    answers, recorded when the data were curated. Pairs against one kind of mistake alone would teach the other."""
    look_alikes: int = 200
    """Harmless look-alikes beyond those asked that are kept for the export to set the refusal threshold with."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [] if min(self.requests, self.answer_tokens) >= 1 else ["requests and answer_tokens must be at least 1"]
        found += [] if self.most >= 2 and self.look_alikes >= 0 else ["most must be at least 2, look_alikes at least 0"]
        return found if 0 <= self.least_harmful <= 1 else [*found, "least_harmful must be from 0 to 1"]


def preferences(
    settings: PreferenceSettings, model: Path, data: Path, out: Path, open_model: Callable[[Path], TorchEngine] = TorchEngine
) -> Artifact:
    """Write a `pairs` artifact: prompt, chosen, rejected and the mistake, for each request the model got wrong.

    Beside them stand the token ids of look-alikes that were not asked, and the first tokens of all written refusals.
    `open_model` makes the engine that the model answers on.
    """
    checkpoint, dataset = artifact.load(model, "checkpoint"), artifact.load(data, "dataset")

    def make(work: Path) -> dict[str, Any]:
        scratch = work / artifact.SCRATCH
        scratch.mkdir(exist_ok=True)
        unseen = [row for row in read_jsonl(dataset.path / ROWS) if row["use"] == "preference"]
        rows = unseen[: settings.requests]
        engine = open_model(checkpoint.path)
        heard = _ask(engine, rows, settings, scratch)
        recorded = {row["id"]: row["answer"] for row in read_jsonl(dataset.path / BASE_ANSWERS)}
        pairs = _pairs(rows, heard, recorded, settings)
        refusals = {row["answer"] for row in unseen if row["label"] == "unsafe" and row["answer"]}
        openings = sorted({engine.template.encode_answer(refusal)[0] for refusal in refusals})
        pairs = _in_own_words(engine, pairs, openings, settings)
        write_jsonl(work / PAIRS, pairs)
        look_alikes = [row for row in unseen[settings.requests :] if row["label"] == "safe"][: settings.look_alikes]
        prompts = [{"ids": engine.template.encode([Message("user", row["prompt"])])} for row in look_alikes]
        write_jsonl(work / LOOK_ALIKES, prompts)
        asked, found = Counter(row["label"] for row in rows), Counter(pair["mistake"] for pair in pairs)
        return {"asked": dict(asked), "pairs": dict(found), "openings": openings}

    inputs = {"model": checkpoint.id, "data": dataset.id, "judge": ActJudge.id}
    return artifact.produce(out, "pairs", recipe.plain(settings), inputs, make)


def _ask(engine: TorchEngine, rows: list[dict], settings: PreferenceSettings, scratch: Path) -> list[str]:
    answers: list[str] = []
    with progress("look for mistakes", len(rows)) as step:
        for at in range(0, len(rows), _CHUNK):
            chunk, part = rows[at : at + _CHUNK], scratch / f"{at:05d}.jsonl"
            if not part.exists():
                said = engine.generate([[Message("user", r["prompt"])] for r in chunk], Sampling(settings.answer_tokens))
                write_jsonl(part.with_suffix(".tmp"), [{"answer": answer} for answer in said])
                part.with_suffix(".tmp").replace(part)
            answers += [row["answer"] for row in read_jsonl(part)]
            step(len(chunk))
    return answers


def _pairs(
    rows: list[dict], answers: list[str], recorded: dict[str, str], settings: PreferenceSettings
) -> list[dict[str, Any]]:
    judge = ActJudge()
    found: dict[str, list[dict[str, Any]]] = {OVER_REFUSAL: [], HARM: []}
    spare = []
    for row, answer in zip(rows, answers, strict=True):
        refused = judge.judge(row["prompt"], answer).outcome == "refused"
        pair = {"prompt": row["prompt"], "chosen": row["answer"], "rejected": answer}
        if refused != (row["label"] == "unsafe") and answer.strip():
            mistake = OVER_REFUSAL if refused else HARM
            found[mistake].append({**pair, "mistake": mistake})
        elif judge.judge(row["prompt"], recorded.get(row["id"], "")).outcome == "complied" and row["label"] == "unsafe":
            spare.append({**pair, "rejected": recorded[row["id"]], "mistake": f"{HARM} of the base"})
    half = settings.most // 2
    refusals, harms = found[OVER_REFUSAL][:half], found[HARM][:half]
    wanted = round(settings.least_harmful * len(refusals))
    return refusals + harms + spare[: max(wanted - len(harms), 0)]


def _in_own_words(
    engine: TorchEngine, pairs: list[dict[str, Any]], openings: Sequence[int], settings: PreferenceSettings
) -> list[dict[str, Any]]:
    """Put the model's own answer in place of the written one where it refused in error, unless it refuses all the same.

    A pair that then has no answer at all is left out.
    """
    refused = [pair for pair in pairs if pair["mistake"] == OVER_REFUSAL]
    asked = [[Message("user", pair["prompt"])] for pair in refused]
    with progress("answer what was refused", len(refused)) as step:
        said = engine.generate(asked, Sampling(settings.answer_tokens), openings)
        step(len(refused))
    judge = ActJudge()
    for pair, answer in zip(refused, said, strict=True):
        if judge.judge(pair["prompt"], answer) == ("complied", False):
            pair["chosen"] = answer
    return [pair for pair in pairs if pair["chosen"]]
