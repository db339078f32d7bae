import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.core import recipe
from breakfix.core.errors import RecipeError, UsageError


@dataclass(frozen=True)
class Loop:
    steps: int = 3
    rate: float = 1e-3
    limit: float | None = None
    level: Literal["low", "high"] = "low"

    def problems(self) -> list[str]:
        return ["steps must be positive"] if self.steps < 1 else []


@dataclass(frozen=True)
class Tiny:
    base: str
    quick: bool = False
    bits: Literal[4, 8] = 4
    suites: tuple[str, ...] = ("everyday",)
    shares: Mapping[str, float] = field(default_factory=dict)
    loop: Loop = field(default_factory=lambda: Loop(steps=5))
    loops: tuple[Loop, ...] = ()
    by_name: Mapping[str, Loop] = field(default_factory=dict)


def build(values, *overrides):
    return recipe.build(Tiny, values, "tiny.yaml", overrides)


def problems(values, *overrides):
    with pytest.raises(RecipeError) as caught:
        build(values, *overrides)
    return caught.value.problems


def test_what_is_not_said_is_the_default():
    assert build({"base": "x"}) == Tiny("x")
    assert build({"base": "x", "loop": {"rate": 0.5}}).loop == Loop(rate=0.5)


def test_nested_settings_are_built_as_what_they_are():
    made = build({"base": "x", "suites": ["a", "b"], "shares": {"s": 1}, "loops": [{}], "by_name": {"n": {"steps": 9}}})
    assert made == Tiny("x", suites=("a", "b"), shares={"s": 1.0}, loops=(Loop(),), by_name={"n": Loop(9)})
    assert isinstance(made.shares["s"], float)


def test_all_problems_are_told_together():
    found = problems(
        {
            "qick": True,
            "bits": 5,
            "suites": "everyday",
            "shares": {"s": "much"},
            "loop": {"steps": "three", "rat": 1},
            "loops": [{}, {"level": "middle"}],
        },
        "loop.level=sideways",
        "nonsense",
    )
    assert found == [
        "--set nonsense: write it as key=value",
        "unknown key qick (did you mean quick?)",
        "base is missing",
        "bits must be one of 4, 8, not '5'",
        "suites must be a list, not 'everyday'",
        "shares.s must be a number, not 'much'",
        "unknown key loop.rat (did you mean rate?)",
        "loop.steps must be a whole number, not 'three'",
        "loop.level must be one of low, high, not 'sideways'",
        "loops[1].level must be one of low, high, not 'middle'",
    ]


def test_the_message_names_the_file_and_counts():
    with pytest.raises(RecipeError, match=r"^tiny.yaml: 2 problems: unknown key x; unknown key y$"):
        build({"base": "b", "x": 1, "y": 2})


def test_a_recipe_s_own_check_is_told_with_its_place():
    assert problems({"base": "x", "loop": {"steps": 0}}) == ["loop.steps must be positive"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base", 1),
        ("base", None),
        ("quick", 1),
        ("quick", "yes"),
        ("bits", True),
        ("bits", 4.0),
        ("suites", {"a": 1}),
        ("suites", [1]),
        ("shares", [1]),
        ("shares", {"s": True}),
        ("shares", {"s": 10**400}),
        ("loop", None),
        ("loop", [1]),
    ],
)
def test_a_wrong_type_is_told(key, value):
    (problem,) = problems({"base": "x", key: value})
    assert problem.startswith(key)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_a_whole_number_is_a_whole_number(value):
    assert problems({"base": "x", "loop": {"steps": value}}) == [f"loop.steps must be a whole number, not {str(value)!r}"]


@pytest.mark.parametrize("written", ["1e-4", "0.0001", "1.0e-4", "0.1e-3"])
def test_a_small_number_is_read_however_it_is_written(tmp_path, written):
    (tmp_path / "tiny.yaml").write_text(f"base: x\nloop:\n  rate: {written}\n")
    assert recipe.load(Tiny, "tiny", tmp_path).loop.rate == 1e-4
    assert build({"base": "x"}, f"loop.rate={written}").loop.rate == 1e-4


def test_a_limit_may_be_lifted():
    assert build({"base": "x", "loop": {"limit": 1}}).loop.limit == 1.0
    assert build({"base": "x", "loop": {"limit": 1}}, "loop.limit=null").loop.limit is None


# Overrides


def test_an_override_wins_and_its_neighbours_stay():
    values = {"base": "x", "loop": {"steps": 7, "rate": 0.5}}
    made = build(values, "loop.steps=8", "base=hub:a/b=c", "suites=[a, b]", "by_name.n.steps=2", "quick=true")
    assert made == Tiny("hub:a/b=c", True, 4, ("a", "b"), {}, Loop(8, 0.5), (), {"n": Loop(2)})


def test_the_last_override_wins():
    assert build({"base": "x"}, "base=y", "base=z").base == "z"


def test_overrides_leave_the_given_values_alone():
    values = {"base": "x", "by_name": {"n": {"steps": 1}}}
    build(values, "by_name.n.steps=2")
    assert values == {"base": "x", "by_name": {"n": {"steps": 1}}}


def test_an_override_with_a_typing_error_is_told():
    assert problems({"base": "x"}, "loop.stepz=1", "=1") == [
        "--set =1: write it as key=value",
        "unknown key loop.stepz (did you mean steps?)",
    ]


def test_text_that_is_no_yaml_is_text():
    assert build({"base": "x"}, "base=[a").base == "[a"


# Files


def test_a_recipe_is_found_by_name_or_path(tmp_path):
    (tmp_path / "tiny.yaml").write_text("base: x\n")
    assert recipe.load(Tiny, "tiny", tmp_path) == recipe.load(Tiny, str(tmp_path / "tiny.yaml"), tmp_path / "elsewhere")


def test_an_unknown_recipe_names_the_known_ones(tmp_path):
    for name in ("demo.yaml", "full.yaml", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="there is no recipe nope; known ones: demo, full"):
        recipe.load(Tiny, "nope", tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("base: [x\n", "line 2: not valid YAML"),
        ("base: x\n\tquick: true", "line 2: not valid YAML"),
        ("- base", "it must hold keys and values"),
        ("42", "it must hold keys and values"),
        ("base: 2024-99-99", "not valid YAML"),
        ("base: 0x_", "not valid YAML"),
        ("base: !!int ''", "not valid YAML"),
        ("base: !!timestamp x", "not valid YAML"),
        ("base: !!bool x", "not valid YAML"),
        ("base: !!python/object:os.system x", "not valid YAML"),
        ("base: " + "[" * 2000, "not valid YAML"),
        ("base: " + "9" * 5000, "not valid YAML"),
        ("", "base is missing"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "tiny.yaml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=sentence) as caught:
        recipe.load(Tiny, str(path), tmp_path)
    assert str(path) in str(caught.value)


def test_a_binary_file_is_no_recipe(tmp_path):
    (tmp_path / "tiny.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not valid YAML"):
        recipe.load(Tiny, "tiny", tmp_path)


# For any settings and any values

NUMBERS = st.floats(allow_nan=False)
LOOPS = st.builds(Loop, st.integers(1), NUMBERS, st.none() | NUMBERS, st.sampled_from(["low", "high"]))
TINIES = st.builds(
    Tiny,
    base=st.text(),
    quick=st.booleans(),
    bits=st.sampled_from([4, 8]),
    suites=st.lists(st.text()).map(tuple),
    shares=st.dictionaries(st.text(), NUMBERS),
    loop=LOOPS,
    loops=st.lists(LOOPS, max_size=2).map(tuple),
    by_name=st.dictionaries(st.text(), LOOPS, max_size=2),
)
KNOWN_KEYS = st.sampled_from([*Tiny.__dataclass_fields__, *Loop.__dataclass_fields__])
KEYS = KNOWN_KEYS | st.text(max_size=3) | st.integers() | st.none()
YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5) | st.sets(st.integers(), max_size=2),
    max_leaves=15,
)


@given(TINIES)
def test_settings_survive_the_manifest(tiny):
    # Records and reports read settings back from a manifest.
    assert build(json.loads(json.dumps(recipe.plain(tiny)))) == tiny


@given(st.dictionaries(KEYS, YAML), st.lists(st.text() | st.builds("{}={}".format, KEYS, st.text()), max_size=3))
def test_any_values_are_settings_or_problems(values, overrides):
    try:
        assert isinstance(build(values, *overrides), Tiny)
    except RecipeError as error:
        assert error.problems


@given(st.text(st.sampled_from("abx019.:-_!&*[]{}#|>'\"\\ \n\t%@?,=~") | st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_recipe_or_a_problem(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(content, encoding="utf-8")
    try:
        assert isinstance(recipe.load(Tiny, str(path), path.parent), Tiny)
    except RecipeError as error:
        assert error.problems


def test_a_recipe_may_be_like_another(tmp_path):
    (tmp_path / "one.yaml").write_text("base: a\nbits: 8\nloop: {steps: 9, rate: 0.5}\n")
    (tmp_path / "two.yaml").write_text("like: one\nbase: b\nloop: {steps: 4}\n")
    made = recipe.load(Tiny, "two", tmp_path, ["quick=true"])
    assert (made.base, made.bits, made.quick, made.loop) == ("b", 8, True, Loop(steps=4, rate=0.5))


def test_a_recipe_is_like_a_file_beside_it_wherever_one_stands(tmp_path, monkeypatch):
    (tmp_path / "one.yaml").write_text("base: a\n")
    (tmp_path / "two.yaml").write_text("like: ./one.yaml\n")
    monkeypatch.chdir("/")
    assert recipe.load(Tiny, str(tmp_path / "two.yaml"), tmp_path / "none").base == "a"


def test_a_recipe_is_like_one_that_is_there_and_like_none(tmp_path):
    (tmp_path / "two.yaml").write_text("like: three\n")
    with pytest.raises(UsageError, match="there is no recipe three"):
        recipe.load(Tiny, "two", tmp_path)
    (tmp_path / "three.yaml").write_text("like: two\n")
    with pytest.raises(RecipeError, match="is itself like another"):
        recipe.load(Tiny, "two", tmp_path)
