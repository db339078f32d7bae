"""Candidates: what they may differ in, what they are measured on, and the rule that chooses."""

import json

import pytest

from breakfix.core import artifact, recipe
from breakfix.core.errors import DataError, RecipeError
from breakfix.core.jsonl import write_jsonl
from breakfix.eval import run, suites
from breakfix.eval.judge import ActJudge
from breakfix.runtime.engine import Sampling, ScriptedEngine
from breakfix.train.candidates import CandidateSettings, choose, chosen, first_changed, requests
from breakfix.train.cycle import stages
from breakfix.train.cycle_recipe import RECIPES, CycleRecipe

REFUSAL, ANSWER, LOOP = "I'm sorry, but I can't help with that.", "You can do it in three easy steps at home.", "so " * 30


def row(name, use, label="general"):
    return {"id": name, "use": use, "label": label, "prompt": f"Tell me of {name}"}


def dataset(folder, rows):
    def make(work):
        write_jsonl(work / "rows.jsonl", rows)

    return artifact.produce(folder, "dataset", {}, {}, make).path


@pytest.fixture
def data(tmp_path):
    asked = [row(f"asked {n}", "preference") for n in range(3)]
    left = [row("left general", "preference"), row("left look-alike", "preference", "safe"), row("bad", "preference", "unsafe")]
    return dataset(tmp_path / "data", [row("learned", "sft"), *asked, *left])


@pytest.fixture
def measured(tmp_path, data):
    """Return a function that measures a model which answers harm, look-alikes and the rest as told; returns its records."""
    asked = requests(CandidateSettings(), [(data, 3)])
    expect = {sample.prompt: sample.expect for sample in asked[0].samples}

    def measure(name, harm, look_alikes, rest):
        def say(conversation):
            kind = expect.get(conversation[-1].content)
            return {"refuse": harm, "answer": look_alikes, None: rest}[kind]

        engine = ScriptedEngine(say)
        return run.run(engine, asked, ActJudge(), Sampling(40), tmp_path / name, name).path

    return measure


def test_what_training_saw_is_not_asked(data):
    contrasts, left = requests(CandidateSettings(), [(data, 3)])
    assert contrasts == suites.load("contrast-dev")
    assert [sample.id for sample in left.samples] == ["left look-alike", "left general"]


def test_what_one_candidate_learned_is_asked_of_none(data, tmp_path):
    other = dataset(tmp_path / "other", [row("left general", "sft")])
    _, left = requests(CandidateSettings(), [(data, 3), (other, 5)])
    assert [sample.id for sample in left.samples] == ["left look-alike"]


def test_a_candidate_that_asks_for_more_pairs_learned_more(data):
    _, left = requests(CandidateSettings(), [(data, 3), (data, 4)])
    assert [sample.id for sample in left.samples] == ["left look-alike"]


def test_the_same_words_under_another_name_are_the_same_request(data, tmp_path):
    other = dataset(tmp_path / "other", [{**row("invented-7", "sft"), "prompt": "Tell me of left general"}])
    _, left = requests(CandidateSettings(), [(data, 3), (other, 0)])
    assert [sample.id for sample in left.samples] == ["left look-alike"]


def test_everyday_requests_come_first(data):
    _, left = requests(CandidateSettings(everyday=1), [(data, 3)])
    assert [sample.id for sample in left.samples] == ["left general"]


def test_training_must_leave_something(tmp_path):
    data = dataset(tmp_path / "data", [row("learned", "sft")])
    with pytest.raises(DataError, match="left no harmless request over"):
        requests(CandidateSettings(), [(data, 3)])


def test_the_held_out_half_is_never_looked_at():
    dev, held_out = ({sample.prompt for sample in suites.load(f"contrast-{half}").samples} for half in ("dev", "held-out"))
    assert dev and held_out and not dev & held_out
    assert dev | held_out == {sample.prompt for sample in suites.load("contrast").samples}


def test_the_lowest_over_refusal_under_every_ceiling_is_taken(measured, tmp_path):
    records = [
        measured("harmful", ANSWER, ANSWER, ANSWER),
        measured("refuses all", REFUSAL, REFUSAL, ANSWER),
        measured("right", REFUSAL, ANSWER, ANSWER),
        measured("refuses everyday", REFUSAL, ANSWER, REFUSAL),
    ]
    names = ("", "dpo.beta=0.2", "dpo.beta=0.3", "dpo.beta=0.4")
    made = choose(CandidateSettings(), names, records, tmp_path / "decision")
    assert chosen(made.path) == 3
    assert made.facts["ceilings met"] is True
    told = json.loads((made.path / "decision.json").read_text())
    assert [one["harmful"]["hits"] > 0 for one in told] == [True, False, False, False]
    assert "`dpo.beta=0.3`" in (made.path / "decision.md").read_text()


def test_where_none_is_under_every_ceiling_the_least_excess_is_taken_and_told(measured, tmp_path):
    records = [measured("loops", REFUSAL, LOOP, LOOP), measured("harmful", ANSWER, ANSWER, ANSWER)]
    made = choose(CandidateSettings(), ("", "dpo.beta=0.2"), records, tmp_path / "decision")
    assert chosen(made.path) == 1
    assert made.facts["ceilings met"] is False
    assert "none is under every ceiling" in (made.path / "decision.md").read_text()


def test_equals_go_to_the_earlier(measured, tmp_path):
    records = [measured(name, REFUSAL, ANSWER, ANSWER) for name in ("one", "two")]
    assert chosen(choose(CandidateSettings(), ("", "dpo.beta=0.2"), records, tmp_path / "decision").path) == 1


@pytest.mark.parametrize(
    ("settings", "first"),
    [("dpo.beta=1", "dpo"), ("dpo.beta=1 sft.longest=9", "sft"), ("curate.mix.easy=1 sft.longest=9", "data"), ("", "dpo")],
)
def test_candidates_share_all_before_the_first_stage_that_differs(settings, first):
    assert first_changed(settings) == first


def recipe_with(*overrides):
    return recipe.load(CycleRecipe, "release", RECIPES, overrides)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("candidates.others=[eval.suites=x]", "is no KEY=VALUE of curate, sft, preferences, dpo"),
        ("candidates.most_harmful=2", "shares, from 0 to 1"),
        ("candidates.everyday=0", "everyday must be at least 1"),
        ("attacks.suites=[harmbench]", "harmbench is what a release is measured with"),
        ("attacks.requests=-1", "requests must be at least 0"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_told_of(override, told):
    with pytest.raises(RecipeError, match=told):
        recipe_with(override)


def test_a_candidate_with_a_mistyped_setting_is_told_of_before_any_work(tmp_path):
    with pytest.raises(RecipeError, match="did you mean beta"):
        stages(recipe_with("candidates.others=[dpo.betta=1]"), tmp_path / "run")


def test_the_release_chooses_between_two_candidates_and_is_like_the_demo(tmp_path):
    names = [stage.name for stage in stages(recipe_with(), tmp_path / "run")]
    assert [name for name in names if name.startswith("aligned")] == ["aligned-1", "aligned-2", "aligned"]
    assert names[-4:] == ["attacks", "attacks-guarded", "vulnerabilities", "report"]
    assert recipe_with().sft == recipe.load(CycleRecipe, "demo", RECIPES).sft
