"""The guard of the iOS template, compiled and run over every golden vector: it reads and decides what Python does."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from breakfix.core.hazards import OWN_HEADS
from breakfix.guardrails import vectors
from breakfix.guardrails.guard import SHIPPED

pytestmark = pytest.mark.slow

FURTHEST = 0.02
"""The model runs on this machine and not on the one that made the vectors: so far may scores be apart, as SPEC.md says."""


@pytest.mark.parametrize("path", sorted(vectors.VECTORS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_guard_passes_every_vector(guard, path):
    head, rows = vectors.read(path)
    guard.ask("open", head["name"], rules=head["rules"])
    assert len(rows) > 60
    for number, row in enumerate(rows, start=2):
        where = f"{path.name} line {number}, {row['kind']}"
        _CHECKS[row["kind"]](guard, where, head["name"], row)
        if "forms" in row:
            _check_forms(guard, where, head["name"], row)


def _check_input(guard: Any, where: str, name: str, row: Mapping[str, Any]) -> None:
    seen = guard.ask("input", name, text=row["text"], context=row.get("context", []))
    _same_verdict(where, seen, row["verdict"])


def _check_output(guard: Any, where: str, name: str, row: Mapping[str, Any]) -> None:
    answer = row["answer"]
    for way in row["streams"]:
        for size in way["cuts"]:
            pieces = [answer[at : at + size] for at in range(0, len(answer), size)] if size else [answer]
            events = guard.ask("stream", name, prompt=row["prompt"], pieces=pieces)
            _same_events(f"{where}, cut {size}", events, way["events"])
        whole = guard.ask("output", name, prompt=row["prompt"], text=answer)
        _same_verdict(f"{where}, whole", whole, [each["verdict"] for each in way["events"] if "verdict" in each][-1])


def _same_events(where: str, ours: Sequence[Mapping[str, Any]], theirs: Iterable[Mapping[str, Any]]) -> None:
    last: Mapping[str, Any] = {}
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        last = other.get("verdict", last)
        expected = {key: other[key] for key in ("text", "end", "keep") if key in other}
        assert {key: value for key, value in one.items() if key != "verdict"} == expected, f"{where}, event {number}"
        _same_verdict(f"{where}, event {number}", one["verdict"], last)


def _check_private(guard: Any, where: str, name: str, row: Mapping[str, Any]) -> None:
    assert guard.ask("private", name, text=row["text"]) == {key: row[key] for key in ("findings", "redacted")}, where


def _check_phrases(guard: Any, where: str, name: str, row: Mapping[str, Any]) -> None:
    ours = guard.ask("phrases", name, text=row["text"], phrases=row["phrases"])
    assert ours == {key: row[key] for key in ("first", "whole")}, where


_CHECKS = {"input": _check_input, "output": _check_output, "private": _check_private, "phrases": _check_phrases}


def _check_forms(guard: Any, where: str, name: str, row: Mapping[str, Any]) -> None:
    text = row.get("text", row.get("answer"))
    prompt = row.get("prompt")
    raw = {"how": "raw", "text": text, "starts": list(range(len(text)))}
    forms = guard.ask("forms", name, text=text) if prompt is None else [raw]
    assert [form["how"] for form in forms] == [form["how"] for form in row["forms"]], where
    for ours, theirs in zip(forms, row["forms"], strict=True):
        assert ours["text"] == theirs.get("text", text), where
        assert ours["starts"] == (_places(theirs["starts"]) if "starts" in theirs else raw["starts"]), where
        passage = {"prompt": ours["text"]} if prompt is None else {"prompt": prompt, "answer": ours["text"]}
        _check_windows(guard, where, name, passage, theirs)


def _check_windows(guard: Any, where: str, name: str, passage: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    scored = "heads" in theirs["windows"][0]
    windows = guard.ask("windows", name, scored=scored, **passage)
    assert len(windows) == theirs["count"], where
    cut = len(theirs["windows"])
    for ours, other in zip([*windows[: cut - 1], windows[-1]], theirs["windows"], strict=True):
        assert {key: ours[key] for key in ("ids", "types", "span", "unread")} == {
            key: other[key] for key in ("ids", "types", "span", "unread")
        }, where
        if scored:
            types = [0] * (len(ours["ids"]) - ours["types"]) + [1] * ours["types"]
            assert guard.heads(ours["ids"], types)[:OWN_HEADS] == pytest.approx(other["heads"], abs=FURTHEST), where
            assert ours["scores"][:2] == pytest.approx(other["scores"][:2], abs=FURTHEST), where


def _places(runs: Iterable[Sequence[int]]) -> list[int]:
    return [first + at * step for first, count, step in runs for at in range(count)]


_SILENT = {"category": None, "score": 0.0, "span": [0, 0], "message": "", "failed": False, "hard": False, "would": None}
_SILENT |= {"findings": []}


def _same_verdict(where: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    expected = {**_SILENT, **theirs}
    assert {**ours, "score": 0} == {**expected, "score": 0}, where
    assert ours["score"] == pytest.approx(expected["score"], abs=FURTHEST), where


# --- it fails closed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("breaks", ["throws", "nan", "windows", "thresholds", "reading"])
def test_whatever_breaks_inside_the_text_does_not_pass(guard, rules, breaks):
    guard.ask("open", breaks, rules=rules, breaks=breaks)
    failed = {"action": "block", "failed": True, "hard": True, "message": rules["messages"]["en"]["failed"]}
    _same_verdict("input", guard.ask("input", breaks, text="How do I bake bread?"), {**failed, "rail": "input"})
    _same_verdict("output", guard.ask("output", breaks, prompt="Bread?", text="Bake it."), {**failed, "rail": "output"})


def test_a_text_too_long_is_not_passed_and_without_messages_the_last_word_is_said(guard, rules):
    guard.ask("open", "default", rules=rules)
    most = vectors.tables()["guard"]["longest"]
    seen = guard.ask("input", "default", text="a" * (most + 1))
    assert (seen["action"], seen["failed"], seen["message"]) == ("block", True, rules["messages"]["en"]["failed"])
    guard.ask("open", "mute", rules={**rules, "messages": {}}, breaks="throws")
    seen = guard.ask("input", "mute", text="How do I bake bread?")
    assert (seen["action"], seen["failed"]) == ("block", True)
    assert seen["message"] == vectors.tables()["guard"]["last_word"]


@pytest.mark.parametrize(
    "lost",
    [
        *("tables.classifier.unread", "tables.stream.most_checks", "tables.guard.longest", "tables.decode.piece"),
        *("calibration.temperatures.input", "calibration.thresholds.output", "policy.hard", "policy.pii.input"),
    ],
)
def test_a_guard_that_lacks_what_it_decides_by_does_not_open(guard, rules, lost):
    files = {
        "tables": vectors.tables(),
        "calibration": json.loads((SHIPPED / "calibration.json").read_text(encoding="utf-8")),
        "policy": rules,
    }
    *path, last = lost.split(".")
    at: Any = files
    for key in path:
        at = at[key]
    del at[last]
    given = {name: json.dumps(files[name]) for name in ("tables", "calibration")}
    with pytest.raises(ValueError, match=f"the guard's {lost}"):
        guard.ask("open", "lost", rules=files["policy"], **given)


def test_tables_of_another_version_are_refused(guard, rules):
    with pytest.raises(ValueError, match="another version"):
        guard.ask("open", "old", rules=rules, tables=json.dumps({**vectors.tables(), "format": 0}))
