"""Measures how fast a bundle answers on this machine: load, time to first token, decode, memory, and what the guard costs.

Absolute times are noise on a shared machine; with and without the guard are measured in turn, and medians are quoted.
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ..guardrails.classifier import WINDOW, Passage
from ..guardrails.guard import Guard
from .engine import Sampling
from .genai import GenAIEngine
from .session import Session

_QUESTION = (
    "I am planning a small vegetable garden on a balcony that gets sun only in the morning. Which plants would you choose, "
    "how large should the pots be, and what should I do in each month from March to September?"
)


class Figure(NamedTuple):
    """One measured figure."""

    what: str
    value: float
    unit: str


_NEXT = "And which of them can stand the shade of a wall?"


class _Round(NamedTuple):
    first_token: float
    tokens_a_second: float
    next_first_token: float
    """Of a second turn."""
    read: int
    """Tokens that the second turn read."""


def bench(model: Path, guard: Path, rounds: int, tokens: int, policy: str = "default") -> list[Figure]:
    """Return figures of an int4 artifact and a guard: medians over `rounds`, bare and guarded in turn."""
    started = time.perf_counter()
    engine = GenAIEngine(model)
    loaded = time.perf_counter() - started
    rails = Guard.open(guard, policy)
    sampling = Sampling(max_new_tokens=tokens)
    bare, guarded, checks = [], [], []
    for _ in range(rounds):
        bare.append(_round(engine, lambda: Session(engine, None, sampling)))
        guarded.append(_round(engine, lambda: Session(engine, rails, sampling)))
        checks.append(rails.check_input(_QUESTION).milliseconds)
    return [
        Figure("load", loaded, "s"),
        Figure("first text, no guard", 1000 * median(r.first_token for r in bare), "ms"),
        Figure("first text, both rails", 1000 * median(r.first_token for r in guarded), "ms"),
        Figure("one turn, no guard", median(r.tokens_a_second for r in bare), "tokens/s"),
        Figure("one turn, both rails", median(r.tokens_a_second for r in guarded), "tokens/s"),
        Figure("second turn, first text", 1000 * median(r.next_first_token for r in guarded), "ms"),
        Figure("second turn, read", median(r.read for r in guarded), "tokens"),
        Figure("one input check", median(checks), "ms"),
        Figure("peak memory", _peak_memory(), "MB"),
        Figure("model folder", _size(engine.artifact.path), "MB"),
    ]


def bench_guard(folder: Path, rounds: int, policy: str = "default") -> list[Figure]:
    """Return figures of a guard alone, on one thread: medians over `rounds`."""
    before, started = _peak_memory(), time.perf_counter()
    rails = Guard.open(folder, policy)
    loaded = time.perf_counter() - started
    full = Passage("and " * (WINDOW - 2))
    passes, questions, answers = [], [], []
    for _ in range(rounds):
        at = time.perf_counter()
        rails.classifier.score([full])
        passes.append(time.perf_counter() - at)
        questions.append(rails.check_input(_QUESTION).milliseconds)
        answers.append(rails.check_output(_QUESTION, _QUESTION).milliseconds)
    return [
        Figure("load", 1000 * loaded, "ms"),
        Figure(f"one pass, {WINDOW} tokens", 1000 * median(passes), "ms"),
        Figure("one input check", median(questions), "ms"),
        Figure("one output check", median(answers), "ms"),
        Figure("memory", _peak_memory() - before, "MB"),
        Figure("guard folder", _size(folder), "MB"),
    ]


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _round(engine: GenAIEngine, start: Callable[[], Session]) -> _Round:
    session = start()
    first, spent, said = _timed(session, _QUESTION)
    tokens = len(engine.template.tokenizer.encode(said, add_special_tokens=False).ids)
    return _Round(first, tokens / spent, _timed(session, _NEXT)[0], engine.read)


def _timed(session: Session, text: str) -> tuple[float, float, str]:
    """Return the seconds to the first text of a turn, those of the whole turn, and the answer."""
    started, first, said = time.perf_counter(), 0.0, ""
    for piece in session.ask(text):
        first = first or time.perf_counter() - started
        said += piece
    return first, time.perf_counter() - started, said
