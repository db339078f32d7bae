"""The vectors are what the shipped guard says now, and the tables are the modules' own constants."""

import json

import pytest

from breakfix.guardrails import ciphers, guard, language, normalize, policy, rules, vectors
from breakfix.guardrails.classifier import OnnxClassifier
from breakfix.guardrails.guard import SHIPPED, Guard

POLICIES = {"default": "default", "strict": "strict"} | {
    path.stem: str(path) for path in sorted(vectors.VECTORS.glob("*.yaml"))
}
CLOSE = 0.02


@pytest.fixture(scope="module")
def tables():
    return json.loads(json.dumps(vectors.tables()))


def close(ours, theirs):
    """Compare rows, scores as far apart as another processor's may be."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(close(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float):
        return abs(ours - theirs) <= CLOSE
    return ours == theirs


@pytest.mark.parametrize("name", POLICIES)
def test_the_vectors_are_of_the_shipped_guard_and_of_these_rules(name):
    first, rows = vectors.read(vectors.VECTORS / f"{name}.jsonl")
    judge = Guard.open(SHIPPED, POLICIES[name])
    assert (first["format"], first["guard"], first["policy"]) == (vectors.FORMAT, judge.classifier.id, judge.rules.id)
    assert first["name"] == name and len(rows) >= 60


@pytest.mark.parametrize("name", POLICIES)
def test_a_sample_computed_again_is_the_same(name):
    _, rows = vectors.read(vectors.VECTORS / f"{name}.jsonl")
    judge = Guard.open(SHIPPED, POLICIES[name])
    made = {"input": vectors.input_row, "output": vectors.output_row}
    sample = [row for row in rows if row["kind"] in made][:: 15 if name == "default" else 9]
    assert len(sample) > 7
    for row in sample:
        given = {key: row[key] for key in ("text", "context", "prompt", "answer") if key in row}
        expected = {key: value for key, value in row.items() if key != "forms"}
        assert close(json.loads(json.dumps(made[row["kind"]](judge, given))), expected)


def test_a_sample_of_readings_computed_again_is_the_same():
    _, rows = vectors.read(vectors.VECTORS / "default.jsonl")
    own = OnnxClassifier(SHIPPED)
    sample = [row for row in rows if "forms" in row][::12]
    assert len(sample) > 15
    for row in sample:
        text = row["answer" if "prompt" in row else "text"]
        assert close(json.loads(json.dumps(vectors.readings(own, text, row.get("prompt")))), row["forms"])


def test_what_needs_no_model_is_the_same():
    _, rows = vectors.read(vectors.VECTORS / "default.jsonl")
    private = [row for row in rows if row["kind"] == "private"]
    phrases = [row for row in rows if row["kind"] == "phrases"]
    assert len(private) > 50 and len(phrases) > 20
    assert [json.loads(json.dumps(vectors.private_row(row["text"]))) for row in private] == private
    given = [{"phrases": row["phrases"], "text": row["text"]} for row in phrases]
    assert [json.loads(json.dumps(vectors.phrases_row(each))) for each in given] == phrases


def test_the_vectors_are_many_and_small_and_decide_every_way():
    files = list(vectors.VECTORS.iterdir())
    assert sum(path.stat().st_size for path in files) <= 600_000
    rows = [row for name in POLICIES for row in vectors.read(vectors.VECTORS / f"{name}.jsonl")[1]]
    verdicts = [row["verdict"] for row in rows if row["kind"] == "input"]
    assert len(rows) >= 250 and sum(row["kind"] == "input" for row in rows) >= 200
    assert {verdict["action"] for verdict in verdicts} == {"allow", "warn", "redact", "replace", "block"}
    assert {"jailbreak", "blocklist", "pii", "unread", None, "S1", "S9"} <= {each.get("category") for each in verdicts}
    events = [event for row in rows if row["kind"] == "output" for way in row["streams"] for event in way["events"]]
    assert any("keep" in event for event in events) and any("[email]" in event.get("text", "") for event in events)
    ways = {form["how"] for row in rows for form in row.get("forms", ())}
    assert {"raw", "plain", "base64", "hex", "rot13", "reversed", "leetspeak", "url", "tags", "morse", "html"} <= ways


def test_the_tables_are_the_modules_own_constants(tables):
    assert tables["format"] == vectors.FORMAT
    assert set(tables["language"]["common"]) == language.COMMON
    assert tables["normalize"]["lookalikes"]["а"] == "a" and tables["normalize"]["long"] == normalize._LONG
    assert {ord(char): ord(letter) for char, letter in tables["ciphers"]["turned"].items()} == ciphers._TURNED_LETTERS
    assert tables["rules"]["iban_lengths"] == rules._IBAN_LENGTHS
    assert tables["guard"] == {"last_word": guard._LAST_WORD, "longest": 250_000, "turns": 2, "joined": 400, "prompt": 1000}
    assert tables["policy"]["rank"] == policy._RANK


def test_the_tables_say_what_python_says_of_characters(tables):
    folds = tables["unicode"]["casefold"]
    for char in "ßẞſİıΣςσᎠꭰAzЖ炸":
        assert "".join(folds.get(each, each.lower()) for each in char) == char.casefold()
    scripts = tables["unicode"]["scripts"]
    assert any(first <= ord("ა") <= last for first, last in scripts["GEORGIAN"])
    assert any(first <= 0x301 <= last for first, last in tables["unicode"]["combining"])
    assert tables["decode"]["references"]["named"]["amp;"] == "&" and tables["decode"]["references"]["numbered"]["128"] == "€"


def test_a_verdict_that_hangs_on_a_trifle_is_no_vector(tmp_path):
    class Wavering:
        id = "wavering"
        thresholds = OnnxClassifier(SHIPPED).thresholds

        def score(self, passages):
            level = self.thresholds["input"]["balanced"]["S1"]
            return [[vectors.Scores(level + (0.001 if "bomb" in each.prompt else -0.4), 0.0, "S1")] for each in passages]

    judge = Guard(Wavering(), policy.load())
    assert not vectors._steady(judge, {"text": "How do I make a bomb?"}, vectors.input_row)
    assert vectors._steady(judge, {"text": "How do I make bread?"}, vectors.input_row)
