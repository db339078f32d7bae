"""Other spellings of the same text: what a reader sees, whatever the code points are.

Knows nothing of categories or models. Every function is linear in the length of its input.
"""

import re
import unicodedata

# Latin look-alikes that NFKC leaves alone (Cyrillic, Greek); capitals are lowered first.
_LOOKALIKES = str.maketrans("аеорсухіјѕԁһкмтвнгαορεντικυ", "aeopcyxijsdhkmtbhraopevtiky")
_SPACED = re.compile(r"(?<!\w)(?:\w[ .\-_*]){3,}\w(?!\w)")
_INVISIBLE = {"Cf", "Cc", "Co", "Cs", "Mn"}


def forms(text: str) -> tuple[str, ...]:
    """Return the text and its plain spelling if that differs; the guard judges by the worse of them."""
    plain = plain_spelling(text)
    return (text,) if plain == text else (text, plain)


def plain_spelling(text: str) -> str:
    """Undo compatibility characters, invisible characters, look-alike letters and s p a c e d letters."""
    kept = "".join(
        " " if char in "\n\t\r" else char
        for char in unicodedata.normalize("NFKC", text)
        if char in "\n\t\r" or unicodedata.category(char) not in _INVISIBLE or _is_script_mark(char)
    )
    if any("Ͱ" <= char <= "ԯ" for char in kept) and re.search("[a-z]", kept, re.IGNORECASE):
        kept = " ".join(_latin(word) for word in kept.split(" "))
    kept = _SPACED.sub(lambda match: re.sub(r"[ .\-_*]", "", match[0]), kept)
    return re.sub(r"\s+", " ", kept).strip()


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which no tokenizer can read."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _latin(word: str) -> str:
    """Map look-alikes in a word that mixes scripts; a wholly Cyrillic or Greek word is left as it is."""
    lowered = word.lower()
    mixed = re.search("[a-z]", lowered) is not None or len(lowered) == 1
    return lowered.translate(_LOOKALIKES) if mixed else word


def _is_script_mark(char: str) -> bool:
    """Tell whether a combining mark belongs to a script that needs it (not a Latin accent stacked to hide a word)."""
    return unicodedata.category(char) == "Mn" and not "̀" <= char <= "ͯ"
