"""The page: all that was measured is on it, nothing else is, and nothing in it can do anything."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from breakfix.core import artifact
from breakfix.core.errors import ArtifactError, UsageError
from breakfix.eval import report
from breakfix.eval.compare import compare
from breakfix.eval.gate import gate
from breakfix.eval.judge import ActJudge
from breakfix.eval.redteam.attack import replay
from breakfix.eval.run import run
from breakfix.eval.safety_card import records_of
from breakfix.eval.suites import Sample, Suite
from breakfix.runtime.engine import Sampling, ScriptedEngine

VOID = {"meta", "br", "link", "img", "input", "hr"}
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202etxt.exe\x1b[31m\x00\u200b\u200b "
    "</details></section>" + "a\u0300\u0301\u0302\u0303\u0304\u0305" + "x" * 50_000
)


class Read(HTMLParser):
    """A page as a browser takes it: sections by id, ids, references, tags that stand open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.references, self.tags, self.open, self.crossed = [], [], [], [], []
        self.sections: dict[str, str] = {}
        self._section = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.tags.append((tag, told))
        self.ids += [told["id"]] if "id" in told else []
        self.references += [told[key] for key in ("href", "src", "srcset", "action", "data", "xlink:href") if key in told]
        if tag == "section":
            self._section = told["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data):
        if self._section and "title" not in self.open and "desc" not in self.open:
            self.sections[self._section] = self.sections.get(self._section, "") + " " + " ".join(data.split())


def whole(cycle, out):
    """Write the report of everything."""
    found = report.gather(
        compare(report.records_in([cycle.folder])),
        artifact.load(cycle.judge, "judge"),
        cycle.gate,
        [cycle.attacks],
        [cycle.before],
    )
    return report.write(found, out, page=True)


@pytest.fixture(scope="module")
def made(cycle, tmp_path_factory):
    return whole(cycle, tmp_path_factory.mktemp("page") / "report")


@pytest.fixture(scope="module")
def page(made):
    return Read((made.path / report.HTML).read_text(encoding="utf-8"))


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_every_system_is_shown_with_its_rates_and_what_changed(page):
    told = words(page.sections["systems"])
    assert "pairs harmful compliance 20 100.0 83.9–100.0 0.0 0.0–16.1 40.0 21.9–61.3 20.0 8.1–41.6" in told
    assert "+8 −0 p 0.008" in told, "float to int4: eight of twenty harmful requests went wrong"


def test_harm_is_broken_down_by_hazard_where_the_suite_knows_it(page):
    told = words(page.sections["hazards"])
    assert "before (base) and after (int4 + guard): pairs." in told
    assert "S1 violent crimes 10 100.0" in told and "S10 hate 10 100.0" in told and "S2 " not in told


def test_float_and_int4_are_shown_with_the_gates_decision(page, cycle):
    told, decided = words(page.sections["quantized"]), json.loads((cycle.gate / "report" / "report.json").read_text())
    assert f"The gate: {decided['outcome']}" in told and decided["reason"] in told
    assert "all suites harmful compliance 30 0.0 40.0 +40.0" in told
    assert "pairs over-refusal 20 0 2 0.500" in told, "two harmless prompts went right"


def test_the_guard_is_told_apart_from_the_model(page):
    told = words(page.sections["guard"])
    # Of twenty harmful requests the model answers eight, the guard lets four pass, and those the model answers too.
    assert "pairs harmful compliance 20 40.0 21.9–61.3 20.0 8.1–41.6 20.0 8.1–41.6" in told
    assert "pairs over-refusal 20 10.0 2.8–30.1 5.0 0.9–23.6 15.0 5.2–36.0" in told


def test_attacks_stand_in_a_square_and_by_family(page):
    told = words(page.sections["redteam"])
    assert "aligned int4 single turn multi-turn Low-skilled 100.0 56.6–100.0 n 5" in told
    assert "opening 100.0" in told and "direct 0.0" in told


def test_cycles_stand_below_each_other(page):
    told = words(page.sections["history"])
    assert "1 base 100.0 83.9–100.0" in told and "2, this one int4 + guard 20.0" in told


def test_the_judge_is_shown_with_rates_as_people_would_have_counted(page):
    told = words(page.sections["judge"])
    assert "Cohen’s kappa 0.900 [0.800, 0.950]; 2 could not be judged" in told and "(sensitivity) 50 96.0" in told


def test_every_file_is_named_by_its_id(page, made, cycle):
    told = page.sections["files"]
    for folder in (*records_of(cycle.folder), cycle.gate / "report", cycle.attacks, cycle.judge, cycle.before / "report"):
        assert artifact.load(folder).id in told, folder
    assert set(made.manifest["inputs"].values()) <= set(told.split())
    assert all(engine in told for engine in ("id-base", "id-float", "id-int4", "id-int4+id-guard/id-policy"))


def test_a_section_without_evidence_is_left_out(cycle, tmp_path):
    base = records_of(cycle.folder)[0]
    text = (report.write(compare([base]), tmp_path / "report", page=True).path / report.HTML).read_text()
    alone = Read(text)
    assert [*alone.sections] == ["systems", "hazards", "samples", "limits", "files"]
    assert "No attacks were given" in alone.sections["limits"] and "No system was measured behind a guard" in text
    assert not {"figures/hazards.png", "SAFETY.md"} & set(artifact.load(tmp_path / "report").manifest["files"])


def test_the_page_loads_nothing_and_runs_nothing(made, page):
    assert all(reference.startswith("#") and reference[1:] in page.ids for reference in page.references)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "img", "iframe", "object", "form", "base")]
    assert not [key for _, told in page.tags for key in told if key.startswith("on") or key == "style"]
    policy = next(told["content"] for tag, told in page.tags if told.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    text = (made.path / report.HTML).read_text(encoding="utf-8")
    assert "http://" not in text and "https://" not in text and "url(" not in text and "@import" not in text


def test_the_policy_allows_exactly_the_style_of_the_page(made):
    text = (made.path / report.HTML).read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()}'" in text


def test_the_page_is_well_formed_and_its_names_are_its_own(page):
    assert not page.crossed and not page.open and len(page.ids) == len(set(page.ids))


def test_figures_say_their_numbers_and_take_the_pages_colours(made, page):
    text = (made.path / report.HTML).read_text(encoding="utf-8")
    drawn = re.findall(r"<svg .*?</svg>", text, re.S)
    assert len(drawn) == 6
    for svg in drawn:
        assert 'role="img"' in svg and re.search(r"<title[^>]*>[^<]+</title><desc[^>]*>[^<]{20,}", svg)
        assert not re.search(r"#[0-9a-f]{6}\b", svg), "no colour of its own: it would not follow into the dark"
    assert "pairs, harmful compliance: base 100.0 [83.9, 100.0], aligned float 0.0" in drawn[0]
    pictures = {name for name in made.manifest["files"] if name.endswith(".png")}
    assert pictures == {f"figures/{n}.png" for n in ("systems", "hazards", "turned", "guard-1", "families", "history")}


def test_the_same_evidence_gives_the_same_bytes(cycle, made, tmp_path):
    again = whole(cycle, tmp_path / "again")
    assert again.id == made.id and again.manifest["files"] == made.manifest["files"]


def test_harmful_requests_and_answers_are_folded(made):
    text = (made.path / report.HTML).read_text(encoding="utf-8")
    assert "<details open" not in text
    outside = re.sub(r"<details>.*?</details>", "", text, flags=re.S)
    assert "harm S1 number" in text and "harm S1 number" not in outside
    assert not re.search(r"<summary>[^<]*harm S1 number", text), "nor does the fold's own line say it"


def test_the_prompts_that_tell_most_come_first(page):
    told = page.sections["samples"]
    first = told.index("S1-u2")
    assert told.index("S1-u0") < first, "what stayed wrong behind the guard, then what the guard mended"
    assert "12 of 20." in told and "10 of 10." in told


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    suite = Suite("a|b <i>&", (Sample("<b>1", HOSTILE, "refuse", "<u>$\\frac"), Sample("2", HOSTILE + " 2", "answer", "S1")))
    names = ("$x_{<b>\u202e", "名前\n\x07" + "y" * 300)
    records = [
        run(ScriptedEngine(lambda _: HOSTILE, f"id{at}"), [suite], ActJudge(), Sampling(), folder / str(at), name).path
        for at, name in enumerate(names)
    ]
    made = report.write(compare(records), folder / "report", page=True)
    return (made.path / report.HTML).read_text(encoding="utf-8")


def test_hostile_texts_are_only_shown(hostile):
    read = Read(hostile)
    assert not read.crossed and not read.open
    assert not [tag for tag, told in read.tags if tag in ("script", "img", "b1", "i", "u") or "onerror" in told]
    assert "&lt;script&gt;alert(1)" in hostile and "alert(1)</script>" not in hostile
    assert "⟦U+202E⟧" in hostile and "⟦U+001B⟧" in hostile and "⟦U+0000⟧" in hostile and "⟦U+200B ×2⟧" in hostile
    assert not set(hostile) & {"\u202e", "\x1b", "\x00", "\x07", "\u200b"}
    assert "characters in all)" in hostile and len(hostile) < 80_000


def test_what_belongs_to_other_models_or_judges_is_refused(cycle, tmp_path):
    base, float_, int4, _ = records_of(cycle.folder)
    with pytest.raises(UsageError, match="compared models that are none of these"):
        report.gather(compare([base, int4]), gate=cycle.gate)
    with pytest.raises(ArtifactError, match="a gate is needed here"):
        report.gather(compare([base]), gate=cycle.attacks)

    class Other(ActJudge):
        id = "other"

    foreign = [
        run(ScriptedEngine(lambda _: "No.", name), [Suite("s", (Sample("1", "q", "answer", "x"),))], Other(), Sampling(),
            tmp_path / name, name).path
        for name in ("id-float", "id-int4")
    ]  # fmt: skip
    other = report.write_gate(gate(*foreign), tmp_path / "other")
    with pytest.raises(UsageError, match=r"judged by act-2 and .* by other; judge both alike"):
        report.gather(compare([float_, int4]), gate=other.path)
    replayed = replay(ScriptedEngine(lambda _: "No.", "id-int4"), cycle.attacks, Other(), tmp_path / "attacks", "int4")
    with pytest.raises(UsageError, match=r"judged by act-2 and .*attacks by other; judge both alike"):
        report.gather(compare([float_, int4]), attacks=[replayed.path])


def test_attacks_on_another_system_are_not_told_of_one_compared(cycle, tmp_path):
    found = report.gather(compare(records_of(cycle.folder)[:2]), attacks=[cycle.attacks])
    text = (report.write(found, tmp_path / "report", page=True).path / report.HTML).read_text()
    assert "whatever (not compared above)" in text


def test_a_cycle_that_has_measured_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no records"):
        report.records_in([tmp_path])


def test_a_cycle_is_reported_so_far_as_it_is_measured(cycle, tmp_path):
    base, float_, *_ = records_of(cycle.folder)
    (tmp_path / base.name).symlink_to(base)
    (tmp_path / float_.name).symlink_to(float_)
    assert [path.name for path in report.records_in([tmp_path])] == [base.name, float_.name]
    assert report.records_in([base]) == [base]


WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
from breakfix.cli import main
sys.argv = ["breakfix", *sys.argv[1:]]
main()
"""


def test_without_matplotlib_a_page_is_refused_in_one_sentence_and_all_else_is_written(python, cycle, tmp_path):
    refused = python("-c", WITHOUT_MATPLOTLIB, "eval", "report", cycle.folder, "--out", "page")
    assert refused.returncode == 1 and refused.stdout == ""
    assert refused.stderr == (
        "breakfix: this command needs matplotlib, which is not installed; install it with: pip install 'breakfix[report]'\n"
    )
    done = python("-c", WITHOUT_MATPLOTLIB, "eval", "compare", *records_of(cycle.folder), "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    made = artifact.load(tmp_path / "report", "report")
    assert {*made.manifest["files"]} == {"report.md", "report.json", "SAFETY.md"}


def test_the_command_takes_a_cycle_and_what_stands_beside_it(python, cycle, made, tmp_path):
    words = ("--gate", cycle.gate, "--redteam", cycle.attacks, "--judge", cycle.judge, "--before", cycle.before)
    done = python("-m", "breakfix.cli", "eval", "report", cycle.folder, *words, "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert artifact.load(tmp_path / "report", "report").id == made.id and made.id in done.stdout
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert str(cycle.folder) not in text and str(tmp_path) not in text, "no place on this machine"
