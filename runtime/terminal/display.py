"""How a chat looks: plain text for pipes and simple terminals, Markdown for the others, JSON for programs.

Answers go to standard output, what is said about them to standard error.
"""

import json
import sys
import time
import unicodedata
from collections.abc import Iterable
from typing import Protocol

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.text import Text

from ...core.hazards import HAZARDS
from ...core.progress import console
from ...guardrails.policy import Verdict
from ..session import Turn
from ..watched import Used

_ORDER = {*map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xE0000, 0xE0080)))}
"""Characters that change the order in which others are shown, and the invisible tags."""
_REFRESH = 0.08
"""Seconds between two drawings of an answer that is still being written."""


class Display(Protocol):
    """Shows one answer after another."""

    def begin(self) -> None:
        """An answer is coming."""
        ...

    def piece(self, text: str) -> None:
        """Show the next checked piece of it."""
        ...

    def end(self, turn: Turn | None, used: Used) -> None:
        """Show how it ended; a turn that is None brought nothing."""
        ...

    def note(self, text: str) -> None:
        """Say something that is no answer."""
        ...


class Plain:
    """Pieces as they come."""

    def __init__(self) -> None:
        """Nothing stands printed yet."""
        self._open = False

    def begin(self) -> None:
        """Nothing to show yet."""
        self._open = False

    def piece(self, text: str) -> None:
        """Print the piece."""
        self._open = True
        print(printable(text), end="", flush=True)

    def end(self, turn: Turn | None, used: Used) -> None:
        """Close the line and say what befell the turn. What was taken back stands printed, so it is told of."""
        if turn is not None or self._open:
            print(flush=True)
        for line in notes(turn) if turn else ():
            self.note(line)
        if turn and turn.taken_back:
            self.note(f"guard: the last {turn.taken_back} characters before the message are taken back")

    def note(self, text: str) -> None:
        """Print it in brackets on standard error."""
        console.print(f"({printable(text)})", markup=False, emoji=False, soft_wrap=True)


class Json:
    """One JSON line a turn."""

    def begin(self) -> None:
        """Nothing to show yet."""

    def piece(self, text: str) -> None:
        """Nothing to show yet: an answer may still be taken back."""

    def end(self, turn: Turn | None, used: Used) -> None:
        """Print the turn: what stands, what the guard did, and the tokens of it."""
        if turn is not None:
            print(json.dumps(as_row(turn, used)), flush=True)

    def note(self, text: str) -> None:
        """Print it as a line of its own."""
        print(json.dumps({"note": text}), flush=True)


class Rich:
    """Markdown, drawn anew as it grows, so that what is taken back disappears."""

    def __init__(self, *, color: bool = True) -> None:
        """Draw on standard output; without color where NO_COLOR says so, too."""
        self._console = Console(no_color=True if not color else None, highlight=False)
        self._notes = Console(stderr=True, no_color=True if not color else None, highlight=False)
        self._live: Live | None = None
        self._said, self._drawn = "", 0.0

    def begin(self) -> None:
        """Show that something is coming."""
        self._said = ""
        self._live = Live(Text("…", style="dim"), console=self._console, transient=True, auto_refresh=False)
        self._live.start(refresh=True)

    def piece(self, text: str) -> None:
        """Draw the answer so far, or its last lines where it is longer than the screen."""
        self._said += printable(text)
        if self._live and time.monotonic() - self._drawn > _REFRESH:
            self._live.update(_Tail(_Markdown(self._said)), refresh=True)
            self._drawn = time.monotonic()

    def end(self, turn: Turn | None, used: Used) -> None:
        """Put what stands in the place of what was drawn."""
        if self._live:
            self._live.stop()
            self._live = None
        if turn is None:
            return
        self._console.print(_Markdown(printable(turn.answer)))
        for line in notes(turn):
            self.note(line)

    def note(self, text: str) -> None:
        """Print it dim, in brackets, on standard error."""
        self._notes.print(f"({printable(text)})", style="dim", markup=False, emoji=False, soft_wrap=True)


class _Tail:
    """The last lines of something, as many as the screen has."""

    def __init__(self, body: Markdown) -> None:
        self._body = body

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._body, options, pad=False)
        for line in lines[-max(1, console.size.height - 2) :]:
            yield from line
            yield Segment.line()


def choose(*, as_json: bool, color: bool) -> Display:
    """Return the display for where standard output goes."""
    if as_json:
        return Json()
    if not sys.stdout.isatty() or Console().is_dumb_terminal:
        return Plain()
    return Rich(color=color)


def notes(turn: Turn) -> Iterable[str]:
    """Yield what is to be said of a turn, beside its answer."""
    if turn.forgotten:
        turns = "turn is" if turn.forgotten == 1 else f"{turn.forgotten} turns are"
        yield f"the conversation outgrew the model: its oldest {turns} forgotten"
    if (verdict := turn.verdict) is not None:
        did = "blocked" if verdict.blocked else "took personal data out of" if verdict.action == "redact" else "warned about"
        yield f"guard: {did} the {verdict.rail}: {why(verdict)}"


def why(verdict: Verdict) -> str:
    """Return the reason of a verdict in words."""
    if verdict.failed:
        return "the guard failed"
    category = verdict.category or ""
    named = f"{category} {HAZARDS[category]}" if category in HAZARDS else category
    return f"{named}, score {verdict.score:.2f}"


def as_row(turn: Turn, used: Used) -> dict[str, object]:
    """Return a turn as JSON holds it; of the verdict what can be told without the text."""
    verdict = turn.verdict
    judged = verdict and {
        "action": verdict.action,
        "rail": verdict.rail,
        "category": verdict.category,
        "score": round(verdict.score, 4),
        "failed": verdict.failed,
    }
    return {
        "answer": turn.answer,
        "guard": judged,
        "asked_model": turn.asked_model,
        "taken_back": turn.taken_back,
        "forgotten": turn.forgotten,
        "tokens": used._asdict() if turn.asked_model else Used()._asdict(),
    }


def printable(text: str) -> str:
    """Drop what would steer the terminal, or the order in which it is read, instead of being read."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(char for char in text if char in "\n\t" or (unicodedata.category(char) != "Cc" and char not in _ORDER))


class _Markdown(Markdown):
    """Markdown without HTML, which would be left out, and without entities, which could name what was dropped."""

    def __init__(self, text: str) -> None:
        # Links are written out: what a model calls a link need not be where it leads.
        super().__init__("", hyperlinks=False)
        self.parsed = (
            MarkdownIt().enable(["strikethrough", "table"]).disable(["html_block", "html_inline", "entity"]).parse(text)
        )
