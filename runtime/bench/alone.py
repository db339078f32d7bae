"""Measures what needs no comparison: a conversation's second turn, and the guard alone."""

import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ...guardrails.classifier import WINDOW, Passage
from ...guardrails.guard import Guard
from ..engine import Sampling
from ..genai import GenAIEngine
from ..memory import peak_megabytes
from ..session import Session
from .contenders import megabytes

QUESTION = (
    "I am planning a small vegetable garden on a balcony that gets sun only in the morning. Which plants would you choose, "
    "how large should the pots be, and what should I do in each month from March to September?"
)
_NEXT = "And which of them can stand the shade of a wall?"


class Figure(NamedTuple):
    """One measured figure."""

    what: str
    value: float
    unit: str


def bench_talk(model: Path, guard: Path, rounds: int, tokens: int, threads: int) -> list[Figure]:
    """Return figures of two turns of a talk, both rails on: medians over `rounds`."""
    engine, rails = GenAIEngine(model, threads), Guard.open(guard)
    shown, later, read, checks = [], [], [], []
    for _ in range(rounds):
        session = Session(engine, rails, Sampling(max_new_tokens=tokens))
        shown.append(_first_text(session, QUESTION))
        later.append(_first_text(session, _NEXT))
        read.append(engine.read)
        checks.append(rails.check_input(QUESTION).milliseconds)
    return [
        Figure("first text shown", 1000 * median(shown), "ms"),
        Figure("second turn, first text", 1000 * median(later), "ms"),
        Figure("second turn, read", median(read), "tokens"),
        Figure("one input check", median(checks), "ms"),
    ]


def bench_guard(folder: Path, rounds: int, policy: str = "default") -> list[Figure]:
    """Return figures of a guard alone, on one thread: medians over `rounds`."""
    before, started = peak_megabytes(), time.perf_counter()
    rails = Guard.open(folder, policy)
    loaded = time.perf_counter() - started
    full = Passage("and " * (WINDOW - 2))
    passes, questions, answers = [], [], []
    for _ in range(rounds):
        at = time.perf_counter()
        rails.classifier.score([full])
        passes.append(time.perf_counter() - at)
        questions.append(rails.check_input(QUESTION).milliseconds)
        answers.append(rails.check_output(QUESTION, QUESTION).milliseconds)
    return [
        Figure("load", 1000 * loaded, "ms"),
        Figure(f"one pass, {WINDOW} tokens", 1000 * median(passes), "ms"),
        Figure("one input check", median(questions), "ms"),
        Figure("one output check", median(answers), "ms"),
        Figure("memory", peak_megabytes() - before, "MB"),
        Figure("guard folder", megabytes(folder), "MB"),
    ]


def _first_text(session: Session, text: str) -> float:
    """Return the seconds to the first text of a turn that is then heard to its end."""
    started, first = time.perf_counter(), 0.0
    for _ in session.ask(text):
        first = first or time.perf_counter() - started
    return first
