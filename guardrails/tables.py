"""The constants that a port of the guard needs, as JSON, read off the modules themselves so that no port can drift.

What Python's Unicode data and the tokenizer's library decide is written out too, where another language's would tell otherwise.
`SPEC.md` says what each is for. Knows no port.
"""

import html
import itertools
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from html.entities import html5
from typing import Any

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from ..core.hazards import HAZARDS, HEAD_OF_RAIL, HEADS, JAILBREAK, OWN_HEADS
from . import checkpoints, ciphers, classifier, decode, guard, language, normalize, policy, rules, stream

FORMAT = 2
"""The version of the tables and of the vectors; a port refuses another."""
_PLANES = (range(0x40000), range(0xE0000, 0xE1000))
"""Where characters are assigned; what lies beyond is private or nothing."""


def tables() -> dict[str, Any]:
    """Return the constants that a port needs, ready for JSON: code points as numbers, sets of them as [first, last] pairs."""
    return {
        "format": FORMAT,
        "unicode": {"version": unicodedata.unidata_version, **_unicode()},
        "normalize": {
            "pictured": _mapping(normalize._PICTURED),
            "phonetic": _mapping(normalize._PHONETIC),
            "lookalikes": _mapping(normalize._LOOKALIKES),
            "joining": "".join(sorted(normalize._JOINING)),
            **_limits(normalize, "_LAYERS", "_LONG", "_BLOCK", "_LONGEST", "_AROUND"),
        },
        "language": {
            "common": sorted(language.COMMON),
            "sequences": sorted(" ".join(pair) for pair in language._IN_SEQUENCE),
            "pairs": language._LETTER_PAIRS.split(),
        },
        "ciphers": {
            "turned": _mapping(ciphers._TURNED_LETTERS),
            "leet": ciphers._LEET,
            **_limits(ciphers, "_GAIN", "_GAIN_EACH", "_DROP", "_GAP", "_AROUND", "_MOST_SCORED", "_BESIDE"),
        },
        "decode": {
            "morse": decode._MORSE,
            "morse_signs": {chr(code): signs for code, signs in decode._MORSE_SIGNS.items()},
            "references": {"named": dict(html5), "numbered": _references()},
            **_limits(decode, "_PIECE"),
        },
        "rules": {
            "iban_lengths": rules._IBAN_LENGTHS,
            "issuers": [[low, high, list(lengths)] for low, high, lengths in rules._ISSUERS],
            "files": sorted(rules._FILES),
        },
        "classifier": {
            "heads": list(HEADS), "own_heads": OWN_HEADS, "head_of_rail": HEAD_OF_RAIL,
            **_limits(classifier, "WINDOW", "_OVERLAP", "_PROMPT_SHARE", "_MOST_WINDOWS"),
            **_limits(classifier, "_LONGEST_WORD", "_UNREAD", "_UNKNOWN"),
            "taught": sorted(classifier._TAUGHT),
            "least_log_odds": classifier._LEAST_LOG_ODDS,
            "tokenizer": _tokenizer(),
        },
        "checkpoints": {
            **_limits(checkpoints, "_LEAST", "_MOST", "_LONGEST", "_REACH", "LOOKBACK", "_RUN", "_KEY", "_GROUP"),
            "stops": checkpoints._STOPS, "wide_stops": checkpoints._WIDE_STOPS,
            "wide_gaps": checkpoints._WIDE_GAPS, "closers": checkpoints._CLOSERS,
        },
        "stream": _limits(stream, "_MOST_HELD", "_MOST_CHECKS", "_CONTEXT", "_BUFFER"),
        "guard": {"last_word": guard._LAST_WORD, **_limits(guard, "_LONGEST", "_TURNS", "_JOINED", "_PROMPT")},
        "policy": {"hazards": HAZARDS, "jailbreak": JAILBREAK, "rank": dict(policy._RANK)},
    }  # fmt: skip


def _limits(module: Any, *names: str) -> dict[str, float]:
    return {name.strip("_").lower(): getattr(module, name) for name in names}


def _mapping(table: Mapping[int, int]) -> dict[str, str]:
    return {chr(code): chr(letter) for code, letter in table.items()}


def _ranges(codes: Iterable[int]) -> list[list[int]]:
    """Return ascending code points as [first, last] pairs."""
    runs = itertools.groupby(enumerate(codes), key=lambda pair: pair[1] - pair[0])
    return [[(run := [code for _, code in group])[0], run[-1]] for _, group in runs]


def _codes(holds: Callable[[str], bool]) -> list[list[int]]:
    return _ranges(code for plane in _PLANES for code in plane if not 0xD800 <= code < 0xE000 and holds(chr(code)))


def _unicode() -> dict[str, Any]:
    """Return what JavaScript's Unicode data do not tell, or tell otherwise."""
    scripts: dict[str, list[int]] = {}
    for plane in _PLANES:
        for char in map(chr, plane):
            if char > "\x7f" and char.isalpha():
                scripts.setdefault(unicodedata.name(char, "?").split()[0], []).append(ord(char))
    chars = [chr(code) for plane in _PLANES for code in plane]
    return {
        "combining": _codes(lambda char: unicodedata.combining(char) > 0),
        "scripts": {name: _ranges(codes) for name, codes in sorted(scripts.items())},
        "casefold": {char: char.casefold() for char in chars if char.casefold() != char.lower()},
    }


def _references() -> dict[str, str]:
    """Return the numbers of HTML's character references that stand for another character than their own, or for none."""
    planes = [plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)]
    codes = (*range(0x100), *range(0xFDD0, 0xFDF0), *planes)
    return {str(code): said for code in codes if (said := html.unescape(f"&#{code};")) != chr(code)}


def _tokenizer() -> dict[str, Any]:
    """Return how the tokenizer's library reads single characters, where the rule of SPEC.md does not tell."""
    normal, pieces = BertNormalizer(), BertPreTokenizer()
    read = {chr(code): normal.normalize_str(chr(code)) for plane in _PLANES for code in plane if not 0xD800 <= code < 0xE000}
    split = _codes(lambda char: len(pieces.pre_tokenize_str(f"a{char}a")) == 3)
    apart = {char for char, says in read.items() if len(says) > 2 and says[0] == says[-1] == " "}

    def rule(char: str) -> str:
        if char.isspace():
            return " "
        marked = (each for each in unicodedata.normalize("NFD", char) if read.get(each))
        says = "".join(each.lower() for each in marked)
        return f" {says} " if char in apart else says

    return {
        "dropped": _ranges(ord(char) for char, says in read.items() if not says),
        "punctuation": split,
        "apart": _ranges(sorted(map(ord, apart))),
        "exceptions": {char: says for char, says in read.items() if says and says != rule(char)},
    }
