"""The guard's teacher: a large sentence encoder as it was published, and a small head that reads its layers.

It knows far more of the world than the body that ships, and what it knows comes through its word on many texts (Hinton et al.
2015): on the corpus's own requests, and on others that nobody labelled. It never saw the family of a labelled request that it
judges: the families are cut in parts, and a head that learned from the other parts judges each. So its word is what can be
inferred, not what it was told.

It speaks of requests alone, and of English ones.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel

from ..core import artifact, recipe, sources
from ..core.artifact import Artifact
from ..core.errors import DataError, UsageError
from ..core.jsonl import write_jsonl
from ..core.progress import progress
from ..eval.suites import Suite
from . import passages
from .passages import PassageSettings
from .rows import READERS, TEXT_READERS, read_texts

SAID = "said.jsonl"
_TOKENS = 128
"""Read of each text, from its start."""
_PIECE, _AT_ONCE = 2048, 64
"""Texts between two savings, and of one pass."""
_BATCH, _RATE = 128, 1e-3


@dataclass(frozen=True)
class TeacherSettings:
    """Who teaches the guard, and on what."""

    encoder: str = ""
    """A sentence encoder in English, as a source; empty trains the guard by the labels alone."""
    layers: tuple[int, ...] = (4, 6, 8, 10, 12)
    """Layers whose means are read."""
    unlabelled: tuple[str, ...] = ()
    """Sources of more requests, READER=SOURCE, which have the teacher's word alone: their own labels are not read."""
    width: int = 512
    """Of the head's one hidden layer."""
    epochs: int = 10
    parts: int = 4
    """Into how many parts the families are cut."""
    seed: int = 0

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [] if self.parts >= 2 else ["parts must be at least 2: a head judges what it did not learn from"]
        if not self.layers or min(self.layers) < 1:
            found.append("layers must name at least one layer, counted from 1")
        if self.width < 1 or self.epochs < 1:
            found.append("width and epochs must be at least 1")
        if self.unlabelled and not self.encoder:
            found.append("unlabelled texts need an encoder: nobody else says what they are")
        readers = {**READERS, **TEXT_READERS}
        wrong = [text for text in self.unlabelled if text.partition("=")[0] not in readers or not text.partition("=")[2]]
        return found + [f"unlabelled {text} must be READER=SOURCE, with one of {', '.join(readers)}" for text in wrong]


def teach(
    settings: TeacherSettings, of: PassageSettings, overlap_words: int, data: Path, suites: Sequence[Suite], out: Path
) -> Artifact:
    """Write a `teacher` artifact from a `dataset`: `said.jsonl`, for each request how likely it is that it asks for harm.

    The requests are those of the training passages that `of` describes, and unlabelled ones. `suites` are all suites that will
    ever be measured with; what shares `overlap_words` words in a row with one of their prompts is left out.
    """
    dataset = artifact.load(data, "dataset")

    def make(work: Path) -> dict[str, Any]:
        scratch = work / artifact.SCRATCH
        scratch.mkdir(exist_ok=True)
        material = passages.material(of, overlap_words, dataset, suites)
        labelled: dict[str, passages.Example] = {}
        for example in material.training:
            if example.is_bare_request and is_english(example.passage.prompt):
                labelled.setdefault(example.passage.prompt, example)
        more = dict.fromkeys(text for source in settings.unlabelled for text in read_texts(source))
        held = {example.passage.prompt for example in material.calibration}
        fresh = [t for t in more if is_english(t) and t not in labelled and t not in held and not material.measured.overlaps(t)]
        truth = torch.tensor([float(example.unsafe) for example in labelled.values()])
        families = [example.family for example in labelled.values()]
        if len(truth.unique()) < 2 or len(set(families)) < settings.parts:
            raise DataError("the teacher needs harmful and harmless requests of more families; name more training sources")
        read = _read(settings, [*labelled, *fresh], scratch)
        own, others = _said(settings, read, truth, families)
        said = [(text, word, True) for text, word in zip(labelled, own, strict=True)]
        said += [(text, word, False) for text, word in zip(fresh, others, strict=True)]
        write_jsonl(work / SAID, [{"text": t, "unsafe": round(float(word), 4), "labelled": known} for t, word, known in said])
        return {"labelled": len(labelled), "unlabelled": len(fresh), "auc": round(float(roc_auc_score(truth, own)), 4)}

    inputs = {
        "data": dataset.id, "corpus": passages.digest(), "encoder": sources.content_id(settings.encoder),
        **{f"unlabelled:{text}": sources.content_id(text.partition("=")[2]) for text in settings.unlabelled},
        **{f"suite:{suite.name}": suite.id for suite in suites},
    }  # fmt: skip
    order = {**recipe.plain(settings), "passages": recipe.plain(of), "overlap_words": overlap_words}
    return artifact.produce(out, "teacher", order, inputs, make)


def is_english(text: str) -> bool:
    """Tell whether a text may be English by its letters: no more than a tenth of them has an accent or another script."""
    letters = [char for char in text if char.isalpha()]
    return bool(letters) and sum(char.isascii() for char in letters) >= 0.9 * len(letters)


def _read(settings: TeacherSettings, texts: Sequence[str], scratch: Path) -> np.ndarray:
    """Return the means of the encoder's layers over each text, shape (texts, layers * width), half precision."""
    folder = sources.fetch(settings.encoder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_TOKENS)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    # By length, so that a pass holds no padding to speak of.
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    pieces = [order[at : at + _PIECE] for at in range(0, len(order), _PIECE)]
    # A piece is known by what it is of: an earlier version may have read other texts.
    files = [scratch / f"read-{_name([ids[at] for at in piece], settings.layers)}.npy" for piece in pieces]
    missing = [number for number, file in enumerate(files) if not file.exists()]
    with progress("the teacher reads", len(texts), len(texts) - sum(len(pieces[n]) for n in missing)) as step:
        encoder = _open(folder, settings.layers) if missing else None
        for number in missing:
            found = [_means(encoder, [ids[at] for at in chunk], settings.layers) for chunk in _chunks(pieces[number])]
            temporary = files[number].with_suffix(".tmp.npy")
            np.save(temporary, np.concatenate(found))
            temporary.replace(files[number])
            step(len(pieces[number]))
    by_length = np.concatenate([np.load(file) for file in files])
    read = np.empty_like(by_length)
    read[order] = by_length
    return read


def _name(ids: list[list[int]], layers: Sequence[int]) -> str:
    return hashlib.sha256(json.dumps([ids, list(layers)]).encode()).hexdigest()[:16]


def _chunks(piece: list[int]) -> Iterable[list[int]]:
    return (piece[at : at + _AT_ONCE] for at in range(0, len(piece), _AT_ONCE))


def _open(folder: Path, layers: Sequence[int]) -> Any:
    encoder: Any = AutoModel.from_pretrained(folder).eval()
    if max(layers) > encoder.config.num_hidden_layers:
        raise UsageError(f"{folder} has {encoder.config.num_hidden_layers} layers; set guard.teacher.layers to no more")
    return encoder


def _means(encoder: Any, ids: list[list[int]], layers: Sequence[int]) -> np.ndarray:
    width = max(map(len, ids))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    padded = torch.tensor([row + [0] * (width - len(row)) for row in ids], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids], device=device)
    with torch.inference_mode():
        states = encoder.to(device)(input_ids=padded, attention_mask=mask, output_hidden_states=True).hidden_states
        weights = (mask / mask.sum(1, keepdim=True)).unsqueeze(-1)
        return torch.cat([(states[layer] * weights).sum(1) for layer in layers], -1).half().cpu().numpy()


def _said(
    settings: TeacherSettings, read: np.ndarray, truth: torch.Tensor, families: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the word on each labelled text, by a head that never saw its family, and on each other text, by all heads."""
    ordered = sorted(set(families))
    random.Random(settings.seed).shuffle(ordered)
    part_of = {family: number % settings.parts for number, family in enumerate(ordered)}
    part = torch.tensor([part_of[family] for family in families])
    features = torch.from_numpy(read)
    known, others = features[: len(truth)], features[len(truth) :]
    own, word = torch.zeros(len(truth)), torch.zeros(settings.parts, len(others))
    with progress("the teacher learns", settings.parts) as step:
        for number in range(settings.parts):
            head = _head(settings, known[part != number], truth[part != number])
            own[part == number] = _ask(head, known[part == number])
            word[number] = _ask(head, others)
            step(1)
    return own.sigmoid().numpy(), word.mean(0).sigmoid().numpy()


class _Head(nn.Module):
    """Two layers on standardized features."""

    def __init__(self, features: torch.Tensor, width: int) -> None:
        super().__init__()
        self.mean, self.spread = features.float().mean(0), features.float().std(0) + 1e-6
        self.layers = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(features.shape[1], width), nn.GELU(), nn.Dropout(0.5), nn.Linear(width, 1)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.layers((features.float() - self.mean) / self.spread)[:, 0]


def _head(settings: TeacherSettings, features: torch.Tensor, truth: torch.Tensor) -> nn.Module:
    torch.manual_seed(settings.seed)
    head = _Head(features, settings.width)
    steps = settings.epochs * -(-len(features) // _BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), _RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in range(settings.epochs):
        for at in torch.randperm(len(features)).split(_BATCH):
            loss = nn.functional.binary_cross_entropy_with_logits(head(features[at]), truth[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


def _ask(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([head(chunk) for chunk in features.split(_PIECE)]) if len(features) else torch.zeros(0)
