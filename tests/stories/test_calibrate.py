"""Calibrated int4 through the real builder: not one weight is rounded again, and a killed run goes on to the same weights."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from breakfix.core import artifact
from breakfix.core.errors import ExportError
from breakfix.core.jsonl import read_jsonl, write_jsonl
from breakfix.export import threshold
from breakfix.export.calibrate import CalibrateSettings, calibrate
from breakfix.export.int4 import Int4Settings, int4

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny cycle")]
SETTINGS = CalibrateSettings(rows=8, tokens=16)


@pytest.fixture(scope="module")
def calibrated(tiny_cycle, tmp_path_factory):
    return calibrate(SETTINGS, tiny_cycle / "aligned", tiny_cycle / "data", tmp_path_factory.mktemp("calibrated") / "made")


def weights(folder):
    """Return what the builder's graph holds of each matrix: rows of weights as floats, block by block."""
    graph = onnx.load(str(folder / "model.onnx")).graph
    held = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            packed, scales = (held[name] for name in node.input[1:3])
            low, high = packed & 15, packed >> 4
            integers = np.stack([low, high], -1).reshape(*packed.shape[:2], -1).astype(np.float32) - 8
            found[node.name] = (integers * scales.reshape(*packed.shape[:2], 1)).reshape(len(packed), -1)
    return found


def test_the_builder_rounds_nothing_again(calibrated, tmp_path):
    made = int4(Int4Settings(context=512), calibrated.path, tmp_path / "int4")
    known = load_file(calibrated.path / "model.safetensors")
    rows = {row.tobytes() for value in known.values() if value.ndim == 2 for row in value + 0.0}  # + 0.0: zero has one sign
    in_graph = weights(made.path)
    assert len(in_graph) >= 7
    for name, matrix in in_graph.items():
        assert all(row.tobytes() in rows for row in matrix + np.float32(0)), name


def test_a_killed_run_goes_on_to_the_same_weights(calibrated, tiny_cycle, tmp_path):
    class Killed(BaseException):
        pass

    def kill(*arguments):
        raise Killed

    words = (SETTINGS, tiny_cycle / "aligned", tiny_cycle / "data", tmp_path / "again")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr("breakfix.export.calibrate._round_head", kill)
        calibrate(*words)
    assert not (tmp_path / "again").exists()
    assert list((tmp_path / "again.partial" / "scratch").glob("layer-*.safetensors"))
    assert calibrate(*words).id == calibrated.id


def test_too_little_text_is_told(tiny_cycle, tmp_path):
    with pytest.raises(ExportError, match=r"ask for fewer calibrate\.rows"):
        calibrate(CalibrateSettings(rows=800, tokens=400), tiny_cycle / "aligned", tiny_cycle / "data", tmp_path / "made")


def test_a_repair_gives_back_the_float_models_line(breakfix, tiny_cycle, tmp_path):
    """What the tiny model likes to begin with stands for a refusal: after the repair it does so as often as in float."""
    prompts = read_jsonl(tiny_cycle / "pairs" / threshold.LOOK_ALIKES) * 3
    model = AutoModelForCausalLM.from_pretrained(tiny_cycle / "aligned").eval()
    with torch.inference_mode():
        begun = [int(model(input_ids=torch.tensor([row["ids"]])).logits[0, -1].argmax()) for row in prompts]

    def make(work):
        write_jsonl(work / threshold.LOOK_ALIKES, prompts)
        return {"openings": [begun[0]]}

    artifact.produce(tmp_path / "pairs", "pairs", {}, {}, make)
    words = ("export", "repair", tiny_cycle / "aligned", tiny_cycle / "int4", "--pairs", tmp_path / "pairs")
    done = breakfix(*words, "--out", tmp_path / "repaired")
    assert done.returncode == 0, done.stderr
    found = artifact.load(tmp_path / "repaired", "int4").facts["repair"]
    assert found["refused_by_float"] == begun.count(begun[0]) / len(begun)
    assert breakfix(*words, "--out", tmp_path / "again").returncode == 0
    assert artifact.load(tmp_path / "again").id == artifact.load(tmp_path / "repaired").id


def test_a_float_model_that_refuses_nothing_shows_no_line(breakfix, tiny_cycle, tmp_path):
    words = ("export", "repair", tiny_cycle / "aligned", tiny_cycle / "int4", "--pairs", tiny_cycle / "pairs")
    done = breakfix(*words, "--out", tmp_path / "repaired")
    assert done.returncode == 1 and "so there is no line to follow" in done.stderr
    assert not (tmp_path / "repaired").exists()


def test_it_is_a_checkpoint_like_any_other(calibrated, tiny_cycle):
    made = artifact.load(calibrated.path, "checkpoint")
    config = json.loads((made.path / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert made.manifest["inputs"].keys() == {"model", "data"}
    assert made.id != artifact.load(tiny_cycle / "aligned").id
