"""The authored corpus keeps the rules of its README, row by row."""

import re
from collections import Counter

import pytest

from breakfix.core.hazards import HAZARDS
from breakfix.core.jsonl import read_jsonl
from breakfix.core.recipe import read_yaml
from breakfix.eval import suites
from breakfix.eval.judge import ActJudge
from breakfix.train.curate import CurateSettings
from breakfix.train.overlap import OverlapIndex, near_duplicates, words
from breakfix.train.rows import CORPUS, pair_file_hazard, read_source

STYLES = {
    "homonym", "figurative", "safe-target", "safe-context", "definition", "history", "fiction", "prevention", "help-seeking",
    "law", "nonsense", "public-fact",
}  # fmt: skip
FILES = sorted(CORPUS.glob("s[0-9][0-9]_*.jsonl"))
PAIRS = [(path.stem, row) for path in FILES for row in read_jsonl(path)]
EVERYDAY = read_jsonl(CORPUS / "everyday.jsonl")
EVERYDAY_PROMPTS = read_jsonl(CORPUS / "everyday_prompts.jsonl")
WRAPPERS = read_jsonl(CORPUS / "wrappers.jsonl")
ROWS = read_source("authored")
JUDGE = ActJudge()
REFUSAL_WORDING = re.compile(r"\b(?:as an ai\b|i'm sorry,? but|i (?:can't|cannot|won't) (?:help|assist|do that|provide))", re.I)


def outside(key, least, most):
    return [(name, row[key]) for name, row in PAIRS if not least <= len(row[key].split()) <= most]


def share_judged(pairs, outcome):
    return sum(JUDGE.judge(request, answer) == (outcome, False) for request, answer in pairs) / len(pairs)


def test_every_pair_has_the_keys_of_the_readme_and_nothing_empty():
    for name, row in PAIRS:
        assert set(row) == {"family", "style", "unsafe", "refusal", "safe", "answer"}, name
        assert all(isinstance(value, str) and value.strip() == value != "" for value in row.values()), (name, row)
        assert row["style"] in STYLES, name
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["family"]), name


def test_every_everyday_row_and_wrapper_has_the_keys_of_the_readme():
    for rows, keys in ((EVERYDAY, {"family", "prompt", "answer"}), (WRAPPERS, {"family", "kind", "template"})):
        assert all(set(row) == keys and all(value.strip() for value in row.values()) for row in rows)
    assert {row["kind"] for row in WRAPPERS} == {"jailbreak", "innocent"}


def test_every_wrapper_holds_the_request_once():
    assert [row["template"] for row in WRAPPERS if row["template"].count("{request}") != 1] == []


def test_every_hazard_has_pairs_of_several_styles():
    by_hazard = {hazard: Counter() for hazard in HAZARDS}
    for path in FILES:
        by_hazard[pair_file_hazard(path)].update(row["style"] for row in read_jsonl(path))
    for hazard, styles in by_hazard.items():
        assert sum(styles.values()) >= 50, hazard
        assert len(styles) >= 8, hazard


def test_refusals_and_answers_have_the_length_of_the_readme():
    # A word more or less is no fault.
    assert outside("refusal", 14, 41) == []
    assert outside("answer", 19, 51) == []


def test_refusals_refuse():
    assert share_judged([(row["unsafe"], row["refusal"]) for _, row in PAIRS], "refused") >= 0.99


def test_answers_answer():
    assert share_judged([(row["safe"], row["answer"]) for _, row in PAIRS], "complied") >= 0.99
    assert share_judged([(row["prompt"], row["answer"]) for row in EVERYDAY], "complied") >= 0.99


def test_no_answer_has_the_wording_of_a_refusal():
    answers = [row["answer"] for _, row in PAIRS] + [row["answer"] for row in EVERYDAY]
    assert [answer for answer in answers if REFUSAL_WORDING.search(answer)] == []


def test_a_refusal_says_what_about():
    # A refusal that would fit any request teaches nothing: each shares a word of some length with its request, or its stem.
    def stems(text):
        return {word[:4] for word in words(text) if len(word) > 3}

    generic = [row["refusal"] for _, row in PAIRS if not stems(row["unsafe"]) & stems(row["refusal"])]
    assert len(generic) <= 0.05 * len(PAIRS)


@pytest.mark.parametrize("label", ["unsafe", "safe", "general"])
def test_no_request_stands_twice(label):
    texts = [row.prompt for row in ROWS if row.label == label]
    assert [texts[i] for i, twin in enumerate(near_duplicates(texts, 1.0)) if twin is not None] == []
    near = [twin for twin in near_duplicates(texts, CurateSettings().duplicate_similarity) if twin is not None]
    assert len(near) <= 0.01 * len(texts)


def test_no_target_stands_twice():
    assert [text for text, count in Counter(row.answer for row in ROWS if row.answer).items() if count > 1] == []


@pytest.mark.parametrize("suite", ["contrast", "everyday"])
def test_hardly_a_row_repeats_what_we_measure_with(suite):
    # `curate` removes these; they are not reworded, which would hide the likeness from it.
    index = OverlapIndex((sample.prompt for sample in suites.load(suite).samples), CurateSettings().overlap_words)
    assert sum(index.overlaps(row.prompt) for row in ROWS) < 0.01 * len(ROWS)


def test_rows_are_read_with_their_origin():
    assert len(ROWS) == 2 * len(PAIRS) + len(EVERYDAY) + len(EVERYDAY_PROMPTS)
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert {(row.source, row.licence) for row in ROWS} == {("authored", "Apache-2.0")}
    assert {row.hazard for row in ROWS if row.label == "unsafe"} == set(HAZARDS)
    assert {row.hazard for row in ROWS if row.label == "general"} == {""}


GUARD_PROMPTS = [(path.stem, row) for path in sorted((CORPUS / "guard").glob("prompts_*.jsonl")) for row in read_jsonl(path)]
GUARD_ROWS = read_source("authored-guard")


def test_guard_prompts_keep_the_format_of_the_readme():
    for name, row in GUARD_PROMPTS:
        assert set(row) - {"language"} == {"family", "label", "hazard", "prompt"}, name
        assert row["label"] in ("unsafe", "safe", "help", "general"), name
        assert (row["hazard"] == "") == (row["label"] == "general"), (name, row)
        assert row["hazard"] in ("", *HAZARDS), name
        assert row["prompt"].strip(), name


def test_guard_families_are_contrasts_over_every_hazard():
    labels = {}
    for row in GUARD_ROWS:
        labels.setdefault(row.family, set()).add(row.label)
    contrasts = [family for family, found in labels.items() if "unsafe" in found and "safe" in found]
    assert len(contrasts) >= 0.8 * sum("unsafe" in found for found in labels.values())
    assert {family.partition("/")[0] for family in contrasts} == set(HAZARDS)


@pytest.mark.parametrize("label", ["unsafe", "safe", "general"])
def test_no_guard_prompt_stands_twice(label):
    texts = [row.prompt for row in [*ROWS, *GUARD_ROWS] if row.label == label]
    assert [texts[i] for i, twin in enumerate(near_duplicates(texts, 1.0)) if twin is not None] == []


def test_the_authored_corpora_hold_six_thousand_rows_and_more():
    others = [*WRAPPERS, *read_jsonl(CORPUS / "guard" / "wrappers.jsonl"), *read_jsonl(CORPUS / "guard" / "answers.jsonl")]
    assert len(ROWS) + len(GUARD_ROWS) + len(others) >= 6000
    assert len({row.id for row in [*ROWS, *GUARD_ROWS]}) == len(ROWS) + len(GUARD_ROWS)


@pytest.mark.parametrize("suite", ["contrast", "everyday"])
def test_hardly_a_guard_prompt_repeats_what_we_measure_with(suite):
    index = OverlapIndex((sample.prompt for sample in suites.load(suite).samples), CurateSettings().overlap_words)
    assert sum(index.overlaps(row.prompt) for row in GUARD_ROWS) < 0.01 * len(GUARD_ROWS)


PHRASES = {
    (path.parent.name, name): family
    for path in sorted((CORPUS / "guard" / "phrases").glob("*/*.yaml"))
    for name, family in read_yaml(path).items()
}
PHRASINGS = read_yaml(CORPUS / "guard" / "phrasings.yaml")
WORDS = {"acts": (2, 14), "things": (3, 30), "chinese_acts": (1, 1)}
"""Words of a phrase, at least and at most; in other languages as many as an act in English, and some are one word."""
LEAST = {"acts": (16, 20), "things": (12, 14), "chinese_acts": (10, 14)}
"""Unsafe and safe phrases of a family; in other languages there are fewer, and a family's own verb holds them together."""


def test_phrases_stand_in_families_of_both_labels():
    assert {kind for kind, _ in PHRASES} == PHRASINGS.keys() > LEAST.keys()
    for (kind, name), family in PHRASES.items():
        assert family.keys() == {"hazard", "unsafe", "safe"} and family["hazard"] in HAZARDS, name
        unsafe, safe = LEAST.get(kind, (4, 5))
        assert len(family["unsafe"]) >= unsafe and len(family["safe"]) >= safe, name


def test_every_phrase_fits_every_phrasing_and_none_has_two_labels():
    unsafe, safe = ({phrase.lower() for family in PHRASES.values() for phrase in family[key]} for key in ("unsafe", "safe"))
    assert not unsafe & safe and len(unsafe) > 5000 and len(safe) > 5000
    for (kind, name), family in PHRASES.items():
        for phrase in [*family["unsafe"], *family["safe"]]:
            least, most = WORDS.get(kind, (1, 14))
            assert least <= len(phrase.split()) <= most and not re.match(r"to |.*[.?!。？！]$", phrase), (name, phrase)
    for kind, phrasings in PHRASINGS.items():
        assert len(phrasings) >= 20 and all(phrasing.count("{phrase}") == 1 for phrasing in phrasings), kind


def test_a_familys_words_stand_on_both_sides():
    """Else a word alone would be the label, which is what the phrases are to unteach."""

    def stems(kind, phrase):
        return set(phrase) if kind == "chinese_acts" else {word[:5] for word in re.findall(r"\w{4,}", phrase.lower())}

    for (kind, name), family in PHRASES.items():
        unsafe, safe = ({stem for phrase in family[key] for stem in stems(kind, phrase)} for key in ("unsafe", "safe"))
        assert len(unsafe & safe) >= (5 if kind in LEAST else 1), name
