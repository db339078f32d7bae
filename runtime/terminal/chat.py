"""A chat: messages are answered behind the guard, and what begins with a slash is a command.

It knows no model format and no terminal; it is given a session, a display and lines.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import NamedTuple

from ...core.errors import BreakfixError, EngineError, UsageError, os_sentence
from ...guardrails.guard import Guard
from ...guardrails.rules import redact
from ..engine import ConversationTooLong
from ..session import Session, Turn
from ..watched import Watched
from .display import Display, why
from .keyboard import interruptible

TOO_LONG = "this message alone is longer than the model can read; send a shorter one"


class Leave(Exception):
    """The person wants to end the chat."""


class Command(NamedTuple):
    """What stands behind a slash."""

    takes: str
    what: str
    do: Callable[["Chat", str], None]


class Chat:
    """One conversation and how it is shown."""

    def __init__(self, session: Session, display: Display, reopen: Callable[[str], Guard] | None = None) -> None:
        """Chat in a session; `reopen` opens its guard with another policy, by name or path."""
        self.session, self.display, self.reopen = session, display, reopen
        self.engine = Watched(session.engine) if not isinstance(session.engine, Watched) else session.engine
        session.engine = self.engine
        self.asked: str | None = None
        """The latest message."""
        self.turns = 0
        self.seconds = self.first = 0.0
        """What the latest turn took, and what its first text."""

    def run(self, lines: Iterable[str], commands: Mapping[str, Command] | None = None) -> None:
        """Answer each line; empty ones are passed over.

        Commands are for a person at the keyboard: lines that come from elsewhere shall write no file. So is Ctrl-C, which
        stops an answer and not the chat.
        """
        typed = commands is not None
        for line in lines:
            text = line.strip()
            try:
                if typed and line.startswith("/") and "\n" not in text:
                    self._command(text, commands)
                elif text:
                    self.answer(text, stoppable=typed)
            except Leave:
                return
            except KeyboardInterrupt:
                if not typed:
                    raise
                self.display.note("stopped")

    def instruct(self, system: str | None) -> None:
        """Set another system message, None for none. Raises UsageError where the guard blocks it."""
        guard = self.session.guard
        verdict = guard.check_input(system) if guard and system else None
        if verdict is not None and verdict.blocked:
            raise UsageError(f"the guard blocks this system message ({why(verdict)}); choose another")
        if system and verdict is not None and verdict.action == "redact":
            system = redact(system, verdict.findings)
        self.session.instruct(system)

    def answer(self, text: str, *, stoppable: bool = False) -> None:
        """Show one guarded answer, piece by piece, and say what befell it."""
        self.asked, self.turns = text, self.turns + 1
        self.engine.cancelled.clear()
        started, self.first, said = time.monotonic(), 0.0, ""
        before = list(self.session.history)
        try:
            self.display.begin()
            with interruptible(self.engine.cancelled.set) if stoppable else nullcontext():
                for piece in self.session.ask(text):
                    self.first = self.first or time.monotonic() - started
                    self.display.piece(piece)
        except ConversationTooLong:
            said = TOO_LONG
        except KeyboardInterrupt:
            if not stoppable:
                raise
            said = "stopped; this turn is forgotten"
        finally:
            self.seconds = time.monotonic() - started
            self.display.end(self.session.last, self.engine.used)
        last, stopped = self.session.last, self.engine.cancelled.is_set()
        if last is None or (stopped and not last.answer):  # it left nothing, and /undo shall know
            self.session.history, self.session.last = before, Turn("", None, asked_model=last is not None)
        if said or stopped:
            self.display.note(said or "stopped")

    def _command(self, text: str, commands: Mapping[str, Command]) -> None:
        name, _, argument = text[1:].partition(" ")
        command = commands.get(name)
        if command is None:
            self.display.note(f"there is no command /{name}; /help lists them, and a space before a slash sends it as text")
            return
        try:
            command.do(self, argument.strip())
        except EngineError:
            raise
        except BreakfixError as error:
            self.display.note(str(error))
        except OSError as error:
            self.display.note(os_sentence(error))
