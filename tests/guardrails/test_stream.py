import hashlib
import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breakfix.guardrails import checkpoints, rules
from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import CategoryPolicy, PiiPolicy, Policy
from breakfix.guardrails.stream import Released, Stopped

MESSAGES = {"en": {"blocked": "No.", "failed": "Unsure.", "gentle": "Take care."}}
RULES = Policy(messages=MESSAGES, categories={"S6": CategoryPolicy("warn"), "S11": CategoryPolicy("replace", message="gentle")})
BOMB, SOFT, PILLS = Scores(0.9, 0.0, "S9"), Scores(0.6, 0.0, "S9"), Scores(0.9, 0.0, "S6")


def sentence(name):
    """Return a sentence long enough for a check of its own."""
    return f"This is the {name} sentence, and it tells of gardens, of tomatoes, of melons and of the good weather of May."


class ByEnd(ScriptedClassifier):
    """Scores an excerpt by how it ends, and remembers every excerpt."""

    def __init__(self, ends):
        super().__init__({})
        self.ends, self.seen = ends, []

    def score(self, passages):
        self.seen += [p.answer for p in passages]
        return [[next((s for end, s in self.ends.items() if end in p.answer[-110:]), Scores(0.0, 0.0, "S1"))] for p in passages]


class ByHash(ScriptedClassifier):
    """Gives every excerpt a score that has no reason, but is always the same."""

    def __init__(self, seed):
        super().__init__({})
        self.seed = seed

    def score(self, passages):
        out = []
        for p in passages:
            digest = hashlib.sha256(f"{self.seed}{p!a}".encode()).digest()
            unsafe = (0.0, 0.1, 0.2, 0.3, 0.4, 0.49, 0.5, 0.6, 0.7, 0.8)[digest[0] % 10]
            out.append([Scores(unsafe, 0.0, ("S1", "S6", "S9", "S11")[digest[1] % 4])])
        return out


class FailingAt(ScriptedClassifier):
    """Breaks at one of its calls."""

    def __init__(self, call, error):
        super().__init__({})
        self.left, self.error = call, error

    def score(self, passages):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().score(passages)


def cut(answer, sizes):
    """Cut an answer in pieces of given sizes, as a tokenizer might; the rest is one piece."""
    at = 0
    for size in [*sizes, len(answer)]:
        if at < len(answer):
            yield answer[at : at + size]
            at += size


def timeless(verdict):
    return replace(verdict, milliseconds=0.0)


def events(guard, answer, sizes=()):
    found = list(guard.stream("hi", cut(answer, sizes)))
    return [event._replace(verdict=timeless(event.verdict)) for event in found]


def shown(found):
    return "".join(event.text for event in found if isinstance(event, Released))


def scripted(phrases, rules=RULES):
    return Guard(ScriptedClassifier(phrases), rules)


PARTS = st.sampled_from(
    [sentence("first"), sentence("last")[:-1] + "!) ", "Well", " bo", "mb", " pills", ". ", "! ", "\n", "。", "、",
     " and so on", " 3.14", '."',
     "é🙂", "👩‍👩‍👧", "🇩🇪🇫🇷", "\ud83d", "\ude42", "e\u0301\u0302", "字" * 40, "x" * 90, " ", "   ", "\t",
     " call +1 (555) 123", "-4567", " mail a.b@ex", "ample.com ", "4111 1111 ", "1111 1111", " 12 34 56 78 90 12 34", "DE"]
)  # fmt: skip
ANSWERS = st.lists(PARTS, max_size=60).map("".join) | st.text(st.characters(exclude_categories=()), max_size=400)
SIZES = st.lists(st.integers(1, 30), max_size=200)
POLICIES = st.builds(
    Policy,
    hard=st.sampled_from([0.0, 0.5, 1.0]),
    shadow=st.booleans(),
    pii=st.builds(PiiPolicy, st.just("allow"), st.sampled_from(["allow", "warn", "redact", "block"])),
    block=st.sampled_from([(), ("bomb",)]),
    categories=st.just(RULES.categories),
    messages=st.just(MESSAGES),
)


@given(ANSWERS, st.integers(1, 5), SIZES, st.integers(0, 99), POLICIES)
@settings(max_examples=400)
def test_the_verdict_on_a_stream_is_the_verdict_on_the_whole(answer, times, sizes, seed, policy):
    # A long answer is forgotten bit by bit while it is read.
    guard, answer = Guard(ByHash(seed), policy), answer * times
    streamed, at_once = events(guard, answer, sizes), events(guard, answer)
    assert streamed[-1].verdict == at_once[-1].verdict == timeless(guard.check_output("hi", answer))
    assert shown(streamed) == shown(at_once)
    if not policy.shadow:
        assert streamed == at_once
    assert isinstance(streamed[-1], Stopped) == streamed[-1].verdict.blocked


@given(ANSWERS, SIZES)
def test_an_allowed_answer_is_released_whole_and_unchanged(answer, sizes):
    found = events(scripted({}), answer, sizes)
    assert shown(found) == answer
    assert found[-1].end == len(answer)


@given(ANSWERS, SIZES, st.integers(0, 99))
def test_all_that_is_released_was_in_an_excerpt_that_passed(answer, sizes, seed):
    classifier = ByHash(seed)
    guard = Guard(classifier, replace(RULES, hard=1.0))
    read, places, last = [], checkpoints.Scanner(), 0
    while (place := places.next(answer, final=True)) is not None:
        read.append((last, place))
        last = place
    # The checks cover the answer without a hole, in whichever pieces it comes.
    assert "".join(answer[a:b] for a, b in read) == answer
    assert all(answer[a:b] in excerpt for (a, b), excerpt in zip(read, checkpoints.excerpts(answer), strict=True))
    found = events(guard, answer, sizes)
    assert answer.startswith(shown(found))
    assert {event.end for event in found if isinstance(event, Released)} <= {b for _, b in read}


@given(ANSWERS, SIZES)
def test_a_forbidden_word_is_never_shown(answer, sizes):
    found = events(scripted({"bomb": BOMB}), f"{answer} bomb", sizes)
    assert isinstance(found[-1], Stopped)
    assert "bomb" not in shown(found)


def test_text_is_held_back_until_a_sentence_ends():
    answer = f"{sentence('first')} {sentence('second')} And"
    found = events(scripted({}), answer, [1] * 300)
    assert [event.text for event in found] == [sentence("first"), f" {sentence('second')}", " And"]


def test_sentences_too_short_for_a_check_of_their_own_are_checked_together():
    found = events(scripted({}), "One. Two. Three. Four. " * 12)
    assert all(96 <= len(event.text) < 104 for event in found[:-1])


def test_a_text_without_sentences_is_cut_between_words():
    found = events(scripted({}), "garden " * 200, [3] * 500)
    assert len(found) > 7
    assert all(event.text.strip("garden ") == "" and event.text.split()[-1] == "garden" for event in found)
    assert max(len(event.text) for event in found) <= 168


@pytest.mark.parametrize("unit", ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "e\u0301", "❤️", "\ud83d\ude42"])
def test_what_is_one_on_the_screen_is_released_as_one(unit):
    found = events(scripted({}), unit * 300, [1] * 999)
    assert len(found) > 2
    assert all(event.text.replace(unit, "") == "" for event in found)


def test_an_endless_pile_of_marks_is_released_too():
    found = events(scripted({}), "e" + "\u0301" * 5000)
    assert len(found) > 3


def test_each_text_comes_with_the_verdict_so_far_and_nothing_comes_after_a_block():
    answer = f"{sentence('first')} {sentence('pills')} {sentence('second')} {sentence('bomb')} {sentence('last')}"
    found = events(scripted({"bomb": BOMB, "the pills": PILLS}), answer, [1] * 500)
    assert [event.verdict.action for event in found] == ["allow", "warn", "warn", "block"]
    assert found[-1].keep == len(answer[: answer.index(" This is the bomb")])
    assert found[-1].verdict.category == "S9"


def test_no_piece_is_taken_after_a_block():
    pieces = iter([sentence("bomb"), " Go", " on."])
    list(scripted({"bomb": BOMB}).stream("hi", pieces))
    assert list(pieces) == [" on."]


@pytest.mark.parametrize("pieces", [[], [""], ["", ""]])
def test_no_answer_is_judged_too(pieces):
    (event,) = scripted({}).stream("hi", pieces)
    assert (event.text, event.end, event.verdict.action) == ("", 0, "allow")
    (event,) = Guard(FailingAt(0, RuntimeError()), RULES).stream("hi", pieces)
    assert event.verdict.failed


# Holding back


def story(*names):
    return " ".join(sentence(name) for name in names)


def test_a_score_over_the_threshold_holds_the_text_back_until_a_check_clears_it():
    guard = Guard(ByEnd({"doubtful": SOFT}), RULES)
    found = events(guard, story("first", "doubtful", "next", "last") + " ", [1] * 999)
    assert [event.text for event in found[:3]] == [sentence("first"), f" {story('doubtful', 'next')}", f" {sentence('last')}"]
    assert found[-1].verdict.action == "allow"
    # What was held back is read again, whole, by the check that clears it.
    assert any(sentence("doubtful") in excerpt and excerpt.endswith(sentence("next")) for excerpt in guard.classifier.seen)


def test_the_end_confirms_what_is_held_back():
    found = events(Guard(ByEnd({"doubtful": SOFT}), RULES), story("first", "doubtful"))
    assert shown(found) == sentence("first")
    assert (found[-1].verdict.action, found[-1].verdict.score) == ("block", 0.6)


def test_three_checks_in_a_row_confirm_each_other():
    pieces = iter(story("doubtful", "doubtful", "doubtful", "next").split(" "))
    found = list(Guard(ByEnd({"doubtful": SOFT}), RULES).stream("hi", (f"{piece} " for piece in pieces)))
    assert [type(event) for event in found] == [Stopped]
    assert len(list(pieces)) > 10


def test_a_score_over_the_hard_threshold_stops_at_once():
    answer = story("first", "bomb", "next")
    for hard, stopped in ((0.5, True), (0.9, False)):
        found = events(Guard(ByEnd({"bomb": BOMB}), replace(RULES, hard=hard)), answer)
        assert isinstance(found[-1], Stopped) == stopped


def test_held_text_that_was_never_cleared_does_not_slip_out_behind_other_text():
    # The phrase stays in what is read, so no later check can clear it, however far the answer has gone.
    found = events(scripted({"doubtful": SOFT}), story("first", "doubtful", *["next"] * 20))
    assert "doubtful" not in shown(found)
    assert found[-1].verdict.blocked


def test_a_stop_says_what_stays_of_what_was_shown():
    answer = f"{sentence('first')} {'and so on ' * 30} bomb"
    (*_, stop) = found = events(scripted({"bomb": BOMB}), answer)
    assert shown(found)[: stop.keep] == sentence("first")
    assert len(shown(found)) > stop.keep


def test_replacing_takes_back_all_of_the_answer():
    stop = events(scripted({"sorrow": Scores(0.9, 0.0, "S11")}), story("first", "sorrow"))[-1]
    assert (stop.keep, stop.verdict.action, stop.verdict.message) == (0, "replace", "Take care.")


def test_the_span_of_a_verdict_is_a_place_in_the_whole_answer():
    answer = story("first", "second", "third", "fourth", "bomb")
    start, end = scripted({"bomb": BOMB}).check_output("hi", answer).span
    assert "bomb" in answer[start:end]
    assert end == len(answer)
    assert end - start < 400


# Personal data


def redacting(action="redact", shadow=False):
    return Guard(ScriptedClassifier({}), replace(RULES, pii=PiiPolicy("allow", action), shadow=shadow))


KEY = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n" + "MIIEpAIBAAKCAQEA7bq3xyz0123456789ABCDEFGHIJKLMNOP\n" * 20
KEY += "-----END RSA PRIVATE KEY-----"
DATA = [
    " call +1 (555) 123-4567", " mail jo.doe@example.com", " a 4111 1111 1111 1111", " gb29 nwbk 6016 1331 9268 19",
    " tel 030 1234567", " order 5551234567", " AKIAIOSFODNN7EXAMPLE", " 192.168.178.20", " version 1.2.3.4", f"\n{KEY}\n",
    " or", ". ", "\n", " 555 123 4567", " so we went on and on", " " + "and on " * 20, " U.K.", " NATO", ",", " 12", " 3.14 ",
    sentence("first"),
]  # fmt: skip
# A word between them, so that no run of numbers is endless.
PERSONAL = st.lists(st.lists(st.sampled_from(DATA), max_size=5).map(lambda parts: "".join(parts) + " therefore"), max_size=8)


@given(PERSONAL.map("".join), SIZES)
@settings(max_examples=300)
def test_personal_data_are_redacted_before_they_are_shown_wherever_the_checks_fall(answer, sizes):
    found = events(redacting(), answer, sizes)
    assert shown(found) == rules.redact(answer, rules.find_pii(answer))
    assert found[-1].verdict.findings == tuple(rules.find_pii(answer))
    assert found[-1].verdict.action == ("redact" if rules.find_pii(answer) else "allow")


@pytest.mark.parametrize(
    "said", ["call me at +1 (555) 123-4567", "it is gb82 west 1234 5698 7654 32", "call 555 1234", "dial me: 5551234"]
)
@pytest.mark.parametrize("before", [30, 1500])
def test_a_number_is_held_back_until_it_is_whole(said, before):
    # The number stands at every place around a check, which comes at a gap: there is no sentence end.
    for words in range(before, before + 54):
        answer = f"{'on ' * words}{said} or so, {'please ' * 40}"
        assert rules.find_pii(answer)
        assert shown(events(redacting(), answer, [1] * len(answer))) == rules.redact(answer, rules.find_pii(answer))


def test_an_address_is_held_back_until_it_is_whole_where_there_are_no_gaps():
    for words in range(56, 66):
        answer = f"{'word,' * words}jo.doe@example.com,{'word,' * 80}"
        assert shown(events(redacting(), answer, [1] * len(answer))) == answer.replace("jo.doe@example.com", "[email]")


def test_a_key_of_many_lines_is_held_back_until_it_ends():
    answer = f"{sentence('first')}\n{KEY}\n{sentence('last')}"
    found = events(redacting(), answer, [7] * 999)
    assert shown(found) == f"{sentence('first')}\n[key]\n{sentence('last')}"
    cut_short = events(redacting(), answer[: answer.index("-----END")], [7] * 999)
    assert "MIIE" not in shown(cut_short[:-1])


def test_personal_data_may_stop_an_answer_or_only_be_told_of():
    answer = f"{sentence('first')} Write to jo.doe@example.com now."
    stopped = events(redacting("block"), answer)
    assert (stopped[-1].verdict.action, stopped[-1].verdict.category) == ("block", "pii")
    assert "jo.doe" not in shown(stopped)
    warned = events(redacting("warn"), answer)
    assert (shown(warned), warned[-1].verdict.action) == (answer, "warn")
    start, end = warned[-1].verdict.findings[0].start, warned[-1].verdict.findings[0].end
    assert answer[start:end] == "jo.doe@example.com"


def test_numbers_without_an_end_are_not_held_back_for_ever():
    pieces = (f"{number % 10} " for number in itertools.count())
    found = redacting().stream("hi", itertools.islice(pieces, 2000))
    assert sum(bool(event.text) for event in found) > 10


# Failures


@given(st.integers(0, 8), st.sampled_from([RuntimeError("x"), MemoryError(), KeyError("x"), ValueError()]), SIZES)
def test_a_classifier_that_breaks_midway_stops_the_answer_there(call, error, sizes):
    answer = story(*"abcdefgh")
    found = events(Guard(FailingAt(call, error), RULES), answer, sizes)
    assert [type(event) for event in found] == [Released] * min(call, 8) + [Stopped] * (call < 8)
    assert found[-1].verdict.failed == (call < 8)
    if call < 8:
        assert found[-1].verdict.message == "Unsure."


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.1])
def test_a_score_that_is_no_probability_stops_the_answer(score):
    found = events(scripted({"third": Scores(score, 0.0, "S1")}), story("first", "second", "third"))
    assert shown(found) == story("first", "second")
    assert found[-1].verdict.failed


def test_rules_that_break_stop_the_answer(monkeypatch):
    def broken(text):
        raise RuntimeError("no rule")

    monkeypatch.setattr("breakfix.guardrails.stream.find_pii", broken)
    (stop,) = events(redacting(), story("first", "second"))
    assert stop.verdict.failed


def test_an_engine_that_breaks_is_no_verdict():
    def pieces():
        yield sentence("first") + " "
        raise OSError("no memory")

    stream = scripted({}).stream("hi", pieces())
    assert next(stream).text == sentence("first")
    with pytest.raises(OSError, match="no memory"):
        next(stream)


def test_shadow_mode_shows_all_and_says_what_would_not_have_been():
    shadow = replace(RULES, shadow=True, pii=PiiPolicy("allow", "redact"))
    answer = story("first", "bomb", "last") + " jo.doe@example.com"
    found = events(scripted({"bomb": BOMB}, shadow), answer, [1] * 999)
    assert shown(found) == answer
    assert (found[-1].verdict.action, found[-1].verdict.would, found[-1].verdict.category) == ("allow", "block", "S9")
    failed = events(Guard(FailingAt(1, RuntimeError()), shadow), answer, [1] * 999)
    assert shown(failed) == answer
    assert (failed[-1].verdict.would, failed[-1].verdict.failed) == ("block", True)


# Bounds


def test_an_answer_too_long_to_be_checked_is_refused():
    verdict = scripted({}).check_output("hi", "hello " * 60_000)
    assert verdict.failed
    assert verdict.blocked


@pytest.mark.parametrize("unit", ["a", "a ", ". ", "\u0301", "🙂", "\n", ")", "1 ", "字", "\ud800", "\x00", " ", "A@"])
def test_any_megabyte_ends_soon_in_pieces_of_one_character_too(unit):
    guard, text = redacting(), unit * (1_000_000 // len(unit))
    whole, streamed = guard.check_output("hi", text), list(guard.stream("hi", text))[-1].verdict
    assert whole.failed
    assert timeless(whole) == timeless(streamed)
    assert max(whole.milliseconds, streamed.milliseconds) < 20_000


def test_a_megabyte_in_shadow_mode_passes_and_ends_soon():
    found = list(redacting(shadow=True).stream("hi", "1 " * 250_000))
    assert sum(len(event.text) for event in found) == 500_000
    assert found[-1].verdict.failed


def test_excerpts_begin_at_a_word():
    answer = " ".join(f"Sentence {n} tells a little more about the garden behind the house." for n in range(60))
    assert {excerpt.split(" ")[0].strip(".") for excerpt in checkpoints.excerpts(answer)} <= {
        *answer.replace(".", "").split(" ")
    }


def test_checks_are_few_and_excerpts_short():
    classifier = ByEnd({})
    answer = " ".join(f"Sentence {n} tells a little more about the garden behind the house." for n in range(60))
    Guard(classifier, RULES).check_output("hi", answer)
    assert len(classifier.seen) <= len(answer) / 120
    assert max(map(len, classifier.seen)) <= 300
    short = ByEnd({})
    Guard(short, RULES).check_output("hi", "Yes. No. " * 100)
    # A pass of the classifier is worth a dozen tokens at least, however short the sentences are.
    assert len(short.seen) <= 900 / 96 + 1
