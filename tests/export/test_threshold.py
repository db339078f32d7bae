"""Pairs that no threshold can be set with are refused; the story tests set one on a real int4 file."""

import pytest

from breakfix.core import artifact
from breakfix.core.errors import ExportError, UsageError
from breakfix.core.jsonl import write_jsonl
from breakfix.export import threshold
from breakfix.export.int4 import Int4Settings, int4


def pairs(folder, openings, prompts):
    def make(work):
        write_jsonl(work / threshold.LOOK_ALIKES, [{"ids": ids} for ids in prompts])
        return {"openings": openings}

    return artifact.produce(folder / "pairs", "pairs", {}, {}, make).path


def test_what_was_set_aside_is_read(tmp_path):
    made = pairs(tmp_path, [7], [[1, 2], [3]])
    assert threshold.read(made) == (artifact.load(made).id, 7, [[1, 2], [3]])


@pytest.mark.parametrize(
    ("openings", "sentence"),
    [([7, 8], "begin in 2 ways; curate with a refusal_start"), ([], "make it again with breakfix train pairs")],
)
def test_pairs_that_say_nothing_are_refused(tmp_path, openings, sentence):
    with pytest.raises(ExportError, match=sentence):
        threshold.read(pairs(tmp_path, openings, [[1]]))


def test_too_few_prompts_set_no_threshold(tmp_path):
    some = threshold.Calibration("id", 7, [[1]] * 4 + [[1] * 64] * 9)
    with pytest.raises(ExportError, match=r"4 harmless prompts are too few to refuse 23 % of; ask fewer preferences.requests"):
        threshold.calibrate(tmp_path, some, 0.23, context=64)


def test_pairs_for_no_threshold_are_refused(tmp_path):
    checkpoint = artifact.produce(tmp_path / "model", "checkpoint", {}, {}, lambda work: None)
    with pytest.raises(UsageError, match="there is nothing to set with pairs"):
        int4(Int4Settings(over_refusal=0.0), checkpoint.path, tmp_path / "int4", tmp_path / "pairs")
