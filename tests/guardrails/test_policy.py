import pytest

from breakfix.core.errors import RecipeError, UsageError
from breakfix.guardrails import policy
from breakfix.guardrails.policy import CATEGORIES, CategoryPolicy, Policy


def write(folder, text):
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_default_policy_says_what_to_do_about_every_category():
    rules = policy.load()
    for category in CATEGORIES:
        rule = rules.of(category)
        assert rule.action in ("warn", "block")
        assert rules.messages[rule.message]
    assert rules.messages["failed"]


def test_the_default_policy_has_words_of_its_own_for_somebody_in_danger():
    rules = policy.load()
    assert rules.of("S11").message == "crisis"
    assert "crisis line" in rules.messages["crisis"]


def test_a_category_without_an_entry_is_blocked_at_the_calibrated_threshold():
    assert policy.load().of("S1") == CategoryPolicy(action="block", input=None, output=None)


def test_a_policy_is_read_from_a_path(tmp_path):
    path = write(tmp_path, "level: strict\nmessages: {blocked: No., failed: Unsure.}\ncategories: {S8: {action: allow}}\n")
    rules = policy.load(path)
    assert (rules.level, rules.of("S8").action, rules.of("S9").action) == ("strict", "allow", "block")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="default"):
        policy.load("no-such-policy")


def test_an_unknown_category_is_named(tmp_path):
    with pytest.raises(RecipeError, match="S14 is no category"):
        policy.load(write(tmp_path, "categories: {S14: {action: warn}}\nmessages: {blocked: a, failed: b}\n"))


@pytest.mark.parametrize("value", ["-0.1", "1.5", ".nan", ".inf"])
@pytest.mark.parametrize("rail", ["input", "output"])
def test_a_threshold_that_is_no_probability_is_refused(tmp_path, rail, value):
    text = f"categories: {{S2: {{{rail}: {value}}}}}\nmessages: {{blocked: a, failed: b}}\n"
    with pytest.raises(RecipeError, match=f"{rail} must be between 0 and 1"):
        policy.load(write(tmp_path, text))


def test_all_problems_of_a_file_come_together(tmp_path):
    text = "levle: strict\ncategories: {S14: {message: rude}, S1: {input: 2.0, output: -1.0}}\nmessages: {blocked: a}\n"
    with pytest.raises(RecipeError) as caught:
        policy.load(write(tmp_path, text))
    said = "; ".join(caught.value.problems)
    for part in ("levle (did you mean level?)", "S14 is no category", "input must", "output must", "messages.failed", "rude"):
        assert part in said


@pytest.mark.parametrize("name", ["blocked", "failed"])
def test_a_policy_without_words_for_the_user_has_a_problem(name):
    messages = {key: "Sorry." for key in ("blocked", "failed") if key != name}
    assert Policy(messages=messages).problems() == [f"messages.{name} is missing"]


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ("{}", ("warn", 0.9, 1.0)),
        ("{jailbreak: {action: block}}", ("block", 0.9, 1.0)),
        ("{jailbreak: {action: block, output: 0.5}}", ("block", 0.9, 0.5)),
    ],
)
def test_a_jailbreak_always_has_thresholds_of_its_own(tmp_path, entry, rule):
    rules = policy.load(write(tmp_path, f"categories: {entry}\nmessages: {{blocked: a, failed: b}}\n"))
    jailbreak = rules.of("jailbreak")
    assert (jailbreak.action, jailbreak.input, jailbreak.output) == rule
