"""One guarded conversation: input rail, engine, output rail. Nothing is shown that was not checked.

This module draws nothing and stores nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..guardrails.guard import Guard, Verdict
from ..guardrails.stream import checked
from .engine import Engine, Message, Sampling


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
    """A conversation with a guarded engine. None as the guard leaves both rails off, which nobody can do by omission."""

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
        for piece, verdict in self._pieces(text):
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

    def forget_oldest(self) -> bool:
        """Drop the oldest question and its answer, never the system message; False when there is none to drop."""
        asked = [index for index, message in enumerate(self.history) if message.role == "user"]
        if not asked:
            return False
        del self.history[asked[0] : (*asked, len(self.history))[1]]
        return True

    def _pieces(self, text: str) -> Iterator[tuple[str, Verdict | None]]:
        """Return the engine's answer through the output rail, if there is a guard."""
        pieces = self.engine.stream([*self.history, Message("user", text)], self.sampling)
        return checked(self.guard, text, pieces) if self.guard else ((piece, None) for piece in pieces)
