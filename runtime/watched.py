"""An engine that counts what it reads and writes, ends at stop texts, and can be told to end."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .engine import Conversation, Engine, Sampling


class Used(NamedTuple):
    """Tokens of one answer."""

    read: int = 0
    written: int = 0


class Watched:
    """Another engine, watched."""

    def __init__(self, engine: Engine, stops: Sequence[str] = (), deadline: float = float("inf")) -> None:
        """End an answer before one of these texts, and at this time of `time.monotonic`."""
        self._engine, self._stops, self._deadline = engine, stops, deadline
        self.id = engine.id
        self.context: int | None = getattr(engine, "context", None)
        """The most tokens that the watched engine reads and writes together, if it knows."""
        self.used = Used()
        """What the latest answer took."""
        self.cut = False
        """True when the latest answer ended before the model did."""
        self.cancelled = threading.Event()
        """Set, it ends the answer within one token."""

    def over(self) -> bool:
        """Tell whether nobody waits for more, or the time is up."""
        return self.cancelled.is_set() or time.monotonic() > self._deadline

    def length(self, conversation: Conversation) -> int:
        """Return the watched engine's length."""
        return self._engine.length(conversation)

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return one answer for each conversation."""
        return ["".join(self.stream(conversation, sampling)) for conversation in conversations]

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Yield the answer; a part of a stop text is held back until it is none."""
        read, written, held = self._engine.length(conversation), "", ""
        self.used, self.cut = Used(), False
        for pieces, piece in enumerate(self._engine.stream(conversation, sampling), 1):
            held, written = held + piece, written + piece
            self.used = Used(read, max(pieces, self._tokens(written)))
            ends = [at for stop in self._stops if (at := held.find(stop)) >= 0]
            if ends:
                yield held[: min(ends)]
                return
            safe = len(held) - _begun(held, self._stops)
            if safe:
                yield held[:safe]
                held = held[safe:]
            if self.over():
                self.cut = True
                break
        self.cut = self.cut or self.used.written >= sampling.max_new_tokens
        if held:
            yield held

    def _tokens(self, text: str) -> int:
        """Count tokens where a piece may be several; 0 where the engine has no tokenizer."""
        template = getattr(self._engine, "template", None)
        return len(template.tokenizer.encode(text, add_special_tokens=False).ids) if template and not text.isascii() else 0


def _begun(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end of a text may be the beginning of a stop text."""
    longest = max((len(stop) - 1 for stop in stops), default=0)
    ends = (size for size in range(min(longest, len(text)), 0, -1) if any(stop.startswith(text[-size:]) for stop in stops))
    return next(ends, 0)
