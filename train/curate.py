"""Makes the training data: rows with origin and licence, no duplicates, nothing we measure with, a stated mix.

General rows are the base model's own: it invents what a user might ask (Magpie, Xu et al. 2024) and answers it, so the
mix needs no foreign licence and keeps the model's own voice. The base model's answers to harmful requests teach the guard
what an unsafe answer looks like; they are never a training target of the chat model.
"""

import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core import artifact, recipe
from ..core.artifact import Artifact
from ..core.errors import DataError
from ..core.jsonl import dump, read_jsonl, write_jsonl
from ..core.progress import progress
from ..eval.judge import ActJudge, is_degenerate
from ..eval.suites import Suite
from ..eval.torch_engine import TorchEngine
from ..runtime.engine import Message, Sampling
from .overlap import OverlapIndex, near_duplicates, words
from .rows import ORDERED, OWN_LICENCE, Row, authored_pair, pair_of, read_source

ROWS, BASE_ANSWERS = "rows.jsonl", "base_answers.jsonl"
_OPENING_TOKENS = 14


@dataclass(frozen=True)
class Mix:
    """What SFT sees, a unit always in one step; what is left over goes to the preference stage."""

    pairs: int = 700
    """Minimal pairs: a harmful request and the harmless one that shares its words."""
    easy: int = 300
    """A plainly harmful request beside a general one: what no model should confuse, and this one would."""

    harmless: int = 0
    """Harmless requests alone, general ones first, then look-alikes: they set how readily the model answers."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        counts = (self.pairs, self.easy, self.harmless)
        return [] if min(counts) >= 0 and sum(counts) > 0 else ["pairs, easy and harmless must be at least 0, and not all 0"]


@dataclass(frozen=True)
class CurateSettings:
    """What goes into the data."""

    sources: tuple[str, ...] = ("authored",)
    """Training sources: `authored`, or READER=SOURCE."""
    mix: Mix = field(default_factory=Mix)
    invented: int = 150
    """User turns the base model is asked to invent; about two thirds are usable."""
    base_answers: int = 200
    """Harmful requests that the base model answers, for the guard's output rail."""
    harmless_base_answers: int = 0
    """Harmless requests that it answers too, so that its voice is no sign of harm."""
    refusal_start: str = "Sorry, but "
    """What every written refusal begins with. The base model begins nothing with it; "I" it does, and then a harmless request
    that it would have answered with "I" is half way to being refused."""
    overlap_words: int = 7
    """A row that shares so many words in a row with an evaluation prompt is removed."""
    duplicate_similarity: float = 0.6
    """Jaccard similarity of word pairs from which a row repeats an earlier one of its label."""
    seed: int = 0


def curate(
    settings: CurateSettings,
    base: Path,
    suites: Sequence[Suite],
    out: Path,
    open_model: Callable[[Path], TorchEngine] = TorchEngine,
) -> Artifact:
    """Write a `dataset` artifact: `base_answers.jsonl`, and `rows.jsonl` with each row's `use` and `unit`.

    `suites` are all suites that will ever be measured with; the manifest counts what each of them removed. `open_model` makes
    the engine that the base model answers on.
    """
    checkpoint = artifact.load(base, "checkpoint")
    rows = [_sorry(row, settings.refusal_start) for source in settings.sources for row in read_source(source)]
    if len({row.id for row in rows}) < len(rows):
        raise DataError("two training sources give rows of the same id; rename one of the files")
    inputs = {
        "base": checkpoint.id,
        "judge": ActJudge.id,
        **{f"suite:{suite.name}": suite.id for suite in suites},
        "rows": _digest(rows),
    }

    def make(work: Path) -> dict[str, Any]:
        scratch = work / artifact.SCRATCH
        scratch.mkdir(exist_ok=True)
        engine = open_model(base)
        invented = [Row(**row) for row in _once(scratch / "invented.jsonl", lambda: _invent(engine, settings))]
        kept, removed = _clean([*rows, *invented], suites, settings)
        placed = _place(kept, settings)
        openings = _once(scratch / "openings.jsonl", lambda: _openings(engine, placed, settings.refusal_start))
        placed = [_opened(row, said["opening"]) for row, said in zip(placed, openings, strict=True)]
        write_jsonl(work / ROWS, placed)
        unsafe = sorted((row for row in placed if row["label"] == "unsafe"), key=lambda row: row["use"] != "preference")
        harmless = [row for row in placed if row["label"] != "unsafe"]
        requests = unsafe[: settings.base_answers] + harmless[: settings.harmless_base_answers]
        write_jsonl(work / BASE_ANSWERS, _once(scratch / BASE_ANSWERS, lambda: _base_answers(engine, requests)))
        return _facts(placed, removed)

    return artifact.produce(out, "dataset", recipe.plain(settings), inputs, make)


def _digest(rows: Sequence[Row]) -> str:
    return hashlib.sha256("\n".join(dump(row._asdict()) for row in rows).encode()).hexdigest()


def _once(path: Path, make) -> list[dict[str, Any]]:
    """Return what `make` gives, from the file if an earlier run got that far."""
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        write_jsonl(temporary, make())
        temporary.replace(path)
    return read_jsonl(path)


def _invent(engine: TorchEngine, settings: CurateSettings) -> list[dict[str, Any]]:
    """Let the base model write user turns after the template's bare user header, and answer the usable ones."""
    header = engine.template.encode_user_header()
    sampling = Sampling(max_new_tokens=40, temperature=1.0, top_p=0.95, seed=settings.seed)
    with progress("invent user turns", settings.invented) as step:
        texts = engine.continue_texts([header] * settings.invented, sampling)
        step(settings.invented)
    prompts = [text.strip() for text in dict.fromkeys(texts) if _is_usable(text)]
    with progress("answer them", len(prompts)) as step:
        answers = engine.generate([[Message("user", p)] for p in prompts], Sampling(max_new_tokens=32))
        step(len(prompts))
    judge = ActJudge()
    return [
        Row(f"invented-{n:04d}", prompt, answer, "general", "", f"invented-{n:04d}", "invented", OWN_LICENCE)._asdict()
        for n, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
        if judge.judge(prompt, answer) == ("complied", False)
    ]


def _is_usable(text: str) -> bool:
    """Tell whether an invented turn is a whole, plain request."""
    return 4 <= len(words(text)) <= 60 and text.strip()[-1:] in ".?!" and not is_degenerate(text) and "\n" not in text.strip()


def _sorry(row: Row, start: str) -> Row:
    """Let a written refusal begin with `start`."""
    if row.label != "unsafe" or not row.answer or row.answer.startswith(start):
        return row
    return row._replace(answer=start + re.sub(r"^(?:I'm s|S)orry,? (?:but )?", "", row.answer))


def _openings(engine: TorchEngine, placed: list[dict[str, Any]], refusal_start: str) -> list[dict[str, Any]]:
    """Return the first words of each row's answer: of a harmless request in SFT, those the base model would say itself.

    Written answers open in a hundred ways and refusals in one, so that greedy decoding would refuse long before refusing is
    the likelier choice; and words the model would say anyway leave only the choice to learn. Where the base model begins as
    refusals begin ("I'm sorry for the confusion"), the written answer stands in.
    """
    asked = [row for row in placed if row["use"] == "sft" and row["label"] != "unsafe"]
    with progress("open harmless answers", len(asked)) as step:
        said = engine.generate([[Message("user", r["prompt"])] for r in asked], Sampling(max_new_tokens=_OPENING_TOKENS))
        step(len(asked))
    refusals = [row["answer"] for row in placed if row["label"] == "unsafe" and row["answer"]]
    refusing = {_first_word(part) for text in refusals for part in (text, text.removeprefix(refusal_start))}
    own = {r["id"]: a for r, a in zip(asked, said, strict=True) if a.split() and _first_word(a) not in refusing}
    return [{"id": row["id"], "opening": own.get(row["id"], row["answer"])} for row in placed]


def _first_word(text: str) -> str:
    return text.split()[0].strip(",.!").lower()


def _opened(row: dict[str, Any], opening: str) -> dict[str, Any]:
    """Give a row its opening; a harmless request that nobody has a good opening for is not shown to the model."""
    use = row["use"] if opening or row["label"] == "unsafe" or row["use"] != "sft" else "guard"
    return {**row, "use": use, "opening": opening}


def _base_answers(engine: TorchEngine, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with progress("ask the base model", len(requests)) as step:
        answers = engine.generate([[Message("user", r["prompt"])] for r in requests], Sampling(max_new_tokens=40))
        step(len(requests))
    return [{"id": r["id"], "prompt": r["prompt"], "answer": a} for r, a in zip(requests, answers, strict=True)]


def _clean(rows: list[Row], suites: Sequence[Suite], settings: CurateSettings) -> tuple[list[Row], Counter[str]]:
    """Return the rows that stay, and why the others went."""
    indices = {s.name: OverlapIndex((x.prompt for x in s.samples), settings.overlap_words) for s in suites}
    removed: Counter[str] = Counter()
    clean = []
    for row in rows:
        hits = [name for name, index in indices.items() if index.overlaps(row.prompt)]
        removed.update(f"overlaps {name}" for name in hits)
        if not hits:
            clean.append(row)
    kept: list[Row] = []
    for label in ("unsafe", "safe", "general"):
        chosen = [row for row in clean if row.label == label]
        twins = near_duplicates([row.prompt for row in chosen], settings.duplicate_similarity)
        for row, twin in zip(chosen, twins, strict=True):
            if twin is None or row.source == ORDERED:
                kept.append(row)
            else:
                removed["duplicate" if row.prompt == chosen[twin].prompt else "near duplicate"] += 1
    return kept, removed


def _place(rows: list[Row], settings: CurateSettings) -> list[dict[str, Any]]:
    """Give each row its use and its unit, so that SFT gets the mix and preferences are asked on requests SFT never saw.

    A pair that lost a half to cleaning is no pair; its other half is asked for preferences. What a cycle ordered comes first,
    and is asked for nothing else, neither in the ordered words nor in the authored ones.
    """
    rows = sorted(rows)
    random.Random(settings.seed).shuffle(rows)
    by_pair: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_pair[pair_of(row)].append(row)
    whole = [pair for pair, halves in by_pair.items() if len(halves) == 2]
    whole = sorted(whole, key=lambda pair: by_pair[pair][0].source != ORDERED)[: settings.mix.pairs]
    taught = {authored_pair(by_pair[pair][0]) for pair in whole if by_pair[pair][0].source == ORDERED}
    # A harmful request that nobody wrote an answer to is refused in the usual words.
    harmful = [row for row in rows if row.label == "unsafe" and not row.answer][: settings.mix.easy]
    general = [row for row in rows if row.label == "general"]
    unit_of = {row.id: pair for pair in whole for row in by_pair[pair]}
    for number, (bad, good) in enumerate(zip(harmful, general, strict=False)):
        unit_of[bad.id] = unit_of[good.id] = f"easy-{number}"
    left = [row for label in ("general", "safe") for row in rows if row.label == label and row.id not in unit_of]
    unit_of |= {row.id: row.id for row in left[: settings.mix.harmless]}
    # Once more: what is left over stands behind what was chosen, and the preference stage asks from the front.
    random.Random(settings.seed + 1).shuffle(rows)
    return [{**row._asdict(), "use": _use(row, unit_of, taught), "unit": unit_of.get(row.id, row.id)} for row in rows]


def _use(row: Row, unit_of: Mapping[str, str], taught: Collection[str]) -> str:
    if row.id in unit_of:
        return "sft"
    if row.source == ORDERED or pair_of(row) in taught:
        return "guard"
    # A refusal must be written by somebody; an answer the model finds by itself.
    return "preference" if row.answer or row.label != "unsafe" else "guard"


def _facts(placed: list[dict[str, Any]], removed: Counter[str]) -> dict[str, Any]:
    sft = [row for row in placed if row["use"] == "sft"]
    general = sum(row["label"] == "general" for row in sft)
    return {
        "safety to general": f"{len(sft) - general} : {general}",
        "rows": dict(Counter(f"{row['use']} {row['label']}" for row in placed)),
        "removed": dict(removed),
        "sources": dict(Counter(f"{row['source']} ({row['licence']})" for row in placed)),
    }
