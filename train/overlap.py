"""Finds texts that say the same: exact and near duplicates, and overlap with what we measure with.

Works on words only; knows neither rows nor suites.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

_LEAST = 4
"""Words from which a short text is a question of its own, and not a phrase anybody uses."""
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Return the lower-case words of a text; characters of scripts without spaces count as words."""
    return [part for word in _WORD.findall(text.lower()) for part in (word if _has_no_spaces(word) else [word])]


def ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    """Return the word n-grams of a text; a shorter text is one gram of its own length."""
    found = words(text)
    return {tuple(found[at : at + n]) for at in range(max(len(found) - n, 0) + 1)}


class OverlapIndex:
    """Tells whether a text shares a word n-gram with any of the texts it was built on.

    One of theirs that is shorter than n words, but no shorter than four, overlaps a text that holds it whole; a shorter
    one ("hi there") only a text that is just that.
    """

    def __init__(self, texts: Iterable[str], n: int) -> None:
        """Index the n-grams of some texts."""
        self._n = n
        self._grams = set().union(*(ngrams(text, n) for text in texts))
        self._sizes = {len(gram) for gram in self._grams if len(gram) >= _LEAST}

    def overlaps(self, text: str) -> bool:
        """Tell whether the text shares an n-gram."""
        return any(not self._grams.isdisjoint(ngrams(text, size)) for size in {*self._sizes, self._n})


def near_duplicates(texts: Sequence[str], threshold: float) -> list[int | None]:
    """Return for each text the index of an earlier one that it repeats, or None.

    Repeats means a Jaccard similarity of word 2-gram sets of at least `threshold`; 1.0 finds equal sets only.
    """
    kept: dict[int, set[tuple[str, ...]]] = {}
    by_gram: dict[tuple[str, ...], list[int]] = defaultdict(list)
    found: list[int | None] = []
    for index, text in enumerate(texts):
        grams = ngrams(text, 2)
        shared: dict[int, int] = defaultdict(int)
        for gram in grams:
            for other in by_gram[gram]:
                shared[other] += 1
        twin = next((o for o, both in sorted(shared.items()) if both / (len(grams) + len(kept[o]) - both) >= threshold), None)
        found.append(twin)
        if twin is None:
            kept[index] = grams
            for gram in grams:
                by_gram[gram].append(index)
    return found


def _has_no_spaces(word: str) -> bool:
    """Tell whether a word is written in Chinese characters or kana."""
    return any("぀" <= char <= "ヿ" or "一" <= char <= "鿿" for char in word)
