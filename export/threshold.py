"""The refusal threshold of an int4 model, set on the file that ships.

Rounding moves how much likelier a refusal's first token is than any other by about as much as that margin is wide, nearly
alike for every prompt: the ranking of prompts survives, the place of the cut does not. One number added to that token's logit
puts the cut where a stated share of harmless look-alikes is refused. It is the bias correction of post-training quantization
(Nagel et al. 2019, section 4.2), for the one output that decides. The number is added at every step, so refusals must begin
with a word that answers seldom hold; it is set with this machine's kernels, and others may round a little otherwise.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime_genai
from onnx import helper, numpy_helper

from ..core import artifact
from ..core.errors import ExportError
from ..core.jsonl import read_jsonl
from ..core.progress import progress

# The package fills its namespace at run time, which no type checker can follow.
og: Any = onnxruntime_genai

LOOK_ALIKES = "look-alikes.jsonl"
"""Token ids of harmless prompts that no training step saw, in a `pairs` artifact."""
MODEL = "model.onnx"
_LOGITS, _AS_BUILT, _SHIFT = "logits", "logits_as_built", "refusal_threshold"
_CHECKED = 4
_CLEAR = 2e-3
"""Nats by which the first prompt that may not be refused is not."""


class Calibration(NamedTuple):
    """What the threshold is set with."""

    id: str
    """Content id of the pairs that it comes from."""
    opening: int
    """The first token of every refusal."""
    prompts: list[list[int]]
    """Token ids of harmless prompts."""


def read(pairs: Path) -> Calibration:
    """Read what a `pairs` artifact holds. Raises ExportError when its refusals do not begin alike or no prompt was left."""
    made = artifact.load(pairs, "pairs")
    openings = made.facts.get("openings", ())
    if not openings or not (made.path / LOOK_ALIKES).exists():
        raise ExportError(f"{pairs} does not say how refusals begin; make it again with breakfix train pairs")
    if len(openings) > 1:
        raise ExportError(f"the refusals behind {pairs} begin in {len(openings)} ways; curate with a refusal_start")
    return Calibration(made.id, openings[0], [row["ids"] for row in read_jsonl(made.path / LOOK_ALIKES, ("ids",))])


def calibrate(folder: Path, calibration: Calibration, share: float, context: int) -> dict[str, Any]:
    """Make the model in `folder` refuse `share` of the prompts; returns the shift in nats, and what it refused before.

    A prompt that leaves no room for an answer in `context` tokens is passed over. The folder's ONNX file gets one more node.
    Raises ExportError when there are too few prompts, or when the model does not run, or does not do as told.
    """
    calibration = calibration._replace(prompts=[ids for ids in calibration.prompts if len(ids) < context])
    refused = int(share * len(calibration.prompts))
    if not refused:
        raise ExportError(
            f"{len(calibration.prompts)} harmless prompts are too few to refuse {100 * share:.0f} % of; ask fewer "
            "preferences.requests, or keep more preferences.look_alikes"
        )
    before = _margins(folder, calibration)
    shift = round(-float(np.sort(before)[::-1][refused]) - _CLEAR, 3)
    _add(folder / MODEL, calibration.opening, shift)
    some = calibration._replace(prompts=calibration.prompts[:_CHECKED])
    if not np.allclose(_margins(folder, some), before[:_CHECKED] + shift, atol=_CLEAR):
        raise ExportError("the model does not follow its refusal threshold; export without int4.over_refusal")
    rates = {"refused_as_built": (before > 0).mean(), "refused_as_set": (before + shift > 0).mean()}
    return {"shift": shift, "prompts": len(before), **{name: round(float(rate), 4) for name, rate in rates.items()}}


def _margins(folder: Path, calibration: Calibration) -> np.ndarray:
    """Return for each prompt how much larger the refusal's logit is than any other at the answer's first token."""
    try:
        model = og.Model(str(folder))
        found = []
        with progress("set the refusal threshold", len(calibration.prompts)) as step:
            for ids in calibration.prompts:
                found.append(_margin(model, ids, calibration.opening))
                step(1)
    except OSError:
        raise
    except Exception as error:  # genai raises RuntimeError and its own types
        raise ExportError(f"the export does not run in onnxruntime-genai ({error}); use other int4 settings") from error
    return np.asarray(found)


def _margin(model: Any, ids: list[int], opening: int) -> float:
    parameters = og.GeneratorParams(model)
    parameters.set_search_options(max_length=len(ids) + 1, do_sample=False)
    generator = og.Generator(model, parameters)
    generator.append_tokens(np.asarray([ids], np.int32))
    logits = np.asarray(generator.get_logits())[0, -1].astype(np.float64)
    return float(logits[opening] - np.delete(logits, opening).max())


def _add(path: Path, token: int, shift: float) -> None:
    """Add `shift` to one token's logit, by a node behind the output head, which may be there already."""
    model = onnx.load(str(path), load_external_data=False)
    if earlier := next((each for each in model.graph.initializer if each.name == _SHIFT), None):
        bias = numpy_helper.to_array(earlier).copy()
        bias[token] += shift
        earlier.CopyFrom(numpy_helper.from_array(bias, _SHIFT))
        onnx.save(model, str(path))
        return
    output = next(o for o in model.graph.output if o.name == _LOGITS)
    head = next(node for node in model.graph.node if _LOGITS in node.output)
    head.output[list(head.output).index(_LOGITS)] = _AS_BUILT
    kind = output.type.tensor_type.elem_type
    bias = np.zeros(output.type.tensor_type.shape.dim[-1].dim_value, helper.tensor_dtype_to_np_dtype(kind))
    bias[token] = shift
    model.graph.initializer.append(numpy_helper.from_array(bias, _SHIFT))
    model.graph.node.append(helper.make_node("Add", [_AS_BUILT, _SHIFT], [_LOGITS], f"{_SHIFT}/Add"))
    onnx.save(model, str(path))
