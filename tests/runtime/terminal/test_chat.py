import os
import signal
from dataclasses import replace

import pytest

from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import CategoryPolicy
from breakfix.runtime.engine import ConversationTooLong, Message, ScriptedEngine
from breakfix.runtime.terminal.commands import COMMANDS


@pytest.fixture(autouse=True)
def hears():
    """Hear Ctrl-C also where a shell started the tests in the background, which lets its children ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class FailingClassifier(ScriptedClassifier):
    def score(self, passages):
        raise RuntimeError("no kernel")


class Interrupted(ScriptedEngine):
    """An engine at whose second word somebody presses Ctrl-C so many times."""

    def __init__(self, answers, times=1):
        super().__init__(answers)
        self.times, self.words = times, 0

    def stream(self, conversation, sampling):
        for number, word in enumerate(super().stream(conversation, sampling)):
            self.words = number + 1
            if number == 1:
                for _ in range(self.times):
                    os.kill(os.getpid(), signal.SIGINT)
            yield word


def small(characters):
    """An engine that repeats what it is told and reads no more characters than that in all."""

    def repeat(conversation):
        if sum(len(message.content) for message in conversation) > characters:
            raise ConversationTooLong("too long")
        return conversation[-1].content

    return ScriptedEngine(repeat)


def test_each_line_is_answered_and_empty_ones_are_passed_over(chat, typed):
    talk = chat({"hi": "Hello. Nice day.", "bye": "So long."})
    out, err = typed(talk, "hi\n", "\n", "   \n", " bye ")
    assert out == "Hello. Nice day.\nSo long.\n"
    assert err == ""
    assert len(talk.session.history) == 4


def test_what_the_guard_did_is_said_on_standard_error(chat, typed):
    out, err = typed(chat({"pills": "Ask a doctor."}), "a bomb", "pills")
    assert out == "No.\nAsk a doctor.\n"
    assert err.splitlines() == [
        "(guard: blocked the input: S9 indiscriminate weapons, score 0.93)",
        "(guard: warned about the input: S6 dangerous specialized advice, score 0.60)",
    ]


def test_what_is_taken_back_is_told(chat, typed):
    calm = "All of this is calm and kind and long enough to be shown. " * 4
    talk = chat({"hi": f"{calm}Now mix the bomb and wait."}, {"bomb": Scores(0.99, 0.0, "S9")})
    rules = replace(talk.session.guard.rules, categories={"S9": CategoryPolicy(action="replace")})
    talk.session.guard = Guard(talk.session.guard.classifier, rules)
    out, err = typed(talk, "hi")
    assert out.endswith("\n\nNo.\n") and talk.session.last.taken_back > 0
    assert f"the last {talk.session.last.taken_back} characters before the message are taken back" in err


def test_a_guard_that_failed_is_said_to_have_failed(chat, typed):
    out, err = typed(chat({}, {}, classifier=FailingClassifier), "hi")
    assert out == "Unsure.\n"
    assert err == "(guard: blocked the input: the guard failed)\n"


def test_the_oldest_turns_are_forgotten_when_the_conversation_outgrew_the_model(chat, typed):
    engine = small(12)
    out, err = typed(chat(engine, system="sys", guarded=False), "aa", "bb", "cc", "ddddddd")
    assert out == "aa\nbb\ncc\nddddddd\n"
    assert err.splitlines() == [
        "(the conversation outgrew the model: its oldest turn is forgotten)",
        "(the conversation outgrew the model: its oldest 2 turns are forgotten)",
    ]
    assert engine.asked[-1] == [Message("system", "sys"), Message("user", "ddddddd")]


def test_a_message_too_long_by_itself_is_said_so_and_the_chat_goes_on_with_all_it_knew(chat, typed):
    talk = chat(small(12), guarded=False)
    out, err = typed(talk, "aa", "b" * 20, "cc")
    assert out == "aa\ncc\n"
    assert err == "(this message alone is longer than the model can read; send a shorter one)\n"
    assert [message.content for message in talk.session.history] == ["aa", "aa", "cc", "cc"]


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(chat, typed):
    engine = Interrupted({"hi": "one two three four five six", "go on": "seven"})
    talk = chat(engine)
    out, err = typed(talk, "hi")
    assert engine.words == 2, "the engine was asked for more after Ctrl-C"
    assert (out, err) == ("one two\n", "(stopped)\n")
    assert talk.session.history == [Message("user", "hi"), Message("assistant", "one two")]
    out, err = typed(talk, "go on")
    assert (out, err) == ("seven\n", "")


def test_a_second_ctrl_c_gives_the_turn_up_and_not_the_chat(chat, typed):
    talk = chat(Interrupted({"hi": "one two three", "more": "yes"}, times=2))
    _, err = typed(talk, "hi")
    assert err == "(stopped; this turn is forgotten)\n"
    assert talk.session.history == []
    talk.engine._engine.times = 0
    assert typed(talk, "more").out == "yes\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_ends_a_chat_that_reads_a_pipe(chat):
    talk = chat(Interrupted({"hi": "one two three"}))
    with pytest.raises(KeyboardInterrupt):
        talk.run(["hi"])


def test_lines_of_a_pipe_are_never_commands(chat, capsys, tmp_path):
    talk = chat({})
    talk.run([f"/save {tmp_path / 'x'}", "/exit", "hi"])
    assert capsys.readouterr().out.count("I have no line for that.") == 3
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_between_two_answers_ends_neither_chat_nor_conversation(chat, capsys):
    talk = chat({"hi": "Hello.", "ho": "Ha."})

    def lines():
        yield "hi"
        talk.display.end = interrupting(talk.display)
        yield "ho"
        yield "hi"

    talk.run(lines(), COMMANDS)
    out, err = capsys.readouterr()
    assert out == "Hello.\nHa.Hello.\n" and err == "(stopped)\n"


def interrupting(display):
    """Return an `end` that is interrupted once."""
    end = display.end

    def once(turn, used):
        display.end = end
        raise KeyboardInterrupt

    return once


def test_a_space_before_a_slash_sends_it_as_text(chat, typed):
    engine = ScriptedEngine({})
    typed(chat(engine), " /usr/bin is what?")
    assert engine.asked[0][-1].content == "/usr/bin is what?"


@pytest.mark.parametrize("lost", ["b" * 20, "stop"])
def test_what_left_nothing_is_not_undone_in_place_of_what_did(chat, typed, lost):
    talk = chat(small(12), guarded=False)
    typed(talk, "aa")
    if lost == "stop":
        talk.engine.cancelled.clear = talk.engine.cancelled.set  # pressed before the first token
        talk.engine._engine = ScriptedEngine({"stop": ""})
    typed(talk, lost)
    assert "the last question was not kept" in typed(talk, "/undo").err
    assert [message.content for message in talk.session.history] == ["aa", "aa"]
