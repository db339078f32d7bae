"""One encoder pass over a text gives its scores. The file is ONNX, int8; torch is not needed and not known here."""

import bisect
import json
import math
import operator
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from ..core import artifact
from ..core.errors import GuardError, UnreadableText
from ..core.hazards import HAZARDS, HEAD_OF_RAIL, HEADS, JAILBREAK, OWN_HEADS
from .normalize import plain_spelling, without_surrogates
from .policy import Rail

MODEL, TOKENIZER, CALIBRATION = "model.onnx", "tokenizer.json", "calibration.json"
WINDOW = 128
"""Tokens in one pass. A longer text is read in overlapping windows."""
_OVERLAP = 32
_INPUTS = {"input_ids", "token_type_ids"}
_PROMPT_SHARE = 48
_MOST_WINDOWS = 512
_LONGEST_WORD = 64
"""Characters without a space after which a word is cut: the tokenizer reads nothing of a word that is too long for it."""
_LINE = re.compile(r"[^\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_TAUGHT = frozenset({"LATIN", "CJK"})
"""Scripts in which the guard was taught enough. It has words for others too, and is blind there: of 39 harmful requests in
Korean it caught none, and none of 26 in Cyrillic, Arabic, Devanagari, Greek and Hebrew letters."""
_UNTAUGHT = "UNTAUGHT"
"""What all other scripts count as, where their words are known: Japanese has two of its own."""
_UNKNOWN = 3
"""How much more a byte counts for which there is no word than one of a word in a script that was not taught."""
_UNREAD = 9 * _UNKNOWN
"""What may go unread in one window, beyond what is read of the same script: three ideographs are a word, four may be a request;
nine letters of kana or 13 of Cyrillic are a word to ask the meaning of (a Korean syllable counts once for each of its pieces).
What is read of another script excuses nothing, or harmless English would carry them past."""
_MIXED = "MIXED"
"""The script of a Latin word that one strange letter makes unknown: nobody writes one by chance."""
_LEAST_LOG_ODDS = -700.0
"""Below it the exponential overflows, and the probability is none to speak of."""

RAILS: tuple[Rail, Rail] = ("input", "output")
"""What is checked: the user's text or the model's. In the order of their heads."""
Thresholds = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Rail -> level -> category (S1 to S13, jailbreak) -> probability."""


class Scores(NamedTuple):
    """What the classifier thinks of one window of a text."""

    unsafe: float
    """Probability that the text asks for, or gives, something harmful."""
    jailbreak: float
    """Probability that the text tries to talk a model out of its rules."""
    hazard: str
    """The most likely hazard if it is unsafe: S1 to S13."""
    refusal: float = 0.0
    """Probability that an answer refuses."""
    start: int = 0
    """Where the window begins: characters into the prompt, or into the answer if there is one."""
    end: int = 0
    """Where it ends."""


class Passage(NamedTuple):
    """A text to judge: a user's prompt, or a model's answer together with the prompt."""

    prompt: str
    answer: str | None = None


class Window(NamedTuple):
    """One model input, and which characters of the text it holds."""

    ids: list[int]
    types: list[int]
    start: int
    end: int
    unread: int = 0
    """What of one script goes unread, less what is read of it; of the worst. Letters that nobody can tell harm in count too."""


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
        self.thresholds, self._temperatures = read_calibration(self.artifact.path)
        self._session, self._tokenizer = open_session(self.artifact.path, threads)

    @property
    def id(self) -> str:
        """Return the content id of the guard file."""
        return self.artifact.id

    def score(self, passages: Sequence[Passage]) -> list[list[Scores]]:
        """Score every window of each passage. Raises GuardError, as UnreadableText for its script."""
        return [self._score(passage) for passage in passages]

    def _score(self, passage: Passage) -> list[Scores]:
        cut = windows(self._tokenizer, passage)
        if any(window.unread > _UNREAD for window in cut):
            raise UnreadableText("the text is in a script that the guard cannot read; write it in another, or in Latin letters")
        rows = run_session(self._session, cut)
        rail = RAILS[passage.answer is not None]
        return [_scores(row, rail, self._temperatures, window) for row, window in zip(rows, cut, strict=True)]


class ScriptedClassifier:
    """A classifier for tests and demos: each phrase in a text is a window of its own."""

    id = "scripted"

    def __init__(self, phrases: Mapping[str, Scores]) -> None:
        """Take the scores of each phrase; everything else is harmless."""
        self.phrases = dict(phrases)
        self.thresholds = {
            rail: {level: dict.fromkeys((*HAZARDS, JAILBREAK), 0.5) for level in ("strict", "balanced", "permissive")}
            for rail in RAILS
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
    if {each.name for each in session.get_inputs()} != _INPUTS:
        raise GuardError(f"the guard in {folder} was made by an older Breakfix; train or install it again")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return session, tokenizer


def read_calibration(folder: Path) -> tuple[Thresholds, Mapping[str, float]]:
    """Return the calibrated thresholds, and the temperature of each rail and of the jailbreak head."""
    try:
        card = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))
        return card["thresholds"], {name: float(card["temperatures"][name]) for name in (*RAILS, JAILBREAK)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GuardError(f"{folder / CALIBRATION} cannot be read; train the guard again") from error


def tempered(probability: float, temperature: float) -> float:
    """Return the calibrated probability: its logit divided by the temperature. A score that is no number stays none."""
    if not 0 < probability < 1:
        return probability
    log_odds = (math.log(probability) - math.log1p(-probability)) / temperature
    return 1 / (1 + math.exp(-log_odds)) if log_odds > _LEAST_LOG_ODDS else 0.0


def run_session(session: ort.InferenceSession, rows: Sequence[Window]) -> np.ndarray:
    """Return the probabilities of each window, shape (rows, len(HEADS)).

    One row a pass: in a padded batch the int8 scales of one text would depend on its neighbours.
    """
    out = []
    for row in rows:
        tokens = np.asarray([row.ids], np.int64)
        types = np.asarray([row.types], np.int64)
        out.append(np.asarray(session.run(None, {"input_ids": tokens, "token_type_ids": types})[0])[0])
    return np.stack(out)


def windows(tokenizer: Tokenizer, passage: Passage) -> list[Window]:
    """Cut a passage into model inputs of at most WINDOW tokens: [CLS] text [SEP], or [CLS] prompt [SEP] answer [SEP].

    Of a prompt that needs more than one, the first and the last line are read alone as well: a request often stands there,
    before or after much else, and would be drowned by it.
    """
    start, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    if start is None or end is None:
        raise GuardError("the guard's tokenizer has no [CLS] and [SEP]; train the guard again")
    prompt = _encode(tokenizer, passage.prompt)
    if passage.answer is None:
        parts = _cut(prompt.ids, WINDOW - 2)
        ends = _ends(passage.prompt, prompt.places, WINDOW - 2) if len(parts) > 1 else []
        return [_window(prompt, part, [start], end) for part in (*parts, *ends)]
    head = [start, *prompt.ids[:_PROMPT_SHARE], end]
    answer = _encode(tokenizer, passage.answer)
    return [_window(answer, part, head, end) for part in _cut(answer.ids, WINDOW - 1 - len(head))]


class _Encoded(NamedTuple):
    ids: list[int]
    places: list[tuple[int, int]]
    """The characters of the text that each token stands for."""
    unread: list[Mapping[str, int]]
    """Weighed UTF-8 bytes of the letters beyond ASCII, by script: below 0 where they are read, above where they are not."""


def _encode(tokenizer: Tokenizer, text: str) -> _Encoded:
    text = without_surrogates(text)
    gaps: list[int] = []
    if re.search(rf"\S{{{_LONGEST_WORD + 1}}}", text):
        text = re.sub(rf"\S{{{_LONGEST_WORD}}}(?=\S)", r"\g<0> ", whole := text)
        gaps = _inserted(whole, text)
    encoding, unknown = tokenizer.encode(text, add_special_tokens=False), tokenizer.token_to_id("[UNK]")
    return _Encoded(
        encoding.ids,
        [(a - bisect.bisect_left(gaps, a), b - bisect.bisect_left(gaps, b)) for a, b in encoding.offsets],
        [_unread(text[a:b], token == unknown) for token, (a, b) in zip(encoding.ids, encoding.offsets, strict=True)],
    )


def _unread(word: str, unknown: bool) -> Mapping[str, int]:
    """Count what goes unread of a word; styled and look-alike Latin letters are read in the plain spelling."""
    if word.isascii():
        return {}
    letters = [char for char in (plain_spelling(word) if unknown else word) if char.isalpha()]
    strange = [char for char in letters if not char.isascii()]
    if unknown and 0 < len(strange) < len(letters):
        return {_MIXED: _UNREAD + 1}
    bytes_of: Counter[str] = Counter()
    for char in strange:
        script, size = unicodedata.name(char, "?").split()[0], len(char.encode())
        if unknown:
            bytes_of[script] += _UNKNOWN * size
        elif script in _TAUGHT:
            bytes_of[script] -= _UNKNOWN * size
        else:
            bytes_of[_UNTAUGHT] += size
    return bytes_of


def _inserted(before: str, after: str) -> list[int]:
    """Return where `after` has a space that `before` has not."""
    places, at = [], 0
    for index, char in enumerate(after):
        if at < len(before) and char == before[at]:
            at += 1
        else:
            places.append(index)
    return places


def _window(text: _Encoded, part: tuple[int, int], head: list[int], end: int) -> Window:
    """Return a part of a text behind its head: [CLS], or [CLS] prompt [SEP]."""
    a, b = part
    places = text.places[a:b]
    types = [0] * len(head) + [int(len(head) > 1)] * (b - a + 1)
    span = (places[0][0], places[-1][1]) if places else (0, 0)
    unread: Counter[str] = Counter()
    for counted in filter(None, text.unread[a:b]):
        unread.update(counted)
    return Window([*head, *text.ids[a:b], end], types, *span, unread=max(unread.values(), default=0))


def _cut(ids: list[int], size: int) -> list[tuple[int, int]]:
    starts = range(0, max(len(ids) - _OVERLAP, 1), size - _OVERLAP)
    if len(starts) > _MOST_WINDOWS:
        raise GuardError("the text is too long to be checked whole; send it in smaller parts")
    return [(at, min(at + size, len(ids))) for at in starts]


def _ends(text: str, places: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Return which tokens are the first and the last line, where a line of so many tokens fits."""
    lines = [match.span() for match in _LINE.finditer(text) if not match[0].isspace()]
    found = []
    for start, end in {lines[0], lines[-1]} if lines else ():
        a, b = (bisect.bisect_left(places, at, key=operator.itemgetter(0)) for at in (start, end))
        found += [(a, b)] if 0 < b - a <= min(size, len(places) - 1) else []
    return sorted(found)


def _scores(row: np.ndarray, rail: Rail, temperatures: Mapping[str, float], window: Window) -> Scores:
    return Scores(
        unsafe=tempered(float(row[HEAD_OF_RAIL[rail]]), temperatures[rail]),
        jailbreak=tempered(float(row[HEADS.index(JAILBREAK)]), temperatures[JAILBREAK]),
        hazard=HEADS[OWN_HEADS + int(row[OWN_HEADS:].argmax())],
        refusal=float(row[HEADS.index("refusal")]),
        start=window.start,
        end=window.end,
    )
