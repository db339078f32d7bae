"""Runs contenders in turn, lap by lap: what the machine does besides befalls all of them alike."""

import multiprocessing
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median, quantiles
from typing import Any

import numpy as np

from ...core.errors import EngineError
from ...core.progress import progress
from .contenders import Entry, Failed, Lap, Ready, contend_alone, question

_COPY = 128_000_000
_COPIES = 5
_LAUNCH_SECONDS = 600
_NOTHING = object()


@dataclass(frozen=True)
class Result:
    """What one contender did: medians over its laps, the first left out."""

    name: str
    id: str
    """Of the files: content ids, or the sha256 of a GGUF file."""
    load: float
    """Seconds, hashes verified where it has some."""
    first: float
    """Milliseconds from the question to the first token; with a guard, its check of the question is in it."""
    prefill: float
    """Tokens of the prompt a second, up to the first token."""
    decode: float
    """Tokens a second after the first token; with a guard, its checks are in it."""
    slowest: float
    """The 95th percentile of the milliseconds between two tokens."""
    peak: float
    """The most memory of its process, in MB."""
    size: float
    """Its files, in MB."""
    written: int
    """Tokens of its answer."""
    joules: float | None
    """Joules a token, prompt included, where the processor tells."""


@dataclass(frozen=True)
class Race:
    """All results of one run."""

    results: tuple[Result, ...]
    threads: int
    read: int
    """Tokens of the prompt."""
    bandwidth: float
    """Gigabytes that this machine copies a second, read and written, on so many threads."""

    def ceiling(self, result: Result) -> float:
        """Return the percentage of that bandwidth that reading the whole file for each token takes."""
        return 100 * result.size * result.decode / 1e3 / self.bandwidth


def race(entries: Sequence[Entry], rounds: int, prompt_tokens: int, tokens: int) -> Race:
    """Return what each contender does with the same prompt, read and answered `rounds` times after a first one that is not
    counted. The first entry's tokenizer cuts the prompt. Raises what a contender raises, or EngineError when one dies.
    """
    text, ids = question(entries[0].model, prompt_tokens)
    bandwidth = _bandwidth(entries[0].threads)
    with ExitStack() as stack:
        lines, ready = [], []
        for entry in entries:  # one after the other: each loads on a quiet machine
            lines.append(_start(stack, entry))
            ready.append(_answer(entry, lines[-1], _NOTHING))
        laps: list[list[Lap]] = [[] for _ in entries]
        advance = stack.enter_context(progress("bench", (rounds + 1) * len(entries)))
        for number in range(rounds + 1):
            turn = list(zip(entries, lines, laps, strict=True))
            for entry, line, done in turn if number % 2 else reversed(turn):  # nobody always runs behind the same one
                done.append(_answer(entry, line, (text, ids, tokens)))
                advance(1)
        peaks: list[float] = [_answer(entry, line, None) for entry, line in zip(entries, lines, strict=True)]
    results = (
        _result(entry.name, loaded, done[1:], peak)
        for entry, loaded, done, peak in zip(entries, ready, laps, peaks, strict=True)
    )
    return Race(tuple(results), entries[0].threads, len(ids), bandwidth)


def _start(stack: ExitStack, entry: Entry) -> Connection:
    """Start a contender; it ends with the stack, whatever happens."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=contend_alone, args=(entry, its), daemon=True)
    process.start()
    its.close()
    for clean in (process.join, process.kill, ours.close):  # called in the opposite order
        stack.callback(clean)
    return ours


def _answer(entry: Entry, line: Connection, order: object) -> Any:
    """Give an order, if it is one, and return what comes back. Raises EngineError for what went wrong there."""
    try:
        if order is not _NOTHING:
            line.send(order)
        if not line.poll(_LAUNCH_SECONDS):
            raise EngineError(f"{entry.name} gave no answer for {_LAUNCH_SECONDS} seconds; ask for fewer --tokens")
        answer = line.recv()
    except (EOFError, OSError) as error:
        raise EngineError(f"{entry.name} died while it was measured; it may have run out of memory") from error
    if isinstance(answer, Failed):
        raise EngineError(answer.sentence)
    return answer


def _result(name: str, ready: Ready, laps: Sequence[Lap], peak: float) -> Result:
    gaps = [gap for lap in laps for gap in lap.gaps]
    joules = [lap.joules / (lap.read + lap.written) for lap in laps if lap.joules is not None]
    return Result(
        name=name,
        id=ready.id,
        load=ready.seconds,
        first=1000 * median(lap.first for lap in laps),
        prefill=median(lap.read / lap.first for lap in laps),
        decode=median((lap.written - 1) / lap.rest if lap.written > 1 else 0.0 for lap in laps),
        slowest=1000 * quantiles(gaps, n=20)[-1] if len(gaps) > 1 else 0.0,
        peak=peak,
        size=ready.megabytes,
        written=int(median(lap.written for lap in laps)),
        joules=median(joules) if joules else None,
    )


def _bandwidth(threads: int) -> float:
    """Return the gigabytes a second that so many threads copy together, read and written: the best of a few tries."""
    pairs = [(np.ones(_COPY // 8), np.ones(_COPY // 8)) for _ in range(threads)]
    best = 0.0
    for _ in range(_COPIES):
        workers = [threading.Thread(target=np.copyto, args=pair) for pair in pairs]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, 2 * _COPY * threads / (time.perf_counter() - started) / 1e9)
    return best
