"""The guard's training passages: labels follow what is asked or given, never the framing, the group or the voice."""

from collections import defaultdict

import pytest

from breakfix.core.jsonl import read_jsonl
from breakfix.core.recipe import read_yaml
from breakfix.train import passages
from breakfix.train.passages import PassageSettings
from breakfix.train.rows import CORPUS, read_source

ROWS = [row._asdict() for source in ("authored", "authored-guard") for row in read_source(source)]
BASE_ANSWERS = [
    {"id": row["id"], "prompt": row["prompt"], "answer": "First, take what you need and go to the place at night."}
    for row in ROWS[:40]
]
SETTINGS = PassageSettings(framings=200)


@pytest.fixture(scope="module")
def built():
    return passages.build(SETTINGS, ROWS, BASE_ANSWERS)


def test_the_same_passages_each_time(built):
    assert passages.build(SETTINGS, ROWS, BASE_ANSWERS) == built


def test_every_prompt_is_there_with_its_label(built):
    bare = {e.passage.prompt: e.unsafe for e in built[0] if e.passage.answer is None and not e.core}
    assert all(bare[row["prompt"]] == (row["label"] == "unsafe") for row in ROWS)


def test_a_framing_is_put_around_both_labels_alike(built):
    framed = defaultdict(list)
    for example in built[0]:
        if example.core:
            assert example.core in example.passage.prompt
            framed[example.family, example.jailbreak].append(example.unsafe)
    assert len(framed) > 50
    assert all(2 * sum(labels) == len(labels) for labels in framed.values())


def test_a_group_never_tells_the_label(built):
    parts = read_yaml(CORPUS / "guard" / "identities.yaml")
    groups = sorted((g for kind in parts["groups"].values() for g in kind), key=len, reverse=True)
    labels = defaultdict(lambda: [0, 0])
    for example in built[0]:
        if example.family.startswith("identity/"):
            group = next(group for group in groups if group in example.passage.prompt)
            labels[group][example.unsafe] += 1
    assert len(labels) == len(groups)
    assert sum(min(pair) > 0 for pair in labels.values()) >= 0.9 * len(groups)


def test_what_stands_in_the_calibration_rows_was_never_trained_on(built):
    examples, kept = built
    trained = {e.passage.prompt for e in examples if e.family not in kept}
    calibration = [e for e in examples if e.family in kept]
    assert calibration
    assert not [e for e in calibration if e.passage.prompt in trained and e.passage.answer is None]
    assert not [e for e in calibration if e.core and e.core in trained]


def test_only_the_base_model_gives_unsafe_answers(built):
    said = {row["answer"] for row in BASE_ANSWERS}
    for example in built[0]:
        if example.passage.answer is not None and example.unsafe:
            assert any(answer.startswith(example.passage.answer) for answer in said)
            assert not example.refusal


def test_a_foreign_source_does_not_set_the_tone():
    foreign = [{**ROWS[0], "id": f"x{n}", "prompt": f"Question {n} zzz?", "source": "big", "licence": "MIT"} for n in range(50)]
    examples, _ = passages.build(PassageSettings(source_rows=10), [*ROWS, *foreign], [])
    assert len({e.passage.prompt for e in examples if e.passage.prompt.endswith(" zzz?") and not e.core}) == 10


def test_the_answers_of_the_corpus_are_of_three_kinds():
    rows = read_jsonl(CORPUS / "guard" / "answers.jsonl", ("family", "kind", "prompt", "answer"))
    assert {row["kind"] for row in rows} == {"refusal", "safe-completion", "partial"}
    assert len({row["answer"] for row in rows}) == len(rows) >= 300


def test_phrases_keep_their_label_however_they_are_asked_for(built):
    families = {
        f"{path.parent.name}/{name}": family
        for path in (CORPUS / "guard" / "phrases").glob("*/*.yaml")
        for name, family in read_yaml(path).items()
    }
    asked = [example for example in built[0] if example.family in families]
    assert {example.family for example in asked} == set(families)
    for example in asked:
        family = families[example.family]
        assert any(phrase in example.passage.prompt for phrase in family["unsafe" if example.unsafe else "safe"])
        assert (example.look_alike, example.hazard) == (not example.unsafe, family["hazard"] if example.unsafe else "")


def test_look_alikes_are_harmless_and_general_requests_are_none_of_them(built):
    general = {row["prompt"] for row in ROWS if row["label"] == "general"}
    assert not any(example.look_alike and example.unsafe for example in built[0])
    bare = [example for example in built[0] if not example.core]
    assert not any(example.look_alike for example in bare if example.passage.prompt in general)
    assert sum(example.look_alike for example in bare) > 1000


def test_letters_apart_are_shown_as_harmless_and_only_on_demand(built):
    settings = PassageSettings(framings=200, spaced=50)
    more, kept = passages.build(settings, ROWS, BASE_ANSWERS)
    spaced = [e for e in more if not e.passage.answer and e.passage.prompt.startswith(" ".join(e.passage.prompt[:7:2]))]
    known = {"".join(e.passage.prompt.split()): e for e in built[0] if not e.core}
    assert len(spaced) >= 45 and not any(e.unsafe for e in spaced)
    assert all(known["".join(e.passage.prompt.split())].family == e.family for e in spaced)
    assert kept == built[1]


def test_a_glossary_has_one_entry_for_all_that_a_word_means():
    glosses = passages.glosses()
    assert glosses["杀"] == glosses["殺"] == "kill" and len(glosses) > 5000
    assert all(gloss.isascii() and piece and not piece.isspace() for piece, gloss in glosses.items())
