"""What is written in code: base64, hex, ROT13, Morse, leetspeak and the like, each read in place where it stands.

Knows nothing of categories or models. A reading counts only if it is language, and more so than what was written.
Every function is linear in the length of its input: long runs are read in pieces, and no pattern goes over a place twice.
"""

import base64
import binascii
import html
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from .language import COMMON, LETTERS, WORD, is_language, merit, order, weight


class Edit(NamedTuple):
    """One run of a text and what it says."""

    start: int
    """Where the run begins."""
    end: int
    """Where it ends."""
    text: str
    """What it says."""
    how: str
    """How it was written: base64, hex, rot13 ..."""
    backwards: bool = False
    """Whether the last character of the run is the first of what it says."""


# --- runs: one pattern finds the run, one function reads it -----------------------------------------------------------

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
    return text if len(text) == 1 else f" {text} "


def _selectors(run: str, reads: _Reads) -> str | None:
    return _text(bytes(ord(char) - (0xFE00 if char < "\uff00" else 0xE0100 - 16) for char in run), reads)


def _morse(run: str, reads: _Reads) -> str | None:
    run = run.translate(_MORSE_SIGNS)
    words = [letters.split() for letters in re.split(r" *[/|\n] *| {2,}", run)]
    if any(letter not in _MORSE for letters in words for letter in letters):
        return None
    text = " ".join("".join(map(_MORSE.__getitem__, letters)) for letters in words)
    return text if reads(text) else None


_MORSE_SIGNS = str.maketrans({"…": "...", "—": "--", "–": "-", "−": "-", "_": "-", "·": ".", "•": "."})
_MORSE_LETTERS = """
.- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..
----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.-.- --..-- ..--.. .----. -.-.-- -..-. -....- ---...
"""
_MORSE = dict(zip(_MORSE_LETTERS.split(), LETTERS + "0123456789.,?'!/-:", strict=True))


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
    _reader("tags", _tags, "[\U000e0020-\U000e007e]++", before="(?<!\U0001f3f4)"),
    _reader("selectors", _selectors, "[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,512}+"),
    _reader("morse", _morse, r"[.\-_–—…−·•]{1,7}(?:[ /|\n]{1,7}[.\-_–—…−·•]{1,7}){3,512}+", before=r"(?<![^\s\"'(:])"),
)
_ENCODED: Sequence[_Reader] = (
    _reader("url", _url, r"%[0-9A-Fa-f]{2}(?:[^\s%]{0,24}%[0-9A-Fa-f]{2}){0,512}+"),
    _reader("html", _references, r"(?:&(?:amp;)?(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,8});?){1,512}+"),
    _reader("escapes", _escapes, r"(?:\\(?:u[0-9A-Fa-f]{4}|[xX][0-9A-Fa-f]{2}|u\{[0-9A-Fa-f]{1,6}\})){1,512}+"),
    _reader("escapes", _escapes, r"(?:U\+[0-9A-F]{4,6} ?){1,512}+"),
    _reader("octal", _octal, r"(?:\\[01][0-7]{2}){2,512}+"),
    _reader("binary", _binary, "(?:[01]{8}[ ,]{0,2}){3,512}+", before="(?<![0-9])"),
    _reader("hex", _hex, r"(?:(?:0x|\\x|=|%)?[0-9A-Fa-f]{2}[ ,:;\-]{0,2}){4,512}+", before="(?<![0-9A-Za-z])"),
    _reader("decimal", _decimal, "[0-9]{2,3}(?:[ ,;]{1,2}[0-9]{2,3}){4,512}+", before="(?<![0-9.])"),
    _reader(
        "base32", _base32, "(?:[A-Z2-7]{16,512}+|[a-z2-7]{16,512}+|[A-Za-z2-7]{7,14}(?==))={0,6}", before="(?<![A-Za-z0-9])"
    ),
    # The last piece takes what would be too short alone.
    _reader(
        "base64",
        _base64,
        r"(?:[\w+/\-]{512}(?=[\w+/\-]{8})|[\w+/\-]{8,519}+|[\w+/\-]{6,7}(?==))={0,2}",
        before=r"(?<![\w+/\-])",
    ),
)


def hidden(text: str, nested: int = 1) -> list[Edit]:
    """Return what must be read before anything is made plain: tags, variation selectors, Morse, upside-down letters.

    What comes out may be written in code again, `nested` times.
    """
    edits, rest = _runs(text, _HIDDEN, nested)
    return sorted(edits if _UPSIDE_DOWN_ONLY.isdisjoint(rest) else edits + _ciphered(rest, _TURNED))


def encoded(text: str, nested: int = 1) -> list[Edit]:
    """Return what a plain text says in codes, ciphers and leetspeak, in order and without overlaps."""
    edits, rest = _runs(text, _ENCODED, nested)
    found = _leetspeak(rest)
    return sorted(edits + found + _ciphered(_blanked(rest, found), _CIPHERED))


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


# --- ciphers: stretches of words that are better English when every letter stands for another --------------------------


class _Cipher(NamedTuple):
    """A way to write every letter as another one, or from the end."""

    how: str
    table: Mapping[int, int]
    """What each letter stands for."""
    backwards: bool = False
    shortest: int = 2
    """Letters of the shortest common word that is a sign of this cipher."""

    def read(self, text: str) -> str:
        text = text.translate(self.table)
        return text[::-1] if self.backwards else text


class _Family(NamedTuple):
    """Ciphers that are tried together."""

    ciphers: Sequence[_Cipher]
    signs: Mapping[str, Sequence[int]]
    """Common words as the ciphers write them, but for those that are words again -> which of the ciphers."""


def _family(*ciphers: _Cipher) -> _Family:
    signs = defaultdict(list)
    for number, cipher in enumerate(ciphers):
        writes = {says: written for written, says in cipher.table.items()}
        for word in COMMON:
            written = word.translate(writes)[:: -1 if cipher.backwards else 1]
            # Of the upside-down letters half are letters as they stand: only the others are a sign.
            if len(word) >= cipher.shortest and written not in COMMON and not (cipher.how == _TURNED_HOW and written.isascii()):
                signs[written].append(number)
    return _Family(ciphers, signs)


def _alphabet(how: str, letters: str, shortest: int = 2) -> _Cipher:
    return _Cipher(how, str.maketrans(LETTERS + LETTERS.upper(), letters + letters.upper()), shortest=shortest)


_TURNED_HOW = "upside-down"
_TURNED_LETTERS = str.maketrans("ɓıſɐqɔpǝɟƃɥᴉɾʞןɯuodbɹʇnʌʍʎƆƎℲԀᴚΛ¿¡˙", "gijabcdefghijklmnopqrtuvwyCEFPRV?!.")
_UPSIDE_DOWN_ONLY = frozenset("ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ")
_TURNED = _family(_Cipher(_TURNED_HOW, _TURNED_LETTERS, backwards=True), _Cipher(_TURNED_HOW, _TURNED_LETTERS))
_CIPHERED = _family(
    _Cipher("reversed", {}, backwards=True),
    _alphabet("rot13", LETTERS[13:] + LETTERS[:13]),
    _alphabet("atbash", LETTERS[::-1]),
    # By chance two letters are a word in one or other of the many shifts.
    *(_alphabet(f"rot{by}", LETTERS[by:] + LETTERS[:by], shortest=3) for by in range(1, 26) if by != 13),
)
# Logarithms of likelihood: the least that a stretch of words must gain in all and for each, the most it may lose on the way.
_GAIN, _GAIN_EACH, _DROP = 9.0, 1.5, 9.0
_GAP, _AROUND, _MOST_SCORED = 8, 12, 400_000
"""Most characters between two words of a stretch; words looked at on either side of a sign; words scored in all."""
_WHOLE_WORD = re.compile(r"(?<![\w@$])[^\W\d_]++(?![\w@$])")


def _ciphered(text: str, family: _Family) -> list[Edit]:
    """Return the stretches of words that read better in one of these ciphers, the clearest where they overlap."""
    words = _WHOLE_WORD.findall(text)
    places = defaultdict(list)
    for at, word in enumerate(words):
        for number in family.signs.get(word.lower(), ()):
            places[number].append(at)
    if not places:
        return []
    spans = [match.span() for match in _WHOLE_WORD.finditer(text)]
    found: list[tuple[float, int, int, int]] = []
    scored = 0
    for number, at in sorted(places.items(), key=lambda item: len(item[1]), reverse=True):
        for first, last in _around(at, len(words)):
            if (scored := scored + last - first) <= _MOST_SCORED:
                stretches = _stretches(words[first:last], spans[first:last], family.ciphers[number])
                found += ((gain, first + begin, first + end, number) for gain, begin, end in stretches)
    taken, kept = bytearray(len(words)), []
    for _, first, last, number in sorted(found, reverse=True):
        if not any(taken[first:last]):
            taken[first:last] = b"\1" * (last - first)
            kept.append(_deciphered(text, spans[first][0], spans[last - 1][1], family.ciphers[number]))
    return kept


def _around(places: Sequence[int], count: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of words around these places, joined where they meet."""
    first = last = max(places[0] - _AROUND, 0)
    for at in places:
        if at - _AROUND > last:
            yield first, last
            first = at - _AROUND
        last = min(at + _AROUND + 1, count)
    yield first, last


def _stretches(words: Sequence[str], spans: Sequence[tuple[int, int]], cipher: _Cipher) -> Iterator[tuple[float, int, int]]:
    """Yield the stretches of words that gain from a cipher, two or more, a fifth of them common: gain, first word, end."""
    says = [cipher.read(word) for word in words]
    gains = [merit(new) - merit(old) for new, old in zip(says, words, strict=True)]
    begin = end = least = 0
    gain = most = 0.0
    for at in range(len(words) + 1):
        cut = at == len(words) or (at > 0 and spans[at][0] - spans[at - 1][1] > _GAP)
        if cut or gain < max(0.0, most - _DROP):
            known = sum(word.lower() in COMMON for word in says[begin:end])
            if most >= max(_GAIN, _GAIN_EACH * (end - begin)) and 5 * known >= end - begin > 1:
                # Words at the edges that could be either belong to it as well.
                while begin > least and _either(gains[begin - 1], words[begin - 1], says[begin - 1]):
                    begin -= 1
                while end < at and _either(gains[end], words[end], says[end]):
                    end += 1
                yield most, begin, end
                least = end
            gain = most = 0.0
            least = at if cut else least
        if at < len(words):
            begin = at if gain == 0 else begin
            gain += gains[at]
            if gain > most:
                most, end = gain, at + 1


def _either(gain: float, word: str, says: str) -> bool:
    return gain > -len(word) and (says.lower() in COMMON or word.lower() not in COMMON)


def _deciphered(text: str, start: int, end: int, cipher: _Cipher) -> Edit:
    written = text[start:end]
    readings = [cipher.read(written)]
    if cipher.how == "reversed":
        # Words may be reversed where they stand, with what is written on to them or without.
        readings += [re.sub(each, lambda word: word[0][::-1], written) for each in (r"\S+", WORD)]
    best = max(readings, key=order)
    return Edit(start, end, best, cipher.how, cipher.backwards and best is readings[0])


# --- leetspeak ---------------------------------------------------------------------------------------------------------

_LEET = {"0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "gb", "7": "t", "8": "b", "9": "g"}
_LEET |= {"@": "a", "$": "s", "!": "il", "|": "li", "+": "t", "(": "c", "€": "e", "£": "l", "¢": "c"}
# Digits and signs in a word, or alone.
_LEET_WORD = re.compile(r"(?<![\w@$!|+(€£¢])[a-zA-Z]{0,24}+[0-9@$!|+(€£¢][a-zA-Z0-9@$!|+(€£¢]{0,24}+")
# What stands before and after a word by itself, not a part of a name, a number, an address or a line of code.
_BEFORE = re.compile(r"(?<![^\s\"'“‘*(\[>,])")
_AFTER = re.compile(r"[\"'”’*)\],;:.?!…]{0,3}(?!\S)")
_MIXED = re.compile("[a-zA-Z][0-9@$!]+[a-zA-Z]|[0-9@$!][a-zA-Z]+[0-9@$!]")
_BESIDE = 48
"""Characters on either side within which one word of leetspeak makes others likely."""


def _leetspeak(text: str) -> list[Edit]:
    """Return the words in which digits and signs stand for letters, and what may be such right beside those."""
    found = [(match.start(), match[0][:1] + match[0][1:].rstrip("!")) for match in _LEET_WORD.finditer(text)]
    says = [_unleeted(word) for _, word in found]
    sure = [
        _is_word(new, 0.35)
        and bool(_MIXED.search(word) and _BEFORE.match(text, start) and _AFTER.match(text, start + len(word)))
        for (start, word), new in zip(found, says, strict=True)
    ]
    edits = []
    for at, (start, word) in enumerate(found):
        around = range(max(at - 5, 0), min(at + 6, len(found)))
        beside = sum(sure[other] and abs(found[other][0] - start) < _BESIDE for other in around)
        # A number stays one unless it says something among words of leetspeak.
        if sure[at] or (beside and _is_word(says[at], 0.35 if beside < 2 or word.isdigit() else -0.2)):
            edits.append(Edit(start, start + len(word), says[at], "leetspeak"))
    return edits


def _is_word(word: str, least: float) -> bool:
    return word.lower() in COMMON or (len(word) > 2 and weight(word) > least * (len(word) + 1))


def _unleeted(word: str) -> str:
    """Return the best of what a word may say, in letters alone; empty where there is no such reading."""
    choices = [_LEET.get(sign, sign) for sign in word]
    if sum(len(choice) > 1 for choice in choices) > 4:
        choices = [choice[0] for choice in choices]
    # The signs that say i or l say i more often.
    best = max(map("".join, itertools.product(*choices)), key=lambda says: merit(says) - says.count("l"))
    return best if best.isalpha() else ""
