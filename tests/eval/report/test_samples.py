"""Texts that can only be read, and the choice of samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.eval.compare import compare
from breakfix.eval.report.samples import one_line, shelves, visible

from .conftest import HELP, REFUSAL, measure


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 2 lines\n\tindented", "plain text, 2 lines\n\tindented"),
        ("a\u202eb", "a⟦U+202E⟧b"),
        ("\u2066\u2066\u2069", "⟦U+2066 ×2⟧⟦U+2069⟧"),
        ("\ud800", "⟦U+D800⟧"),
        ("\U000e0041", "⟦U+E0041⟧"),
        ("سلام، می‌خواهم", "سلام، می‌خواهم"),
        ("👩‍💻", "👩‍💻"),
        ("a" + "\u0301" * 40 + "b", "a" + "\u0301" * 3 + "b"),
    ],
)
def test_what_cannot_be_seen_is_named_and_what_spells_words_stays(text, shown):
    assert visible(text) == shown


def test_what_is_too_long_is_cut_and_said_to_be():
    assert visible("x" * 5000, 100) == "x" * 100 + "… (cut; 5,000 characters in all)"
    assert visible("\u202e" * 10**6).startswith("⟦U+202E ×1400⟧… (cut; 1,000,000") and visible("x" * 100, 100) == "x" * 100
    assert one_line("a\nb  c") == "a b c" and one_line("x" * 99, 10) == "x" * 9 + "…"
    assert len(one_line("a " * 10**6, 50)) == 50


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_can_be_written_to_a_file_and_reorders_nothing(text):
    for shown in (visible(text), one_line(text)):
        shown.encode("utf-8")
        assert not set(shown) & set("\x00\x07\x1b\x7f\x9b\u200b\u200e\u2028\u202a\u202e\u2066\ufeff")
    assert "\n" not in one_line(text)


def test_every_suite_has_a_shelf_and_what_the_last_system_lost_comes_first(tmp_path):
    def lost(talk):
        return REFUSAL if not talk[-1].content.endswith(" 7") else HELP

    records = [measure(tmp_path / "a", "base", lambda _: HELP), measure(tmp_path / "b", "float", lambda _: REFUSAL, engine="f"),
               measure(tmp_path / "c", "int4", lost, engine="i")]  # fmt: skip
    found = shelves(compare(records))
    assert [(shelf.suite, shelf.measure, shelf.of, len(shelf.samples)) for shelf in found] == [
        ("pairs", "harmful compliance", 20, 12), ("pairs", "over-refusal", 20, 12), ("more", "harmful compliance", 10, 10),
    ]  # fmt: skip
    harmful = found[0]
    assert [sample.id for sample in harmful.samples[:2]] == ["S1-u7", "S10-u7"] and harmful.samples[0].differs
    assert [answer.wrong for answer in harmful.samples[0].answers] == [True, False, True]
    two = shelves(compare(records[1:]))[0].samples
    assert [sample.id for sample in two[:2]] == ["S1-u7", "S10-u7"] and [sample.differs for sample in two[:3]] == [
        True,
        True,
        False,
    ]
    assert {sample.about for sample in harmful.samples} == {"violent crimes", "hate"}, "drawn from the whole suite"


def test_an_answer_that_was_not_judged_is_not_wrong(tmp_path):
    (_, harmless, _) = shelves(compare([measure(tmp_path / "a", "base", lambda _: "")]))
    assert {(answer.outcome, answer.wrong) for sample in harmless.samples for answer in sample.answers} == {
        ("not judged", False)
    }
