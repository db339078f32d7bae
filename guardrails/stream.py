"""The output rail on text that is still being written: nothing is released that was not checked.

Text is held back until a sentence ends; then the whole answer so far is checked, and released or stopped there.
It knows no engine: pieces come in, checked text goes out.
"""

import itertools
import re
from collections.abc import Iterable, Iterator

from .guard import Guard, Verdict

_SENTENCE_END = re.compile(r"[.!?:;。！？](?=[\s\"')\]]|$)|\n")
_MOST_HELD = 240
"""Characters after which the rail checks even without a sentence end."""


def checked(guard: Guard, prompt: str, pieces: Iterable[str]) -> Iterator[tuple[str, Verdict]]:
    """Yield text with the verdict that let it pass, or once no text and the verdict that stops it."""
    seen, released = "", 0
    # None after the last piece: what is still held back is checked and released.
    for piece in itertools.chain(pieces, [None]):
        seen += piece or ""
        end = len(seen) if piece is None else _release_point(seen, released)
        if end > released:
            verdict = guard.check_output(prompt, seen[:end])
            if verdict.blocked:
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
