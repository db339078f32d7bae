import signal
from pathlib import Path

import pytest

from breakfix.core.errors import ArtifactError, UsageError
from breakfix.core.jsonl import read_jsonl
from breakfix.eval.judge import ActJudge
from breakfix.eval.run import RECORDS, run
from breakfix.eval.suites import Sample, Suite
from breakfix.runtime.engine import Sampling, ScriptedEngine

SAMPLING = Sampling(max_new_tokens=48)
# 300 prompts are three chunks of 128; lengths differ, so the order of asking is not the order of the suite.
SUITES = [
    Suite("harm", tuple(Sample(f"h{n}", f"{'x' * (n * 7 % 31)} {n}", "refuse", "S1") for n in range(200))),
    Suite("fine", tuple(Sample(f"f{n}", f"{'y' * (n * 5 % 17)} {n}", "answer", "cooking") for n in range(100))),
]


def answer(conversation):
    return f"Ünïcode answer to {conversation[-1].content}."


def measure(engine, out, suites=SUITES, sampling=SAMPLING):
    return run(engine, suites, ActJudge(), sampling, out, "tiny")


class BreakingEngine(ScriptedEngine):
    """Breaks when it is asked for its second chunk."""

    def generate(self, conversations, sampling):
        if self.asked:
            raise RuntimeError("killed")
        return super().generate(conversations, sampling)


def test_every_prompt_is_recorded_in_the_order_of_the_suites(tmp_path):
    engine = ScriptedEngine(answer)
    records = measure(engine, tmp_path / "r")
    rows = read_jsonl(records.path / RECORDS)
    assert [(r["suite"], r["id"], r["prompt"]) for r in rows] == [(s.name, x.id, x.prompt) for s in SUITES for x in s.samples]
    assert all(r["answer"] == f"Ünïcode answer to {r['prompt']}." for r in rows)
    assert records.facts == {"system": "tiny", "engine": "scripted", "samples": 300}
    assert records.manifest["inputs"] == {
        "engine": "scripted",
        "judge": ActJudge.id,
        "suite:harm": SUITES[0].id,
        "suite:fine": SUITES[1].id,
    }


def test_prompts_of_equal_length_are_asked_side_by_side(tmp_path):
    engine = ScriptedEngine(answer)
    measure(engine, tmp_path / "r")
    lengths = [engine.length(conversation) for conversation in engine.asked]
    assert lengths == sorted(lengths)


def test_a_record_says_what_was_judged(tmp_path):
    engine = ScriptedEngine({"a": "I can't help with that.", "b": "Sure: do this."})
    suite = Suite("s", (Sample("1", "a", "refuse", "S1"), Sample("2", "b", "refuse", "S2")))
    rows = read_jsonl(measure(engine, tmp_path / "r", [suite]).path / RECORDS)
    assert list(rows[0]) == ["suite", "id", "prompt", "expect", "group", "answer", "outcome", "degenerate"]
    assert [(r["outcome"], r["degenerate"]) for r in rows] == [("refused", False), ("complied", False)]


def test_an_empty_answer_is_not_judged(tmp_path):
    suite = Suite("s", (Sample("1", "a", "answer", "x"),))
    (row,) = read_jsonl(measure(ScriptedEngine({"a": " "}), tmp_path / "r", [suite]).path / RECORDS)
    assert (row["outcome"], row["degenerate"]) == (None, True)


def test_the_same_engine_gives_the_same_bytes(tmp_path):
    first, second = (measure(ScriptedEngine(answer), tmp_path / name) for name in ("one", "two"))
    assert (first.path / RECORDS).read_bytes() == (second.path / RECORDS).read_bytes()
    assert first.id == second.id


def test_each_prompt_is_asked_once_and_a_finished_run_not_again(tmp_path):
    engine = ScriptedEngine(answer)
    first = measure(engine, tmp_path / "r")
    assert len(engine.asked) == 300
    assert measure(engine, tmp_path / "r").id == first.id
    assert len(engine.asked) == 300


def test_a_broken_run_goes_on_with_the_missing_chunks(tmp_path):
    whole = measure(ScriptedEngine(answer), tmp_path / "whole")
    with pytest.raises(RuntimeError):
        measure(BreakingEngine(answer), tmp_path / "r")
    assert not (tmp_path / "r").exists()
    engine = ScriptedEngine(answer)
    resumed = measure(engine, tmp_path / "r")
    assert len(engine.asked) == 300 - 128
    assert resumed.id == whole.id
    assert [path.name for path in resumed.path.iterdir() if path.suffix != ".json"] == [RECORDS]


def test_a_killed_run_goes_on_with_the_missing_chunks(tmp_path, python):
    script = tmp_path / "kill.py"
    script.write_text(KILLED)
    done = python(script, tmp_path / "r", PYTHONPATH=str(Path(__file__).parent))
    assert done.returncode == -signal.SIGKILL, done.stderr
    engine = ScriptedEngine(answer)
    resumed = measure(engine, tmp_path / "r")
    assert len(engine.asked) == 300 - 128
    assert resumed.id == measure(ScriptedEngine(answer), tmp_path / "whole").id


KILLED = """
import os, signal, sys
from pathlib import Path
from test_run import ScriptedEngine, answer, measure

class KilledEngine(ScriptedEngine):
    def generate(self, conversations, sampling):
        if self.asked:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(conversations, sampling)

measure(KilledEngine(answer), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("change", ["engine", "sampling", "suites"])
def test_other_conditions_do_not_go_on_with_anothers_run(tmp_path, change):
    with pytest.raises(RuntimeError):
        measure(BreakingEngine(answer), tmp_path / "r")
    engine = ScriptedEngine(answer, "another" if change == "engine" else "scripted")
    suites = SUITES[:1] if change == "suites" else SUITES
    sampling = Sampling(max_new_tokens=64) if change == "sampling" else SAMPLING
    with pytest.raises(ArtifactError, match="unfinished work for another order"):
        measure(engine, tmp_path / "r", suites, sampling)
    assert engine.asked == []


def test_a_suite_named_twice_is_refused(tmp_path):
    engine = ScriptedEngine(answer)
    with pytest.raises(UsageError, match="harm is named twice"):
        measure(engine, tmp_path / "r", [SUITES[0], SUITES[0]])
    assert engine.asked == []
