"""The guard's classifier as int8 ONNX, with thresholds calibrated on the int8 file itself.

It gets a trained `classifier` folder whose calibration rows are token ids already, so it knows no text and no policy.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import binomtest

from ..core import artifact, recipe
from ..core.artifact import Artifact
from ..core.errors import ExportError
from ..core.hazards import HAZARDS, HEAD_OF_RAIL, HEADS, JAILBREAK
from ..core.jsonl import read_jsonl
from ..core.progress import progress, say
from .guard_graph import by_block, by_column, load_model, quiet, smooth, to_onnx

MODEL, CALIBRATION_ROWS, CALIBRATION = "model.onnx", "calibration_rows.jsonl", "calibration.json"
_SMOOTHED_ON = 200
"""Calibration rows whose activations are looked at."""


@dataclass(frozen=True)
class GuardExportSettings:
    """What the exported guard must hold."""

    least_agreement: float = 0.99
    """Share of calibration rows on which int8 and float must decide alike at every level; below it the export refuses."""
    levels: Mapping[str, float] = field(default_factory=lambda: {"strict": 0.05, "balanced": 0.02, "permissive": 0.005})
    """False-positive rate that each level's threshold is set to."""
    look_alikes: float = 0.1
    """Share of look-alikes, framings among them, in the harmless traffic that this rate is meant for."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        missing = [level for level in ("strict", "balanced", "permissive") if level not in self.levels]
        found = [f"levels lacks {', '.join(missing)}; policies name it"] if missing else []
        if not all(0 < rate < 1 for rate in self.levels.values()):
            found.append("levels must be false-positive rates above 0 and below 1")
        if not 0 <= self.look_alikes <= 1:
            found.append("look_alikes must be a share from 0 to 1")
        return found


def export_guard(settings: GuardExportSettings, classifier: Path, out: Path) -> Artifact:
    """Write a `guard` artifact from a `classifier`. Raises ExportError when int8 decides otherwise than float."""
    trained = artifact.load(classifier, "classifier")

    def make(work: Path) -> dict[str, Any]:
        say("export guard: int8")
        scratch = work / artifact.SCRATCH
        scratch.mkdir(exist_ok=True)
        shutil.copyfile(trained.path / "tokenizer.json", work / "tokenizer.json")
        card = _to_int8(settings, trained.path, scratch, work / MODEL)
        artifact.write_atomic(work / CALIBRATION, json.dumps(card, indent=1, sort_keys=True))
        return {**card, "megabytes": round((work / MODEL).stat().st_size / 1e6, 1)}

    return artifact.produce(out, "guard", recipe.plain(settings), {"classifier": trained.id}, make)


def _to_int8(settings: GuardExportSettings, trained: Path, scratch: Path, target: Path) -> dict[str, Any]:
    """Write the fastest int8 form that decides as float does; returns its calibration. Raises ExportError when none does.

    Measured on three layers, one thread, 128 tokens: a scale a column and one for all activations 7.9 ms, a scale for each
    block of 32 weights 21 ms.
    """
    rows = read_jsonl(trained / CALIBRATION_ROWS)
    _must_calibrate(rows)
    model, plain, smoothed = load_model(trained), scratch / "float.onnx", scratch / "smooth.onnx"
    to_onnx(model, plain)
    smooth(plain, smoothed, [_feed(row["windows"][0]) for row in rows[:: max(1, len(rows) // _SMOOTHED_ON)]])
    reference = _scores(plain, rows)

    def calibrated(write: Callable[[Path, Path], None], source: Path) -> dict[str, Any]:
        with quiet():
            write(source, target)
        card = _calibrate(settings, rows, {"float": reference, "int8": _scores(target, rows)})
        return {**card, "int8": write.__name__.replace("_", " ") + (", smoothed" if source == smoothed else "")}

    for write, source in ((by_column, plain), (by_column, smoothed)):
        with contextlib.suppress(ExportError):
            return calibrated(write, source)
    return calibrated(by_block, plain)


def _scores(path: Path, rows: list[dict[str, Any]]) -> np.ndarray:
    """Return (probability of unsafe, of jailbreak) of each calibration row: the worst of its windows, one a pass, as the guard
    reads.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    out = []
    with progress(f"calibrate on {path.name}", len(rows)) as step:
        for row in rows:
            heads = np.stack([_probabilities(session, window) for window in row["windows"]])
            out.append(heads[:, [HEAD_OF_RAIL[row["rail"]], HEADS.index(JAILBREAK)]].max(0))
            step(1)
    return np.asarray(out)


def _probabilities(session: ort.InferenceSession, window: dict[str, list[int]]) -> np.ndarray:
    return np.asarray(session.run(None, _feed(window))[0])[0]


def _feed(window: dict[str, list[int]]) -> dict[str, np.ndarray]:
    return {
        "input_ids": np.asarray([window["input_ids"]], np.int64), "token_type_ids": np.asarray([window["type_ids"]], np.int64),
    }  # fmt: skip


def _calibrate(settings: GuardExportSettings, rows: list[dict[str, Any]], scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return temperatures, thresholds by rail, level and category, and what was measured at them.

    The jailbreak head is calibrated on the input rail only, where framings stand; an answer tries to talk nobody out of rules.
    """
    rails = np.asarray([row["rail"] for row in rows])
    unsafe = np.asarray([row["unsafe"] for row in rows], bool)
    hazards = np.asarray([row["hazard"] for row in rows])
    framed = np.asarray([row["jailbreak"] for row in rows], bool)
    alike = np.asarray([row["look_alike"] for row in rows], bool)
    card: dict[str, Any] = {"temperatures": {}, "thresholds": {}, "measured": {}}
    truths = {"input": (rails == "input", unsafe, 0), "output": (rails == "output", unsafe, 0)}
    # A harmful request without a framing is no harmless traffic, whatever the jailbreak head makes of it.
    for name, (on, truth, column) in {**truths, JAILBREAK: ((rails == "input") & (framed | ~unsafe), framed, 1)}.items():
        temperature = round(_temperature(scores["int8"][on, column], truth[on]), 4)
        warm = {kind: _tempered(each[on, column], temperature) for kind, each in scores.items()}
        harmless, weights = warm["int8"][~truth[on]], _weights(alike[on & ~truth], settings.look_alikes)
        levels = {level: _threshold(harmless, weights, target) for level, target in settings.levels.items()}
        card["temperatures"][name] = temperature
        card["measured"][name] = {
            level: _measured(settings, name, threshold, warm, truth[on], alike[on], hazards[on])
            for level, threshold in levels.items()
        }
        for level, threshold in levels.items():
            if name == JAILBREAK:
                card["thresholds"]["input"][level][JAILBREAK] = threshold
                card["thresholds"]["output"][level][JAILBREAK] = 1.0
            else:
                card["thresholds"].setdefault(name, {})[level] = dict.fromkeys(HAZARDS, threshold)
    _must_agree(settings, card["measured"], {"input": int((rails == "input").sum()), "output": int((rails == "output").sum())})
    return card


def _must_calibrate(rows: list[dict[str, Any]]) -> None:
    """Refuse rows that lack one of the kinds that a threshold stands between."""
    for name in (*HEAD_OF_RAIL, JAILBREAK):
        on = [row for row in rows if row["rail"] == ("input" if name == JAILBREAK else name)]
        if len({row["jailbreak" if name == JAILBREAK else "unsafe"] for row in on}) < 2:
            raise ExportError(f"there are no calibration rows of both kinds for {name}; keep more families for calibration")


def _must_agree(settings: GuardExportSettings, measured: dict[str, Any], rows: dict[str, int]) -> None:
    """Refuse an int8 file that decides otherwise than float on too many of the calibration rows, both rails together."""
    for level in settings.levels:
        share = sum(measured[rail][level]["agreement_with_float"] * n for rail, n in rows.items()) / sum(rows.values())
        if share < settings.least_agreement:
            raise ExportError(
                f"the int8 guard agrees with float on {100 * share:.1f} % of the calibration rows at {level}, and "
                f"{100 * settings.least_agreement:.0f} % are needed; train it longer or with more rows"
            )


def _temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature at which the scores are likeliest (Guo et al. 2017)."""
    logits = logit(probabilities.clip(1e-6, 1 - 1e-6))

    def cost(log_temperature: float) -> float:
        z = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, z) - truth * z))

    best: Any = minimize_scalar(cost, bounds=(-2, 3), method="bounded")
    return float(np.exp(best.x))


def _tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    return expit(logit(probabilities.astype(np.float64)) / temperature)


def _measured(
    settings: GuardExportSettings,
    name: str,
    threshold: float,
    scores: dict[str, np.ndarray],
    truth: np.ndarray,
    alike: np.ndarray,
    hazards: np.ndarray,
) -> dict[str, Any]:
    """Return false positives with their bounds, recall with the hazards', and the agreement with float."""
    flagged = scores["int8"] >= threshold
    agreement = float(np.mean((scores["float"] >= threshold) == flagged))
    general, look_alikes = _false_positives(flagged[~truth & ~alike]), _false_positives(flagged[~truth & alike])
    card = {
        "fpr": round(float(_weights(alike[~truth], settings.look_alikes)[flagged[~truth]].sum()), 4),
        "general": general, "look_alikes": look_alikes,
        "recall": round(float(flagged[truth].mean()), 4), "harmful": int(truth.sum()),
        "agreement_with_float": round(agreement, 4),
    }  # fmt: skip
    if name != JAILBREAK:
        known = [hazard for hazard in HAZARDS if (truth & (hazards == hazard)).any()]
        card["recall_by_hazard"] = {h: round(float(flagged[truth & (hazards == h)].mean()), 4) for h in known}
    return card


def _false_positives(flagged: np.ndarray) -> dict[str, Any]:
    """Return the count and its one-sided Clopper-Pearson bound, None where there was nothing to flag."""
    hits, harmless = int(flagged.sum()), len(flagged)
    bound = binomtest(hits, harmless, alternative="less").proportion_ci(method="exact").high if harmless else None
    return {"false_positives": hits, "harmless": harmless, "fpr_upper_95": bound and round(float(bound), 4)}


def _weights(alike: np.ndarray, share: float) -> np.ndarray:
    """Return what each harmless row stands for, so that look-alikes make up `share`; rows of one kind all weigh the same."""
    found = alike.mean()
    if found in (0, 1):
        return np.full(len(alike), 1 / len(alike))
    return np.where(alike, share / found, (1 - share) / (1 - found)) / len(alike)


def _threshold(harmless: np.ndarray, weights: np.ndarray, target: float) -> float:
    """Return the lowest threshold that flags at most `target` of the harmless traffic."""
    order = np.argsort(-harmless, kind="stable")
    allowed = int(np.searchsorted(weights[order].cumsum(), target * (1 + 1e-9), side="right"))
    return min(1.0, float(harmless[order][allowed]) + 1e-6) if len(order) > allowed else 1e-6
