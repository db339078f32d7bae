"""Golden vectors: what the Python guard says of the texts in `vectors/texts.json`, for every port to pass.

`SPEC.md` says what each field means. Texts are harmless, or harmful requests; answers are harmless. Knows no port.
"""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from ..core import jsonl, recipe
from ..core.hazards import OWN_HEADS
from . import normalize
from .classifier import _UNREAD, OnnxClassifier, Passage, Scores, run_session, windows
from .guard import SHIPPED, CalibratedClassifier, Guard
from .normalize import Form
from .policy import Verdict
from .rules import PhraseList, find_pii, redact
from .stream import Released, Stopped
from .tables import FORMAT, tables

__all__ = ["FORMAT", "VECTORS", "read", "tables", "write", "write_all"]

VECTORS = Path(__file__).parent / "vectors"
_SHAKEN = 0.04
"""What another machine's scores may differ by where a float that rounds otherwise moves an int8 activation by a step; a
verdict that turns on it is no vector."""
_SHAKES = 6
"""How often it is asked what a verdict turns on."""
_DIGITS = 4
_MOST_WINDOWS = 3
"""Of a longer text the vectors hold the first windows and the last."""
_CUTS = (0, 1, 40)
"""Into pieces of how many characters an answer is cut; 0 leaves it whole."""

Row = dict[str, Any]


def write_all(guard_folder: Path | str = SHIPPED) -> dict[str, int]:
    """Write the vectors of every policy anew and return how many each has; after another guard ships, run this."""
    policies = ["default", "strict", *map(str, sorted(VECTORS.glob("*.yaml")))]
    return {name: write(guard_folder, name, VECTORS / f"{Path(name).stem}.jsonl") for name in policies}


def write(guard_folder: Path | str, policy_name: str, out: Path) -> int:
    """Write what a guard says of every text under a policy, as JSONL, and return how many vectors there are.

    The first row holds the format, the ids and the whole policy. How a text is read depends on no policy, so it is written
    beside the default one alone. A text whose verdict hangs on a trifle is left out, and counted in the first row.
    """
    judge = Guard.open(guard_folder, policy_name)
    given = json.loads((VECTORS / "texts.json").read_text(encoding="utf-8"))
    default = policy_name == "default"
    asked = given["ruled"] + given["inputs"] * default
    inputs = [input_row(judge, each) for each in asked if _steady(judge, each, input_row)]
    outputs = [output_row(judge, each) for each in given["outputs"] if _steady(judge, each, _whole)]
    left_out = len(asked) + len(given["outputs"]) - len(inputs) - len(outputs)
    rows = inputs + outputs
    if default:
        own = OnnxClassifier(guard_folder)
        for row in rows:
            row["forms"] = readings(own, row["answer" if "prompt" in row else "text"], row.get("prompt"))
        rows += [*map(private_row, given["private"]), *map(phrases_row, given["phrases"])]
    ids = {"format": FORMAT, "guard": judge.classifier.id, "policy": judge.rules.id}
    first = {**ids, "name": Path(policy_name).stem, "left_out": left_out, "rules": recipe.plain(judge.rules)}
    out.parent.mkdir(parents=True, exist_ok=True)
    # ASCII: a lone surrogate is no UTF-8.
    out.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in (first, *rows)), encoding="ascii")
    return len(rows)


def read(path: Path) -> tuple[Row, list[Row]]:
    """Return the first row of a file of vectors, and the others."""
    first, *rows = jsonl.read_jsonl(path)
    return first, rows


def input_row(judge: Guard, given: Row) -> Row:
    """Return the vector of a user's text (`text`, and `context` if there is any)."""
    verdict = judge.check_input(given["text"], given.get("context", ()))
    return {"kind": "input", **given, "verdict": verdict_row(verdict)}


def output_row(judge: Guard, given: Row, cuts: Sequence[int] = _CUTS) -> Row:
    """Return the vector of an answer (`prompt`, `answer`): what each way to cut it leads to, equal ones together."""
    ways: dict[str, list[int]] = {}
    for size in cuts:
        answer = given["answer"]
        pieces = [answer[at : at + size] for at in range(0, len(answer), size)] if size else [answer]
        events = _events(judge.stream(given["prompt"], pieces))
        ways.setdefault(json.dumps(events), []).append(size)
    streams = [{"cuts": cuts, "events": json.loads(way)} for way, cuts in ways.items()]
    return {"kind": "output", **given, "streams": streams}


def verdict_row(verdict: Verdict) -> Row:
    """Return what of a verdict differs from a `Verdict`'s defaults, without its time, the score rounded."""
    row = recipe.plain(verdict) | {"score": round(verdict.score, _DIGITS), "milliseconds": 0.0}
    row["findings"] = tuple(list(each) for each in verdict.findings)
    return {each.name: row[each.name] for each in fields(verdict) if each.default is MISSING or row[each.name] != each.default}


def readings(classifier: OnnxClassifier, text: str, prompt: str | None = None) -> list[Row]:
    """Return the forms of a text, their windows, and the model's own and the calibrated scores of each.

    With a prompt the text is an answer and is read as it stands.
    """
    forms = normalize.forms(text) if prompt is None else [Form(text, range(len(text)), "raw")]
    passages = [Passage(form.text) if prompt is None else Passage(prompt, form.text) for form in forms]
    return [_form(classifier, text, form, passage) for form, passage in zip(forms, passages, strict=True)]


def _form(classifier: OnnxClassifier, text: str, form: Form, passage: Passage) -> Row:
    cut = windows(classifier._tokenizer, passage)
    count = len(cut)
    cut = [*cut[: _MOST_WINDOWS - 1], *cut[-1:]] if count > _MOST_WINDOWS else cut
    rows: list[Row] = [{"ids": w.ids, "types": sum(w.types), "span": [w.start, w.end], "unread": w.unread} for w in cut]
    if max(window.unread for window in cut) <= _UNREAD:
        scores = classifier.score([passage])[0]
        scores = [*scores[: len(cut) - 1], scores[-1]]
        for row, heads, own in zip(rows, run_session(classifier._session, cut), scores, strict=True):
            row["heads"] = [round(float(head), _DIGITS) for head in heads[:OWN_HEADS]]
            row["scores"] = [round(own.unsafe, _DIGITS), round(own.jailbreak, _DIGITS), own.hazard]
    said = {} if form.text == text else {"text": form.text, "starts": _places(form.starts)}
    return {"how": form.how, **said, "count": count, "windows": rows}


def _places(starts: Sequence[int]) -> list[list[int]]:
    """Return places as runs: the first, how many there are, and the step from one to the next."""
    runs: list[list[int]] = []
    for place in starts:
        first, count, step = runs[-1] if runs else (0, 0, 0)
        if runs and (count == 1 or place == first + count * step):
            runs[-1] = [first, count + 1, place - first if count == 1 else step]
        else:
            runs.append([place, 1, 0])
    return runs


def _events(stream: Iterable[Released | Stopped]) -> list[Row]:
    """Return what a stream gave, each verdict only where it is another than the one before."""
    rows, last = [], None
    for event in stream:
        row = {"keep": event.keep} if isinstance(event, Stopped) else {"text": event.text, "end": event.end}
        verdict = verdict_row(event.verdict)
        rows.append(row if verdict == last else {**row, "verdict": verdict})
        last = verdict
    return rows


def private_row(text: str) -> Row:
    """Return the vector of the personal data in a text."""
    found = find_pii(text)
    return {"kind": "private", "text": text, "findings": [list(each) for each in found], "redacted": redact(text, found)}


def phrases_row(given: Row) -> Row:
    """Return the vector of `phrases` looked for in a `text`."""
    phrases = PhraseList(given["phrases"])
    return {"kind": "phrases", **given, "first": phrases.first(given["text"]), "whole": phrases.matches_whole(given["text"])}


class _Shaken:
    """A classifier whose scores are a little off, each window's to a side that a die tells."""

    def __init__(self, own: CalibratedClassifier, seed: int) -> None:
        self._own, self._dice = own, random.Random(seed)
        self.id, self.thresholds = own.id, own.thresholds

    def score(self, passages: Sequence[Passage]) -> list[list[Scores]]:
        return [[self._shaken(window) for window in each] for each in self._own.score(passages)]

    def _shaken(self, window: Scores) -> Scores:
        by = self._dice.choice((_SHAKEN, -_SHAKEN))
        unsafe, jailbreak = (min(max(score + by, 0.0), 1.0) for score in (window.unsafe, window.jailbreak))
        return window._replace(unsafe=unsafe, jailbreak=jailbreak)


def _steady(judge: Guard, given: Row, made: Callable[[Guard, Row], Row]) -> bool:
    """Tell whether a vector stays what it is, but for the scores, when scores are a little higher or lower."""
    judges = (judge, *(Guard(_Shaken(judge.classifier, seed), judge.rules) for seed in range(_SHAKES)))
    first, *others = (_without_scores(made(each, given)) for each in judges)
    return all(other == first for other in others)


def _whole(judge: Guard, given: Row) -> Row:
    return output_row(judge, given, cuts=(0,))


def _without_scores(row: Any) -> Any:
    if isinstance(row, dict):
        return {key: _without_scores(value) for key, value in row.items() if key != "score"}
    return [_without_scores(each) for each in row] if isinstance(row, list | tuple) else row
