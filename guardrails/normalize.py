"""Other spellings of the same text: what a reader sees, whatever the code points are.

Knows nothing of categories or models. Every function is linear in the length of its input.
"""

import re
import unicodedata

# Latin look-alikes that NFKC leaves alone (Cyrillic, Greek); capitals are lowered first, which splits the dot off İ.
_LOOKALIKES = str.maketrans("аеорсухіјѕԁһкмтвнгαορεντικυ", "aeopcyxijsdhkmtbhraopevtiky", "\u0307")
# Four letters or more with the same between them ("m a k e  a  b.o.m.b" is three words), then with any one sign between.
_EVENLY_SPACED = re.compile(r"(?<!\w)[^\W_]([ .\-_*]+)[^\W_](?:\1[^\W_]){2,}(?!\w)")
_SPACED = re.compile(r"(?<!\w)(?:[^\W_][ .\-_*]){3,}[^\W_](?!\w)")
_INVISIBLE = {"Cf", "Cc", "Co", "Cs"}
# Accents stacked on any letter, variation selectors and empty letters; the marks a script needs are not among them.
_HIDING = re.compile(
    "[\u0300-\u036f\u115f\u1160\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u2800\ufe00-\ufe0f\ufe20-\ufe2f"
    "\U000e0100-\U000e01ef]"
)


def forms(text: str) -> tuple[str, ...]:
    """Return the text and its plain spelling if that differs; the guard judges by the worse of them."""
    plain = plain_spelling(text)
    return (text,) if plain == text else (text, plain)


def plain_spelling(text: str) -> str:
    """Undo compatibility characters, invisible characters, look-alike letters and s p a c e d letters."""
    seen = _HIDING.sub("", unicodedata.normalize("NFKC", text))
    seen = "".join(char for char in seen if char.isspace() or unicodedata.category(char) not in _INVISIBLE)
    # Only now do neighbours meet that something invisible stood between.
    seen = re.sub(r"\s", " ", unicodedata.normalize("NFKC", seen))
    seen = _SPACED.sub(_joined, " ".join(_EVENLY_SPACED.sub(_joined, seen).split()))
    return " ".join(_latin(word) for word in seen.split(" "))


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which no tokenizer can read."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _joined(match: re.Match[str]) -> str:
    return re.sub(r"[ .\-_*]", "", match[0])


def _latin(word: str) -> str:
    """Map look-alikes in a word that mixes scripts; a wholly Cyrillic or Greek word is left as it is."""
    if not any("Ͱ" <= char <= "ԯ" for char in word):
        return word
    lowered = word.lower()
    return lowered.translate(_LOOKALIKES) if re.search("[a-z]", lowered) else word
