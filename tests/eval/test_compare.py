import math

import pytest

from breakfix.core.errors import ArtifactError, UsageError
from breakfix.eval.compare import compare, is_defect
from breakfix.eval.judge import ActJudge
from breakfix.eval.run import run
from breakfix.eval.statistics import rate
from breakfix.eval.suites import Sample, Suite
from breakfix.runtime.engine import Sampling, ScriptedEngine

REFUSAL, HELP, EMPTY, LOOP = "I can't help with that.", "Stir it well and serve it warm.", "", "so on " * 40
SUITE = Suite("small", (*(Sample(f"u{n}", f"u{n}", "refuse", "S1") for n in range(4)), Sample("s0", "s0", "answer", "S1")))


class OtherJudge(ActJudge):
    id = "other-1"


def records(out, answers, *, name="a", suite=SUITE, judge=None):
    """Measure an engine that gives these answers to the samples in their order."""
    table = dict(zip((sample.prompt for sample in suite.samples), answers, strict=True))
    return run(ScriptedEngine(table, f"engine-{name}"), [suite], judge or ActJudge(), Sampling(), out, name).path


def test_rates_count_the_wrong_answers_of_each_kind(tmp_path):
    first = records(tmp_path / "a", [REFUSAL, REFUSAL, HELP, HELP, HELP])
    second = records(tmp_path / "b", [REFUSAL, REFUSAL, REFUSAL, HELP, REFUSAL], name="b")
    comparison = compare([first, second])
    assert [(system.name, system.engine) for system in comparison.systems] == [("a", "engine-a"), ("b", "engine-b")]
    harm, refusal = comparison.lines
    assert (harm.suite, harm.measure, harm.rates) == ("small", "harmful compliance", (rate(2, 4), rate(1, 4)))
    assert (refusal.suite, refusal.measure, refusal.rates) == ("small", "over-refusal", (rate(0, 1), rate(1, 1)))


def test_changes_are_counted_prompt_by_prompt_against_the_system_before(tmp_path):
    answers = ([REFUSAL, REFUSAL, HELP, HELP, HELP], [HELP, HELP, REFUSAL, HELP, HELP], [REFUSAL] * 4 + [HELP])
    comparison = compare([records(tmp_path / name, a, name=name) for name, a in zip("abc", answers, strict=True)])
    first, second = comparison.lines[0].changes
    assert (first.gained, first.lost, first.p) == (2, 1, 1.0)
    assert (second.gained, second.lost, second.p) == (0, 3, pytest.approx(0.25))


def test_answers_that_were_not_judged_are_in_no_rate_and_no_change(tmp_path):
    first = records(tmp_path / "a", [EMPTY, HELP, REFUSAL, REFUSAL, HELP])
    second = records(tmp_path / "b", [HELP, REFUSAL, REFUSAL, EMPTY, EMPTY], name="b")
    harm, refusal = compare([first, second]).lines
    assert harm.rates == (rate(1, 3), rate(1, 3))
    assert harm.unjudged == (1, 1)
    assert (harm.changes[0].gained, harm.changes[0].lost) == (0, 1)
    assert math.isnan(refusal.rates[1].value)
    assert refusal.unjudged == (0, 1)


def test_loops_are_counted(tmp_path):
    line = compare([records(tmp_path / "a", [LOOP, EMPTY, REFUSAL, HELP, HELP])]).lines[0]
    assert line.degenerate == (2,)


def test_one_system_alone_has_rates_and_no_changes(tmp_path):
    line = compare([records(tmp_path / "a", [REFUSAL] * 5)]).lines[0]
    assert (line.rates, line.changes) == ((rate(0, 4),), ())


def test_systems_of_one_name_are_told_apart(tmp_path):
    paths = [records(tmp_path / folder, [REFUSAL] * 4 + [HELP], name="int4") for folder in "abc"]
    assert [system.name for system in compare(paths).systems] == ["int4", "int4 (2)", "int4 (3)"]


@pytest.mark.parametrize("expect", ["refuse", "answer"])
@pytest.mark.parametrize("outcome", ["refused", "partial", "complied"])
def test_a_part_of_what_was_asked_is_harm_and_no_refusal(expect, outcome):
    assert is_defect({"expect": expect, "outcome": outcome}) == ((expect == "refuse") == (outcome != "refused"))


def test_systems_measured_on_other_prompts_are_not_compared(tmp_path):
    first = records(tmp_path / "a", [REFUSAL] * 5)
    fewer = Suite("small", SUITE.samples[:4])
    reworded = Suite("small", tuple(sample._replace(prompt=f"{sample.prompt}?") for sample in SUITE.samples))
    for name, suite in (("b", fewer), ("c", reworded)):
        other = records(tmp_path / name, [REFUSAL] * len(suite.samples), suite=suite)
        with pytest.raises(UsageError, match="other prompts, with other sampling or by another judge"):
            compare([first, other])


def test_systems_measured_by_another_judge_are_not_compared(tmp_path):
    first = records(tmp_path / "a", [REFUSAL] * 5)
    with pytest.raises(UsageError, match="measure both with the same suites"):
        compare([first, records(tmp_path / "b", [REFUSAL] * 5, judge=OtherJudge())])


def test_records_that_were_edited_are_refused(tmp_path):
    path = records(tmp_path / "a", [HELP] * 5)
    text = (path / "records.jsonl").read_text()
    (path / "records.jsonl").write_text(text.replace("complied", "refused"))
    with pytest.raises(ArtifactError, match="changed"):
        compare([path])
