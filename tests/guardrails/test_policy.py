import json

import pytest
import yaml

from breakfix.core import recipe
from breakfix.core.errors import RecipeError, UsageError
from breakfix.guardrails import policy
from breakfix.guardrails.policy import CATEGORIES, POLICIES, CategoryPolicy, Policy, Verdict, worst

ENGLISH = {"blocked": "No.", "failed": "Unsure."}
SHIPPED = sorted(path.stem for path in POLICIES.glob("*.yaml"))
LANGUAGES = ["en", "de", "fr", "es", "it", "pt", "zh", "ja", "ko"]


def write(folder, text):
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def problems_of(folder, text):
    with pytest.raises(RecipeError) as caught:
        policy.load(write(folder, text))
    return caught.value.problems


# The policies that ship


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_says_what_to_do_about_every_category(name):
    rules = policy.load(name)
    for category in CATEGORIES:
        rule = rules.of(category)
        assert rule.action in ("warn", "block", "replace")
        assert rules.say(rule.message)
    assert rules.say(rules.pii.message)
    assert not rules.shadow


def test_the_levels_have_policies_of_their_own():
    assert {name: policy.load(name).level for name in SHIPPED} == {
        "default": "balanced", "strict": "strict", "permissive": "permissive",
    }  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_message(language):
    messages = policy.load().messages
    assert messages[language].keys() == messages["en"].keys() >= {"blocked", "failed", "crisis", "private"}
    assert len(set(messages[language].values())) == len(messages[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_somebody_in_danger_is_told_of_a_help_line_in_every_language(tmp_path, language):
    rules = policy.load(write(tmp_path, f"language: {language}\n"))
    assert rules.of("S11").action == "replace"
    words = rules.say(rules.of("S11").message)
    assert any(char.isdigit() for char in words)
    assert language == "de" or "findahelpline.com" in words


def test_a_policy_is_plain_data_for_every_port():
    rules = policy.load("strict")
    assert recipe.build(Policy, json.loads(json.dumps(recipe.plain(rules))), "port") == rules
    # Nothing of YAML beyond mappings, lists, text, numbers and true or false.
    assert "!!" not in yaml.safe_dump(json.loads(json.dumps(recipe.plain(rules))))


# A policy of one's own


def test_a_file_says_only_what_it_does_otherwise(tmp_path):
    rules = policy.load(write(tmp_path, "level: strict\ncategories: {S8: {action: allow}, S11: {input: 0.2}}\n"))
    assert (rules.level, rules.of("S8").action, rules.of("S9").action) == ("strict", "allow", "block")
    assert (rules.of("S11").input, rules.of("S11").message) == (0.2, "crisis")
    assert rules.messages == policy.load().messages


def test_a_message_of_ones_own_replaces_the_shipped_one_in_its_language_alone(tmp_path):
    rules = policy.load(write(tmp_path, "messages: {en: {blocked: Nope.}}\n"))
    assert rules.say("blocked") == "Nope."
    assert rules.messages["de"] == policy.load().messages["de"]


def test_a_category_without_an_entry_is_blocked_at_the_calibrated_threshold_and_a_jailbreak_warned_about():
    bare = Policy(messages={"en": ENGLISH})
    assert bare.of("S1") == CategoryPolicy(action="block", input=None, output=None)
    assert bare.of("jailbreak") == CategoryPolicy(action="warn", input=None, output=None)


def test_what_a_language_lacks_is_said_in_english():
    rules = Policy(language="de", messages={"en": ENGLISH, "de": {"blocked": "Nein."}})
    assert (rules.say("blocked"), rules.say("failed")) == ("Nein.", "Unsure.")


def test_phrases_and_shadow_mode_are_read(tmp_path):
    rules = policy.load(write(tmp_path, "allow: [hello]\nblock: [project x, acme]\nshadow: true\npii: {output: redact}\n"))
    assert (rules.allow, rules.block, rules.shadow) == (("hello",), ("project x", "acme"), True)
    assert (rules.pii.input, rules.pii.output) == ("allow", "redact")


def test_other_rules_have_another_id():
    same = [policy.load().id, policy.load().id]
    assert same[0] == same[1] != policy.load("strict").id


# What is wrong with one


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="default, permissive, strict"):
        policy.load("no-such-policy")


def test_a_path_without_a_file_is_told_of(tmp_path):
    with pytest.raises(UsageError, match=r"no policy .*gone\.yaml"):
        policy.load(str(tmp_path / "gone.yaml"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("categories: {S14: {action: warn}}", "categories.S14 is no category (S1 to S13, jailbreak, blocklist)"),
        ("categories: {S2: {action: redact}}", "categories.S2.action must be one of allow, warn, replace, block, not 'redact'"),
        ("categories: {jailbreak: {output: 0.5}}", "categories.jailbreak.output: an answer attacks no model; leave it out"),
        ("categories: {blocklist: {input: 1}}", "categories.blocklist: a phrase is there or is not; leave its thresholds out"),
        ("categories: {S2: {message: rude}}", "categories.S2.message names rude, which messages.en lacks"),
        ("pii: {output: replace}", "pii.output must be one of allow, warn, redact, block, not 'replace'"),
        ("pii: {message: rude}", "pii.message names rude, which messages.en lacks"),
        ("hard: 1.5", "hard must be between 0 and 1"),
        ("hard: .nan", "hard must be between 0 and 1"),
        ("shadow: 1", "shadow must be true or false, not '1'"),
        ("language: xx", "language is xx, which messages lacks"),
        ("messages: {de: {blokced: Nein.}}", "messages.de.blokced has no counterpart in messages.en"),
        ("messages: {de: {blocked: ' '}}", "messages.de.blocked is empty"),
        ("messages: {blocked: No.}", "messages.blocked must be a mapping, not 'No.'"),
        ("block: ['']", "block[0] must hold 1 to 100 characters that can be seen"),
        (f"allow: [hi, {'x' * 101}]", "allow[1] must hold 1 to 100 characters that can be seen"),
        ("block: bomb", "block must be a list, not 'bomb'"),
    ],
)
def test_each_problem_is_one_sentence(tmp_path, text, problem):
    assert problems_of(tmp_path, text) == [problem]


@pytest.mark.parametrize("value", ["-0.1", "1.5", ".nan", ".inf"])
@pytest.mark.parametrize("rail", ["input", "output"])
def test_a_threshold_that_is_no_probability_is_refused(tmp_path, rail, value):
    assert problems_of(tmp_path, f"categories: {{S2: {{{rail}: {value}}}}}\n") == [
        f"categories.S2.{rail} must be between 0 and 1"
    ]


def test_all_problems_of_a_file_come_together(tmp_path):
    text = "levle: strict\nhard: 2\ncategories: {S14: {message: rude}, S1: {input: 2.0, output: -1.0}}\nblock: ['']\n"
    said = "; ".join(problems_of(tmp_path, text))
    for part in ("levle (did you mean level?)", "S14 is no category", "input must", "output must", "hard", "rude", "block["):
        assert part in said


@pytest.mark.parametrize("name", ["blocked", "failed"])
def test_a_policy_without_words_for_the_user_has_a_problem(name):
    messages = {"en": {key: "Sorry." for key in ENGLISH if key != name}}
    assert Policy(messages=messages).problems() == [f"messages.en.{name} is missing"]


# Verdicts


def test_the_worst_verdict_refuses_before_it_warns_whatever_the_scores():
    verdicts = {
        "fine": Verdict("allow", "input", score=0.99),
        "odd": Verdict("warn", "input", "S6", 0.9),
        "private": Verdict("redact", "input", "pii", 0.8),
        "bad": Verdict("block", "input", "S2", 0.6),
        "sad": Verdict("replace", "input", "S11", 0.7),
        "sure": Verdict("block", "input", "S9", 0.5, hard=True),
        "broken": Verdict("block", "input", failed=True),
    }
    seen = []
    while verdicts:
        name = next(name for name, verdict in verdicts.items() if verdict is worst(verdicts.values()))
        seen.append(name)
        del verdicts[name]
    assert seen == ["broken", "sure", "sad", "bad", "private", "odd", "fine"]


def test_no_verdict_at_all_is_no_permission():
    with pytest.raises(ValueError, match="empty"):
        worst([])
