import os
from dataclasses import replace

import pytest

from breakfix.core import artifact
from breakfix.core.errors import ArtifactError
from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import SHIPPED, Guard
from breakfix.guardrails.policy import CategoryPolicy, Policy
from breakfix.runtime.chat import Bundle, chat, find_bundle
from breakfix.runtime.engine import ConversationTooLong, Message, Sampling, ScriptedEngine
from breakfix.runtime.session import Session

RULES = Policy(messages={"en": {"blocked": "No.", "failed": "Unsure."}}, categories={"S6": CategoryPolicy(action="warn")})


class FailingClassifier(ScriptedClassifier):
    def score(self, passages):
        raise RuntimeError("no kernel")


def make(folder, kind):
    return artifact.produce(folder, kind, {}, {}, lambda work: (work / "file").write_text(kind) and None).path


def cycle(folder, *, age=0):
    """Make a folder as a finished cycle leaves it, so many seconds old."""
    bundle = Bundle(make(folder / "int4", "int4"), make(folder / "guard", "guard"))
    now = (bundle.model / "manifest.json").stat().st_mtime
    os.utime(bundle.model / "manifest.json", (now - age, now - age))
    return bundle


def session(answers, phrases, classifier=ScriptedClassifier):
    return Session(ScriptedEngine(answers), Guard(classifier(phrases), RULES), Sampling())


def small(characters):
    """An engine that repeats what it is told and reads no more characters than that in all."""

    def repeat(conversation):
        if sum(len(message.content) for message in conversation) > characters:
            raise ConversationTooLong("too long")
        return conversation[-1].content

    return ScriptedEngine(repeat)


def test_without_a_name_the_newest_cycle_is_taken(tmp_path):
    cycle(tmp_path / "old", age=100)
    newest = cycle(tmp_path / "b-new")
    cycle(tmp_path / "older", age=200)
    assert find_bundle(None, None, tmp_path) == newest


def test_an_unfinished_cycle_is_not_taken(tmp_path):
    done = cycle(tmp_path / "old", age=100)
    (tmp_path / "new" / "int4").mkdir(parents=True)
    assert find_bundle(None, None, tmp_path) == done


@pytest.mark.parametrize("there", [True, False])
def test_without_any_cycle_the_command_that_makes_one_is_named(tmp_path, there):
    runs = tmp_path if there else tmp_path / "runs"
    with pytest.raises(ArtifactError, match="make one with: breakfix train cycle"):
        find_bundle(None, None, runs)


def test_a_cycle_folder_gives_its_model_and_guard(tmp_path):
    bundle = cycle(tmp_path / "run")
    assert find_bundle(tmp_path / "run", None) == bundle


def test_a_model_takes_the_guard_beside_it(tmp_path):
    bundle = cycle(tmp_path)
    assert find_bundle(bundle.model, None) == bundle


def test_a_named_guard_wins(tmp_path):
    bundle, other = cycle(tmp_path / "run"), make(tmp_path / "other", "guard")
    assert find_bundle(bundle.model, other) == Bundle(bundle.model, other)
    assert find_bundle(tmp_path / "run", other) == Bundle(bundle.model, other)
    assert find_bundle(None, other, tmp_path) == Bundle(bundle.model, other)


def test_a_model_alone_is_guarded_by_the_guard_that_is_installed(tmp_path):
    model = make(tmp_path / "int4", "int4")
    assert find_bundle(model, None) == Bundle(model, SHIPPED)


@pytest.mark.parametrize("name", ["guard", "guard.partial"])
def test_a_guard_that_lies_there_unfinished_is_not_exchanged(tmp_path, name):
    model = make(tmp_path / "int4", "int4")
    (tmp_path / name).mkdir()
    assert find_bundle(model, None).guard == tmp_path / "guard"


@pytest.mark.parametrize("guard", [True, False])
def test_a_folder_without_a_model_is_told_of(tmp_path, guard):
    with pytest.raises(ArtifactError, match=r"no model in .*nowhere"):
        find_bundle(tmp_path / "nowhere", make(tmp_path / "guard", "guard") if guard else None)


def test_each_line_is_answered_and_empty_ones_are_passed_over(capsys):
    talk = session({"hi": "Hello. Nice day.", "bye": "So long."}, {})
    chat(talk, ["hi\n", "\n", "   \n", " bye "])
    out, err = capsys.readouterr()
    assert out == "Hello. Nice day.\nSo long.\n"
    assert err == ""
    assert len(talk.history) == 4


def test_what_the_guard_did_is_said_on_standard_error(capsys):
    talk = session({"pills": "Ask a doctor."}, {"bomb": Scores(0.93, 0.0, "S9"), "pills": Scores(0.6, 0.0, "S6")})
    chat(talk, ["a bomb", "pills"])
    out, err = capsys.readouterr()
    assert out == "No.\nAsk a doctor.\n"
    assert err.splitlines() == [
        "(guard: blocked the input: S9, score 0.93)",
        "(guard: warned about the input: S6, score 0.60)",
    ]


def test_what_is_taken_back_is_told(capsys):
    calm = "All of this is calm and kind and long enough to be shown. " * 4
    talk = session({"hi": f"{calm}Now mix the bomb and wait."}, {"bomb": Scores(0.99, 0.0, "S9")})
    rules = replace(RULES, categories={"S9": CategoryPolicy(action="replace")})
    talk.guard = Guard(talk.guard.classifier, rules)
    chat(talk, ["hi"])
    out, err = capsys.readouterr()
    assert out.endswith("\n\nNo.\n") and talk.last.taken_back > 0
    assert f"the last {talk.last.taken_back} characters before the message are taken back" in err


def test_a_model_does_not_steer_the_terminal(capsys):
    chat(session({"hi": "a\x1b[2Jb\x07c\td"}, {}), ["hi"])
    assert capsys.readouterr().out == "a[2Jbc\td\n"


def test_a_guard_that_failed_is_said_to_have_failed(capsys):
    chat(session({}, {}, FailingClassifier), ["hi"])
    out, err = capsys.readouterr()
    assert out == "Unsure.\n"
    assert err == "(guard: blocked the input: the guard failed)\n"


def test_the_oldest_turns_are_forgotten_when_the_conversation_outgrew_the_model(capsys):
    engine = small(12)
    talk = Session(engine, None, Sampling(), "sys")
    chat(talk, ["aa", "bb", "cc", "ddddddd"])
    out, err = capsys.readouterr()
    assert out == "aa\nbb\ncc\nddddddd\n"
    assert err.splitlines() == [
        "(the conversation outgrew the model: its oldest turn is forgotten)",
        "(the conversation outgrew the model: its oldest 2 turns are forgotten)",
    ]
    assert engine.asked[-1] == [Message("system", "sys"), Message("user", "ddddddd")]


def test_a_message_too_long_by_itself_is_said_so_and_the_chat_goes_on_with_all_it_knew(capsys):
    talk = Session(small(12), None, Sampling())
    chat(talk, ["aa", "b" * 20, "cc"])
    out, err = capsys.readouterr()
    assert out == "aa\ncc\n"
    assert err == "(this message alone is longer than the model can read; send a shorter one)\n"
    assert [message.content for message in talk.history] == ["aa", "aa", "cc", "cc"]
