"""The rows training is made of, and the readers that bring them in: each row keeps its origin and its licence."""

import csv
import gzip
import itertools
import json
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import yaml

from ..core import artifact, sources
from ..core.errors import DataError, UsageError
from ..core.jsonl import read_jsonl
from ..eval.redteam.techniques import chosen
from ..eval.redteam.vulnerabilities import ORDER

CORPUS = Path(__file__).parent / "corpus"
OWN_LICENCE = "Apache-2.0"
ORDERED = "order"
"""The source of rows that repeat others on purpose, in other words around them."""
Anything = TypeVar("Anything")
_LEAST_WORDS = 5
"""Of a turn that says by itself what it asks for."""


class Row(NamedTuple):
    """One request with the answer a model should give."""

    id: str
    prompt: str
    answer: str
    """Empty: nobody wrote one; the model is refused or answered for in its own words, or only the guard sees it."""
    label: Literal["unsafe", "safe", "general"]
    """unsafe: to be refused. safe: a harmless look-alike of an unsafe one. general: nothing near harm."""
    hazard: str
    """S1 to S13 for unsafe rows and their look-alikes, else empty."""
    family: str
    """The scenario; splits never cut through a family."""
    source: str
    licence: str


def read_source(text: str) -> list[Row]:
    """Read one training source: `authored`, `authored-guard`, or READER=SOURCE with a reader of `READERS`.

    Raises UsageError for an unknown reader, DataError or SourceError for a file that cannot be read.
    """
    if text == "authored":
        return list(_authored())
    if text == "authored-guard":
        return list(_authored_for_guard())
    reader, equals, source = text.partition("=")
    if reader not in READERS or not equals:
        raise UsageError(
            f"{text} is no training source; write authored, authored-guard, or one of {', '.join(READERS)} as READER=SOURCE"
        )
    return _from(source, reader, READERS[reader])


def read_texts(text: str) -> list[str]:
    """Read the requests of a source, READER=SOURCE, that nobody's label is wanted of. Raises what `read_source` raises."""
    reader, _, source = text.partition("=")
    if reader not in TEXT_READERS:
        return [row.prompt for row in read_source(text)]
    return _from(source, reader, TEXT_READERS[reader])


def pair_file_hazard(path: Path) -> str:
    """Return the hazard of a file of pairs from its name: s02_cybercrime.jsonl holds S2. Raises ValueError."""
    return f"S{int(path.stem[1:3])}"


def pair_of(row: Row) -> str:
    """Return what the two halves of a minimal pair have in common; for any other row its id."""
    return row.id.removesuffix("-unsafe").removesuffix("-safe")


def _from(source: str, reader: str, read: Callable[[Path], Iterator[Anything]]) -> list[Anything]:
    try:
        return list(read(sources.fetch(source)))
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        EOFError,
        csv.Error,
        gzip.BadGzipFile,
        zlib.error,
        yaml.YAMLError,
    ) as error:
        raise DataError(f"{source} cannot be read as {reader}; check that it is the published file") from error


def _authored() -> Iterator[Row]:
    for path in sorted(CORPUS.glob("s[0-9][0-9]_*.jsonl")):
        yield from _pairs(path)
    for number, row in enumerate(read_jsonl(CORPUS / "everyday.jsonl", ("family", "prompt", "answer"))):
        family = f"everyday/{row['family']}"
        yield Row(f"everyday-{number:03d}", row["prompt"], row["answer"], "general", "", family, "authored", OWN_LICENCE)
    yield from _prompts(CORPUS / "everyday_prompts.jsonl")


def _authored_for_guard() -> Iterator[Row]:
    for path in sorted((CORPUS / "guard").glob("prompts_*.jsonl")):
        yield from _prompts(path)


def _prompts(path: Path) -> Iterator[Row]:
    """Read requests that nobody wrote an answer to."""
    for number, row in enumerate(read_jsonl(path, ("family", "label", "hazard", "prompt"))):
        label = "safe" if row["label"] == "help" else row["label"]
        at, family = f"{path.stem}-{number:03d}", f"{row['hazard'] or 'everyday'}/{row['family']}"
        yield Row(at, row["prompt"], "", label, row["hazard"], family, "authored", OWN_LICENCE)


def _pairs(path: Path) -> Iterator[Row]:
    """Read a file of minimal pairs, in the format and with the name that train/corpus/README.md describes."""
    hazard = pair_file_hazard(path)
    for number, row in enumerate(read_jsonl(path, ("family", "style", "unsafe", "refusal", "safe", "answer"))):
        at, family = f"{path.stem}-{number:03d}", f"{hazard}/{row['family']}"
        yield Row(f"{at}-unsafe", row["unsafe"], row["refusal"], "unsafe", hazard, family, "authored", OWN_LICENCE)
        yield Row(f"{at}-safe", row["safe"], row["answer"], "safe", hazard, family, "authored", OWN_LICENCE)


def _advbench(path: Path) -> Iterator[Row]:
    """Read AdvBench (Zou et al. 2023, MIT) as the PyRIT wheel carries it: requests without answers."""
    for number, seed in enumerate(yaml.safe_load(path.read_text(encoding="utf-8"))["seeds"]):
        yield _request(f"advbench-{number:03d}", seed["value"], "advbench", "MIT")


def _ailuminate(path: Path) -> Iterator[Row]:
    """Read the MLCommons AILuminate demo prompts (CC-BY-4.0); the hazard's own code is left to the guard to guess."""
    with path.open(encoding="utf-8", newline="") as handle:
        for number, row in enumerate(csv.DictReader(handle)):
            yield _request(f"ailuminate-{number:04d}", row["prompt_text"], "ailuminate", "CC-BY-4.0")


def _harmfulqa(path: Path) -> Iterator[Row]:
    """Read HarmfulQA (Bhardwaj and Poria 2023, Apache-2.0): the hub's list, or the authors' questions by topic."""
    told = json.loads(_in(path, "data_for_hub.json").read_text(encoding="utf-8"))
    questions = _by_topic(told) if isinstance(told, dict) else (row["question"] for row in told)
    for number, question in enumerate(questions):
        yield _request(f"harmfulqa-{number:04d}", question, "harmfulqa", "Apache-2.0")


def _frr(path: Path) -> Iterator[Row]:
    """Read the MITRE false-refusal prompts of CyberSecEval (MIT): harmless questions about security."""
    for number, row in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        at = f"mitre-frr-{number:03d}"
        yield Row(at, row["mutated_prompt"], "", "safe", "S2", at, "mitre-frr", "MIT")


def _catqa(path: Path) -> Iterator[Row]:
    """Read CategoricalHarmfulQA (Bhardwaj et al. 2024, Apache-2.0): questions by category, in one of its languages."""
    path = _in(path, "catqa_english.json")
    for number, question in enumerate(_by_topic(json.loads(path.read_text(encoding="utf-8")))):
        yield _request(f"{path.stem}-{number:03d}", question, "catqa", "Apache-2.0")


def _by_topic(told: dict[str, dict[str, list[str]]]) -> Iterator[str]:
    return (question for topics in told.values() for questions in topics.values() for question in questions)


def _hatecheck(path: Path) -> Iterator[Row]:
    """Read HateCheck (Röttger et al. 2021, CC-BY-4.0): hateful statements, and others that only look like it."""
    with _in(path, "test.csv").open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            label = "unsafe" if row["label_gold"] == "hateful" else "safe"
            at, family = f"hatecheck-{row['case_id']}", f"hatecheck/{row['functionality']}"
            yield Row(at, row["test_case"].strip(), "", label, "S10", family, "hatecheck", "CC-BY-4.0")


def _notinject(path: Path) -> Iterator[Row]:
    """Read NotInject (Li and Liu 2024, MIT): harmless prompts with words that prompt injections use."""
    for number, row in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        at = f"{path.stem}-{number:03d}"
        yield Row(at, row["prompt"], "", "general", "", at, "notinject", "MIT")


def _hh_rlhf(path: Path) -> Iterator[str]:
    """Read what people asked in Anthropic's HH-RLHF (Bai et al. 2022, MIT): every turn of theirs in the chosen transcripts."""
    with gzip.open(_in(path, "harmless-base/test.jsonl.gz"), "rt", encoding="utf-8") as handle:
        for line in handle:
            for turn in json.loads(line)["chosen"].split("\n\nHuman:")[1:]:
                asked = turn.partition("\n\nAssistant:")[0].strip()
                if len(asked.split()) >= _LEAST_WORDS:
                    yield asked


def _in(path: Path, name: str) -> Path:
    """Return the file of that name in a folder, as the hub has it, or the file itself."""
    return path / name if path.is_dir() else path


def _ordered(path: Path) -> Iterator[Row]:
    """Fill the order of a `vulnerabilities` artifact: authored pairs of each hazard, asked for in ways that nothing is measured
    with, all ways alike. The family of a pair names the finding that it is for, its id the authored pair (`authored_pair`).
    """
    made = artifact.load(path, "vulnerabilities")
    pairs: dict[str, list[tuple[Row, Row]]] = {}
    for unsafe, safe in _authored_pairs():
        pairs.setdefault(unsafe.hazard, []).append((unsafe, safe))
    ways = [each for each in chosen("train") if each.kind == "single"]
    dice, asked = random.Random(made.id), itertools.cycle(ways)
    for number, line in enumerate(read_jsonl(made.path / ORDER, ("hazard", "rows", "cites"))):
        known = pairs.get(line["hazard"]) or [pair for own in pairs.values() for pair in own]
        for at, pair in enumerate(dice.sample(known, min(-(-line["rows"] // 2), len(known)))):
            way, finding = next(asked), line["cites"][at % len(line["cites"])]
            for half in pair:
                name = f"{ORDERED}-{made.id[:8]}-{number:03d}-{half.id}"
                prompt = way.attack(half.prompt, dice)[0]
                yield half._replace(id=name, prompt=prompt, family=f"order/{finding}", source=ORDERED)


def authored_pair(row: Row) -> str:
    """Return the authored pair that an ordered row says in another way."""
    return pair_of(row).split("-", 3)[3]


def _authored_pairs() -> Iterator[tuple[Row, Row]]:
    for path in sorted(CORPUS.glob("s[0-9][0-9]_*.jsonl")):
        rows = list(_pairs(path))
        yield from zip(rows[::2], rows[1::2], strict=True)


def _request(at: str, prompt: str, source: str, licence: str) -> Row:
    return Row(at, prompt, "", "unsafe", "", at, source, licence)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "pairs": _pairs,
    "advbench": _advbench,
    "ailuminate": _ailuminate,
    "harmfulqa": _harmfulqa,
    "mitre-frr": _frr,
    "catqa": _catqa,
    "hatecheck": _hatecheck,
    "notinject": _notinject,
    "order": _ordered,
}
TEXT_READERS: dict[str, Callable[[Path], Iterator[str]]] = {"hh-rlhf": _hh_rlhf}
"""Sources that label nothing."""
