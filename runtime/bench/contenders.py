"""What is measured: each contender lives in a process of its own, so that its memory is its own, and runs a lap when told to.

A lap is one prompt read and one answer written, from the question to the last checked piece.
"""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, Protocol

from ...core import artifact
from ...core.errors import BreakfixError
from ..engine import Message
from ..memory import peak_megabytes

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


@dataclass(frozen=True)
class Entry:
    """Who takes part."""

    name: str
    model: Path
    """An int4 folder, or a GGUF file."""
    guard: Path | None = None
    threads: int = 2
    context: int = 512
    """Tokens that a GGUF's cache holds; an int4's grows by itself."""

    @property
    def is_gguf(self) -> bool:
        """Tell whether llama.cpp runs it."""
        return self.model.is_file()


class Lap(NamedTuple):
    """One lap; all times are seconds."""

    read: int
    written: int
    first: float
    """To the first token."""
    rest: float
    """From there to the end, checks included."""
    gaps: tuple[float, ...]
    """Between one token and the next."""
    joules: float | None
    """What the processor used, where it tells."""


class Ready(NamedTuple):
    """A contender has loaded."""

    seconds: float
    megabytes: float
    """Its files."""
    id: str
    """The content id of an int4 folder, the sha256 of a GGUF file."""


class Failed(NamedTuple):
    """A contender has given up."""

    sentence: str


class Contender(Protocol):
    """Something that runs laps."""

    def lap(self, text: str, ids: Sequence[int], tokens: int) -> tuple[float, Sequence[float], float]:
        """Return when the run began, when each token came, and when it ended."""
        ...


def contend(entry: Entry, line: Connection) -> None:
    """Load, then run a lap for each `(text, ids, tokens)` that comes; None asks for the peak memory in MB and ends it."""
    try:
        started = time.perf_counter()
        contender = _load(entry)
        loaded = time.perf_counter() - started
        line.send(Ready(loaded, megabytes(entry.model), _id(entry)))
        while (order := line.recv()) is not None:
            text, ids, tokens = order
            used = _energy()
            began, came, ended = contender.lap(text, ids, tokens)
            joules = _spent(used, _energy())
            gaps = tuple(after - before for before, after in pairwise(came))
            line.send(Lap(len(ids), len(came), came[0] - began, ended - came[0], gaps, joules))
        line.send(peak_megabytes())
    except BreakfixError as error:
        line.send(Failed(str(error)))
    except Exception as error:  # whatever a library raises: the others shall not wait for ever
        line.send(Failed(f"{entry.name} failed while it was measured ({type(error).__name__}: {error}); try another file"))


def contend_alone(entry: Entry, line: Connection) -> None:
    """Contend in a process that leaves Ctrl-C to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    contend(entry, line)


def _load(entry: Entry) -> Contender:
    # Imported here, because neither's process shall hold the other's libraries.
    if entry.is_gguf:
        from .gguf import Gguf

        return Gguf(entry.model, entry.threads, entry.context)
    from .ours import Ours

    return Ours(entry.model, entry.guard, entry.threads)


def _id(entry: Entry) -> str:
    if entry.is_gguf:
        return artifact.sha256_of(entry.model)
    ids = [artifact.load(folder).id for folder in (entry.model, entry.guard) if folder]
    return " + ".join(ids)


def question(folder: Path, tokens: int) -> tuple[str, list[int]]:
    """Return a question that takes about so many tokens of the model in a folder, the template's included, and its tokens."""
    from ..template import ChatTemplate

    template = ChatTemplate(folder)
    ids = template.tokenizer.encode(_LONG * (1 + tokens // 100), add_special_tokens=False).ids
    text, read, cut = "", [], tokens
    while cut > 0:
        text = template.decode(ids[:cut])
        read = template.encode([Message("user", text)])
        if len(read) <= tokens:
            break
        cut -= max(1, len(read) - tokens)
    return text, read


def megabytes(model: Path) -> float:
    """Return the size of a file, or of all files in a folder."""
    files = [model] if model.is_file() else [path for path in model.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / 1e6


def _spent(before: int | None, after: int | None) -> float | None:
    """Return joules; None where nothing was told, or where the counter began anew."""
    return (after - before) / 1e6 if before is not None and after is not None and after >= before else None


def _energy() -> int | None:
    try:
        return int(_RAPL.read_text()) if os.access(_RAPL, os.R_OK) else None
    except (OSError, ValueError):
        return None


_LONG = (
    "I am planning a small vegetable garden on a balcony that gets sun only in the morning. Which plants would you choose, how "
    "large should the pots be, and what should I do in each month from March to September? Please explain every step at length "
    "and tell me what you would do about wind and about a week without rain, how to share seedlings with neighbours, and which "
    "tools are worth their money. I have grown basil and chives before, and once a tomato that never became red. "
)
