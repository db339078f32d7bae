import json
from dataclasses import replace

import pytest

from breakfix.core.errors import ArtifactError, UsageError
from breakfix.eval import judge_card, report
from breakfix.eval.compare import compare
from breakfix.eval.judge import ActJudge
from breakfix.eval.judge_card import JudgeCard
from breakfix.eval.run import run
from breakfix.eval.statistics import rate
from breakfix.eval.suites import Sample, Suite
from breakfix.runtime.engine import Sampling, ScriptedEngine

SUITE = Suite("small", (Sample("u", "harm", "refuse", "S1"), Sample("s", "soup", "answer", "S1")))
ANSWERS = {
    "float": {"harm": "I can't help with that.", "soup": "Boil it."},
    "int4": {"harm": "Do it like this.", "soup": ""},
}


@pytest.fixture
def comparison(tmp_path):
    def measured(name):
        engine = ScriptedEngine(ANSWERS[name], f"id-of-{name}")
        return run(engine, [SUITE], ActJudge(), Sampling(), tmp_path / name, name).path

    return compare([measured("float"), measured("int4")])


def test_the_markdown_names_every_file_it_speaks_of(comparison):
    text = report.as_markdown(comparison)
    for system in comparison.systems:
        assert f"| {system.name} | `{system.engine}` | `{system.records.id}` |" in text
    assert f"Judge: `{ActJudge.id}`" in text


def test_the_markdown_shows_rates_changes_and_what_was_not_judged(comparison):
    lines = report.as_markdown(comparison).splitlines()
    assert "| suite | measure | n | float | int4 |" in lines
    assert "| small | harmful compliance | 1 | 0.0 [0.0, 79.3] | 100.0 [20.7, 100.0] |" in lines
    assert "| small | over-refusal | 1 | 0.0 [0.0, 79.3] | not judged |" in lines
    assert "| suite | measure | float -> int4 |" in lines
    assert "| small | harmful compliance | +1 -0, p = 1.000 |" in lines
    assert "| small | over-refusal | 0 / 0 | 1 / 1 |" in lines


def test_every_table_row_has_as_many_cells_as_its_head(comparison):
    tables = [block.splitlines() for block in report.as_markdown(comparison).split("\n\n") if block.lstrip().startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert len({line.count("|") for line in table if line}) == 1


def test_the_json_holds_every_figure(comparison):
    figures = report.as_json(comparison)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert [system["engine"] for system in figures["systems"]] == ["id-of-float", "id-of-int4"]
    assert [system["sampling"]["temperature"] for system in figures["systems"]] == [0.0, 0.0]
    harm = figures["lines"][0]
    assert [(r["hits"], r["n"]) for r in harm["rates"]] == [(0, 1), (1, 1)]
    assert harm["changes"] == [{"gained": 1, "lost": 0, "p": 1.0}]


def test_a_report_is_an_artifact_of_the_records_it_was_made_from(comparison, tmp_path):
    written = report.write(comparison, tmp_path / "report")
    assert written.manifest["inputs"] == {system.name: system.records.id for system in comparison.systems}
    systems = [{"records": system.records.id, "engine": system.engine} for system in comparison.systems]
    assert written.manifest["recipe"] == {"systems": systems}
    assert (written.path / report.MARKDOWN).read_text(encoding="utf-8") == report.as_markdown(comparison)
    assert json.loads((written.path / report.JSON).read_text(encoding="utf-8")) == report.as_json(comparison)
    assert report.write(comparison, tmp_path / "again").id == written.id


@pytest.mark.parametrize(
    ("hits", "n", "text"), [(0, 0, "not judged"), (1, 2, "50.0 [9.5, 90.5]"), (200, 200, "100.0 [98.1, 100.0]")]
)
def test_a_rate_is_written_in_percent_with_its_interval(hits, n, text):
    assert report.percent(rate(hits, n)) == text


def test_a_judges_card_corrects_the_rates_and_another_judges_does_not(comparison, tmp_path):
    card = JudgeCard(ActJudge.id, "labels", rate(90, 100), rate(40, 50), rate(50, 50), 0.7, 0.6, 0.8, 2)
    made = report.write(comparison, tmp_path / "report", judge_card.write(card, tmp_path / "card"))
    text = (made.path / "report.md").read_text()
    assert "refusal kappa 0.700 [0.600, 0.800], accuracy 90.0" in text and "; 2 not judged." in text
    harm, refusal = text.split("As people would have counted")[1].rstrip().splitlines()[-2:]
    # Of one answer that was refused nobody can say much; that none of one was refused fits any card.
    assert harm.startswith("| small | harmful compliance | does not fit | 100.0 [")
    assert refusal.startswith("| small | over-refusal | 0.0 [0.0, ") and refusal.endswith("| not judged |")
    figures = json.loads((made.path / "report.json").read_text())
    assert figures["card"]["labels"] == "labels" and figures["lines"][0]["corrected"][0] is None
    other = judge_card.write(replace(card, judge="other"), tmp_path / "other")
    with pytest.raises(UsageError, match="the records were judged by act-2 and the card is of other"):
        report.write(comparison, tmp_path / "second", other)


def test_a_report_of_another_file_with_the_same_answers_is_another_report(tmp_path):
    first, second = (
        run(ScriptedEngine(ANSWERS["int4"], f"id-{name}"), [SUITE], ActJudge(), Sampling(), tmp_path / name, "int4").path
        for name in ("old", "new")
    )
    made = report.write(compare([first]), tmp_path / "report")
    assert "`id-old`" in (made.path / "report.md").read_text()
    with pytest.raises(ArtifactError, match="another order"):
        report.write(compare([second]), tmp_path / "report")
