"""What a person types: lines with history and editing, several lines in one message, and Ctrl-C while an answer comes."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth, create_output

_MOST_BYTES = 1_000_000


def history_file() -> Path:
    """Return where what was typed is kept between runs: `breakfix/history` in the user's state folder."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "breakfix" / "history"


def typed(commands: Iterable[str], history: Path | None, *, color: bool = True) -> Iterator[str]:
    """Yield what a person types, message by message, until Ctrl-D.

    Enter sends; Alt-Enter begins a new line, and a paste may hold several. Ctrl-C empties what is being typed.
    """
    prompt = PromptSession(
        multiline=True,
        key_bindings=_keys(),
        history=_History(history) if history and _usable(history) else InMemoryHistory(),
        completer=WordCompleter([f"/{name}" for name in commands], sentence=True),
        complete_while_typing=False,
        prompt_continuation=lambda width, line, wrapped: "… ".rjust(width),
        output=create_output(always_prefer_tty=True),
        color_depth=None if color else ColorDepth.DEPTH_1_BIT,
    )
    while True:
        try:
            yield prompt.prompt("> ").encode("utf-8", "replace").decode("utf-8")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


@contextmanager
def interruptible(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` at the first Ctrl-C; a second one raises KeyboardInterrupt."""
    before = signal.getsignal(signal.SIGINT)

    def first(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _History(FileHistory):
    """A history that a full disk does not stop."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string.encode("utf-8", "replace").decode("utf-8"))


def _usable(path: Path) -> bool:
    """Make the file, for its owner alone, and tell whether it can be used. One that has grown large is put aside as NAME.1."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _MOST_BYTES:
            os.replace(path, path.with_name(path.name + ".1"))
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(handle, 0o600)  # a file from elsewhere may be open to others
        os.close(handle)
    except OSError:
        return False
    return True


def _keys() -> KeyBindings:
    keys = KeyBindings()

    typing = has_focus(DEFAULT_BUFFER)  # and not a search in the history

    @keys.add("enter", filter=typing)
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=typing)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
