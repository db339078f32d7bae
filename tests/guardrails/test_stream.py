import itertools

from hypothesis import given
from hypothesis import strategies as st

from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import CategoryPolicy, Policy
from breakfix.guardrails.stream import checked

RULES = Policy(messages={"blocked": "No.", "failed": "Unsure."}, categories={"S6": CategoryPolicy(action="warn")})
PHRASES = {"bomb": Scores(0.9, 0.0, "S9"), "pills": Scores(0.9, 0.0, "S6")}
GUARD = Guard(ScriptedClassifier(PHRASES), RULES)
LONG = 240


class WatchingClassifier(ScriptedClassifier):
    """Remembers the answers it was asked about."""

    def __init__(self, phrases):
        super().__init__(phrases)
        self.seen = []

    def score(self, passages):
        self.seen += [p.answer for p in passages]
        return super().score(passages)


def cut(answer, sizes):
    """Cut an answer in pieces of given sizes, as a tokenizer might; the rest is one piece."""
    at = 0
    for size in [*sizes, len(answer)]:
        if at < len(answer):
            yield answer[at : at + size]
            at += size


def released(pieces, guard=GUARD):
    return [text for text, _ in checked(guard, "hi", pieces)]


def test_text_is_held_back_until_a_sentence_ends():
    assert released(cut("One. Two three four. Five", [1] * 30)) == ["One.", " Two three four.", " Five"]


def test_a_text_without_sentences_is_not_held_back_for_ever():
    pieces = released(cut("word " * 200, [5] * 200))
    assert len(pieces) > 3
    assert max(map(len, pieces)) <= LONG + 5


def test_each_text_comes_with_its_verdict_and_nothing_comes_after_a_block():
    given_out = list(checked(GUARD, "hi", cut("Rest. Some pills. A bomb. The end.", [1] * 40)))
    assert [(text, verdict.action) for text, verdict in given_out] == [
        ("Rest.", "allow"),
        (" Some pills.", "warn"),
        ("", "block"),
    ]


def test_no_piece_is_taken_after_a_block():
    pieces = iter(["A bomb.", " Go", " on."])
    released(pieces)
    assert list(pieces) == [" Go", " on."]


def test_no_text_is_no_check():
    assert list(checked(GUARD, "hi", [])) == []


ANSWERS = st.lists(st.sampled_from(["Well", " bo", "mb", " pills", ". ", "! ", "\n", "。", " and so on", " 3.14", '."', "é🙂"]))
SIZES = st.lists(st.integers(1, 12), max_size=60)


@given(ANSWERS.map("".join), SIZES)
def test_an_allowed_answer_is_released_whole_and_unchanged(answer, sizes):
    assert "".join(released(cut(answer, sizes), Guard(ScriptedClassifier({}), RULES))) == answer


@given(ANSWERS.map("".join), SIZES)
def test_nothing_is_released_that_did_not_pass_a_check(answer, sizes):
    classifier = WatchingClassifier(PHRASES)
    pieces = released(cut(answer, sizes), Guard(classifier, RULES))
    for shown in filter(None, itertools.accumulate(pieces)):
        assert shown in classifier.seen
        assert "bomb" not in shown
    assert answer.startswith("".join(pieces))
    assert "".join(pieces) == answer or "bomb" in answer
