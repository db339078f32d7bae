"""A plain guarded chat at a terminal: one question after another, answers streamed as they pass the guard.

It knows no model format and no policy; it reads lines and prints pieces.
"""

import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..core import artifact
from ..core.errors import ArtifactError
from ..core.progress import console, say
from ..guardrails.guard import SHIPPED
from .engine import ConversationTooLong
from .session import Session


class Bundle(NamedTuple):
    """The two artifacts a chat needs."""

    model: Path
    guard: Path


def find_bundle(model: Path | None, guard: Path | None, runs: Path = Path("runs")) -> Bundle:
    """Return the int4 model and the guard to chat with.

    `model` is an int4 artifact or the folder of a finished cycle; without it the newest cycle under `runs` is taken. The guard
    is the one named, else the one beside the model, else the one that is installed.
    Raises ArtifactError, with the command that makes one, when there is none.
    """
    if model is None:
        cycles = [path.parent for path in runs.glob("*/int4") if (path / artifact.MANIFEST).exists()]
        if not cycles:
            raise ArtifactError(
                f"there is no model under {runs}/; make one with: breakfix train cycle --recipe demo, or name a folder"
            )
        model = max(cycles, key=lambda path: (path / "int4" / artifact.MANIFEST).stat().st_mtime)
    if not (model / artifact.MANIFEST).exists() and (model / "int4").is_dir():
        model = model / "int4"
    if not (model / artifact.MANIFEST).exists():
        raise ArtifactError(f"there is no model in {model}; give an int4 folder or the folder of a finished cycle")
    beside = model.parent / "guard"
    # A guard that lies there unfinished or broken is refused when it is opened, and not exchanged without a word.
    started = beside.exists() or artifact.beside(beside, ".partial").exists()
    return Bundle(model, guard or (beside if started else SHIPPED))


def chat(session: Session, lines: Iterable[str]) -> None:
    """Answer each line; empty ones are passed over. What the guard did is said on standard error."""
    for line in lines:
        if text := line.strip():
            answer(session, text)


def answer(session: Session, text: str) -> None:
    """Print one guarded answer, piece by piece, and say on standard error what befell it."""
    try:
        for piece in session.ask(text):
            print(_shown(piece), end="", flush=True)
    except ConversationTooLong:
        say("(this message alone is longer than the model can read; send a shorter one)")
        return
    print()
    turn = session.last
    if turn is not None and turn.forgotten:
        turns = "turn is" if turn.forgotten == 1 else f"{turn.forgotten} turns are"
        say(f"(the conversation outgrew the model: its oldest {turns} forgotten)")
    if turn is not None and turn.verdict is not None:
        verdict = turn.verdict
        why = "the guard failed" if verdict.failed else f"{verdict.category}, score {verdict.score:.2f}"
        did = "blocked" if verdict.blocked else "took personal data out of" if verdict.action == "redact" else "warned about"
        say(f"(guard: {did} the {verdict.rail}: {why})")
    if turn is not None and turn.taken_back:
        say(f"(guard: the last {turn.taken_back} characters before the message are taken back)")


def _shown(text: str) -> str:
    """Drop what would steer the terminal instead of being read on it."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")


def typed_lines() -> Iterable[str]:
    """Yield what a person types, or the lines of a pipe, until the end of input."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    say("Everything stays on this machine. Ctrl-D ends the chat.")
    while True:
        try:
            yield console.input("[bold]> [/bold]")
        except EOFError:
            return
