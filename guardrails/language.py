"""Tells English from letters in any other order, by common words and by which letters follow each other.

Knows nothing of codes and ciphers. Other scripts count as language where they keep to themselves.
"""

import itertools
import operator
import re
import unicodedata
from collections import Counter

WORD = re.compile(r"[^\W\d_]+")
_COMMON_WORDS = """
a about after again all also am an and answer any anything are as ask at away back be because been before being best
better but buy by call can child could day did different do does down each easy end even every everyone example explain
few find first for from get give go good great had has have he help her here him his home house how i if ignore in
instructions into is it its just keep know last least less let life like list little live long look love made make man
many may me mean might money more most mother much must my name need never new next night no not nothing now of off old
on once one only open or other our out over own part people person place please point put question read right said same
say school see sell send set she should show simple since small so some someone something start step steps still stop
such system take talk tell than thank that the their them then there these they thing things think this those three time
to today together too two under until up us use very want was water way we week well were what when where which while
who why will with without woman word words work world would write year years yes yet you young your
"""
COMMON = frozenset(_COMMON_WORDS.split())
"""Words that English text of any length has some of."""
_SEQUENCES = """
a few, a good, a lot, a new, a small, about a, about my, about the, all the, and a, and how, and i, and the, and what, are
the, are you, as a, at a, at the, before the, by the, can i, can you, could you, do i, do not, do you, does a, does the,
explain how, for a, for me, for my, for the, from a, from my, from the, give me, have a, have to, help me, how can, how could,
how do, how does, how is, how long, how many, how much, how should, how to, i am, i can, i do, i have, i know, i need, i
should, i want, if i, if you, in a, in my, in the, into a, into the, is a, is it, is the, is there, it is, list of, make a,
make it, me a, me how, me the, my own, need to, of a, of my, of the, on a, on my, on the, or a, out of, over the, should i, so
that, tell me, that a, that i, that is, that the, the best, the first, the same, there is, to a, to be, to do, to get, to
make, to my, to the, under the, up a, use a, want to, way to, we can, what are, what can, what do, what does, what is, when i,
where can, where do, which is, who is, why do, why does, will be, with a, with my, with the, without a, without the, write a,
write me, you are, you can, your own
"""
_IN_SEQUENCE = frozenset(tuple(pair.split()) for pair in _SEQUENCES.split(","))
# How much likelier one letter follows another in English words than by chance: e to the 0.7 for each step above 6, counted
# over the words of train/corpus. Rows (the first letter) and columns (the second) are a to z and then the edge of a word.
_LETTER_PAIRS = """
057615616067680608785542627 852180007308218007537110606 805080086076008007476100406 722582417105337206625320509
736764424026573528862545419 710087108006008007367010308 600181577006256107636000409 830291008003228005365000408
547665600047697516772603036 922283325232229322429222225 521292228015364303734030509 833684108048417502655320708
861091007003637702616010608 616784816254156101784410419 545546515156786608678573317 811282067018218607666000408
322222223225222224239432225 734683427054557305765420608 615270066044436520686040309 724082087004227107755040509
656663606027782608870001316 701090018001107102202001305 821382088014168106610000308 726173157113234911386212419
434363205004537504741030009 744393338336337333445343677 767666666446656736875470410
"""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class _Pairs(dict[str, float]):
    """The weight of two neighbouring letters; those of other alphabets say nothing."""

    def __missing__(self, pair: str) -> float:
        return 0.0


_PAIRS = _Pairs(
    (first + second, (int(weight) - 6) * 0.7)
    for first, row in zip(LETTERS + " ", _LETTER_PAIRS.split(), strict=True)
    for second, weight in zip(LETTERS + " ", row, strict=True)
)


def is_language(text: str) -> bool:
    """Tell whether a text reads as English, or as writing in a script that English does not use."""
    seen = re.sub("[ \t\r\n]", "", text)
    words = WORD.findall(text)
    letters = sum(map(len, words))
    marks = 0 if seen.isascii() else sum(unicodedata.category(char)[0] == "M" for char in seen)
    if len(seen) < 4 or not seen.isprintable() or letters + marks < (0.8 if letters < 12 else 0.5) * len(seen):
        return False
    foreign = [char for char in seen if char > "\u0240" and unicodedata.category(char)[0] in "LM"]
    if len(foreign) > len(seen) / 2:
        # Chance hits every script in turn; a writer keeps to one, or to the many blocks of East Asia.
        blocks = Counter(min(ord(char) >> 8, 0x2E) for char in foreign)
        return len(foreign) >= 4 and blocks.most_common(1)[0][1] > 0.8 * len(foreign)
    # Words of some language in Latin letters: chance sets no spaces.
    vowels = sum(map(seen.lower().count, "aeiou"))
    if letters > 19 and letters > 0.8 * len(seen) and 2 < letters / len(words) < 12 and 0.2 < vowels / letters < 0.6:
        return True
    pairs = letters + len(words)
    known = sum(len(word) + 1 for word in words if word.lower() in COMMON)
    return sum(map(weight, words)) + known / 2 > pairs * (0.25 if letters > 11 else 0.4) > 0


def weight(word: str) -> float:
    """Return how much likelier these letters make an English word than by chance, as a logarithm."""
    padded = f" {word.lower()} "
    return sum(map(_PAIRS.__getitem__, map(operator.add, padded, padded[1:])))


def merit(word: str) -> float:
    """Return the weight of a word, common ones set above the rest: e to this is how likely it is English."""
    return weight(word) + 2.0 * (word.lower() in COMMON)


def order(text: str) -> int:
    """Return how well the words of a text follow each other; the same words the other way round have less of it."""
    words = [word.lower() for word in WORD.findall(text)]
    sequences = sum(pair in _IN_SEQUENCE for pair in itertools.pairwise(words))
    stops = len(re.findall(r"\w[.,;:?!](?!\S)", text)) - len(re.findall(r"(?<!\S)[.,;:?!]\w", text))
    return 2 * sequences + 2 * stops + text[:1].isupper() - text.split()[-1][:1].isupper()
