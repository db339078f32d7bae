"""What a page counts for itself: it agrees with what is counted elsewhere, and what was not judged is in no share."""

import json
from dataclasses import replace

import pytest

from breakfix.core import artifact
from breakfix.core.errors import UsageError
from breakfix.core.hazards import HAZARDS
from breakfix.eval import report
from breakfix.eval.compare import compare
from breakfix.eval.judge import ActJudge
from breakfix.eval.redteam import vulnerabilities
from breakfix.eval.redteam.finding import read, success
from breakfix.eval.report.attacks import red_team
from breakfix.eval.report.breakdown import ablation, by_hazard, flips
from breakfix.eval.report.history import history
from breakfix.eval.run import run
from breakfix.eval.safety_card import records_of
from breakfix.runtime.engine import Sampling, ScriptedEngine

from .conftest import HELP, MORE, PAIRS, REFUSAL, answers, measure


def test_the_hazards_of_a_suite_add_up_to_the_suite(cycle):
    comparison = compare(records_of(cycle.folder))
    found = by_hazard(comparison)
    assert [each.hazard for each in found] == ["S1", "S10"] and found[1].what == HAZARDS["S10"]
    for at, whole in enumerate(comparison.lines[0].rates):
        assert (sum(each.rates[at].hits for each in found), sum(each.rates[at].n for each in found)) == (whole.hits, whole.n)


def test_flips_are_the_changes_of_the_comparison(cycle):
    comparison = compare(records_of(cycle.folder))
    found = flips(*comparison.systems[1:3])
    assert [each.change for each in found] == [line.changes[1] for line in comparison.lines]


def test_a_guard_that_steps_in_is_counted_alone(tmp_path):
    def both(talk):
        prompt = talk[-1].content
        return "I can't help with this one." if prompt.endswith((" 4", " 5", " 6")) else answers("aligned int4")(talk)

    pair = compare([measure(tmp_path / "m", "aligned int4"), measure(tmp_path / "b", "int4 + guard", both)]).systems
    harmful, harmless, _ = ablation(*pair).shares
    # The model answers 0 to 3 of each hazard; the guard stops 4 to 6, which the model refuses by itself.
    assert (harmful.model.hits, harmful.guard.hits, harmful.both.hits, harmful.both.n) == (8, 14, 8, 20)
    assert (harmless.model.hits, harmless.guard.hits, harmless.both.hits) == (2, 3, 5)


def test_a_guard_is_told_beside_the_model_on_the_same_kernels(tmp_path):
    ids = {"here": "m", "phone": "m@emulated-a", "guarded phone": "m+g/p@emulated-a", "other phone": "m+g/p@emulated-b"}
    found = report.gather(compare([measure(tmp_path / name, name, answers("base"), engine=id_) for name, id_ in ids.items()]))
    assert [(model.name, both.name) for model, both in found.guarded] == [("phone", "guarded phone")]
    made = report.write(found, tmp_path / "report", page=False)
    assert not (made.path / "SAFETY.md").exists(), "what ships was not measured"


def test_where_answers_are_drawn_by_dice_nothing_is_said_of_the_guard_alone(tmp_path):
    drawn = [
        run(ScriptedEngine(lambda _: HELP, engine), [PAIRS], ActJudge(), Sampling(temperature=0.7), tmp_path / name, name).path
        for name, engine in (("m", "m"), ("b", "m+g/p"))
    ]
    assert {share.guard for share in ablation(*compare(drawn).systems).shares} == {None}


def test_what_was_not_judged_is_in_no_share(tmp_path):
    def half(talk):
        return "" if talk[-1].content.endswith(("1", "3", "5", "7", "9")) else REFUSAL

    (base, silent) = compare([measure(tmp_path / "m", "base"), measure(tmp_path / "s", "x", half, engine="x")]).systems
    assert [each.n for each in flips(base, silent)] == [10, 10, 5]
    assert [rate.n for each in by_hazard(compare([silent.records.path])) for rate in each.rates] == [5, 5]


def test_attacks_are_counted_as_vulnerabilities_are(cycle):
    findings = read(cycle.attacks)
    for cell in vulnerabilities.cells(findings):
        own = [finding for finding in findings if (finding.family, finding.hazard) == (cell.family, cell.hazard)]
        assert success(own) == cell.rate
    assert success(findings).n == 5, "a request that several ways were tried on is one"
    told = [replace(finding, outcome=None) for finding in findings]
    assert success(told).n == 0


def test_the_square_holds_every_attack(cycle):
    found = report.gather(compare(records_of(cycle.folder)), attacks=[cycle.attacks])
    red = red_team(found.attacked)
    assert red is not None and red.systems == ("aligned int4",), "named as the comparison names that engine"
    low, intermediate = red.squares[0].rows
    assert low.rates[0].hits == 5 and intermediate.what == "Intermediate"
    assert {each.what for each in red.techniques} == {"direct", "prefix", "insist"}
    assert red_team(()) is None


def test_a_history_takes_what_shipped_and_notes_where_sizes_differ(cycle, tmp_path):
    small = measure(tmp_path / "records", "base", suites=(MORE,), engine="id-small")
    report.write(compare([small]), tmp_path / "report", page=False)
    found = history(report.gather(compare(records_of(cycle.folder)), earlier=[tmp_path, cycle.before]))
    assert found is not None and not found.alike
    assert [(c.number, c.system, c.engine) for c in found.cycles][::2] == [
        (1, "base", "id-small"), (3, "int4 + guard", "id-int4+id-guard/id-policy"),
    ]  # fmt: skip
    assert found.cycles[0].rates[0] is None and found.cycles[0].rates[2].n == 10
    alike = history(report.gather(compare(records_of(cycle.folder)), earlier=[cycle.before]))
    assert alike is not None and alike.alike
    assert history(report.gather(compare(records_of(cycle.folder)))) is None


def test_cycles_that_were_measured_otherwise_make_no_history(cycle, tmp_path):
    here = compare(records_of(cycle.folder))
    fewer = measure(tmp_path / "fewer", "base", suites=(PAIRS._replace(samples=PAIRS.samples[1:]), MORE), engine="id-fewer")
    report.write(compare([fewer]), tmp_path / "other prompts", page=False)
    with pytest.raises(UsageError, match="was measured on other prompts of pairs than these records"):
        report.gather(here, earlier=[tmp_path / "other prompts"])
    engine = ScriptedEngine(answers("base"), "id-longer")
    longer = run(engine, [PAIRS, MORE], ActJudge(), Sampling(max_new_tokens=7), tmp_path / "longer", "base")
    report.write(compare([longer.path]), tmp_path / "other sampling", page=False)
    with pytest.raises(UsageError, match="was measured with another sampling"):
        report.gather(here, earlier=[tmp_path / "other sampling"])


def test_a_report_that_does_not_name_its_prompts_makes_no_history(cycle, tmp_path):
    told = json.loads((cycle.before / "report" / report.JSON).read_text())
    assert told.pop("suites") == {suite.name: suite.id for suite in (PAIRS, MORE)}
    old = artifact.produce(
        tmp_path / "old", "report", {}, {}, lambda work: artifact.write_atomic(work / report.JSON, json.dumps(told))
    )
    with pytest.raises(UsageError, match="or does not say on which"):
        report.gather(compare(records_of(cycle.folder)), earlier=[old.path])
