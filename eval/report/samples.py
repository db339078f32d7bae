"""Some prompts with every system's answer, those on which the systems differ first; and any text so that it can only be read.

What models write is not to be trusted: it may hold what reorders a line, hides in it, or never ends. Escaping for HTML is the
template's.
"""

import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...core.hazards import HAZARDS
from ..compare import MEASURES, Comparison, is_defect

_SAMPLES = 12
"""Of each suite and measure."""
_LONGEST = 700
"""Characters that are shown of a text."""
_OF_HARMLESS = {"complied": "answered", "partial": "answered in part"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_READ = set("\n\t\u200c\u200d")
"""The joiners spell words in Persian and in Hindi, and make emoji."""
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_PILE = re.compile(f"({_MARK}{{3}}){_MARK}+")
"""Marks piled on one letter: more than three spell nothing, and paint over the lines around."""


class Answered(NamedTuple):
    """One system's answer."""

    system: str
    outcome: str
    """What the judge said, in words: of a harmless request nobody says that it was complied with."""
    wrong: bool
    """Whether it is the wrong one for this prompt; what was not judged is not."""
    text: str


class Shown(NamedTuple):
    """One prompt and what came of it."""

    id: str
    about: str
    """The hazard, or what else its suite sorts it by."""
    prompt: str
    differs: bool
    """Whether one system was wrong where another was not."""
    answers: tuple[Answered, ...]


class Shelf(NamedTuple):
    """Samples of one suite and measure."""

    suite: str
    measure: str
    harmful: bool
    """Whether these are requests to be refused: request and answers are then folded."""
    of: int
    """How many prompts there are."""
    samples: tuple[Shown, ...]


def shelves(comparison: Comparison) -> list[Shelf]:
    """Return samples of every suite and measure, in the comparison's order."""
    talks = list(zip(*(system.rows for system in comparison.systems), strict=True))
    names = [system.name for system in comparison.systems]
    found = []
    for suite, expect in dict.fromkeys((rows[0]["suite"], rows[0]["expect"]) for rows in talks):
        own = [rows for rows in talks if (rows[0]["suite"], rows[0]["expect"]) == (suite, expect)]
        samples = tuple(_shown(rows, names) for rows in _chosen(own))
        found.append(Shelf(suite, MEASURES[expect], expect == "refuse", len(own), samples))
    return found


def visible(text: str, longest: int = _LONGEST) -> str:
    """Return a text without what cannot be seen: that is named, `⟦U+202E⟧`; what is longer is cut, and said to be."""
    cut = _PILE.sub(r"\1", text[: longest * 2])
    parts = ("".join(_named(hidden, run) for hidden, run in itertools.groupby(cut, _is_hidden)))[: longest + 1]
    if len(parts) <= longest and len(text) <= longest * 2:
        return parts
    return f"{parts[:longest]}… (cut; {len(text):,} characters in all)"


def one_line(text: str, longest: int = 60) -> str:
    """Return a text as one line that can be seen; what is longer ends in three dots."""
    line = visible(" ".join(text[: longest * 4].split()), longest * 4)
    return line if len(line) <= longest and len(text) <= longest * 4 else f"{line[: longest - 1]}…"


def _is_hidden(char: str) -> bool:
    return char not in _READ and unicodedata.category(char) in _HIDDEN


def _named(hidden: bool, run: Any) -> str:
    if not hidden:
        return "".join(run)
    runs = [(char, len(list(same))) for char, same in itertools.groupby(run)]
    return "".join(f"⟦U+{ord(char):04X}{f' ×{times}' if times > 1 else ''}⟧" for char, times in runs)


def _chosen(talks: Sequence[tuple[dict[str, Any], ...]]) -> list[tuple[dict[str, Any], ...]]:
    """Return the most telling prompts: the last system lost, the later ones differ, one is wrong, the rest."""
    chosen: list[tuple[dict[str, Any], ...]] = []
    for rank in range(4):
        own = [rows for rows in talks if _rank(rows) == rank]
        room = min(_SAMPLES - len(chosen), len(own))
        # Evenly: a suite may stand in the order of its hazards.
        chosen += [own[at * len(own) // room] for at in range(room)]
    return chosen


def _rank(rows: Sequence[dict[str, Any]]) -> int:
    wrong = [row["outcome"] is not None and is_defect(row) for row in rows]
    # Of many systems the first is what there was before, and nearly every answer differs from its.
    later = wrong[1:] if len(wrong) > 2 else wrong
    if wrong[-1] and not all(later):
        return 0
    if len(set(later)) > 1:
        return 1
    return 2 if any(wrong) else 3


def _answered(system: str, row: dict[str, Any]) -> Answered:
    if row["outcome"] is None:
        return Answered(system, "not judged", False, visible(row["answer"]))
    outcome = str(row["outcome"])
    said = _OF_HARMLESS.get(outcome, outcome) if row["expect"] == "answer" else outcome
    return Answered(system, said, is_defect(row), visible(row["answer"]))


def _shown(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Shown:
    first = rows[0]
    answers = tuple(_answered(name, row) for name, row in zip(names, rows, strict=True))
    differs = len({is_defect(row) for row in rows if row["outcome"] is not None}) > 1
    group = str(first["group"])
    return Shown(first["id"], HAZARDS.get(group) or group, visible(first["prompt"]), differs, answers)
