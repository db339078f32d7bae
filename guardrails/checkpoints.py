"""Where the output rail looks at an answer, and how much of it: at sentence ends, and at gaps or words where none comes.

It depends on the text alone, never on how the text arrives. All lengths are in UTF-8 bytes, which go with tokens in every
script. A check costs a pass of the classifier, as long as a model takes for one token or less, and a pass reads about 300 bytes
beside the prompt. So a check comes every 30 tokens or so, is mostly one pass, and reads what is new with as much before it.
Knows no guard.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from .rules import Finding

_LEAST, _MOST, _LONGEST = 96, 160, 320
"""A check comes at the first sentence end after the least, the first gap after the most, inside a word after the longest."""
_REACH = 300
"""How far back an excerpt goes."""
LOOKBACK = 8
"""Characters before an excerpt or a check that are looked at to place it."""
_RUN, _KEY = 256, 20_000
"""The longest piece of text, in characters, that waits because it may become a number, or a key of many lines."""
_GROUP = 5
"""The longest group of letters inside a number."""
_STOPS, _WIDE_STOPS, _WIDE_GAPS, _CLOSERS = ".!?:;…", "。！？｡", "，、；：", "\"')]}»”’」』）】*_`"
_WORD = re.compile(r"[!-~]+")


class Scanner:
    """Finds the places to check at in a text that grows."""

    def __init__(self) -> None:
        """Begin before the first character."""
        self.at = 0
        """How far the text was scanned."""
        self.found = 0
        """How many places were found."""
        self._weight = 0

    def next(self, text: str, final: bool) -> int | None:
        """Return the next place, if the text has it; `final`: no more text comes, and its end is the last place.

        Whether a place is one depends on the text up to the one character behind it. An empty text has one place.
        """
        while self.at + 1 < len(text):
            self._weight += _size(text[self.at])
            self.at += 1
            if self._weight >= _LEAST and _is_place(text, self.at, self._weight):
                return self._place(self.at)
        if final and (self.at < len(text) or self._weight or not self.found):
            return self._place(len(text))
        return None

    def _place(self, at: int) -> int:
        self.at, self._weight, self.found = at, 0, self.found + 1
        return at


def excerpts(answer: str) -> Iterator[str]:
    """Yield what the rail reads of a finished answer at each check, as long as it holds nothing back."""
    scanner, last = Scanner(), 0
    while (place := scanner.next(answer, final=True)) is not None:
        yield answer[min(excerpt_start(answer, place), last) : place]
        last = place


def excerpt_start(text: str, place: int) -> int:
    """Return where the excerpt that ends at a place begins: within reach, and at a word if one begins soon."""
    start = reach(text, place)
    words = (at for at in range(start, min(start + 32, place)) if text[at - 1].isspace())
    return start and next(words, start)


def reach(text: str, place: int) -> int:
    """Return the earliest character that an excerpt which ends at a place may begin with."""
    start, left = place, _REACH
    while start > 0 and left > 0:
        start -= 1
        left -= _size(text[start])
    return start


def ends_sentence(text: str, at: int) -> bool:
    """Tell whether a sentence ends right before the character at `at`."""
    end = at
    while at - end < LOOKBACK // 2 and end > 1 and text[end - 1] in _CLOSERS:
        end -= 1
    if text[at - 1] == "\n" or (text[end - 1] in _STOPS and text[at].isspace()):
        return True
    return text[end - 1] in _WIDE_STOPS and text[at] not in _CLOSERS


def settled(text: str, found: Sequence[Finding], inside: bool) -> int:
    """Return up to where no personal data can grow or begin with what comes next; `inside`: the text ends inside a word.

    Numbers are written in groups, some of them of letters; an address is one word; a key may have many lines.
    """
    end = at = len(text)
    for word in reversed(list(_WORD.finditer(text, max(0, at - _RUN)))):
        if text[word.end() : at].strip():
            break
        if any(char.isdigit() for char in word[0]) or (inside and word.end() == len(text)):
            end = word.start()
        elif len(word[0]) > _GROUP:
            break
        at = word.start()
    end = min([end, *(each.start for each in found if each.start < end and not text[each.end : end].strip())])
    key = text.rfind("-----BEGIN")
    if key >= 0 and "-----END" not in text[key:]:
        end = min(end, key)
    return end if len(text) - end < _KEY else len(text)


def _size(char: str) -> int:
    """Return the length of a character in UTF-8."""
    return 1 + (char > "\x7f") + (char > "\u07ff") + (char > "\uffff")


def _is_place(text: str, at: int, weight: int) -> bool:
    if ends_sentence(text, at):
        return True
    if weight >= _MOST and (text[at].isspace() or text[at - 1] in _WIDE_GAPS):
        return True
    return weight >= _LONGEST and (weight >= 2 * _LONGEST or not _one_character(text[at - 1], text[at]))


def _one_character(before: str, after: str) -> bool:
    """Tell whether two may be one on the screen: marks, joiners, skin tones, flags, halves of a surrogate pair."""
    flag = "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff"
    tone = "\U0001f3fb" <= after <= "\U0001f3ff"
    return flag or tone or before == "\u200d" or unicodedata.category(after) in ("Mn", "Mc", "Me", "Cf", "Cs")
