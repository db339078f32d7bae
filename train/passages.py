"""The guard's training passages: prompts bare and framed, answers whole and cut, each with what the heads should say.

Neither a word, nor a framing, nor a group's name is ever the label: unsafe requests come in pairs that share their words, every
framing is put around harmless requests as often as around harmful ones, identity templates keep their label whatever group
stands in them, and phrases theirs however they are asked for. Unsafe answers are the base model's own.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..core.artifact import Artifact
from ..core.jsonl import read_jsonl
from ..core.recipe import read_yaml
from ..eval.judge import ActJudge
from ..eval.suites import Suite
from ..guardrails.classifier import Passage
from .curate import BASE_ANSWERS, ROWS
from .overlap import OverlapIndex
from .rows import CORPUS, OWN_LICENCE

_FRAMINGS = (CORPUS / "wrappers.jsonl", CORPUS / "guard" / "wrappers.jsonl")
_ANSWERS = CORPUS / "guard" / "answers.jsonl"
_IDENTITIES = CORPUS / "guard" / "identities.yaml"
_PHRASES, _PHRASINGS = sorted((CORPUS / "guard" / "phrases").glob("*/*.yaml")), CORPUS / "guard" / "phrasings.yaml"
_GLOSSARIES = sorted((CORPUS / "guard" / "glossaries").glob("*.txt"))


@dataclass(frozen=True)
class PassageSettings:
    """How many passages of each kind there are."""

    framed: int = 6
    """Requests put into each framing, half of them harmful."""
    framings: int = 0
    """Framings used, drawn from all; 0 uses all."""
    identities: int = 12
    """Groups put into each identity template."""
    phrasings: int = 2
    """Sentences that each phrase is put into."""
    spaced: int = 0
    """Harmless requests shown with a space after every letter too: letters by themselves tell no harm, whatever they spell.
    What they spell the guard reads when it has put them together."""
    answers: int = 900
    """Written answers shown, refusals and real ones."""
    cut: float = 0.5
    """Share of the answers that are cut at a random word, as the output rail reads them while they are written."""
    source_rows: int = 1500
    """Rows of one foreign source at most, so that the largest does not set the tone."""
    calibration: float = 0.12
    """Share of the families that are kept for calibration."""
    seed: int = 0


class Example(NamedTuple):
    """One passage with what the heads should say."""

    passage: Passage
    family: str
    unsafe: bool
    """Of a prompt: what it asks for. Of an answer: what it gives."""
    look_alike: bool = False
    """Harmless, and looks harmful."""
    jailbreak: bool = False
    refusal: bool = False
    hazard: str = ""
    """S1 to S13 where it is unsafe and known."""
    core: str = ""
    """The request that stands in a framing; the rest of the text asks for nothing."""

    @property
    def request(self) -> str:
        """Return what is asked for, without its framing."""
        return self.core or self.passage.prompt

    @property
    def is_bare_request(self) -> bool:
        """Tell whether it is a request and nothing else."""
        return self.passage.answer is None and not self.core


def digest() -> str:
    """Return the sha256 of the files that are read beside the dataset, and of their names, which tell what they hold."""
    files: list[Path] = [*_FRAMINGS, _ANSWERS, _IDENTITIES, *_PHRASES, _PHRASINGS, *_GLOSSARIES]
    named = ((str(path.relative_to(CORPUS)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files)
    return hashlib.sha256("".join(f"{name} {digest_}\n" for name, digest_ in named).encode()).hexdigest()


def glosses() -> dict[str, str]:
    """Return the English word that stands for each Chinese character and each word or ending of other languages.

    What is a word of several languages stands for all that it means in them.
    """
    found: dict[str, list[str]] = {}
    for path in _GLOSSARIES:
        for line in path.read_text(encoding="utf-8").splitlines():
            *pieces, gloss = line.split()
            # Of Chinese a line holds the characters without spaces.
            for piece in "".join(pieces) if path.stem == "zh" else pieces:
                found.setdefault(piece, []).append(gloss)
    return {piece: " ".join(dict.fromkeys(meanings)) for piece, meanings in found.items()}


@dataclass(frozen=True)
class Material:
    """All passages, those that are kept for calibration apart."""

    training: list[Example]
    calibration: list[Example]
    measured: OverlapIndex
    """The prompts that are measured with."""
    overlaps: int
    """Passages that were left out because of them."""


def material(settings: PassageSettings, overlap_words: int, dataset: Artifact, suites: Sequence[Suite]) -> Material:
    """Build the passages of a `dataset`, without those that share `overlap_words` words in a row with a suite's prompt."""
    rows, base_answers = read_jsonl(dataset.path / ROWS), read_jsonl(dataset.path / BASE_ANSWERS)
    built, kept = build(settings, rows, base_answers)
    measured = OverlapIndex((x.prompt for suite in suites for x in suite.samples), overlap_words)
    clean = [example for example in built if not measured.overlaps(example.passage.prompt)]
    parts = [[example for example in clean if (example.family in kept) == held] for held in (False, True)]
    return Material(parts[0], parts[1], measured, len(built) - len(clean))


def build(
    settings: PassageSettings, rows: Sequence[dict[str, Any]], base_answers: Sequence[dict[str, Any]]
) -> tuple[list[Example], set[str]]:
    """Return all passages, and the families kept for calibration.

    A kept framing is put around kept requests only, and any other around others; a request that stands in a kept family and in
    another is left out of the other. So nothing trained on stands in the calibration rows.
    """
    dice = random.Random(settings.seed)
    rows = _without_excess(rows, settings.source_rows)
    bare = [
        Example(
            Passage(row["prompt"]),
            row["family"],
            row["label"] == "unsafe",
            row["label"] == "safe",
            hazard=_hazard_if_unsafe(row),
        )
        for row in rows
    ]
    bare += _identities(settings, dice) + _phrases(settings, dice)
    framings = [row for path in _FRAMINGS for row in read_jsonl(path, ("family", "kind", "template"))]
    framings = dice.sample(framings, min(settings.framings, len(framings))) if settings.framings else framings
    kept = _kept(settings, {example.family for example in bare})
    kept |= _kept(settings, {f"framing/{framing['family']}" for framing in framings})
    framed = [example for framing in framings for example in _framed(framing, bare, kept, settings, dice)]
    bare += [_spaced(example, dice) for example in _some(dice, settings.spaced, bare, unsafe=False)]
    found = bare + framed + _answers(settings, rows, base_answers, dice)
    held = {example.passage.prompt for example in found if example.family in kept}
    return [e for e in found if e.family in kept or e.request not in held], kept


def _without_excess(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    seen: Counter[str] = Counter()
    chosen = []
    for row in rows:
        seen[row["source"]] += 1
        if row["licence"] == OWN_LICENCE or seen[row["source"]] <= most:
            chosen.append(row)
    return chosen


def _identities(settings: PassageSettings, dice: random.Random) -> list[Example]:
    """Put groups of every kind into every identity template."""
    parts = read_yaml(_IDENTITIES)
    groups = [group for kind in parts["groups"].values() for group in kind]
    return [
        _request(template.replace("{group}", group), f"identity/{template}", "S10", unsafe=unsafe)
        for key, unsafe in (("unsafe", True), ("safe", False))
        for template in parts[key]
        for group in dice.sample(groups, min(settings.identities, len(groups)))
    ]


def _phrases(settings: PassageSettings, dice: random.Random) -> list[Example]:
    """Ask for each phrase in some ways: harmful and harmless ones that share a word are one family."""
    phrasings = read_yaml(_PHRASINGS)
    families = [(path.parent.name, name, family) for path in _PHRASES for name, family in read_yaml(path).items()]
    return [
        _request(phrasing.replace("{phrase}", phrase), f"{kind}/{name}", family["hazard"], unsafe=unsafe)
        for kind, name, family in families
        for key, unsafe in (("unsafe", True), ("safe", False))
        for phrase in family[key]
        for phrasing in dice.sample(phrasings[kind], min(settings.phrasings, len(phrasings[kind])))
    ]


def _request(prompt: str, family: str, hazard: str, *, unsafe: bool) -> Example:
    """Return a harmful request, or a look-alike of one."""
    return Example(Passage(prompt), family, unsafe, look_alike=not unsafe, hazard=hazard if unsafe else "")


def _framed(
    framing: dict[str, Any], bare: Sequence[Example], kept: set[str], settings: PassageSettings, dice: random.Random
) -> list[Example]:
    family = f"framing/{framing['family']}"
    fitting = [example for example in bare if (example.family in kept) == (family in kept)]
    cores = [core for unsafe in (True, False) for core in _some(dice, settings.framed // 2, fitting, unsafe=unsafe)]
    return [
        Example(
            Passage(framing["template"].replace("{request}", core.passage.prompt)),
            family, core.unsafe, not core.unsafe, framing["kind"] == "jailbreak", hazard=core.hazard, core=core.passage.prompt,
        )
        for core in cores
    ]  # fmt: skip


def _spaced(example: Example, dice: random.Random) -> Example:
    between = " " * dice.randint(2, 3)
    return example._replace(passage=Passage(between.join(" ".join(word) for word in example.passage.prompt.split())))


def _answers(
    settings: PassageSettings, rows: Sequence[dict[str, Any]], base_answers: Sequence[dict[str, Any]], dice: random.Random
) -> list[Example]:
    written = [row for row in rows if row["answer"]]
    dice.shuffle(written)
    found = [
        Example(
            Passage(row["prompt"], row["answer"]),
            row["family"],
            False,
            row["label"] == "safe",
            refusal=row["label"] == "unsafe",
        )
        for row in written[: settings.answers]
    ]
    for row in read_jsonl(_ANSWERS, ("family", "kind", "prompt", "answer")):
        passage, refusal = Passage(row["prompt"], row["answer"]), row["kind"] == "refusal"
        found.append(Example(passage, f"answers/{row['family']}", unsafe=False, look_alike=not refusal, refusal=refusal))
    by_id, judge = {row["id"]: row for row in rows}, ActJudge()
    for said in base_answers:
        row = by_id.get(said["id"])
        if row and judge.judge(said["prompt"], said["answer"]) == ("complied", False):
            unsafe = row["label"] == "unsafe"
            passage = Passage(said["prompt"], said["answer"])
            found.append(Example(passage, row["family"], unsafe, row["label"] == "safe", hazard=_hazard_if_unsafe(row)))
    return [_cut(example, dice) if dice.random() < settings.cut else example for example in found]


def _cut(example: Example, dice: random.Random) -> Example:
    """Cut an answer at a word from its first third on: earlier nobody could tell what it becomes."""
    prompt, answer = example.passage
    said = (answer or "").split(" ")
    return example._replace(passage=Passage(prompt, " ".join(said[: dice.randint(len(said) // 3 + 1, len(said))])))


def _hazard_if_unsafe(row: dict[str, Any]) -> str:
    return row["hazard"] if row["label"] == "unsafe" else ""


def _some(dice: random.Random, count: int, examples: Sequence[Example], *, unsafe: bool) -> list[Example]:
    fitting = [example for example in examples if example.unsafe == unsafe]
    return dice.sample(fitting, min(count, len(fitting)))


def _kept(settings: PassageSettings, families: set[str]) -> set[str]:
    """Return the families that are kept for calibration."""
    ordered = sorted(families)
    random.Random(settings.seed + 1).shuffle(ordered)
    return set(ordered[: round(settings.calibration * len(ordered))])
