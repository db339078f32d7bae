import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.guardrails.audit import AuditLog
from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import CategoryPolicy, PiiPolicy, Policy
from breakfix.runtime.engine import ConversationTooLong, Message, Sampling, ScriptedEngine
from breakfix.runtime.session import Session

SAMPLING = Sampling(max_new_tokens=1000)
BAD = Scores(0.9, 0.0, "S9")
ODD = Scores(0.9, 0.0, "S6")
RULES = Policy(
    messages={"en": {"blocked": "No.", "failed": "Unsure.", "gentle": "Take care."}},
    categories={"S6": CategoryPolicy("warn"), "S11": CategoryPolicy("replace", message="gentle")},
)
GUARD = Guard(ScriptedClassifier({"bomb": BAD, "pills": ODD, "sorrow": Scores(0.9, 0.0, "S11")}), RULES)
GARDEN = "First we go to the garden behind the house and look at the tomatoes and the melons, which all like the sun."


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
    engine = PiecesEngine(f"{GARDEN} Then the bomb is built, {'slowly, ' * 20}. Then we run. {GARDEN}", [5] * 999)
    session = Session(engine, GUARD, SAMPLING)
    shown = ask(session, "tell me")
    assert shown == f"{GARDEN}\n\nNo."
    assert session.history == []
    assert (session.last.answer, session.last.verdict.category, session.last.asked_model) == (shown, "S9", True)
    assert session.last.taken_back == 0
    # The model is not asked to go on with what nobody will read.
    assert engine.given < 60


def test_what_was_shown_since_the_last_safe_sentence_is_to_be_taken_back():
    session = Session(ScriptedEngine({"x": f"{GARDEN} {'and so on ' * 30} bomb"}), GUARD, SAMPLING)
    shown = ask(session, "x")
    assert session.last.answer == f"{GARDEN}\n\nNo."
    before, _, message = shown.rpartition("\n\n")
    assert before[: -session.last.taken_back] == GARDEN
    assert message == "No."


def test_a_message_in_place_of_the_answer_takes_all_of_it_back():
    session = Session(ScriptedEngine({"x": f"{GARDEN} Such sorrow."}), GUARD, SAMPLING)
    assert ask(session, "x") == f"{GARDEN}\n\nTake care."
    assert (session.last.answer, session.last.taken_back) == ("Take care.", len(GARDEN))
    assert session.history == []


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


def test_a_request_split_over_turns_is_refused():
    guard = Guard(ScriptedClassifier({"how do I build\na bomb": BAD}), RULES)
    session = Session(ScriptedEngine({"how do I build": "What?", "a bomb": "So."}), guard, SAMPLING)
    assert ask(session, "how do I build") == "What?"
    assert ask(session, "a bomb") == "No."


def test_personal_data_reach_neither_the_model_nor_the_screen_where_the_policy_redacts():
    rules = replace(RULES, pii=PiiPolicy("redact", "redact"))
    engine = ScriptedEngine(lambda conversation: f"You are {conversation[-1].content}, or else jim@example.com.")
    session = Session(engine, Guard(ScriptedClassifier({}), rules), SAMPLING)
    shown = ask(session, "me: jo.doe@example.com")
    assert "@" not in engine.asked[0][-1].content
    assert "@" not in shown
    assert "@" not in session.history[-1].content + session.history[-2].content
    assert session.last.verdict.action == "redact"


def test_in_shadow_mode_everything_is_answered_as_if_there_were_no_guard():
    guard = Guard(GUARD.classifier, replace(RULES, shadow=True))
    session = Session(ScriptedEngine({"a bomb": "A bomb. Pills."}), guard, SAMPLING)
    assert ask(session, "a bomb") == "A bomb. Pills."
    assert session.last.verdict is None


@pytest.mark.parametrize(("question", "answer"), [("crash", "fine"), ("hi", "It will crash now.")])
def test_in_shadow_mode_a_guard_that_fails_passes_and_is_reported(question, answer):
    guard = Guard(FailingClassifier({}), replace(RULES, shadow=True))
    session = Session(ScriptedEngine({question: answer}), guard, SAMPLING)
    assert ask(session, question) == answer
    assert session.last.verdict.failed


def test_the_audit_log_counts_the_turns(tmp_path):
    path = tmp_path / "audit.jsonl"
    session = Session(ScriptedEngine({"hi": "Hello."}), Guard(GUARD.classifier, RULES, AuditLog(path)), SAMPLING)
    for text in ("hi", "bomb", "hi"):
        ask(session, text)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["turn"], row["rail"]) for row in rows] == [
        (1, "input"), (1, "output"), (2, "input"), (3, "input"), (3, "output"),
    ]  # fmt: skip


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


def test_a_quarter_of_a_long_conversation_is_forgotten_at_once():
    def answer(conversation):
        if sum(len(message.content) for message in conversation) > 400:
            raise ConversationTooLong("too long")
        return "Fine."

    session, forgotten = Session(ScriptedEngine(answer), None, SAMPLING), []
    for turn in range(60):
        list(session.ask(f"Question {turn}?"))
        assert session.last is not None
        forgotten.append(session.last.forgotten)
    times = [count for count in forgotten if count]
    assert times and len(times) < sum(times), "what is kept is read again, so it is not forgotten turn by turn"
    assert len(session.history) >= 4


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
    session = Session(ScriptedEngine({"hi": f"{GARDEN} Two. Three."}), GUARD, SAMPLING)
    assert next(session.ask("hi")) == GARDEN
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
