"""Supervised fine-tuning: the model learns to refuse what it should and to answer what only looks like it.

The decision falls in an answer's first words, so most rows show only these (`refusal_tokens`, `answer_tokens`), no end token,
which doubles the rows a minute can hold; the rest are whole. Most rows carry an empty system message in place of the
template's default, so that safety does not hang on one system prompt.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from ..core import artifact, recipe
from ..core.artifact import Artifact
from ..core.jsonl import read_jsonl
from ..runtime.engine import Message
from ..runtime.template import ChatTemplate
from . import loop
from .curate import ROWS
from .head import IGNORED, score_answers_only
from .loop import LoopSettings, LoraSettings


@dataclass(frozen=True)
class SftSettings:
    """How SFT runs."""

    loop: LoopSettings = field(default_factory=LoopSettings)
    lora: LoraSettings = field(default_factory=LoraSettings)
    refusal_tokens: int = 16
    """Tokens of a refusal that is cut."""
    answer_tokens: int = 16
    """Tokens of any other answer that is cut: after fewer the model may still fall back into refusing."""
    whole_refusals: float = 0.4
    """Share of refusals that are learned whole; the base model cannot finish one by itself."""
    whole_answers: float = 0.1
    """Share of other answers that are learned whole; the base model can finish these."""
    default_system: float = 0.3
    """Share of rows under the template's own system message; the others have an empty one."""
    refusal_opening: str = "Sorry, but I can't help with"
    """How a harmful request is refused to which nobody wrote a refusal."""
    longest: int = 160
    """Tokens after which a row is cut."""


def sft(settings: SftSettings, base: Path, data: Path, out: Path) -> Artifact:
    """Train an `adapter` on the rows whose use is sft. Runs on one process or many, and goes on after a kill."""
    checkpoint, dataset = artifact.load(base, "checkpoint"), artifact.load(data, "dataset")

    def make(work: Path) -> dict[str, Any]:
        with loop.quiet():
            rows = [row for row in read_jsonl(dataset.path / ROWS) if row["use"] == "sft"]
            model = loop.load_model(checkpoint.path)
            trainer = SFTTrainer(
                model=model,
                args=SFTConfig(**loop.arguments(settings.loop, work), max_length=settings.longest),
                train_dataset=Dataset.from_list(encode(settings, rows, ChatTemplate(checkpoint.path))),
                processing_class=AutoTokenizer.from_pretrained(checkpoint.path),
                peft_config=loop.lora(settings.lora, model),
            )
            score_answers_only(trainer)
            return {"rows": len(rows), **loop.train_adapter(trainer, work, "SFT")}

    inputs = {"base": checkpoint.id, "data": dataset.id}
    return artifact.produce(out, "adapter", recipe.plain(settings), inputs, make, collective=True)


def encode(settings: SftSettings, rows: Sequence[Mapping[str, Any]], template: ChatTemplate) -> list[dict[str, list[int]]]:
    """Return input_ids and labels of each row, units of similar length side by side; only the answer's tokens have a label."""
    dice = random.Random(settings.loop.seed)
    units: dict[str, list[dict[str, list[int]]]] = defaultdict(list)
    for row in rows:
        units[row["unit"]].append(_encode_row(settings, row, template, dice))
    return loop.in_batches(list(units.values()), lambda row: len(row["input_ids"]), settings.loop)


def _encode_row(
    settings: SftSettings, row: Mapping[str, Any], template: ChatTemplate, dice: random.Random
) -> dict[str, list[int]]:
    system = [] if dice.random() < settings.default_system else [Message("system", "")]
    prompt = template.encode([*system, Message("user", row["prompt"])])
    if row["opening"]:
        refuses = row["label"] == "unsafe"
        whole = row["answer"] and dice.random() < (settings.whole_refusals if refuses else settings.whole_answers)
        answer = template.encode_answer(row["answer" if whole else "opening"])
        answer = answer if whole else answer[: settings.refusal_tokens if refuses else settings.answer_tokens]
    else:
        answer = template.tokenizer.encode(settings.refusal_opening, add_special_tokens=False).ids
    labels = [IGNORED] * len(prompt) + answer
    return {"input_ids": (prompt + answer)[: settings.longest], "labels": labels[: settings.longest]}
