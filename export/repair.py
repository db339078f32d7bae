"""Repairs an int4 model whose refusals rounding cost: its threshold goes where it refuses as much as the float model does.

What rounding takes from refusals it takes from all of them nearly alike (`threshold`). So the float model says what share of
harmless look-alikes it refuses, and the int4 file is made to refuse the same share of the same prompts. No harmful prompt is
asked, nothing is trained, and whether it is repaired is for the gate to say.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from ..core import artifact
from ..core.artifact import Artifact
from ..core.errors import ExportError
from ..core.progress import progress
from . import threshold
from .checkpoint import quiet
from .threshold import Calibration


def repair(reference: Path, int4: Path, pairs: Path, out: Path) -> Artifact:
    """Write an `int4` artifact that refuses of the look-alikes in `pairs` as many as the `checkpoint` it should be like.

    Raises ExportError where the float model refuses none of them or all, or the int4 does not run or do as told.
    """
    checkpoint, broken, calibration = artifact.load(reference, "checkpoint"), artifact.load(int4, "int4"), threshold.read(pairs)

    def make(work: Path) -> dict[str, Any]:
        share = _refused(checkpoint.path, calibration)
        for name in broken.manifest["files"]:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(broken.path / name, work / name)
        found = threshold.calibrate(work, calibration, share, broken.facts["context"])
        return {**broken.facts, "repair": {**found, "refused_by_float": share}}

    inputs = {"model": checkpoint.id, "int4": broken.id, "pairs": calibration.id}
    return artifact.produce(out, "int4", {}, inputs, make)


def _refused(folder: Path, calibration: Calibration) -> float:
    """Return the share of the prompts to which the float model's first token begins a refusal."""
    with quiet():
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    refused = 0
    with progress("ask the float model", len(calibration.prompts)) as step, torch.inference_mode():
        for ids in calibration.prompts:
            refused += int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()) == calibration.opening
            step(1)
    if refused in (0, len(calibration.prompts)):
        many = "all" if refused else "none"
        raise ExportError(f"{folder} refuses {many} of {len(calibration.prompts)} look-alikes, so there is no line to follow")
    return refused / len(calibration.prompts)
