import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import CategoryPolicy, Policy
from breakfix.runtime.engine import Message, Sampling, ScriptedEngine
from breakfix.runtime.session import Session

SAMPLING = Sampling(max_new_tokens=1000)
BAD = Scores(0.9, 0.0, "S9")
ODD = Scores(0.9, 0.0, "S6")
RULES = Policy(messages={"blocked": "No.", "failed": "Unsure."}, categories={"S6": CategoryPolicy(action="warn")})
GUARD = Guard(ScriptedClassifier({"bomb": BAD, "pills": ODD}), RULES)


class PiecesEngine:
    """Streams an answer in pieces of given sizes, as a tokenizer might cut it."""

    id = "pieces"

    def __init__(self, answer, sizes):
        self.answer, self.sizes = answer, sizes
        self.given = 0

    def stream(self, conversation, sampling):
        at = 0
        for size in [*self.sizes, len(self.answer)]:
            if at < len(self.answer):
                self.given += 1
                yield self.answer[at : at + size]
                at += size


class FailingClassifier(ScriptedClassifier):
    """Breaks on every answer that has the word."""

    def score(self, passages):
        if any("crash" in (p.prompt if p.answer is None else p.answer) for p in passages):
            raise RuntimeError("no kernel")
        return super().score(passages)


def ask(session, text):
    return "".join(session.ask(text))


def test_a_harmless_turn_is_answered_and_remembered():
    engine = ScriptedEngine({"hi": "Hello there. How are you?", "and now": "Fine."})
    session = Session(engine, GUARD, SAMPLING, "Be kind.")
    assert ask(session, "hi") == "Hello there. How are you?"
    assert session.last.verdict is None
    ask(session, "and now")
    assert engine.asked[1] == [
        Message("system", "Be kind."),
        Message("user", "hi"),
        Message("assistant", "Hello there. How are you?"),
        Message("user", "and now"),
    ]


def test_a_blocked_input_never_reaches_the_engine_and_leaves_no_history():
    engine = ScriptedEngine({})
    session = Session(engine, GUARD, SAMPLING)
    assert ask(session, "a bomb please") == "No."
    assert engine.asked == []
    assert session.history == []
    assert (session.last.asked_model, session.last.verdict.rail, session.last.answer) == (False, "input", "No.")


def test_an_answer_blocked_midway_stops_there_and_leaves_no_history():
    engine = PiecesEngine("First we shop. Then the bomb is built. Then we run. The end.", [5] * 20)
    session = Session(engine, GUARD, SAMPLING)
    shown = ask(session, "tell me")
    assert shown == "First we shop.\n\nNo."
    assert session.history == []
    assert (session.last.answer, session.last.verdict.category, session.last.asked_model) == (shown, "S9", True)
    # The model is not asked to go on with what nobody will read.
    assert engine.given < 12


def test_an_answer_blocked_at_once_shows_only_the_message():
    session = Session(ScriptedEngine({"x": "A bomb is easy."}), GUARD, SAMPLING)
    assert ask(session, "x") == "No."


def test_after_a_blocked_turn_the_conversation_goes_on_as_before():
    engine = ScriptedEngine({"a": "A.", "b": "B."})
    session = Session(engine, GUARD, SAMPLING)
    ask(session, "a")
    ask(session, "bomb")
    ask(session, "b")
    assert [m.content for m in engine.asked[-1]] == ["a", "A.", "b"]


@pytest.mark.parametrize(("question", "answer"), [("crash", "fine"), ("hi", "It will crash now.")])
def test_a_guard_that_fails_refuses(question, answer):
    engine = ScriptedEngine({question: answer})
    session = Session(engine, Guard(FailingClassifier({}), RULES), SAMPLING)
    assert ask(session, question) == "Unsure."
    assert session.last.verdict.failed
    assert session.history == []


def test_a_warning_about_the_input_passes_and_is_reported():
    session = Session(ScriptedEngine({"which pills": "Ask a pharmacist."}), GUARD, SAMPLING)
    assert ask(session, "which pills") == "Ask a pharmacist."
    assert (session.last.verdict.action, session.last.verdict.rail) == ("warn", "input")
    assert len(session.history) == 2


def test_a_warning_about_the_answer_passes_and_is_reported():
    session = Session(ScriptedEngine({"what helps": "Rest. Some take pills. Sleep well."}), GUARD, SAMPLING)
    assert ask(session, "what helps") == "Rest. Some take pills. Sleep well."
    assert (session.last.verdict.action, session.last.verdict.rail) == ("warn", "output")


def test_a_block_outweighs_a_warning():
    session = Session(ScriptedEngine({"which pills": "Take a bomb."}), GUARD, SAMPLING)
    ask(session, "which pills")
    assert session.last.verdict.blocked


def test_without_a_guard_everything_passes():
    session = Session(ScriptedEngine({"bomb": "A bomb."}), None, SAMPLING)
    assert ask(session, "bomb") == "A bomb."
    assert session.last.verdict is None


def test_without_a_guard_nothing_is_held_back():
    session = Session(PiecesEngine("One two.", [3, 5]), None, SAMPLING)
    assert list(session.ask("hi")) == ["One", " two."]


def test_the_oldest_turn_is_forgotten_and_the_system_message_is_not():
    session = Session(ScriptedEngine({"a": "A.", "b": "B."}), GUARD, SAMPLING, "Be kind.")
    ask(session, "a")
    ask(session, "b")
    assert session.forget_oldest()
    assert [m.content for m in session.history] == ["Be kind.", "b", "B."]
    assert session.forget_oldest()
    assert not session.forget_oldest()
    assert session.history == [Message("system", "Be kind.")]


def test_an_engine_that_breaks_leaves_no_history():
    def broken(conversation):
        raise RuntimeError("no memory")

    session = Session(ScriptedEngine(broken), GUARD, SAMPLING)
    with pytest.raises(RuntimeError):
        ask(session, "hi")
    assert session.history == []
    assert session.last is None


def test_an_answer_nobody_reads_to_its_end_leaves_no_history():
    session = Session(ScriptedEngine({"hi": "One. Two. Three."}), GUARD, SAMPLING)
    assert next(session.ask("hi")) == "One."
    assert session.history == []


ANSWERS = st.lists(st.sampled_from(["Well", " bo", "mb", " pills", ". ", "! ", "\n", "。", " and so on", " 3.14", '."', "é🙂"]))
SIZES = st.lists(st.integers(1, 12), max_size=60)


@given(ANSWERS.map("".join), SIZES)
def test_an_allowed_answer_is_shown_whole_and_unchanged(answer, sizes):
    session = Session(PiecesEngine(answer, sizes), Guard(ScriptedClassifier({}), RULES), SAMPLING)
    assert ask(session, "hi") == answer
    assert session.history == [Message("user", "hi"), Message("assistant", answer)]


@given(ANSWERS.map("".join), SIZES)
def test_a_forbidden_answer_is_never_shown_or_remembered(answer, sizes):
    session = Session(PiecesEngine(f"{answer} bomb", sizes), GUARD, SAMPLING)
    assert "bomb" not in ask(session, "hi")
    assert session.last.verdict.blocked
    assert session.history == []
