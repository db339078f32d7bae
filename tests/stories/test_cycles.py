"""Cycles one after another: candidates are chosen by a rule on record, and the next cycle is taught what got through."""

import json

import pytest

from breakfix.core import artifact
from breakfix.core.jsonl import read_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny cycles")]
LOOP = {
    "ready_guard": "shipped",
    "candidates.others": "[preferences.most=6 dpo.beta=0.5]",
    "candidates.everyday": 3,
    "attacks.requests": 2,
    "attacks.sampling.max_new_tokens": 4,
    "eval.sampling.max_new_tokens": 2,
}


@pytest.fixture(scope="session")
def words(tiny_settings, tmp_path_factory):
    few = tmp_path_factory.mktemp("suite") / "few.jsonl"
    few.write_text("".join(json.dumps({"family": "few", "prompt": f"What is {n} and one?"}) + "\n" for n in range(4)))
    changed = {**LOOP, "eval.suites": f"[everyday={few}]"}
    return [*tiny_settings, *(word for key, value in changed.items() for word in ("--set", f"{key}={value}"))]


@pytest.fixture(scope="session")
def two(breakfix, words, tmp_path_factory):
    """Two tiny cycles, and what the command said."""
    out = tmp_path_factory.mktemp("cycles") / "runs"
    done = breakfix("train", "cycle", "--cycles", 2, "--out", out, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout


def test_every_candidate_is_measured_and_one_is_taken(two):
    out, _ = two
    decision = artifact.load(out / "1" / "decision", "decision")
    tried = json.loads((decision.path / "decision.json").read_text())
    assert [one["settings"] for one in tried] == ["", "preferences.most=6 dpo.beta=0.5"]
    number = decision.facts["chosen"]
    assert artifact.load(out / "1" / "aligned").id == artifact.load(out / "1" / f"aligned-{number}").id
    assert f"Candidate {number} was chosen" in (decision.path / "decision.md").read_text()


def test_candidates_share_what_they_do_not_differ_in(two):
    out, _ = two
    found = {path.name for path in (out / "1").iterdir()}
    assert {"data", "sft", "pairs", "dpo-1", "pairs-2", "dpo-2"} <= found
    assert not found & {"dpo", "sft-1", "sft-2", "pairs-1"}


def test_candidates_are_measured_on_nothing_that_a_release_is_measured_with(two):
    out, _ = two
    asked = {row["suite"] for row in read_jsonl(out / "1" / "candidate-1" / "records.jsonl")}
    assert asked == {"contrast-dev", "left-over"}
    learned = {r["prompt"] for r in read_jsonl(out / "1" / "data" / "rows.jsonl") if r["use"] == "sft"}
    assert not learned & {row["prompt"] for row in read_jsonl(out / "1" / "candidate-1" / "records.jsonl")}


def test_the_next_cycle_learns_what_got_through(two):
    out, _ = two
    order = list(read_jsonl(out / "1" / "vulnerabilities" / "order.jsonl"))
    learned = [row for row in read_jsonl(out / "2" / "data" / "rows.jsonl") if row["source"] == "order"]
    assert order, "a model that knows nothing lets something through"
    cited = {finding for line in order for finding in line["cites"]}
    assert learned and {row["family"].removeprefix("order/") for row in learned} <= cited
    states = {
        cell["state"] for cell in json.loads((out / "2" / "vulnerabilities" / "vulnerabilities.json").read_text())["cells"]
    }
    assert states - {None}


def test_the_history_stands_side_by_side(two):
    out, said = two
    history = json.loads((out / "history-2" / "history.json").read_text())
    assert [one["cycle"] for one in history] == [1, 2]
    assert history[0]["filled"] == 0 and history[1]["filled"] > 0
    assert "| everyday, over-refusal, int4 + guard |" in said and "red team, requests that got through" in said


def test_going_on_makes_nothing_anew(two, breakfix, words):
    out, _ = two
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/manifest.json")}
    again = breakfix("train", "cycle", "--cycles", 2, "--out", out, *words)
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*/manifest.json")} == before


def test_cycles_without_attacks_have_nothing_to_teach(breakfix, tiny_settings, tmp_path):
    refused = breakfix("train", "cycle", "--cycles", 2, "--out", tmp_path / "runs", *tiny_settings)
    assert refused.returncode == 2
    assert "set attacks.requests" in refused.stderr
    assert not (tmp_path / "runs").exists()
