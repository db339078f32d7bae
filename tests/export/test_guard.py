"""Calibration: thresholds keep their promise on the rows they were set on, and an int8 file that differs is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.core.errors import ExportError
from breakfix.core.hazards import HAZARDS, JAILBREAK
from breakfix.export import guard as export
from breakfix.export.guard import GuardExportSettings
from breakfix.guardrails.classifier import tempered

SETTINGS = GuardExportSettings()


def rows(count=400):
    """Calibration rows of both rails: every fourth is harmful, every tenth prompt is a framing."""
    return [
        {
            "rail": ("input", "output")[n % 2],
            "unsafe": n % 8 < 2,
            "look_alike": n % 16 > 11,
            "jailbreak": n % 20 == 0,
            "hazard": "S2" if n % 8 < 2 else "",
        }
        for n in range(count)
    ]


def scores(told, seed=0):
    """Scores that tell harmful from harmless well, and framings from the rest."""
    dice = np.random.default_rng(seed)
    unsafe, framed = (np.asarray([row[key] for row in told]) for key in ("unsafe", "jailbreak"))
    one = np.where(unsafe, dice.beta(6, 2, len(told)), dice.beta(2, 6, len(told)))
    return np.stack([one, np.where(framed, dice.beta(6, 2, len(told)), dice.beta(2, 6, len(told)))], 1)


def calibrated(told, int8, float_scores=None):
    return export._calibrate(SETTINGS, told, {"int8": int8, "float": int8 if float_scores is None else float_scores})


@given(
    st.lists(st.tuples(st.floats(0, 0.999), st.booleans()), min_size=1, max_size=300),
    st.sampled_from([0.005, 0.02, 0.05, 0.5]), st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)  # fmt: skip
def test_a_threshold_flags_no_more_than_its_share_and_no_lower_one_would_do(rows, target, share):
    harmless, alike = (np.asarray(column) for column in zip(*rows, strict=True))
    weights = export._weights(alike, share)
    assert weights.sum() == pytest.approx(1)
    threshold = export._threshold(harmless, weights, target)
    assert weights[harmless >= threshold].sum() <= target * (1 + 1e-6)
    assert weights[harmless >= threshold - 2e-6].sum() > target or threshold == 1e-6


def test_look_alikes_weigh_what_traffic_holds_of_them():
    alike = np.asarray([True] * 90 + [False] * 10)
    weights = export._weights(alike, 0.1)
    assert weights[alike].sum() == pytest.approx(0.1)
    # All look-alikes are a tenth of the traffic: that many may be flagged, and no general request besides.
    assert export._threshold(alike * 0.9, weights, 0.1) == pytest.approx(1e-6)


def test_the_card_states_what_its_thresholds_do_on_the_rows():
    told = rows()
    int8 = scores(told)
    card = calibrated(told, int8)
    for rail in ("input", "output"):
        on = {
            alike: [n for n, row in enumerate(told) if (row["rail"], row["unsafe"], row["look_alike"]) == (rail, False, alike)]
            for alike in (True, False)
        }
        for level, target in SETTINGS.levels.items():
            threshold = card["thresholds"][rail][level]["S2"]
            measured, rates = card["measured"][rail][level], {}
            for alike, kind in ((True, "look_alikes"), (False, "general")):
                flagged = sum(tempered(int8[n, 0], card["temperatures"][rail]) >= threshold for n in on[alike])
                rates[alike] = flagged / len(on[alike])
                assert flagged == measured[kind]["false_positives"] and measured[kind]["harmless"] == len(on[alike])
                assert measured[kind]["fpr_upper_95"] > rates[alike]
            assert 0.1 * rates[True] + 0.9 * rates[False] == pytest.approx(measured["fpr"], abs=1e-4)
            assert measured["fpr"] <= target
            assert set(card["thresholds"][rail][level]) == {*HAZARDS, JAILBREAK}
            assert measured["recall_by_hazard"].keys() == {"S2"}


def test_stricter_levels_catch_more():
    card = calibrated(told := rows(), scores(told))
    for rail in ("input", "output"):
        strict, balanced, permissive = (card["measured"][rail][level]["recall"] for level in SETTINGS.levels)
        assert strict >= balanced >= permissive > 0


def test_an_answer_attacks_no_model():
    card = calibrated(told := rows(), scores(told))
    assert {levels[JAILBREAK] for levels in card["thresholds"]["output"].values()} == {1.0}
    assert all(0 < levels[JAILBREAK] < 1 for levels in card["thresholds"]["input"].values())


def test_overconfident_scores_are_cooled_and_timid_ones_warmed():
    truth = np.asarray([True] * 70 + [False] * 30)
    assert export._temperature(np.full(100, 0.99), truth) > 2
    assert export._temperature(np.full(100, 0.55), truth) < 0.5


def test_an_int8_file_that_decides_otherwise_is_refused():
    told = rows()
    int8 = scores(told)
    with pytest.raises(ExportError, match=r"agrees with float on \d+\.\d % of the calibration rows at"):
        calibrated(told, int8, scores(told, seed=1))


@pytest.mark.parametrize("kind", [True, False])
def test_rows_of_one_kind_calibrate_nothing(kind):
    told = [{**row, "unsafe": kind} for row in rows()]
    with pytest.raises(ExportError, match="no calibration rows of both kinds for input"):
        export._must_calibrate(told)


def test_a_harmful_request_without_a_framing_is_no_harmless_traffic():
    told = rows()
    int8 = scores(told)
    before = calibrated(told, int8)
    int8[[n for n, row in enumerate(told) if row["unsafe"] and not row["jailbreak"]], 1] = 0.999
    after = calibrated(told, int8)
    for level in SETTINGS.levels:
        assert after["thresholds"]["input"][level][JAILBREAK] == before["thresholds"]["input"][level][JAILBREAK]
        assert after["measured"][JAILBREAK][level] == before["measured"][JAILBREAK][level]


def test_where_there_are_no_look_alikes_none_are_judged():
    told = [{**row, "look_alike": False} for row in rows()]
    measured = calibrated(told, scores(told))["measured"]["output"]["balanced"]
    assert measured["look_alikes"] == {"false_positives": 0, "harmless": 0, "fpr_upper_95": None}
