"""One encoder pass over a text gives its scores. The file is ONNX, int8; torch is not needed and not known here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from ..core import artifact
from ..core.errors import GuardError
from ..core.hazards import HAZARDS, JAILBREAK
from .normalize import without_surrogates

HEADS = ("unsafe", JAILBREAK, *HAZARDS)
"""What the model's outputs mean, in order; all are probabilities, the hazards sum to one."""

MODEL, TOKENIZER, CALIBRATION = "model.onnx", "tokenizer.json", "calibration.json"
WINDOW = 128
"""Tokens in one pass. A longer text is read in overlapping windows."""
_OVERLAP = 32
_PROMPT_SHARE = 48
_MOST_WINDOWS = 512


class Scores(NamedTuple):
    """What the classifier thinks of one window of a text."""

    unsafe: float
    """Probability that the text asks for, or gives, something harmful."""
    jailbreak: float
    """Probability that the text tries to talk a model out of its rules."""
    hazard: str
    """The most likely hazard if it is unsafe: S1 to S13."""


class Passage(NamedTuple):
    """A text to judge: a user's prompt, or a model's answer together with the prompt."""

    prompt: str
    answer: str | None = None


class Classifier(Protocol):
    """Anything that scores passages."""

    def score(self, passages: Sequence[Passage]) -> list[list[Scores]]:
        """Return the scores of every window of each passage, at least one; raises GuardError when it cannot."""
        ...


class OnnxClassifier:
    """The guard file on ONNX Runtime's CPU kernels."""

    def __init__(self, folder: Path | str, threads: int = 1) -> None:
        """Open a guard artifact, its hashes verified. Raises ArtifactError or GuardError."""
        self.artifact = artifact.load(folder, "guard")
        self.thresholds = read_thresholds(self.artifact.path)
        self._session, self._tokenizer = open_session(self.artifact.path, threads)

    @property
    def id(self) -> str:
        """Return the content id of the guard file."""
        return self.artifact.id

    def score(self, passages: Sequence[Passage]) -> list[list[Scores]]:
        """Score every window of each passage. Raises GuardError for a text too long to read whole."""
        rows = [run_session(self._session, windows(self._tokenizer, passage)) for passage in passages]
        return [[_scores(row) for row in each] for each in rows]


class ScriptedClassifier:
    """A classifier for tests and demos: each phrase in a text is a window of its own."""

    id = "scripted"

    def __init__(self, phrases: Mapping[str, Scores]) -> None:
        """Take the scores of each phrase; everything else is harmless."""
        self.phrases = dict(phrases)
        self.thresholds: Mapping[str, Mapping[str, float]] = {
            rail: {"strict": 0.5, "balanced": 0.5, "permissive": 0.5} for rail in ("input", "output")
        }

    def score(self, passages: Sequence[Passage]) -> list[list[Scores]]:
        """Return the scores of the phrases found in the prompt, or in the answer if there is one."""
        harmless = Scores(0.0, 0.0, "S1")
        texts = [p.prompt if p.answer is None else p.answer for p in passages]
        return [[s for phrase, s in self.phrases.items() if phrase in t] or [harmless] for t in texts]


def open_session(folder: Path, threads: int) -> tuple[ort.InferenceSession, Tokenizer]:
    """Open the model and the tokenizer of a guard folder. Raises GuardError when they cannot be read."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # both libraries raise bare exceptions of their own
        raise GuardError(f"the guard in {folder} cannot be opened; train or install it again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return session, tokenizer


def read_thresholds(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the calibrated thresholds: rail -> level -> probability."""
    try:
        return json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))["thresholds"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GuardError(f"{folder / CALIBRATION} cannot be read; train the guard again") from error


def run_session(session: ort.InferenceSession, rows: Sequence[tuple[list[int], list[int]]]) -> np.ndarray:
    """Return the probabilities of each row of (token ids, type ids), shape (rows, len(HEADS)).

    One row a pass: in a padded batch the int8 scales of one text would depend on its neighbours.
    """
    out = []
    for ids, types in rows:
        tokens = np.asarray([ids], np.int64)
        feed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.asarray([types], np.int64)}
        out.append(np.asarray(session.run(None, feed)[0])[0])
    return np.stack(out)


def windows(tokenizer: Tokenizer, passage: Passage) -> list[tuple[list[int], list[int]]]:
    """Cut a passage into model inputs of at most WINDOW tokens: [CLS] text [SEP], or [CLS] prompt [SEP] answer [SEP]."""
    start, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    if start is None or end is None:
        raise GuardError("the guard's tokenizer has no [CLS] and [SEP]; train the guard again")
    prompt = _encode(tokenizer, passage.prompt)
    if passage.answer is None:
        return [([start, *part, end], [0] * (len(part) + 2)) for part in _cut(prompt, WINDOW - 2)]
    head = [start, *prompt[:_PROMPT_SHARE], end]
    parts = _cut(_encode(tokenizer, passage.answer), WINDOW - 1 - len(head))
    return [([*head, *part, end], [0] * len(head) + [1] * (len(part) + 1)) for part in parts]


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(without_surrogates(text), add_special_tokens=False).ids


def _cut(ids: list[int], size: int) -> list[list[int]]:
    step = size - _OVERLAP
    starts = range(0, max(len(ids) - _OVERLAP, 1), step)
    if len(starts) > _MOST_WINDOWS:
        raise GuardError("the text is too long to be checked whole; send it in smaller parts")
    return [ids[at : at + size] for at in starts]


def _scores(row: np.ndarray) -> Scores:
    return Scores(float(row[0]), float(row[1]), HEADS[2 + int(row[2:].argmax())])
