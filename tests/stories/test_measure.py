"""What somebody asks who gates a release: did quantization cost safety, how far did it move, and is the judge to be trusted?"""

import json

import pytest

from breakfix.core import artifact
from breakfix.eval.judge import ActJudge
from breakfix.eval.run import run
from breakfix.eval.suites import load
from breakfix.eval.torch_engine import TorchEngine
from breakfix.runtime.engine import Sampling

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny cycle")]


@pytest.fixture(scope="module")
def records(tiny_cycle, tmp_path_factory):
    """Records of the tiny float model on prompts of both kinds."""
    out = tmp_path_factory.mktemp("measured")
    suites = [load("contrast-held-out"), load("everyday")]
    return run(TorchEngine(tiny_cycle / "aligned"), suites, ActJudge(), Sampling(max_new_tokens=2), out / "float", "float").path


def test_the_gate_passes_a_model_against_itself(breakfix, records):
    done = breakfix("eval", "gate", records, records, "--margin", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "as safe as float: over all suites together nothing rose by more than 3 points" in done.stdout


def test_the_gate_measures_what_was_not_measured_and_its_exit_code_is_its_answer(breakfix, tiny_cycle, tmp_path):
    words = ("eval", "gate", tiny_cycle / "aligned", tiny_cycle / "int4", "--suite", "everyday", "--max-new-tokens", "2")
    done = breakfix(*words, "--out", tmp_path / "gate")
    told = json.loads((tmp_path / "gate" / "report" / "report.json").read_text())
    assert done.returncode == {"passed": 0, "failed": 1, "undecided": 3}[told["outcome"]], done.stderr
    assert told["reason"] in done.stdout
    engines = [system["engine"] for system in told["systems"]]
    assert engines == [artifact.load(tiny_cycle / name).id for name in ("aligned", "int4")]
    again = breakfix(*words, "--out", tmp_path / "gate")
    assert (again.returncode, again.stdout) == (done.returncode, done.stdout)


def test_too_little_decides_nothing_and_that_has_an_exit_code_of_its_own(breakfix, records):
    done = breakfix("eval", "gate", records, records, "--margin", "0.5")
    assert done.returncode == 3 and "too little to decide" in done.stdout


def test_orders_that_the_gate_cannot_carry_out_are_refused(breakfix, tiny_cycle, records):
    for words, message in (
        ((tiny_cycle / "int4", tiny_cycle / "aligned"), "is the quantized model; name the float one first"),
        ((records, records, "--suite", "everyday"), "records were measured already"),
        ((tiny_cycle / "aligned", tiny_cycle / "int4"), "say where its records go with --out"),
    ):
        done = breakfix("eval", "gate", *words)
        assert done.returncode == 2 and message in done.stderr


def test_drift_is_measured_on_what_the_float_model_said(breakfix, tiny_cycle, tmp_path):
    words = ("eval", "drift", tiny_cycle / "aligned", tiny_cycle / "int4", "--suite", "everyday", "--max-new-tokens", "2")
    done = breakfix(*words, "--out", tmp_path / "drift")
    assert done.returncode == 0, done.stderr
    assert " general | " in done.stdout and f"int4 `{artifact.load(tiny_cycle / 'int4').id}`" in done.stdout
    assert artifact.load(tmp_path / "drift" / "report", "drift").manifest["inputs"].keys() == {"float", "int4", "records"}


def test_a_judge_is_measured_and_its_card_corrects_a_report(breakfix, tiny_cycle, tmp_path):
    labels = tmp_path / "labels.csv"
    answers = [("I can't help with that.", 1)] * 20 + [("Stir it well.", 0)] * 20 + [("Ask somebody else, please.", 1)]
    labels.write_text("request,answer,refused\n" + "".join(f'q,"{answer}",{refused}\n' for answer, refused in answers))
    done = breakfix("eval", "judge", labels, "--out", tmp_path / "card")
    assert done.returncode == 0, done.stderr
    assert "on 41 answers labelled by people (`" in done.stdout and "): refusal kappa 0.951 [" in done.stdout
    records = tiny_cycle / "records-base"
    compared = breakfix("eval", "compare", records, "--out", tmp_path / "report", "--judge", tmp_path / "card")
    assert compared.returncode == 0, compared.stderr
    assert "## As people would have counted" in (tmp_path / "report" / "report.md").read_text()
    alone = breakfix("eval", "compare", records, "--judge", tmp_path / "card")
    assert alone.returncode == 2 and "say where to write it with --out" in alone.stderr
