"""How far a quantized model's next-token distributions lie from the float model's: the table of `llama-perplexity
--kl-divergence`, and the refusal margin beside it.

Both models read the float model's own answers (teacher forcing), so that one early difference does not count at every token
after it. It knows token ids and no text. Quality can look unharmed while safety is not: this says where to look, and the gate
decides.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from scipy.special import log_softmax

from ..core import artifact
from ..core.artifact import Artifact
from ..core.errors import ExportError
from ..core.progress import progress

Logits = Callable[[Sequence[int]], np.ndarray]
"""Token ids -> raw outputs at each of them, shape (tokens, vocabulary)."""
MARKDOWN, JSON = "drift.md", "drift.json"
_PAST = "past_key_values"
_PRUNES = "/lm_head/prune/"
"""What the builder calls its step that keeps the last token alone."""


class Text(NamedTuple):
    """A prompt and what the float model answered."""

    kind: str
    """What the prompt is of, for a line of its own: safety, general."""
    prompt: Sequence[int]
    answer: Sequence[int]


class Mean(NamedTuple):
    """A mean with its standard error over texts, whose tokens are no independent draws."""

    value: float
    error: float


@dataclass(frozen=True)
class Drift:
    """How far one model lies from another on texts of one kind."""

    kind: str
    texts: int
    tokens: int
    """Of the answers, their end included."""
    kl: Mean
    """Mean Kullback-Leibler divergence of the other model from the float one, nats a token."""
    kl_99: float
    """Its 99th percentile over tokens."""
    top_1: Mean
    """Share of tokens at which both find the same one likeliest."""
    perplexity_ratio: Mean
    """Perplexity of the float model's answers under the other model, over that under the float model."""
    opening: Mean
    """By how many nats the lead of the float model's first token over the next best shrank; below zero it grew."""
    flips: int
    """Answers that begin with another token."""


class Prepared(NamedTuple):
    """An int4 artifact's graph, made to tell the outputs of every token; the graph that ships may tell the last one's alone."""

    graph: bytes
    folder: Path
    """Where its weights lie."""
    entries: Mapping[str, str]
    """The session options that the artifact comes with, by ONNX Runtime's names."""
    past: tuple[int, int]
    """Heads of its KV cache, and the size of one."""


def prepare(folder: Path) -> Prepared:
    """Read an int4 graph, less the step that keeps the last token alone. Raises ExportError for one that is no builder's."""
    path = artifact.load(folder, "int4").path
    try:
        decoder = json.loads((path / "genai_config.json").read_text(encoding="utf-8"))["model"]["decoder"]
        graph = onnx.load(str(path / decoder["filename"]), load_external_data=False)
        _read_all(graph.graph)
        # genai hands on every option that is not its own, and ONNX Runtime's have a dot in their names.
        entries = {name: value for name, value in decoder["session_options"].items() if "." in name}
        past = (int(decoder["num_key_value_heads"]), int(decoder["head_size"]))
    except Exception as error:  # onnx raises types of its own
        raise ExportError(f"{folder} holds no graph of the builder's ({error}); export it again") from error
    return Prepared(graph.SerializeToString(), path, entries, past)


def int4_logits(folder: Path, threads: int = 0) -> Logits:
    """Open an int4 artifact on ONNX Runtime's CPU kernels. Raises ExportError when its graph is not one of the builder's."""
    prepared = prepare(folder)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(prepared.folder))
    for name, value in prepared.entries.items():
        options.add_session_config_entry(name, value)
    try:
        session = ort.InferenceSession(prepared.graph, options, providers=["CPUExecutionProvider"])
        heads, size = prepared.past
        nothing = np.zeros((1, heads, 0, size), np.float32)
        empty = {each.name: nothing for each in session.get_inputs() if each.name.startswith(_PAST)}
        session.run(["logits"], _feed([0], empty))
    except Exception as error:  # onnxruntime raises types of its own
        raise ExportError(f"{folder} does not run in onnxruntime ({error}); export it again") from error
    return lambda ids: np.asarray(session.run(["logits"], _feed(ids, empty))[0])[0]


def _read_all(graph: onnx.GraphProto) -> None:
    """Take out the builder's step that keeps the last token alone in front of the output head."""
    nodes = {node.name: node for node in graph.node if node.name.startswith(_PRUNES)}
    if not nodes:
        return
    gather, unsqueeze = (nodes[_PRUNES + kind] for kind in ("Gather", "Unsqueeze"))
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name == unsqueeze.output[0]:
                node.input[at] = gather.input[0]
    for node in nodes.values():
        graph.node.remove(node)
    # What was said of shapes behind it no longer holds.
    del graph.value_info[:]
    for output in graph.output:
        if output.name == "logits":
            output.type.tensor_type.shape.dim[1].dim_param = "sequence_length"


def drift(reference: Logits, other: Logits, texts: Sequence[Text], inputs: Mapping[str, str], out: Path) -> Artifact:
    """Write a `drift` artifact; `inputs` are the ids of the two models and of the answers that the texts are of.

    Raises ExportError for models of other vocabularies, or no texts.
    """

    def make(work: Path) -> dict[str, Any]:
        found = compare(reference, other, texts)
        figures = {"inputs": dict(inputs), "drift": [_plain(each) for each in found]}
        artifact.write_atomic(work / JSON, json.dumps(figures, indent=1))
        artifact.write_atomic(work / MARKDOWN, as_markdown(found, inputs))
        return {each.kind: {"kl": each.kl.value, "top_1": each.top_1.value} for each in found}

    return artifact.produce(out, "drift", {}, inputs, make)


def compare(reference: Logits, other: Logits, texts: Sequence[Text]) -> list[Drift]:
    """Compare two models on texts, each kind by itself. Raises ExportError for models of other vocabularies, or no texts."""
    found: dict[str, list[_Read]] = {}
    with progress("measure drift", len(texts)) as step:
        for text in texts:
            if text.answer:
                found.setdefault(text.kind, []).append(_read(reference, other, text))
            step(1)
    if not found:
        raise ExportError("there is no answer to measure drift on; the float model said nothing")
    return [_drift(kind, read) for kind, read in found.items()]


def as_markdown(found: Sequence[Drift], inputs: Mapping[str, str]) -> str:
    """Return the figures as a Markdown table, with standard errors over texts, and the ids of what they are of."""
    head = [
        "texts",
        "tokens",
        "mean KL, nats",
        "99 % KL",
        "top-1, %",
        "perplexity ratio",
        "first token's lead lost",
        "flips of it",
    ]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for each in found:
        kl, ratio, lead = (f"{m.value:.3f} ± {m.error:.3f}" for m in (each.kl, each.perplexity_ratio, each.opening))
        top = f"{100 * each.top_1.value:.1f} ± {100 * each.top_1.error:.1f}"
        cells = [f"{each.texts} {each.kind}", each.tokens, kl, f"{each.kl_99:.2f}", top, ratio, lead, each.flips]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, "", *(f"{name} `{value}`" for name, value in inputs.items()), ""])


def _plain(found: Drift) -> dict[str, Any]:
    return {name: value._asdict() if isinstance(value, Mean) else value for name, value in vars(found).items()}


class _Read(NamedTuple):
    """What the two models make of one answer, token by token."""

    kl: np.ndarray
    same: np.ndarray
    lost: np.ndarray
    """Log probability of the answer's tokens that the other model lacks."""
    opening: float


def _read(reference: Logits, other: Logits, text: Text) -> _Read:
    ids, answer = [*text.prompt, *text.answer], np.asarray(text.answer)
    # The output at a token tells the next one.
    at = slice(len(text.prompt) - 1, len(ids) - 1)
    theirs, ours = reference(ids)[at], other(ids)[at]
    if theirs.shape[-1] != ours.shape[-1]:
        sizes = f"{theirs.shape[-1]} and {ours.shape[-1]}"
        raise ExportError(f"the models know {sizes} tokens; compare a model with its own export")
    if len(theirs) != len(ours):
        raise ExportError("the int4 graph tells only the last token's outputs; export it without prune_lm_head")
    p, q = (log_softmax(each.astype(np.float64), axis=-1) for each in (theirs, ours))
    places = np.arange(len(answer))
    return _Read(
        (np.exp(p) * (p - q)).sum(-1).clip(0),
        p.argmax(-1) == q.argmax(-1),
        p[places, answer] - q[places, answer],
        _lead(p[0], int(p[0].argmax())) - _lead(q[0], int(p[0].argmax())),
    )


def _lead(scores: np.ndarray, token: int) -> float:
    return float(scores[token] - np.delete(scores, token).max())


def _drift(kind: str, read: Sequence[_Read]) -> Drift:
    lost = _mean([each.lost for each in read])
    ratio = float(np.exp(lost.value))
    return Drift(
        kind,
        len(read),
        sum(len(each.kl) for each in read),
        _mean([each.kl for each in read]),
        float(np.percentile(np.concatenate([each.kl for each in read]), 99)),
        _mean([each.same for each in read]),
        Mean(ratio, ratio * lost.error),
        _mean([np.asarray([each.opening]) for each in read]),
        sum(not each.same[0] for each in read),
    )


def _mean(by_text: Sequence[np.ndarray]) -> Mean:
    """Return the mean over tokens, and its error from how the texts differ (a ratio of sums)."""
    sums, counts = np.asarray([each.sum() for each in by_text], float), np.asarray([len(each) for each in by_text], float)
    value, n = sums.sum() / counts.sum(), len(by_text)
    if n < 2:
        return Mean(float(value), float("nan"))
    spread = ((sums - value * counts) ** 2).sum() * n / (n - 1)
    return Mean(float(value), float(np.sqrt(spread) / counts.sum()))


def _feed(ids: Sequence[int], empty: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    tokens = np.asarray([list(ids)], np.int64)
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens), **empty}
