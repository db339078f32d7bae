"""Pairs that no threshold can be set with are refused; the story tests set one on a real int4 file."""

import pytest

from breakfix.core import artifact
from breakfix.core.errors import ExportError
from breakfix.core.jsonl import write_jsonl
from breakfix.export import threshold


def pairs(folder, openings, prompts):
    def make(work):
        write_jsonl(work / threshold.LOOK_ALIKES, [{"ids": ids} for ids in prompts])
        return {"openings": openings}

    return artifact.produce(folder / "pairs", "pairs", {}, {}, make).path


def test_what_was_set_aside_is_read(tmp_path):
    assert threshold.read(pairs(tmp_path, [7], [[1, 2], [3]])) == (7, [[1, 2], [3]])


@pytest.mark.parametrize(
    ("openings", "prompts", "sentence"),
    [
        ([7, 8], [[1]], "begin in 2 ways; curate with a refusal_start"),
        ([], [[1]], "begin in 0 ways"),
        ([7], [], "no harmless prompt left that was not trained on; ask fewer preferences.requests"),
    ],
)
def test_pairs_that_say_nothing_are_refused(tmp_path, openings, prompts, sentence):
    with pytest.raises(ExportError, match=sentence):
        threshold.read(pairs(tmp_path, openings, prompts))
