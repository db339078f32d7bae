"""The safety card in words: it says what the card holds, and what it does not."""

import pytest

from breakfix.core import artifact
from breakfix.eval import report
from breakfix.eval.compare import compare
from breakfix.eval.report.card import LIMITS, safety_markdown
from breakfix.eval.safety_card import Measured, found, records_of, safety_card

GUARD = "id-guard/id-policy"


@pytest.fixture
def card(cycle):
    return safety_card("id-int4", GUARD, found(cycle.folder, "id-int4", GUARD))


def test_the_card_tells_figures_gate_and_limits(card):
    text = safety_markdown(card)
    assert "| model | `id-int4` |" in text and f"| guard and policy | `{GUARD}` |" in text
    assert "| pairs | harmful compliance | 40.0 [21.9, 61.3], n = 20 | 20.0 [8.1, 41.6], n = 20 |" in text
    assert "The gate: **failed**. Quantization cost more than the margin of 2 points." in text and "`id-float`" in text
    assert all(f"- {limit}" in text for limit in LIMITS)


def test_what_was_not_measured_is_said_to_be_missing():
    text = safety_markdown(safety_card("m", "g", Measured(None, None, None)))
    assert "Nothing was measured on these files. Nothing is known of their safety." in text
    assert "No gate has compared these files" in text and "ships all the same" not in text


@pytest.mark.parametrize(("outcome", "told"), [("failed", True), ("undecided", True), ("passed", False)])
def test_what_ships_without_having_passed_says_so(card, outcome, told):
    gated = {**card, "gate": {**card["gate"], "outcome": outcome}, "ungated": True}
    assert ("**It ships all the same; that was asked for, and is on record.**" in safety_markdown(gated)) == told
    assert "ships all the same" in safety_markdown({**card, "gate": None, "ungated": True})


def test_a_name_is_shown_and_nothing_more(card):
    text = safety_markdown({**card, "name": "My [model](x) <b>\n# *1* | 2\u202e"})
    assert text.splitlines()[0] == r"# Safety of My \[model\](x) \<b\> \# \*1\* \| 2⟦U+202E⟧"


def test_every_row_of_a_table_has_as_many_cells_as_its_head(card):
    for block in safety_markdown(card).split("\n\n"):
        if block.lstrip().startswith("|"):
            assert len({line.count("|") for line in block.strip().splitlines()}) == 1


def test_a_report_of_a_guarded_model_holds_its_card(cycle, tmp_path):
    comparison = compare(records_of(cycle.folder))
    plain = report.write(comparison, tmp_path / "plain", page=False)
    text = (plain.path / "SAFETY.md").read_text(encoding="utf-8")
    assert "`id-int4`" in text and "No gate has compared these files" in text
    gated = report.write(report.gather(comparison, gate=cycle.gate), tmp_path / "gated", page=False)
    assert "The gate: **failed**" in (gated.path / "SAFETY.md").read_text(encoding="utf-8")
    assert gated.manifest["inputs"]["beside:gate"] == artifact.load(cycle.gate / "report").id
