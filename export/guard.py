"""The guard's classifier as int8 ONNX, with thresholds calibrated on the int8 file itself.

It gets a trained `classifier` folder whose calibration rows are token ids already, so it knows no text and no policy.
"""

import contextlib
import io
import json
import logging
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process
from safetensors.torch import load_file
from scipy.stats import binomtest
from torch import nn
from transformers import AutoConfig, AutoModel

from ..core import artifact, recipe
from ..core.artifact import Artifact
from ..core.errors import ExportError
from ..core.jsonl import read_jsonl
from ..core.progress import progress, say

MODEL, WEIGHTS, CALIBRATION_ROWS, CALIBRATION = (
    "model.onnx",
    "classifier.safetensors",
    "calibration_rows.jsonl",
    "calibration.json",
)
_SIGMOIDS = 2
"""Outputs that are probabilities of their own (unsafe, jailbreak); the others share one (the hazards)."""


class GuardModel(nn.Module):
    """An encoder, the mean of its last layer over real tokens, and one linear layer: all heads in one pass."""

    def __init__(self, encoder: nn.Module, heads: int) -> None:
        """Put `heads` outputs on an encoder."""
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, heads)  # type: ignore[union-attr]

    def logits(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, shape (batch, heads)."""
        states = self.encoder(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        return self.head((states * mask).sum(1) / mask.sum(1))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> torch.Tensor:
        """Return probabilities, shape (batch, heads)."""
        out = self.logits(input_ids, attention_mask, token_type_ids)
        return torch.cat([out[:, :_SIGMOIDS].sigmoid(), out[:, _SIGMOIDS:].softmax(-1)], -1)


@dataclass(frozen=True)
class GuardExportSettings:
    """What the exported guard must hold."""

    least_agreement: float = 0.99
    """Share of calibration rows on which int8 and float must decide alike at every level; below it the export refuses."""
    levels: Mapping[str, float] = field(default_factory=lambda: {"strict": 0.05, "balanced": 0.02, "permissive": 0.005})
    """False-positive rate that each level's threshold is set to."""


def export_guard(settings: GuardExportSettings, classifier: Path, out: Path) -> Artifact:
    """Write a `guard` artifact from a `classifier`. Raises ExportError when int8 decides otherwise than float."""
    trained = artifact.load(classifier, "classifier")

    def make(work: Path) -> dict[str, Any]:
        say("export guard: int8")
        scratch = work / artifact.SCRATCH
        scratch.mkdir(exist_ok=True)
        _to_onnx(load_model(trained.path), scratch / "float.onnx")
        _to_int8(scratch / "float.onnx", work / MODEL, scratch)
        shutil.copyfile(trained.path / "tokenizer.json", work / "tokenizer.json")
        rows = read_jsonl(trained.path / CALIBRATION_ROWS)
        scores = {kind: _scores(path, rows) for kind, path in (("float", scratch / "float.onnx"), ("int8", work / MODEL))}
        card = _calibrate(settings, rows, scores)
        artifact.write_atomic(work / CALIBRATION, json.dumps(card, indent=1, sort_keys=True))
        return {**card, "megabytes": round((work / MODEL).stat().st_size / 1e6, 1)}

    return artifact.produce(out, "guard", recipe.plain(settings), {"classifier": trained.id}, make)


def load_model(folder: Path) -> GuardModel:
    """Load the float classifier of a `classifier` folder."""
    weights = load_file(folder / WEIGHTS)
    encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager")
    model = GuardModel(encoder, weights["head.bias"].shape[0])
    model.load_state_dict(weights)
    return model.eval()


def _to_onnx(model: GuardModel, path: Path) -> None:
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in range(3))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    shape = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with _quiet():
        torch.onnx.export(
            model, example, str(path), input_names=names, output_names=["probabilities"],
            dynamic_shapes=tuple(shape for _ in names), dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip


def _to_int8(source: Path, target: Path, scratch: Path) -> None:
    """Write the model with int8 weights: matrices in blocks of 32 with a scale each, the embedding a scale a row.

    Measured on the demo's guard, 606 calibration rows: ONNX Runtime's dynamic quantization (one scale a column, whole-tensor
    scales for activations) agrees with float on 98.1 %, this on 99.4 %, at 24.5 instead of 23.2 MB.
    """
    prepared, matrices = scratch / "prepared.onnx", scratch / "matrices.onnx"
    with _quiet():
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        blocks: Any = MatMulNBitsQuantizer(onnx.load(str(prepared)), bits=8, block_size=32, is_symmetric=True, accuracy_level=4)
        blocks.process()
        blocks.model.save_model_to_file(str(matrices))
        quantize_dynamic(
            str(matrices), str(target), op_types_to_quantize=["Gather"], weight_type=QuantType.QInt8, per_channel=True
        )


def _scores(path: Path, rows: list[dict[str, Any]]) -> np.ndarray:
    """Return the probability of `unsafe` of each calibration row: the worst of its windows, one a pass, as the guard reads."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    out = []
    with progress(f"calibrate on {path.name}", len(rows)) as step:
        for row in rows:
            out.append(max(_score(session, window) for window in row["windows"]))
            step(1)
    return np.asarray(out)


def _score(session: ort.InferenceSession, window: dict[str, list[int]]) -> float:
    ids, types = np.asarray([window["input_ids"]], np.int64), np.asarray([window["type_ids"]], np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
    return float(np.asarray(session.run(None, feed)[0])[0, 0])


def _calibrate(settings: GuardExportSettings, rows: list[dict[str, Any]], scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return thresholds by rail and level, each with its false-positive rate, its bound, its recall, and the agreement."""
    card: dict[str, Any] = {"thresholds": {}, "measured": {}}
    for rail in ("input", "output"):
        on_rail = np.asarray([row["rail"] == rail for row in rows], bool)
        unsafe = np.asarray([row["unsafe"] for row in rows], bool)
        harmless, harmful = scores["int8"][on_rail & ~unsafe], scores["int8"][on_rail & unsafe]
        if not len(harmless) or not len(harmful):
            raise ExportError(
                f"there are no calibration rows of both kinds for the {rail} rail; keep more families for calibration"
            )
        card["thresholds"][rail], card["measured"][rail] = {}, {}
        for level, target in settings.levels.items():
            threshold = _threshold(harmless, target)
            agreement = float(np.mean((scores["float"] >= threshold)[on_rail] == (scores["int8"] >= threshold)[on_rail]))
            if agreement < settings.least_agreement:
                raise ExportError(
                    f"the int8 guard agrees with float on {100 * agreement:.1f} % of the {rail} rail's calibration rows at "
                    f"{level}, and {100 * settings.least_agreement:.0f} % are needed; train it longer or with more rows"
                )
            hits = int((harmless >= threshold).sum())
            bound = binomtest(hits, len(harmless), alternative="less").proportion_ci(method="exact").high
            card["thresholds"][rail][level] = threshold
            card["measured"][rail][level] = {
                "false_positives": hits, "harmless": len(harmless), "fpr_upper_95": round(float(bound), 4),
                "recall": round(float((harmful >= threshold).mean()), 4), "harmful": len(harmful),
                "agreement_with_float": round(agreement, 4),
            }  # fmt: skip
    return card


def _threshold(harmless: np.ndarray, target: float) -> float:
    """Return the lowest threshold, at least 0.5, that flags at most `target` of the harmless scores."""
    ordered = np.sort(harmless)[::-1]
    allowed = int(target * len(ordered))
    return max(0.5, round(float(np.nextafter(ordered[allowed], 1)), 6) + 1e-6) if len(ordered) > allowed else 0.5


@contextlib.contextmanager
def _quiet():
    """Keep the exporters' chatter off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
