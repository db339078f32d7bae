"""What somebody asks who ships to phones: does the int4 file say on Arm's kernels what it said on this machine's?

Skipped where `breakfix eval arm64-setup` was not run; `make test-arm64` runs it.
"""

import json
import os

import numpy as np
import pytest

from breakfix.core import artifact
from breakfix.core.jsonl import read_jsonl
from breakfix.eval.arm64 import Arm64Engine, Arm64Graph
from breakfix.export import drift
from breakfix.export.checkpoint import open_checkpoint
from breakfix.export.int4 import SESSION, Int4Settings, int4
from breakfix.guardrails.guard import SHIPPED
from breakfix.runtime.engine import ConversationTooLong, Message, Sampling
from breakfix.runtime.genai import GenAIEngine

CPU = "cortex-a76"
SLOW = "everything is emulated; make test-arm64 runs it"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("tiny cycle"),
    pytest.mark.skipif("BREAKFIX_ARM64" not in os.environ, reason=SLOW),
]


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory):
    """The tiny model: as a checkpoint, as int4 as it ships, and as int4 whose activations stay float."""
    folder = tmp_path_factory.mktemp("arm64")
    checkpoint = open_checkpoint(str(tiny / "model"), folder / "float")
    int4(Int4Settings(context=128), checkpoint.path, folder / "int4")
    int4(Int4Settings(context=128, accuracy_level=1), checkpoint.path, folder / "level-1")
    return folder


def test_with_float_activations_every_token_is_the_one_of_this_machine(models):
    conversations = [[Message("user", text)] for text in ("How do I fold a boat?", "Tell me a story.", "Why is the sky blue?")]
    here = GenAIEngine(models / "level-1", keeps=False)
    with Arm64Engine(models / "level-1", CPU) as phone:
        assert phone.generate(conversations, Sampling(12)) == here.generate(conversations, Sampling(12))
        assert phone.id == f"{here.id}@emulated-{CPU}" and phone.length(conversations[0]) == here.length(conversations[0])
        with pytest.raises(ConversationTooLong, match="the model reads 128; shorten it"):
            phone.generate([[Message("user", "word " * 200)]], Sampling(4))


def test_session_options_reach_the_kernels(models):
    prepared = drift.prepare(models / "int4")
    assert prepared.entries == SESSION
    rows = []
    for value in ("0", "1"):
        with Arm64Graph(prepared.graph, prepared.folder, {"mlas.disable_kleidiai": value}, prepared.past, CPU) as logits:
            rows.append(logits([5, 6, 7, 8, 9]))
    assert rows[0].shape == rows[1].shape == drift.int4_logits(models / "int4")([5, 6, 7, 8, 9]).shape
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


def test_the_file_that_ships_lies_as_near_to_float_on_arm_as_here(breakfix, models, tmp_path):
    words = ("eval", "drift", models / "float", models / "int4", "--suite", "everyday", "--limit", 6, "--max-new-tokens", 4)
    for name, where in (("here", ()), ("arm", ("--cpu", CPU))):
        done = breakfix(*words, *where, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    here, arm = (json.loads((tmp_path / name / "report" / "drift.json").read_text()) for name in ("here", "arm"))
    assert arm["inputs"]["int4"] == f"{here['inputs']['int4']}@emulated-{CPU}"
    (near,), (far,) = here["drift"], arm["drift"]
    assert far["tokens"] == near["tokens"] > 0 and 0 < far["kl"]["value"] != near["kl"]["value"]
    assert far["kl"]["value"] < 1.25 * near["kl"]["value"] + 0.01


def test_a_guarded_phone_is_measured_and_gated(breakfix, models, tmp_path):
    words = ("--suite", "contrast-held-out", "--limit", 4, "--max-new-tokens", 3, "--cpu", CPU)
    done = breakfix("eval", "run", models / "int4", *words, "--guard", SHIPPED, "--out", tmp_path / "records")
    assert done.returncode == 0, done.stderr
    rows = read_jsonl(tmp_path / "records" / "records.jsonl")
    model, _, rest = artifact.load(tmp_path / "records").facts["engine"].partition("+")
    assert model == artifact.load(models / "int4").id and rest.startswith(artifact.load(SHIPPED).id)
    assert len(rows) == 4 and rest.endswith(f"@emulated-{CPU}")
    # The guard's own words, which no tiny model finds.
    assert any(row["answer"].startswith("I can't help with that.") for row in rows if row["expect"] == "refuse")
    done = breakfix("eval", "gate", models / "float", models / "int4", *words, "--out", tmp_path / "gate")
    assert done.returncode in (0, 1, 3), done.stderr
    asked = [read_jsonl(tmp_path / "gate" / f"records-{name}" / "records.jsonl") for name in ("float", "int4")]
    assert [[row["prompt"] for row in each] for each in asked] == [[row["prompt"] for row in rows]] * 2
