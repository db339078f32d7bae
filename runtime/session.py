"""One guarded conversation: input rail, engine, output rail. Nothing is shown that was not checked.

This module draws nothing and stores nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..guardrails.guard import Guard
from ..guardrails.policy import Verdict
from ..guardrails.rules import redact
from ..guardrails.stream import Stopped
from .engine import ConversationTooLong, Engine, Message, Sampling


@dataclass(frozen=True)
class Turn:
    """How one turn ended."""

    answer: str
    """What stands now: all that was shown, less what is taken back, and the guard's message if there is one."""
    verdict: Verdict | None
    """The verdict that blocked, redacted or warned, if one did, or that says that the guard failed."""
    asked_model: bool
    """False when the input rail refused and the model never saw the text."""
    taken_back: int = 0
    """How many characters, right before the message, were shown and do not stand: a display that can, removes them."""
    remembered: bool = False
    """True when question and answer stand in the conversation; what was blocked leaves nothing."""
    forgotten: int = 0
    """How many of the oldest turns were dropped, because the conversation outgrew the model."""


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
        self._turns = self._forgotten = 0

    def ask(self, text: str) -> Iterator[str]:
        """Yield the checked answer piece by piece. A blocked turn yields the policy's message and leaves no history.

        A conversation that outgrew the model loses its oldest turns; a text too long by itself raises ConversationTooLong.
        """
        self.last = None
        self._turns, self._forgotten = self._turns + 1, 0
        if self.guard is None:
            yield from self._ask_unguarded(text)
            return
        verdict = self.guard.check_input(text, [said.content for said in self.history if said.role == "user"], self._turns)
        if verdict.blocked:
            self.last = Turn(verdict.message, verdict, asked_model=False)
            yield verdict.message
            return
        if verdict.action == "redact":
            text = redact(text, verdict.findings)
        noted, shown = _notable(verdict), ""
        for event in self.guard.stream(text, self._stream(text), self._turns):
            if isinstance(event, Stopped):
                kept, message = shown[: event.keep], event.verdict.message
                stands = f"{kept}\n\n{message}" if kept else message
                self.last = self._ended(stands, event.verdict, taken_back=len(shown) - len(kept))
                yield f"\n\n{message}" if shown else message
                return
            verdict = event.verdict
            if event.text:
                shown += event.text
                yield event.text
        self._remember(text, shown)
        self.last = self._ended(shown, noted or _notable(verdict), remembered=True)

    @property
    def system(self) -> str | None:
        """Return the system message, None where there is none."""
        return self.history[0].content if self.history and self.history[0].role == "system" else None

    def instruct(self, system: str | None) -> None:
        """Put another system message in place of the present one, None for none; it counts from the next turn."""
        rest = self.history[1:] if self.system is not None else self.history
        self.history = [Message("system", system), *rest] if system else rest

    def undo(self) -> str | None:
        """Drop the newest question and its answer; returns the question, None when there is none to drop."""
        asked = [index for index, message in enumerate(self.history) if message.role == "user"]
        if not asked:
            return None
        question = self.history[asked[-1]].content
        del self.history[asked[-1] :]
        return question

    def restart(self) -> None:
        """Drop all but the system message."""
        self.history = self.history[:1] if self.system is not None else []
        self.last = None

    def forget_oldest(self) -> bool:
        """Drop the oldest question and its answer, never the system message; False when there is none to drop."""
        asked = [index for index, message in enumerate(self.history) if message.role == "user"]
        if not asked:
            return False
        del self.history[asked[0] : (*asked, len(self.history))[1]]
        return True

    def _ask_unguarded(self, text: str) -> Iterator[str]:
        shown = ""
        for piece in self._stream(text):
            shown += piece
            yield piece
        self._remember(text, shown)
        self.last = self._ended(shown, None, remembered=True)

    def _ended(self, answer: str, verdict: Verdict | None, taken_back: int = 0, *, remembered: bool = False) -> Turn:
        return Turn(answer, verdict, asked_model=True, taken_back=taken_back, remembered=remembered, forgotten=self._forgotten)

    def _stream(self, text: str) -> Iterator[str]:
        whole = list(self.history)
        while True:
            pieces = self.engine.stream([*self.history, Message("user", text)], self.sampling)
            try:
                first = next(pieces, "")
                break
            except ConversationTooLong:  # raised before the first piece only
                if not (forgotten := self._forget_some()):
                    self.history = whole
                    raise
                self._forgotten += forgotten
        yield first
        yield from pieces

    def _forget_some(self) -> int:
        """Drop the oldest quarter of the turns, at least one; returns how many.

        All that is kept is read anew after it, so it should not be needed again at the very next turn.
        """
        turns = sum(message.role == "user" for message in self.history)
        return sum(self.forget_oldest() for _ in range(max(1, turns // 4)))

    def _remember(self, text: str, answer: str) -> None:
        self.history += [Message("user", text), Message("assistant", answer)]


def _notable(verdict: Verdict) -> Verdict | None:
    """Return the verdict on a text that passed if a caller should tell of it."""
    return verdict if verdict.action != "allow" or verdict.failed else None
