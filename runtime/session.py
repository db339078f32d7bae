"""One guarded conversation: input rail, engine, output rail. Nothing is shown that was not checked.

The output rail holds text back until a sentence ends, checks the whole answer so far, and releases it or stops there.
This module draws nothing and stores nothing.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..guardrails.guard import Guard, Verdict
from .engine import Engine, Message, Sampling

_SENTENCE_END = re.compile(r"[.!?:;。！？](?=[\s\"')\]]|$)|\n")
_MOST_HELD = 240
"""Characters after which the output rail checks even without a sentence end."""


@dataclass(frozen=True)
class Turn:
    """How one turn ended."""

    answer: str
    """All that was shown."""
    verdict: Verdict | None
    """The verdict that blocked or warned, if one did."""
    asked_model: bool
    """False when the input rail refused and the model never saw the text."""


class Session:
    """A conversation with a guarded engine. Without a guard it says so in its name: pass None on purpose."""

    def __init__(self, engine: Engine, guard: Guard | None, sampling: Sampling, system: str | None = None) -> None:
        """Start an empty conversation, with a system message if one is given."""
        self.engine = engine
        self.guard = guard
        self.sampling = sampling
        self.history: list[Message] = [Message("system", system)] if system else []
        self.last: Turn | None = None
        """How the latest turn ended."""

    def ask(self, text: str) -> Iterator[str]:
        """Yield the checked answer piece by piece. A blocked turn yields the policy's message and leaves no history."""
        self.last = None
        verdict = self.guard.check_input(text) if self.guard else None
        if verdict is not None and verdict.blocked:
            self.last = Turn(verdict.message, verdict, asked_model=False)
            yield verdict.message
            return
        warned = verdict if verdict is not None and verdict.action == "warn" else None
        shown = ""
        pieces = self.engine.stream([*self.history, Message("user", text)], self.sampling)
        for piece, verdict in self._checked(text, pieces):
            if verdict is not None and verdict.blocked:
                message = f"\n\n{verdict.message}" if shown else verdict.message
                self.last = Turn(shown + message, verdict, asked_model=True)
                yield message
                return
            if verdict is not None and verdict.action == "warn":
                warned = warned or verdict
            shown += piece
            yield piece
        self.history += [Message("user", text), Message("assistant", shown)]
        self.last = Turn(shown, warned, asked_model=True)

    def _checked(self, prompt: str, pieces: Iterator[str]) -> Iterator[tuple[str, Verdict | None]]:
        """Yield text with the verdict that let it pass, or once no text and the verdict that stops it."""
        seen, released = "", 0
        # None after the last piece: what is still held back is checked and released.
        for piece in itertools.chain(pieces, [None]):
            seen += piece or ""
            end = len(seen) if piece is None else _release_point(seen, released)
            if end > released:
                verdict = self.guard.check_output(prompt, seen[:end]) if self.guard else None
                if verdict is not None and verdict.blocked:
                    yield "", verdict
                    return
                yield seen[released:end], verdict
                released = end


def _release_point(seen: str, released: int) -> int:
    """Return the end of the last whole sentence, or of everything when too much is held back."""
    if len(seen) - released > _MOST_HELD:
        return len(seen)
    ends = [match.end() for match in _SENTENCE_END.finditer(seen, released)]
    return ends[-1] if ends else released
