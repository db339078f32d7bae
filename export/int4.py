"""A checkpoint as int4 ONNX for onnxruntime-genai: a thin adapter over its model builder.

What leaves this stage has been loaded and run, and its tokenizer reads like the checkpoint's; anything else is refused.
"""

import contextlib
import io
import json
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime_genai
from onnxruntime_genai.models import builder
from transformers import AutoTokenizer

from ..core import artifact, recipe
from ..core.artifact import Artifact
from ..core.errors import ExportError, UsageError
from ..core.progress import say
from . import threshold
from .checkpoint import copy_tokenizer, quiet, read_config, refuse_unknown, ropes

# The package fills its namespace at run time, which no type checker can follow.
og: Any = onnxruntime_genai

CONFIG, GRAPH = "genai_config.json", "model.onnx"
SESSION = {"mlas.disable_kleidiai": "1"}
"""What onnxruntime is told when it opens the model. KleidiAI rounds a token's activations with one scale, where onnxruntime's
own kernels have one a block: on Arm it lies several times farther from float than what is measured and set on x86-64."""
_COS = 7
"""Which input of GroupQueryAttention holds the cosines; the sines are the next."""
_LEAST_CONTEXT = 64

PARITY_TEXTS = (
    "Hello, how are you?",
    "  two leading spaces, a\ttab and\n\na blank line ",
    "Don't stop: 3.14159, 1,000,000 and 50% off!",
    "def f(x):\n    return x ** 2  # comment",
    "Où est la bibliothèque? Ça coûte 12 €.",
    "¿Cómo estás? ¡Qué día tan hermoso!",
    "Grüße aus München, schöne Straße",
    "今天天气怎么样？我想学中文。",
    "今日はいい天気ですね。カタカナも。",
    "안녕하세요, 반갑습니다.",
    "Привет, как дела?",
    "مرحبا كيف حالك",
    "नमस्ते, आप कैसे हैं?",
    "emoji 😀 👩‍👩‍👧 🇫🇷 and e\u0301 combining",
    "zero\u200bwidth and soft\u00adhyphen",
    "<b>html</b> & {json: [1, 2]} \\ backslash",
)
"""Texts of every kind on which both tokenizers must agree."""


@dataclass(frozen=True)
class Int4Settings:
    """How the export quantizes."""

    block: Literal[16, 32, 64, 128] = 32
    """Weights that share one scale."""
    algorithm: Literal["default", "rtn", "k_quant"] = "default"
    """The builder's rounding; default is round to nearest."""
    embedding_bits: Literal[4, 8] = 4
    """Bits of the tied embedding and output head, the largest single part of a small model."""
    accuracy_level: Literal[0, 1, 4] = 4
    """Activations of the int4 kernels: 1 float32, 4 int8."""
    context: int = 2048
    """The most tokens of prompt and answer together; genai allocates its KV cache for no more."""
    prompt_logits: Literal["last", "all"] = "last"
    """Logits of a prompt's last token alone, which is all that an answer needs, or of all its tokens, for likelihoods."""
    over_refusal: float = 0.0
    """Share of harmless look-alikes that the model is made to refuse, by setting its refusal threshold; needs pairs. 0 leaves
    it as rounding left it."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [] if self.context >= _LEAST_CONTEXT else [f"context must be at least {_LEAST_CONTEXT}"]
        return found if 0 <= self.over_refusal < 1 else [*found, "over_refusal must be at least 0 and below 1"]


def int4(settings: Int4Settings, model: Path, out: Path, pairs: Path | None = None) -> Artifact:
    """Write an `int4` artifact from a `checkpoint`; `pairs` hold the prompts that its refusal threshold is set with.

    Without them the threshold stays as rounding left it, and the order that is recorded says so. Raises UsageError for pairs
    that nothing is to be set with, ExportError for a family that has no export, and when the export does not load, run, or
    read alike.
    """
    checkpoint = artifact.load(model, "checkpoint")
    if pairs and not settings.over_refusal:
        raise UsageError("int4.over_refusal is 0, so there is nothing to set with pairs; leave them out")
    refuse_unknown(read_config(checkpoint.path), str(checkpoint.path))
    calibration = threshold.read(pairs) if pairs else None
    settings = settings if calibration else replace(settings, over_refusal=0.0)

    def make(work: Path) -> dict[str, Any]:
        say("export int4: build")
        _build(settings, checkpoint.path, work)
        copy_tokenizer(checkpoint.path, work)
        ends, context = _configure(settings, checkpoint.path, work)
        composed = _composes(checkpoint.path)
        say("export int4: check")
        _check(checkpoint.path, work, composed=composed)
        # A calibrated checkpoint is rounded already; the model that it was is what the gate compares with.
        facts: dict[str, Any] = {
            "context": context,
            "eos_token_ids": ends,
            "float": checkpoint.facts.get("float", checkpoint.id),
        }
        if composed:
            facts["text_form"] = "NFC"
        if calibration:
            facts["threshold"] = threshold.calibrate(work, calibration, settings.over_refusal, context)
        size = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
        return {**facts, "megabytes": round(size / 1e6, 1)}

    inputs = {"model": checkpoint.id} | ({"pairs": calibration.id} if calibration else {})
    return artifact.produce(out, "int4", recipe.plain(settings), inputs, make)


def _build(settings: Int4Settings, source: Path, work: Path) -> None:
    options = [f"block_size={settings.block}", f"algo_config={settings.algorithm}", f"accuracy_level={settings.accuracy_level}"]
    if settings.prompt_logits == "last":
        options.append("prune_lm_head=true")
    if settings.embedding_bits == 8:
        options.append("matmul_mixed_precision=last_matmul:int8")
    target = ("", str(source), str(work), "int4", "cpu", str(work / artifact.SCRATCH))
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        try:
            read = builder.parse_extra_options(*target, options)
            still = _translate(read["hf_details"]["hf_config"], read)
            builder.create_model(*target, **read)
        except (NotImplementedError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            raise ExportError(f"onnxruntime-genai's builder cannot export {source} with {options}: {error}") from error
    if still:
        _hold(work / GRAPH, still)


def _translate(config: Any, options: dict[str, Any]) -> set[int]:
    """Tell the builder in its own words what transformers 5 says in others; return the layers that must not turn by position.

    A cache as short as the attention window fails on onnxruntime's CPU once a prompt is longer, so every layer keeps all.
    """
    if getattr(config, "sliding_window", None):
        options["windowed_kv_cache"] = False
        if getattr(config, "layer_types", None) is None:
            config.layer_types = ["sliding_attention"] * config.num_hidden_layers
    rope = config.rope_parameters
    if "full_attention" in rope:
        config.rope_parameters, config.rope_local_base_freq = rope["full_attention"], rope["sliding_attention"]["rope_theta"]
    if rope.get("rope_type") == "longrope":
        rope.setdefault("type", "longrope")
    if config.model_type != "smollm3":
        return set()
    # For a layer without positions the builder asks for an input that its graph does not have.
    still = {layer for layer, turns in enumerate(config.no_rope_layers) if not turns}
    config.no_rope_layers = [1] * config.num_hidden_layers
    return still


def _hold(path: Path, layers: set[int]) -> None:
    """Have the attention of these layers not turn queries and keys by their positions."""
    graph = onnx.load(path, load_external_data=False)
    names = {f"/model/layers.{layer}/attn/GroupQueryAttention" for layer in layers}
    for node in graph.graph.node:
        if node.name in names:
            next(attribute for attribute in node.attribute if attribute.name == "do_rotary").i = 0
            node.input[_COS] = node.input[_COS + 1] = ""
            names.remove(node.name)
    if names:
        raise ExportError(f"onnxruntime-genai's builder wrote no {min(names)}; use the version that Breakfix was tested with")
    onnx.save(graph, path)


def _configure(settings: Int4Settings, source: Path, work: Path) -> tuple[list[int], int]:
    """Cap the context, and pad with a token that never stands in a chat: genai masks every pad token it meets.

    Returns the tokens that end an answer, and the context: no more than the model's own. A model that tells positions otherwise
    beyond a length (longrope) gets no more than that: what its cache holds by then was told the first way.
    """
    path = work / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    ends = config["model"]["eos_token_id"]
    ends = ends if isinstance(ends, list) else [ends]
    context = min(settings.context, config["model"]["context_length"])
    model = read_config(source)
    if any(rope.get("rope_type") == "longrope" for rope in ropes(model)):
        context = min(context, model.original_max_position_embeddings)
    config["model"]["context_length"] = config["search"]["max_length"] = context
    config["model"]["pad_token_id"] = _pad_token(source, ends)
    config["model"]["decoder"]["session_options"] |= SESSION
    artifact.write_atomic(path, json.dumps(config, indent=4))
    return ends, context


def _pad_token(source: Path, ends: list[int]) -> int:
    tokenizer = AutoTokenizer.from_pretrained(source)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], tokenize=False
    )
    used = {*tokenizer(chat, add_special_tokens=False)["input_ids"], *ends}
    free = [i for i in sorted(tokenizer.added_tokens_decoder) if i not in used]
    if not free:
        raise ExportError(f"{source} has no special token left to pad with; add one to its tokenizer")
    return free[0]


def _composes(source: Path) -> bool:
    """Tell whether a tokenizer composes letters with their accents (NFC), as Qwen's do, which genai's leaves to the app."""
    normalizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["normalizer"] or {}
    return "NFC" in {normalizer["type"], *(part["type"] for part in normalizer.get("normalizers", ()))} if normalizer else False


def _check(source: Path, work: Path, *, composed: bool) -> None:
    """Load and run what was built, and compare its tokenizer with the checkpoint's; `composed`: on texts in NFC."""
    try:
        model = og.Model(str(work))
        tokenizer = og.Tokenizer(model)
        parameters = og.GeneratorParams(model)
        parameters.set_search_options(max_length=12, do_sample=False)
        generator = og.Generator(model, parameters)
        generator.append_tokens(np.asarray([[1, 2, 3, 4]], np.int32))
        generator.generate_next_token()
        logits = generator.get_logits()
    except OSError:
        raise
    except Exception as error:  # genai raises RuntimeError and its own types
        raise ExportError(f"the export does not load or run in onnxruntime-genai ({error}); use other int4 settings") from error
    if not np.isfinite(logits).all():
        raise ExportError("the export computes values that are no numbers; use other int4 settings")
    reference = AutoTokenizer.from_pretrained(source)
    for text in PARITY_TEXTS:
        ours = [int(token) for token in tokenizer.encode(unicodedata.normalize("NFC", text) if composed else text)]
        theirs = reference(text, add_special_tokens=False)["input_ids"]
        if ours != theirs:
            raise ExportError(f"onnxruntime-genai's tokenizer reads {text!r} otherwise than the checkpoint's; it cannot ship")
