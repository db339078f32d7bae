"""What is written in code: base64, hex, Morse, escapes and the like, each run read in place where it stands.

Knows nothing of categories or models. A reading counts only if it is language, or once more in code that says something.
Every function is linear in the length of its input: long runs are read in pieces, and no pattern goes over a place twice.
"""

import base64
import binascii
import html
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from .ciphers import Edit, ciphers, leetspeak, upside_down
from .language import LETTERS, is_language

_Reads = Callable[[str], bool]
"""Tells whether a text is worth reading."""


def _text(data: bytes, reads: _Reads) -> str | None:
    """Return the text in bytes: all of it, or the printable part when that is most of it."""
    # A piece of a longer run may begin and end inside a character.
    whole = data.lstrip(_CONTINUATION) if len(data) > 64 else data
    try:
        text = whole.decode()
    except UnicodeDecodeError as broken:
        text = whole[: broken.start].decode() if broken.start > max(64, len(whole) - 4) else ""
    if text and reads(text):
        return text
    if len(data.translate(None, _PRINTABLE)) > 0.4 * len(data):
        return None
    longest = max(re.findall(rb"[\t\n\r -~]{12,}", data), key=len, default=b"").decode()
    return longest if len(data) > len(longest) > 0.6 * len(data) and reads(longest) else None


_CONTINUATION = bytes(range(0x80, 0xC0))
_PRINTABLE = bytes((9, 10, 13, *range(0x20, 0x7F)))


def _base64(run: str, reads: _Reads) -> str | None:
    if run.islower():
        return None  # no text comes out of small letters alone
    run = run.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    # What stands right before the run may look like a part of it.
    for shift in range(4 if len(run) > 23 else 1):
        part = run[shift:]
        part = part[: len(part) - (len(part) % 4 == 1)]
        if text := _text(binascii.a2b_base64(part + "=" * (-len(part) % 4)), reads):
            return text
    return None


def _base32(run: str, reads: _Reads) -> str | None:
    run = run.rstrip("=").upper()
    run = run[: len(run) - (len(run) % 8 in (1, 3, 6))]
    return _text(base64.b32decode(run + "=" * (-len(run) % 8)), reads)


def _hex(run: str, reads: _Reads) -> str | None:
    return _text(bytes.fromhex(re.sub("0x|[^0-9a-f]", "", run.lower())), reads)


def _binary(run: str, reads: _Reads) -> str | None:
    digits = re.sub("[^01]", "", run)
    return _text(int(digits, 2).to_bytes(len(digits) // 8, "big"), reads)


def _decimal(run: str, reads: _Reads) -> str | None:
    codes = [int(code) for code in re.findall(r"\d+", run)]
    return _text(bytes(codes), reads) if max(codes) < 256 else None


def _octal(run: str, reads: _Reads) -> str | None:
    return _text(bytes(int(code, 8) for code in run[1:].split("\\")), reads)


def _escapes(run: str, reads: _Reads) -> str | None:
    codes = [int(code, 16) for code in re.findall("[0-9a-f]+", run.lower())]
    units = "".join(map(chr, codes)) if max(codes) < 0x110000 else ""
    return _needless(units.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), reads)


def _references(run: str, reads: _Reads) -> str | None:
    return _needless(html.unescape(html.unescape(run)), reads)


def _needless(text: str, reads: _Reads) -> str | None:
    """Return what escapes stand for if there are letters among it that need none, or if it is worth reading."""
    return text if re.search("[A-Za-z]", text) or reads(text) else None


def _url(run: str, reads: _Reads) -> str | None:
    text = unquote(unquote(unquote(run)))
    needless = re.search("%(?:25)*(?:4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])", run.lower())
    # An address with a space or two in it is only an address.
    return text if needless or (run.count("%") > 3 and reads(text)) else None


def _tags(run: str, reads: _Reads) -> str | None:
    text = "".join(chr(ord(char) - 0xE0000) for char in run)
    return text if len(text) == 1 else f" {text}"


def _selectors(run: str, reads: _Reads) -> str | None:
    return _text(bytes(ord(char) - (0xFE00 if char < "\uff00" else 0xE0100 - 16) for char in run), reads)


def _morse(run: str, reads: _Reads) -> str | None:
    run = run.translate(_MORSE_SIGNS)
    words = [letters.split() for letters in re.split(r" *[/|\n] *| {2,}", run)]
    if any(letter not in _MORSE for letters in words for letter in letters):
        return None
    text = " ".join("".join(_MORSE[letter] for letter in letters) for letters in words)
    return text if reads(text) else None


_MORSE_SIGNS = str.maketrans({"…": "...", "—": "--", "–": "-", "−": "-", "_": "-", "·": ".", "•": "."})
_MORSE_LETTERS = """
.- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..
----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.-.- --..-- ..--.. .----. -.-.-- -..-. -....- ---...
"""
_MORSE: dict[str, str] = dict(zip(_MORSE_LETTERS.split(), LETTERS + "0123456789.,?'!/-:", strict=True))


class _Reader(NamedTuple):
    """How to find the runs of one code and what they say."""

    how: str
    run: re.Pattern[str]
    """A run, or the first piece of a long one."""
    more: re.Pattern[str]
    """The next piece."""
    read: Callable[[str, _Reads], str | None]
    """Returns what a run says, or None if it says nothing."""

    def find(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the runs, long ones in pieces."""
        end = 0
        for match in self.run.finditer(text):
            piece: re.Match[str] | None = match
            while piece and piece.start() >= end:
                yield piece
                end = piece.end()
                piece = self.more.match(text, end) if end - piece.start() >= _PIECE else None


_PIECE = 512
"""Characters of a piece of a long run; whole groups of every code."""


def _reader(how: str, read: Callable[[str, _Reads], str | None], run: str, before: str = "") -> _Reader:
    return _Reader(how, re.compile(before + run, re.ASCII), re.compile(run, re.ASCII), read)


_HIDDEN: Sequence[_Reader] = (
    # The tags after a black flag name a country.
    _reader("tags", _tags, "[\U000e0020-\U000e007e]++", "(?<![\U0001f3f4\U000e0020-\U000e007e])"),
    _reader("selectors", _selectors, "[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,512}+"),
    _reader("morse", _morse, r"[.\-_–—…−·•]{1,7}(?:[ /|\n]{1,7}[.\-_–—…−·•]{1,7}){3,512}+", r"(?<![^\s\"'(:])"),
)
_ENCODED: Sequence[_Reader] = (
    _reader("url", _url, r"%[0-9A-Fa-f]{2}(?:[^\s%]{0,24}%[0-9A-Fa-f]{2}){0,512}+"),
    _reader("html", _references, r"(?:&(?:amp;)?#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});?){1,512}+"),
    _reader("escapes", _escapes, r"(?:\\(?:u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\})){1,512}+"),
    _reader("escapes", _escapes, r"(?:\\[xX][0-9A-Fa-f]{2}){2,512}+"),
    _reader("escapes", _escapes, r"(?:U\+[0-9A-F]{4,6} ?){1,512}+"),
    _reader("octal", _octal, r"(?:\\[01][0-7]{2}){2,512}+"),
    _reader("binary", _binary, "(?:[01]{8}[ ,]{0,2}){3,512}+", "(?<![0-9])"),
    _reader("hex", _hex, r"(?:(?:0x|\\x|=|%)?[0-9A-Fa-f]{2}[ ,:;\-]{0,2}){4,512}+", "(?<![0-9A-Za-z])"),
    _reader("decimal", _decimal, "[0-9]{2,3}(?:[ ,;]{1,2}[0-9]{2,3}){4,512}+", "(?<![0-9.])"),
    _reader("base32", _base32, "(?:[A-Z2-7]{16,512}+|[a-z2-7]{16,512}+|[A-Za-z2-7]{7,14}(?==))={0,6}", "(?<![A-Za-z0-9])"),
    # The last piece takes what would be too short alone.
    _reader(
        "base64", _base64, "(?:[B]{512}(?=[B]{8})|[B]{8,519}+|[B]{6,7}(?==))={0,2}".replace("B", r"\w+/\-"), r"(?<![\w+/\-])"
    ),
)


def hidden(text: str, nested: int = 1) -> list[Edit]:
    """Return what must be read before anything is made plain: tags, variation selectors, Morse, upside-down letters.

    What comes out may be written in code again, `nested` times.
    """
    edits, rest = _runs(text, _HIDDEN, nested)
    return sorted(edits + upside_down(rest))


def encoded(text: str, nested: int = 1) -> list[Edit]:
    """Return what a plain text says in codes, ciphers and leetspeak, in order and without overlaps."""
    edits, rest = _runs(text, _ENCODED, nested)
    found = leetspeak(rest)
    return sorted(edits + found + ciphers(_blanked(rest, found)))


def _runs(text: str, readers: Sequence[_Reader], nested: int) -> tuple[list[Edit], str]:
    """Return what these readers read, and the text with blanks in its place."""

    def reads(says: str) -> bool:
        code = nested > 0 and len(says) > 11 and says.isascii() and says.isprintable()
        return is_language(says) or (code and bool(hidden(says, nested - 1) or encoded(says, nested - 1)))

    edits: list[Edit] = []
    for reader in readers:
        found: list[Edit] = []
        for match in reader.find(text):
            if (says := reader.read(match[0], reads)) is None:
                continue
            start, last = match.start(), found[-1] if found else None
            # A long run was broken into lines, which plain spelling joined by spaces.
            if last and last.end == start - 1 and last.end - last.start > 39 and text[last.end] == " ":
                found[-1] = last._replace(end=start)
            found.append(Edit(start, start + len(match[0].rstrip()), says, reader.how))
        text = _blanked(text, found)
        edits += found
    return edits, text


def _blanked(text: str, edits: Sequence[Edit]) -> str:
    pieces, at = [], 0
    for edit in sorted(edits):
        pieces += text[at : edit.start], "\n" * (edit.end - edit.start)
        at = edit.end
    return "".join((*pieces, text[at:]))
