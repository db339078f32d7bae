import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.guardrails.audit import AuditLog
from breakfix.guardrails.classifier import Scores, ScriptedClassifier
from breakfix.guardrails.guard import Guard
from breakfix.guardrails.policy import PiiPolicy, Policy

RULES = Policy(messages={"en": {"blocked": "No.", "failed": "Unsure."}}, pii=PiiPolicy("redact", "redact"))
BOMB = Scores(0.98765, 0.0, "S9")


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def guard(log, rules=RULES):
    return Guard(ScriptedClassifier({"bomb": BOMB}), rules, log)


def test_each_check_is_one_line(tmp_path):
    path = tmp_path / "audit.jsonl"
    judge = guard(AuditLog(path))
    judge.check_input("hello", turn=1)
    list(judge.stream("hello", ["How are you?", " Fine."], turn=1))
    judge.check_input("a bomb", turn=2)
    judge.check_output("hello", "a bomb", turn=3)
    said = lines(path)
    assert [(row["turn"], row["rail"], row["action"], row["category"], row["score"]) for row in said] == [
        (1, "input", "allow", None, 0.0),
        (1, "output", "allow", None, 0.0),
        (2, "input", "block", "S9", 0.99),
        (3, "output", "block", "S9", 0.99),
    ]
    assert all(row["guard"] == "scripted" and row["policy"] == RULES.id and row["time"].endswith("+00:00") for row in said)
    assert all(isinstance(row["milliseconds"], float) for row in said)


def test_what_shadow_mode_would_have_done_is_in_the_log(tmp_path):
    path = tmp_path / "audit.jsonl"
    guard(AuditLog(path), Policy(messages=RULES.messages, shadow=True)).check_input("a bomb")
    (row,) = lines(path)
    assert (row["action"], row["would"], row["failed"]) == ("allow", "block", False)


def test_a_failure_is_in_the_log(tmp_path):
    path = tmp_path / "audit.jsonl"
    Guard(ScriptedClassifier({"x": Scores(float("nan"), 0.0, "S1")}), RULES, AuditLog(path)).check_input("x")
    (row,) = lines(path)
    assert (row["action"], row["failed"], row["score"]) == ("block", True, 0.0)


@given(st.text(st.characters(exclude_categories=()), min_size=12))
def test_no_text_is_in_the_log(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    judge = guard(AuditLog(path))
    for said in (text, f"{text} bomb", f"{text} jo.doe@example.com"):
        judge.check_input(said, [said])
        judge.check_output(said, said)
    written = path.read_text(encoding="utf-8")
    assert len(lines(path)) == 6
    assert "bomb" not in written
    assert "jo.doe" not in written
    assert all(sum(row["findings"].values()) > 0 for row in lines(path)[-2:])
    # Nothing but these keys, and no value among them that a text could stand in.
    assert {type(value) for row in lines(path) for value in row.values()} <= {str, int, float, bool, dict, type(None)}
    words = {"input", "output", "allow", "warn", "redact", "block", "replace", "scripted", "S9", "pii", RULES.id}
    assert all(v in words for row in lines(path) for k, v in row.items() if isinstance(v, str) and k != "time")


def test_an_answer_that_nobody_read_to_its_end_is_in_the_log(tmp_path):
    path = tmp_path / "audit.jsonl"
    stream = guard(AuditLog(path)).stream("hi", ["A long sentence about gardens and tomatoes and the weather of May. " * 4])
    next(stream)
    stream.close()
    assert [row["rail"] for row in lines(path)] == ["output"]


def test_the_log_stays_below_its_size_and_keeps_what_came_before_once(tmp_path):
    path = tmp_path / "audit.jsonl"
    judge = guard(AuditLog(path, most_bytes=2000))
    for turn in range(1, 40):
        judge.check_input("hello", turn=turn)
    old = path.with_name("audit.jsonl.1")
    assert sorted(tmp_path.iterdir()) == [path, old]
    assert max(path.stat().st_size, old.stat().st_size) <= 2000
    turns = [row["turn"] for row in lines(old) + lines(path)]
    assert turns == list(range(turns[0], 40))


def test_the_log_goes_on_where_another_run_left_it(tmp_path):
    path = tmp_path / "logs" / "audit.jsonl"
    for turn in (1, 2):
        guard(AuditLog(path)).check_input("hello", turn=turn)
    assert [row["turn"] for row in lines(path)] == [1, 2]
    assert os.name == "nt" or path.stat().st_mode & 0o077 == 0


def test_lines_of_several_threads_do_not_mix(tmp_path):
    path = tmp_path / "audit.jsonl"
    judge = guard(AuditLog(path))
    threads = [threading.Thread(target=lambda: [judge.check_input("hello") for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(path)) == 200


@pytest.mark.parametrize("name", ["file/audit.jsonl", "folder", "no\0name", "x" * 999])
def test_a_log_that_cannot_be_written_changes_no_verdict(tmp_path, name):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    log = AuditLog(tmp_path / name)
    assert guard(log).check_input("a bomb").blocked
    assert guard(log).check_input("hello").action == "allow"
    assert log.lost == 2


def test_lines_that_were_lost_are_counted_in_the_next_one(tmp_path):
    path = tmp_path / "logs"
    path.write_text("in the way")
    judge = guard(AuditLog(path / "audit.jsonl"))
    judge.check_input("hello")
    judge.check_input("hello")
    path.unlink()
    judge.check_input("hello", turn=3)
    judge.check_input("hello", turn=4)
    first, second = lines(path / "audit.jsonl")
    assert (first["turn"], first["lost"]) == (3, 2)
    assert "lost" not in second


def test_half_a_line_on_a_full_disk_spoils_no_other(tmp_path, monkeypatch):
    path, write = tmp_path / "audit.jsonl", os.write
    judge = guard(AuditLog(path))
    judge.check_input("hello", turn=1)
    with monkeypatch.context() as full:
        full.setattr("breakfix.guardrails.audit.os.write", lambda handle, data: write(handle, data[:30]))
        assert judge.check_input("a bomb", turn=2).blocked
    judge.check_input("hello", turn=3)
    first, half, third = path.read_text().splitlines()
    assert json.loads(first)["turn"] == 1
    assert len(half) == 30
    assert (json.loads(third)["turn"], json.loads(third)["lost"]) == (3, 1)
