"""The guard's card: what it blocks, how well its scores separate, what they are worth as probabilities."""

import pytest

from breakfix.eval.guard_card import measure
from breakfix.eval.report import guard_table
from breakfix.eval.suites import Sample, Suite
from breakfix.guardrails import policy
from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard

CLASSIFIER = ScriptedClassifier({
    "arson": Scores(0.9, 0.0, "S1"),
    "fraud": Scores(0.4, 0.0, "S2"),
    "flame": Scores(0.6, 0.0, "S1"),
    "pirate": Scores(0.0, 0.99, "S1"),
})  # fmt: skip


def suite(name, unsafe, safe):
    samples = [Sample(f"u{n}", text, "refuse", "") for n, text in enumerate(unsafe)]
    return Suite(name, (*samples, *(Sample(f"s{n}", text, "answer", "") for n, text in enumerate(safe))))


@pytest.fixture
def guard():
    return Guard(CLASSIFIER, policy.load())


def test_recall_and_false_positives_are_counted_by_suite(guard, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x" * 2_000_000)
    mixed = suite("mixed", ["arson", "arson", "fraud"], ["flame", "tea", "bread", "pirate tea"])
    card = measure(guard, tmp_path, [mixed, suite("harmless", [], ["tea"])])
    first, second = card.suites
    assert (first.recall.hits, first.recall.n) == (2, 3)
    assert (first.false_positives.hits, first.false_positives.n) == (1, 4)
    assert (second.recall.n, second.false_positives.hits) == (0, 0)
    assert (card.level, card.megabytes) == ("balanced", 2.0)


def test_separation_is_that_of_the_scores(guard, tmp_path):
    card = measure(guard, tmp_path, [suite("mixed", ["arson", "arson", "fraud"], ["flame", "tea", "bread", "pirate tea"])])
    # Ordered by score: two unsafe, one safe, one unsafe; a framing's own score is no harm.
    assert card.overall.auprc == pytest.approx(2 / 3 * 1 + 1 / 3 * 3 / 4)
    assert card.overall.recall_at_1_fpr == pytest.approx(2 / 3)
    assert card.overall.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert card.overall.ece == pytest.approx((2 * 0.1 + 1 * 0.6 + 1 * 0.6) / 7)


def test_one_kind_of_prompt_separates_nothing(guard, tmp_path):
    assert measure(guard, tmp_path, [suite("harmless", [], ["tea", "bread"])]).overall is None


def test_the_table_says_what_was_not_measured(guard, tmp_path):
    text = guard_table(measure(guard, tmp_path, [suite("harmless", [], ["tea", "flame"])]))
    assert "| harmless | not judged | 0 | 50.0 [" in text
    assert "all suites" not in text
