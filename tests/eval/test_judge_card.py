"""A judge against people: what is read, what is counted, and how a rate is corrected for the judge's error."""

import numpy as np
import pytest

from breakfix.core.errors import DataError
from breakfix.eval import judge_card
from breakfix.eval.judge import ActJudge
from breakfix.eval.judge_card import JudgeCard, Labelled
from breakfix.eval.statistics import rate

REFUSAL, HELP = "I can't help with that.", "Stir it well and serve it warm."
CARD = JudgeCard("act-2", "labels", rate(90, 100), rate(40, 50), rate(45, 50), 0.7, 0.6, 0.8, 0)


def labelled(*counts):
    """Return answers: true refusals found and missed, others found to be refusals and not."""
    kinds = [(REFUSAL, True), (HELP, True), (REFUSAL, False), (HELP, False)]
    return [Labelled("q", *kind) for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]


def table(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_judge_is_counted_against_people():
    card = judge_card.measure(ActJudge(), [*labelled(30, 10, 5, 55), Labelled("q", "", True)])
    assert (card.judge, card.unjudged) == (ActJudge.id, 1)
    assert (card.accuracy, card.sensitivity, card.specificity) == (rate(85, 100), rate(30, 40), rate(55, 60))
    # Agreement by chance is .4 x .35 + .6 x .65.
    assert card.kappa == pytest.approx((0.85 - 0.53) / (1 - 0.53))
    assert card.kappa_low < card.kappa < card.kappa_high


def test_the_card_names_the_answers_it_was_measured_on():
    one, other = (judge_card.measure(ActJudge(), labelled(3, 1, 1, last)) for last in (5, 6))
    assert one.labels != other.labels


@pytest.mark.parametrize("counts", [(3, 1, 0, 0), (0, 0, 1, 4), (0, 0, 0, 0)])
def test_people_who_said_one_thing_measure_nothing(counts):
    with pytest.raises(DataError, match="give answers of both kinds"):
        judge_card.measure(ActJudge(), labelled(*counts))


def test_published_files_are_read(tmp_path):
    head = "# dataset_version=1.2\nobjective,assistant_response,human_score,data_type\n"
    found = judge_card.read_labels(table(tmp_path / "a.csv", f'{head}q,"# Head\n\nNo.",1,text\nr,Yes.,0.0,text\n'))
    assert found == [Labelled("q", "# Head\n\nNo.", True), Labelled("r", "Yes.", False)]
    # r and s divide people.
    votes = "prompt,response,human_score_1,human_score_2,human_score_3\nq,No.,True,false,TRUE\nr,Yes.,0,1,\n"
    assert [each.refused for each in judge_card.read_labels(table(tmp_path / "b.csv", votes + "s,Perhaps.,1,0,\n"))] == [True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks columns"),
        ("request,answer\nq,a\n", "lacks columns; it needs one of request"),
        ("request,answer,refused\nq,a,maybe\n", "row 1 has no label that says yes or no"),
        ("request,answer,refused\nq,a,\n", "row 1 has no label"),
        ("request,answer,refused\nq\n", "row 1 has no label"),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        judge_card.read_labels(table(tmp_path / "a.csv", text))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00request")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        judge_card.read_labels(str(tmp_path / "a.csv"))


def test_a_card_is_kept(tmp_path):
    card = judge_card.measure(ActJudge(), labelled(30, 10, 5, 55))
    made = judge_card.write(card, tmp_path / "card")
    assert judge_card.read(made) == card
    other = judge_card.write(judge_card.measure(ActJudge(), labelled(30, 9, 5, 55)), tmp_path / "other")
    assert other.id != made.id


@pytest.mark.parametrize("truth", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("refused", [True, False])
def test_a_rate_is_corrected_to_what_people_would_have_counted(truth, refused):
    found, cleared = (0.8, 0.9) if refused else (0.9, 0.8)
    seen = rate(round(4000 * (truth * found + (1 - truth) * (1 - cleared))), 4000)
    estimate = judge_card.corrected(seen, CARD, refused=refused)
    assert estimate.value == pytest.approx(truth, abs=2e-3)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    # The labelled sample is small, so the interval is wider than the answers' own.
    assert estimate.high - estimate.low > seen.high - seen.low


@pytest.mark.parametrize(("truth", "sensitivity", "specificity"), [(0.005, 0.95, 0.99), (0.02, 0.9, 0.999), (0.3, 0.8, 0.9)])
def test_the_interval_covers_the_truth_near_nothing_too(truth, sensitivity, specificity):
    dice, covered = np.random.default_rng(1), 0
    for _ in range(200):
        found, cleared = dice.binomial(100, sensitivity), dice.binomial(100, specificity)
        card = JudgeCard("j", "l", rate(1, 2), rate(int(found), 100), rate(int(cleared), 100), 0.7, 0.6, 0.8, 0)
        seen = dice.binomial(300, truth * sensitivity + (1 - truth) * (1 - specificity))
        estimate = judge_card.corrected(rate(int(seen), 300), card, refused=True)
        covered += estimate is None or estimate.low <= truth <= estimate.high
    assert covered >= 180


def test_a_rate_that_cannot_be_is_not_corrected():
    """The judge misses a third of refusals, so of refusals alone it would call a third no refusal; it called fewer so."""
    blind = JudgeCard("j", "l", rate(1, 2), rate(67, 100), rate(100, 100), 0.7, 0.6, 0.8, 0)
    assert judge_card.corrected(rate(10, 200), blind, refused=False) is None


def test_a_judge_no_better_than_chance_corrects_nothing():
    guess = JudgeCard("coin", "labels", rate(50, 100), rate(25, 50), rate(25, 50), 0.0, -0.2, 0.2, 0)
    assert judge_card.corrected(rate(10, 100), guess, refused=True) is None
    assert judge_card.corrected(rate(0, 0), CARD, refused=True) is None
