"""Words that are English when their signs stand for others: leetspeak, ROT13 and its like, reversed and upside-down words.

Knows nothing of categories, models or encodings. Nothing is read but stretches that are clearly more English then.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .language import COMMON, LETTERS, WORD, merit, order, weight


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


def ciphers(text: str) -> list[Edit]:
    """Return the stretches of words that read better in ROT13, another shift, Atbash or backwards."""
    return _ciphered(text, _CIPHERS)


def upside_down(text: str) -> list[Edit]:
    """Return the stretches of words that are written in turned letters, the lines turned with them or not."""
    return [] if frozenset("ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ").isdisjoint(text) else _ciphered(text, _TURNED)


def leetspeak(text: str) -> list[Edit]:
    """Return the words in which digits and signs stand for letters, and what may be such right beside those."""
    found = [(match.start(), match[0][:1] + match[0][1:].rstrip("!")) for match in _LEET_WORD.finditer(text)]
    # Where l is written as l, or i as i, the signs for both stand for the other.
    letters = {letter for _, word in found for letter in word.lower()}
    for_i = 1.0 + 2 * ("l" in letters) - 3 * ("i" in letters)
    says = [_unleeted(word, for_i) for _, word in found]
    sure = [
        _is_word(new, 0.35)
        and bool(_MIXED.match(word) and _BEFORE.match(text, start) and _AFTER.match(text, start + len(word)))
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
_TURNED = _family(_Cipher(_TURNED_HOW, _TURNED_LETTERS, backwards=True), _Cipher(_TURNED_HOW, _TURNED_LETTERS))
_CIPHERS = _family(
    _Cipher("reversed", {}, backwards=True),
    _alphabet("rot13", LETTERS[13:] + LETTERS[:13]),
    _alphabet("atbash", LETTERS[::-1]),
    # By chance two letters are a word in one or other of the many shifts.
    *(_alphabet(f"rot{by}", LETTERS[by:] + LETTERS[:by], shortest=3) for by in range(1, 26) if by != 13),
)
# Logarithms of likelihood: the least that a stretch of words must gain in all and for each, the most it may lose on the way.
_GAIN, _GAIN_EACH, _DROP = 9.0, 2.5, 9.0
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
    starts = [match.start() for match in _WHOLE_WORD.finditer(text)]
    found: list[tuple[float, int, int, int]] = []
    scored = 0
    for number, at in sorted(places.items(), key=lambda item: len(item[1]), reverse=True):
        for first, last in _around(at, len(words)):
            if (scored := scored + last - first) <= _MOST_SCORED:
                stretches = _stretches(words[first:last], starts[first:last], family.ciphers[number])
                found += ((gain, first + begin, first + end, number) for gain, begin, end in stretches)
    taken, kept = bytearray(len(words)), []
    for _, first, last, number in sorted(found, reverse=True):
        if not any(taken[first:last]):
            taken[first:last] = b"\1" * (last - first)
            end = starts[last - 1] + len(words[last - 1])
            kept.append(_deciphered(text, starts[first], end, family.ciphers[number]))
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


def _stretches(words: Sequence[str], starts: Sequence[int], cipher: _Cipher) -> Iterator[tuple[float, int, int]]:
    """Yield the stretches of words that gain from a cipher, two or more, a fifth of them common: gain, first word, end."""
    says = [cipher.read(word) for word in words]
    gains = [merit(new) - merit(old) for new, old in zip(says, words, strict=True)]
    begin = end = least = 0
    gain = most = 0.0
    for at in range(len(words) + 1):
        cut = at == len(words) or (at > 0 and starts[at] - starts[at - 1] - len(words[at - 1]) > _GAP)
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


_LEET = {"0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "gb", "7": "t", "8": "b", "9": "g"}
_LEET |= {"@": "a", "$": "s", "!": "il", "|": "li", "+": "t", "(": "c", "€": "e", "£": "l", "¢": "c"}
# Digits and signs in a word, or alone.
_LEET_WORD = re.compile(r"(?<![\w@$!|+(€£¢])[a-zA-Z]{0,24}+[0-9@$!|+(€£¢][a-zA-Z0-9@$!|+(€£¢]{0,24}+")
# What stands before and after a word by itself, not a part of a name, a number, an address or a line of code.
_BEFORE = re.compile(r"(?<![^\s\"'“‘*(\[>,])")
_AFTER = re.compile(r"[\"'”’*)\],;:.?!…]{0,3}(?!\S)")
# Letters and signs that take turns, but not as in a hash.
_MIXED = re.compile("(?![0-9a-f]{6,}$).*?(?:[a-zA-Z][0-9@$!]+[a-zA-Z]|[0-9@$!][a-zA-Z]+[0-9@$!])")
_BESIDE = 48
"""Characters on either side within which one word of leetspeak makes others likely."""


def _is_word(word: str, least: float) -> bool:
    return word.lower() in COMMON or (len(word) > 2 and weight(word) > least * (len(word) + 1))


def _unleeted(word: str, for_i: float) -> str:
    """Return the best of what a word may say, in letters alone; empty where there is no such reading."""
    choices = [_LEET.get(sign, sign) for sign in word]
    if sum(len(choice) > 1 for choice in choices) > 4:
        choices = [choice[0] for choice in choices]
    best = max(map("".join, itertools.product(*choices)), key=lambda says: merit(says) - for_i * says.count("l"))
    return best if best.isalpha() else ""
