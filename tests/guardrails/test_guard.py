import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.core.errors import GuardError
from breakfix.guardrails import policy
from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import CategoryPolicy, Policy

MESSAGES = {"blocked": "No.", "failed": "Unsure.", "gentle": "Take care."}
ANY_TEXT = st.text(st.characters(exclude_categories=()))


class FailingClassifier(ScriptedClassifier):
    """A classifier whose library breaks."""

    def __init__(self, error):
        super().__init__({})
        self.error = error

    def score(self, passages):
        raise self.error


def guard(phrases, **rules):
    return Guard(ScriptedClassifier(phrases), Policy(messages=MESSAGES, **rules))


def scored(unsafe, hazard="S1", jailbreak=0.0):
    return Scores(unsafe, jailbreak, hazard)


@pytest.mark.parametrize("error", [GuardError("too long"), RuntimeError("onnx"), MemoryError(), KeyError("x"), Exception()])
def test_a_classifier_that_raises_blocks(error):
    broken = Guard(FailingClassifier(error), policy.load())
    for verdict in (broken.check_input("hello"), broken.check_output("hello", "hi")):
        assert verdict.blocked
        assert verdict.failed
        assert verdict.category is None
        assert verdict.message == policy.load().messages["failed"]


def test_stopping_the_program_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        Guard(FailingClassifier(KeyboardInterrupt()), policy.load()).check_input("hello")


def test_missing_thresholds_block():
    classifier = ScriptedClassifier({})
    classifier.thresholds = {}
    assert Guard(classifier, policy.load()).check_input("hello").failed


@pytest.mark.parametrize("score", [scored(math.nan), scored(0.0, jailbreak=math.nan)])
@pytest.mark.parametrize("text", ["bomb", "b o m b", "bomb \u200b"])
def test_a_score_that_is_no_number_blocks_in_whichever_spelling(score, text):
    verdict = guard({"bomb": score}).check_input(text)
    assert verdict.blocked
    assert verdict.failed


def test_a_score_that_is_no_number_is_not_hidden_by_a_clear_hit():
    # max() over NaN depends on the order of its arguments.
    for phrases in ({"b o m b": scored(math.nan), "bomb": scored(0.4)}, {"b o m b": scored(0.4), "bomb": scored(math.nan)}):
        assert guard(phrases).check_input("b o m b").blocked


def test_harmless_text_passes_with_its_score():
    verdict = guard({"knife": scored(0.3)}).check_input("sharpen a knife")
    assert (verdict.action, verdict.category, verdict.score, verdict.message) == ("allow", None, 0.3, "")


def test_a_score_at_the_threshold_blocks():
    assert guard({"x": scored(0.5)}).check_input("x").blocked
    assert not guard({"x": scored(0.4999)}).check_input("x").blocked


def test_the_level_picks_the_calibrated_threshold():
    classifier = ScriptedClassifier({"x": scored(0.6)})
    levels = {"strict": 0.5, "balanced": 0.7, "permissive": 0.9}
    classifier.thresholds = {"input": levels, "output": dict.fromkeys(levels, 0.99)}
    blocked = {level: Guard(classifier, Policy(level=level, messages=MESSAGES)).check_input("x").blocked for level in levels}
    assert blocked == {"strict": True, "balanced": False, "permissive": False}
    assert not Guard(classifier, Policy(level="strict", messages=MESSAGES)).check_output("q", "x").blocked


def test_a_category_may_have_a_threshold_of_its_own_on_each_rail():
    judge = guard({"x": scored(0.6, "S2")}, categories={"S2": CategoryPolicy(input=0.8, output=0.2)})
    assert not judge.check_input("x").blocked
    assert judge.check_output("q", "x").blocked


def test_a_category_may_only_warn_or_be_ignored():
    rules = {"S2": CategoryPolicy(action="warn"), "S12": CategoryPolicy(action="allow")}
    judge = guard({"theft": scored(0.9, "S2"), "love": scored(0.9, "S12")}, categories=rules)
    warned, ignored = judge.check_input("theft"), judge.check_input("love")
    assert (warned.action, warned.category, warned.blocked) == ("warn", "S2", False)
    assert ignored.action == "allow"


def test_talking_a_model_out_of_its_rules_is_a_category_too():
    judge = guard({"no rules": scored(0.0, jailbreak=0.95)}, categories={"jailbreak": CategoryPolicy(action="warn", input=0.9)})
    assert (judge.check_input("no rules").action, judge.check_input("no rules").category) == ("warn", "jailbreak")


def test_a_hazard_that_blocks_outweighs_a_jailbreak_that_warns():
    judge = guard({"x": scored(0.6, "S9", 0.99)}, categories={"jailbreak": CategoryPolicy(action="warn", input=0.9)})
    assert (judge.check_input("x").action, judge.check_input("x").category) == ("block", "S9")


def test_somebody_in_danger_reads_the_crisis_message():
    judge = Guard(ScriptedClassifier({"end it": scored(0.99, "S11")}), policy.load())
    assert judge.check_input("I want to end it").message == policy.load().messages["crisis"]


def test_the_worst_spelling_counts():
    judge = guard({"bomb": scored(0.9, "S9")})
    for text in ("b o m b", "ｂｏｍｂ", "bo\u200bmb"):
        assert judge.check_input(text).category == "S9"
        assert judge.check_output("q", text).category == "S9"


def test_a_spelling_that_is_ignored_does_not_hide_one_that_is_blocked():
    phrases = {"l o v e": scored(0.99, "S12"), "love": scored(0.6, "S9")}
    assert guard(phrases, categories={"S12": CategoryPolicy(action="allow")}).check_input("l o v e").category == "S9"


def test_a_window_that_is_ignored_does_not_hide_one_that_is_blocked():
    judge = guard({"love": scored(0.99, "S12"), "bomb": scored(0.97, "S9")}, categories={"S12": CategoryPolicy(action="allow")})
    assert judge.check_input("love and a bomb").category == "S9"
    assert judge.check_output("q", "love and a bomb").category == "S9"
    assert judge.check_input("love").action == "allow"


def test_a_text_nobody_has_judged_is_blocked():
    class Silent(ScriptedClassifier):
        def score(self, passages):
            return [[] for _ in passages]

    assert Guard(Silent({}), Policy(messages=MESSAGES)).check_input("hello").failed


def test_a_jailbreak_borrows_no_threshold_that_was_calibrated_for_harm():
    judge = guard({"rules": scored(0.0, jailbreak=0.89), "no rules": scored(0.0, jailbreak=0.9)})
    assert judge.check_input("rules").action == "allow"
    assert (judge.check_input("no rules").action, judge.check_input("no rules").category) == ("warn", "jailbreak")
    assert judge.check_output("q", "no rules").action == "allow"


def test_a_verdict_and_its_words_hold_nothing_the_user_wrote():
    secret = "my-secret-phrase"
    checks = [guard({secret: scored(0.9)}), Guard(FailingClassifier(RuntimeError(secret)), policy.load())]
    for judge in checks:
        verdict = judge.check_input(f"please {secret}")
        assert verdict.blocked
        assert secret not in repr(verdict)


def test_other_rules_are_another_guard():
    same = [guard({}).id, guard({}).id]
    assert same[0] == same[1] != guard({}, level="strict").id


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_gets_a_verdict_and_a_forbidden_one_is_blocked(before, after):
    judge = guard({"bomb": scored(0.9)})
    for text in (before, f"{before}bomb{after}"):
        verdicts = judge.check_input(text), judge.check_output(before, text)
        assert all(v.blocked for v in verdicts) or "bomb" not in text
        assert not any(v.failed for v in verdicts)
