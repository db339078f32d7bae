import json
from dataclasses import replace

import pytest

from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import PiiPolicy
from breakfix.runtime.engine import Message, ScriptedEngine
from breakfix.runtime.terminal.commands import COMMANDS


def notes(said) -> list[str]:
    return [line.removeprefix("(").removesuffix(")") for line in said.err.splitlines()]


def test_help_tells_every_command(chat, typed):
    told = typed(chat({}), "/help").err
    assert all(f"/{name} " in told for name in COMMANDS)


def test_an_unknown_command_is_told_and_not_asked(chat, typed):
    engine = ScriptedEngine({})
    assert notes(typed(chat(engine), "/hepl")) == [
        "there is no command /hepl; /help lists them, and a space before a slash sends it as text"
    ]
    assert engine.asked == []


def test_a_paste_of_several_lines_is_text_whatever_it_begins_with(chat, typed):
    engine = ScriptedEngine({})
    typed(chat(engine), "/usr/bin/env\nwhat is it?")
    assert engine.asked[0][-1].content == "/usr/bin/env\nwhat is it?"


def test_the_system_message_is_shown_set_and_taken_away(chat, typed):
    engine = ScriptedEngine({})
    talk = chat(engine, system="Be kind.")
    said = notes(typed(talk, "/system", "/system Be brief.", "hi", "/system none", "ho"))
    assert said == ["system message: Be kind.", "system message: Be brief.", "system message: none"]
    assert [asked[0] for asked in engine.asked] == [Message("system", "Be brief."), Message("user", "hi")]


def test_another_policy_is_another_guard_from_then_on(chat, typed):
    out = typed(chat({"a bomb": "A loud thing."}), "a bomb", "/policy lax", "a bomb").out
    assert out == "No.\nA loud thing.\n"


@pytest.mark.parametrize("text", ["Tell all about the bomb.", "bomb"])
def test_a_system_message_that_the_guard_blocks_is_not_taken(chat, typed, text):
    talk = chat({}, system="Be kind.")
    (said,) = notes(typed(talk, f"/system {text}"))
    assert said.startswith("the guard blocks this system message (S9") and "bomb" not in said
    assert talk.session.system == "Be kind."


def test_undo_after_a_blocked_question_takes_no_good_turn_away(chat, typed):
    talk = chat({"hi": "Hello."})
    assert (
        notes(typed(talk, "hi", "a bomb", "/undo"))[-1] == "the last question was not kept; /undo again forgets the one before"
    )
    assert len(talk.session.history) == 2
    typed(talk, "/undo")
    assert talk.session.history == []


def test_a_retry_that_is_blocked_keeps_the_answer_before(chat, typed):
    answers = iter(["Fine. ", "Take the bomb. " * 20])
    talk = chat(ScriptedEngine(lambda conversation: next(answers)))
    typed(talk, "hi", "/retry")
    assert [message.content for message in talk.session.history] == ["hi", "Fine. "]


def test_undo_forgets_one_turn_at_a_time(chat, typed):
    talk = chat({"a": "1", "b": "2"}, system="s")
    typed(talk, "a", "b", "/undo")
    assert [message.content for message in talk.session.history] == ["s", "a", "1"]
    assert notes(typed(talk, "/undo", "/undo"))[-1] == "there is nothing to undo"
    assert [message.content for message in talk.session.history] == ["s"]


def test_retry_asks_the_last_question_anew_with_other_dice(chat, typed):
    answers, seen = iter(["first", "second", "third"]), []

    class Dice(ScriptedEngine):
        def stream(self, conversation, sampling):
            seen.append((len(conversation), sampling.temperature, sampling.seed))
            yield from super().stream(conversation, sampling)

    talk = chat(Dice(lambda conversation: next(answers)))
    assert typed(talk, "hi", "/retry", "/retry").out == "first\nsecond\nthird\n"
    assert [message.content for message in talk.session.history] == ["hi", "third"]
    assert seen[0] == (1, 0.0, 0)
    assert [length for length, _, _ in seen] == [1, 1, 1]
    assert all(temperature > 0 for _, temperature, _ in seen[1:]) and len({seed for _, _, seed in seen}) == 3
    assert talk.session.sampling.temperature == 0


def test_a_retry_of_a_blocked_question_takes_nothing_else_away(chat, typed):
    talk = chat({"hi": "Hello."})
    assert typed(talk, "hi", "a bomb", "/retry").out == "Hello.\nNo.\nNo.\n"
    assert [message.content for message in talk.session.history] == ["hi", "Hello."]


def test_there_is_nothing_to_retry_at_first_and_after_clear(chat, typed):
    talk = chat({"hi": "Hello."}, system="s")
    assert notes(typed(talk, "/retry")) == ["there is nothing to ask again"]
    assert notes(typed(talk, "hi", "/clear", "/retry")) == ["a new conversation", "there is nothing to ask again"]
    assert talk.session.history == [Message("system", "s")]


def test_stats_tell_the_tokens_and_what_is_running(chat, typed):
    talk = chat({"hi": "one two three"})
    said = notes(typed(talk, "hi", "/stats"))
    assert said[0].startswith("last turn: 2 tokens of prompt, 3 of answer, first text after ")
    assert said[1].startswith("conversation: 1 turns, ")
    assert f"model {talk.engine.id}" in said
    assert said[-1] == f"guard {talk.session.guard.id}, level balanced"
    assert not notes(typed(talk, "a bomb", "/stats"))[1].startswith("last turn"), "a blocked turn has no speed"


def test_exit_ends_the_chat(chat, typed):
    assert typed(chat({"hi": "Hello."}), "hi", "/exit", "hi").out == "Hello.\n"


# Saving and loading


def test_a_saved_chat_goes_on_elsewhere(chat, typed, tmp_path):
    file, engine = tmp_path / "talk.json", ScriptedEngine({"b": "2"})
    typed(chat({"a": "1"}, system="s"), "a", f"/save {file}")
    assert file.stat().st_mode & 0o777 == 0o600
    said = notes(typed(chat(engine), f"/load {file}", "b"))
    assert said == ["1 turns loaded; the last answer was:", "1"]
    assert [message.content for message in engine.asked[0]] == ["s", "a", "1", "b"]
    typed(chat({"x": "y"}), "x", f"/save {file}")  # a saved chat may be saved over
    assert "x" in file.read_text()


def test_a_file_of_another_kind_is_never_saved_over(chat, typed, tmp_path):
    file = tmp_path / "thesis.txt"
    file.write_text("years of work")
    assert "is no saved chat and is left as it is" in typed(chat({}), f"/save {file}").err
    assert file.read_text() == "years of work"
    assert list(tmp_path.iterdir()) == [file]


def test_where_a_chat_cannot_be_saved_it_goes_on(chat, typed, tmp_path):
    said = typed(chat({"hi": "Hello."}), f"/save {tmp_path / 'no' / 'x'}", "hi")
    assert "check the path" in said.err
    assert said.out == "Hello.\n"


def saved(tmp_path, *messages):
    rows = [{"role": role, "content": content} for role, content in messages]
    file = tmp_path / "talk.json"
    file.write_text(json.dumps({"format": "breakfix chat 1", "model": "m", "messages": rows}))
    return file


@pytest.mark.parametrize(
    "messages",
    [[("user", "a bomb"), ("assistant", "Sure.")], [("user", "hi"), ("assistant", "Take the bomb.")], [("system", "bomb")]],
)
def test_the_guard_reads_what_is_loaded(chat, typed, tmp_path, messages):
    talk = chat({"hi": "Hello."})
    typed(talk, "hi")
    said = typed(talk, f"/load {saved(tmp_path, *messages)}").err
    assert "the guard blocks it" in said and "bomb" not in said
    assert [message.content for message in talk.session.history] == ["hi", "Hello."], "the present chat is kept"


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", "null", '{"format": "breakfix chat 1"}', "[" * 100_000, "\udcff",
        '{"format": "breakfix chat 1", "messages": 3}',
        '{"format": "breakfix chat 1", "messages": [3]}',
        '{"format": "breakfix chat 1", "messages": [{"role": "assistant", "content": "x"}]}',
        '{"format": "breakfix chat 1", "messages": [{"role": "user", "content": "x"}]}',
        '{"format": "breakfix chat 1", "messages": [{"role": "user", "content": 5}]}',
        '{"format": "breakfix chat 1", "messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "x"}]}',
    ],
)  # fmt: skip
def test_what_is_no_saved_chat_is_told_and_nothing_is_lost(chat, typed, tmp_path, text):
    file = tmp_path / "talk.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    talk = chat({"hi": "Hello."})
    typed(talk, "hi")
    assert str(file.name) in typed(talk, f"/load {file}").err
    assert len(talk.session.history) == 2


def test_what_is_loaded_is_redacted_as_what_is_said(chat, typed, tmp_path):
    engine = ScriptedEngine({})
    talk = chat(engine, {})
    rules = replace(talk.session.guard.rules, pii=PiiPolicy(input="redact", output="redact"))
    talk.session.guard = Guard(talk.session.guard.classifier, rules)
    said = typed(talk, f"/load {saved(tmp_path, ('user', 'I am a@b.org'), ('assistant', 'Hi, a@b.org'))}", "ho").err
    assert "a@b.org" not in said and "a@b.org" not in str(engine.asked)


def test_nobodys_home_is_told(chat, typed):
    assert "names nobody's folder" in typed(chat({}), "/save ~nobody-here/x").err


def test_a_file_that_is_not_there_is_told(chat, typed, tmp_path):
    assert "check the path" in typed(chat({}), f"/load {tmp_path / 'x'}").err
    assert notes(typed(chat({}), "/load", "/save")) == ["say what: /load FILE", "say where: /save FILE"]
