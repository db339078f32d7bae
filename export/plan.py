"""What a model will take as int4, from its config alone: bytes, memory, speed at best, and the phones that it fits.

Bytes are counted as the model builder lays them out. Memory is what onnxruntime was seen to hold of them on x86-64, on files of
78 to 725 MB; another processor packs otherwise. It opens no weights and runs nothing.
"""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, NamedTuple

import torch
from rich.table import Table
from torch import nn
from transformers import AutoModelForCausalLM

from ..core import sources
from ..core.errors import SourceError, UsageError
from ..core.sources import HubSource
from .checkpoint import quiet, read_config, refuse_unknown, ropes
from .int4 import Int4Settings

VARIANTS = {
    "block 32": Int4Settings(),
    "block 64": Int4Settings(block=64),
    "block 128": Int4Settings(block=128),
    "k_quant": Int4Settings(algorithm="k_quant"),
    "k_quant, 8-bit head": Int4Settings(algorithm="k_quant", embedding_bits=8),
}
"""What the export to int4 offers and was seen to load: an 8-bit head under a tied embedding does so with k_quant alone."""

PHONES = (4, 6, 8)
_FLOATS = {"float16": 2, "float32": 4}
_FLOAT, _GIB = 4, 1 << 30
_TOKENIZER_BYTES = 72
"""Of tokenizer.json for each word of the vocabulary, as the embedded default has them; used where there is no file to weigh."""
_GRAPH_BYTES, _LAYER_BYTES, _K_QUANT_BYTES = 3_000, 7_500, 1_220
"""Of model.onnx and genai_config.json: for any model, for each layer, and for each of k_quant's layers besides."""
_OPENED, _PACKED = 24e6, 1.19
"""Bytes that onnxruntime holds of any model, and how much more than their size its packed matrices take."""
_PROCESS, _WORD = 48e6, 250
"""Bytes of the interpreter with its packages, and of the tokenizer for each word, once the engine has loaded all."""
_READING = 10
"""Rows as wide as the MLP that reading a prompt holds for each of its tokens."""
_LIBRARIES = 444e6
"""Bytes of torch, transformers and the builder, before the export begins."""
_EXPORTING = {"k_quant": 4.5}
_EXPORTED = 2.65
"""What the export holds at its peak, in sizes of the float32 model: by algorithm, and of any other."""


@dataclass(frozen=True)
class PlanSettings:
    """What is asked of the phone."""

    context: int = 2048
    """Tokens of prompt and answer that the cache has room for; a quarter of them are read at once."""
    bandwidth: float = 34.1
    """GB/s that the processor reads memory with: LPDDR4X-4266 on 64 bits, at its peak, so that speeds are ceilings."""
    share: float = 0.5
    """Share of a phone's memory that an app may take. An assumption: iOS ends an app at a limit that Apple does not publish,
    which developers report near half; Android has no fixed one."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [f"{name} must be above 0" for name in ("context", "bandwidth") if getattr(self, name) <= 0]
        return found if 0 < self.share <= 1 else [*found, "share must be above 0 and at most 1"]


class Matrix(NamedTuple):
    """A matrix that is quantized."""

    rows: int
    columns: int
    is_head: bool


@dataclass(frozen=True)
class Shape:
    """What a config says of a model's size."""

    family: str
    parameters: int
    """Of which a tied embedding is counted once."""
    tied: bool
    layers: int
    matrices: tuple[Matrix, ...]
    embedding: int
    """Weights of the embedding."""
    vectors: int
    """Weights of norms and biases, which stay float32."""
    positions: int
    """Numbers in the tables of sines and cosines."""
    two_tables: bool
    """Whether there is one for short texts and one for long ones; these lie in the graph, and not with the weights."""
    cached: int
    """Numbers that a token leaves in the cache."""
    width: int
    """Of the MLP."""
    vocabulary: int
    reach: int
    """The most tokens that the export lets it read."""


@dataclass(frozen=True)
class Planned:
    """One variant of a model; bytes throughout."""

    name: str
    disk: int
    """All files that ship."""
    weights: int
    """Of which the file of the weights."""
    cache_1k: int
    """For 1,000 tokens."""
    memory: int | None
    """Of the whole process, cache and reading included; None where Breakfix ships no such file."""
    tokens_a_second: float
    """At most: every matrix is read once for a token."""
    export_peak: int | None
    """Of the export itself."""
    fits: tuple[int, ...]
    """Phones by their GB of memory."""


def plan(settings: PlanSettings, source: str) -> tuple[Shape, list[Planned]]:
    """Return what a model's config says, and what each variant of it will take; nothing of the model is downloaded but that.

    Raises UsageError for settings out of range, SourceError without a config, ExportError for a family that has no export.
    """
    if problems := settings.problems():
        raise UsageError("; ".join(problems))
    config, tokenizer = _read(source)
    refuse_unknown(config, source)
    shape = shape_of(config)
    files = tokenizer or _TOKENIZER_BYTES * shape.vocabulary
    rows = [_int4(name, variant, settings, shape, files) for name, variant in VARIANTS.items()]
    return shape, rows + [_float(name, size, settings, shape, files) for name, size in _FLOATS.items()]


def _read(source: str) -> tuple[Any, int]:
    """Return a source's config, and the bytes of its tokenizer where it lies beside."""
    parsed = sources.parse(source)
    if isinstance(parsed, HubSource):
        try:
            return read_config(parsed.name, parsed.revision), 0
        except SourceError as error:
            raise SourceError(
                f"the config of {parsed.name}@{parsed.revision} cannot be had from the hub; check its name, its revision, "
                f"your access and the network, or give a path"
            ) from error
    path = sources.fetch(source)
    path = path.parent if path.name == "config.json" else path
    files = [path / name for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")]
    return read_config(path), sum(file.stat().st_size for file in files if file.exists()) if files[0].exists() else 0


def shape_of(config: Any) -> Shape:
    """Return the size of a model: it is built without memory, so every family is counted as it is."""
    with quiet(), torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings().weight
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    parameters = sum(each.numel() for each in model.parameters())
    long = any(rope.get("rope_type") == "longrope" for rope in ropes(config))
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    tied = head.weight is embedding
    kept = sum(module.weight.numel() for module in linear if not (tied and module is head)) + embedding.numel()
    return Shape(
        family=config.model_type,
        parameters=parameters,
        tied=tied,
        layers=config.num_hidden_layers,
        matrices=tuple(Matrix(module.out_features, module.in_features, module is head) for module in linear),
        embedding=embedding.numel(),
        vectors=parameters - kept,
        positions=_positions(config, size),
        two_tables=long,
        cached=2 * config.num_hidden_layers * config.num_key_value_heads * size,
        width=config.intermediate_size,
        vocabulary=config.vocab_size,
        reach=config.original_max_position_embeddings if long else config.max_position_embeddings,
    )


def _positions(config: Any, size: int) -> int:
    """Return how many sines and cosines the builder writes: one of each for every position and pair of turning numbers."""
    kinds = ropes(config)
    turning = int(size * kinds[0].get("partial_rotary_factor", 1.0))
    rows = config.max_position_embeddings * len(kinds)
    if kinds[0].get("rope_type") == "longrope":
        rows += config.original_max_position_embeddings
    return rows * turning


def _bytes(matrix: Matrix, variant: Int4Settings) -> int:
    """Return the bytes of a matrix: integers, a float32 scale a block, and k_quant's zero points, packed as tightly as they."""
    bits = variant.embedding_bits if matrix.is_head else 4
    blocks = ceil(matrix.columns / variant.block)
    zeros = ceil(blocks * bits / 8) if variant.algorithm == "k_quant" else 0
    return matrix.rows * (blocks * (variant.block * bits // 8 + _FLOAT) + zeros)


def _packed(matrix: Matrix, variant: Int4Settings) -> int:
    """Return the bytes that onnxruntime multiplies with: integers, and a scale and a sum a block."""
    bits = variant.embedding_bits if matrix.is_head else 4
    blocks = ceil(matrix.columns / variant.block)
    return matrix.rows * blocks * (variant.block * bits // 8 + 2 * _FLOAT)


def _int4(name: str, variant: Int4Settings, settings: PlanSettings, shape: Shape, files: int) -> Planned:
    matrices = sum(_bytes(matrix, variant) for matrix in shape.matrices)
    head = sum(_bytes(matrix, variant) for matrix in shape.matrices if matrix.is_head)
    floats = _FLOAT * (shape.vectors + (0 if shape.tied else shape.embedding))
    tables = _FLOAT * shape.positions
    layer = _LAYER_BYTES + (_K_QUANT_BYTES if variant.algorithm == "k_quant" else 0)
    held = _OPENED + _PACKED * sum(_packed(matrix, variant) for matrix in shape.matrices) + (head if shape.tied else 0) + tables
    room = min(settings.context, shape.reach)
    reading = _READING * ceil(room / 4) * shape.width * _FLOAT
    memory = round(_PROCESS + _WORD * shape.vocabulary + held + reading + room * shape.cached * _FLOAT)
    return Planned(
        name=name,
        disk=matrices + floats + tables + files + _GRAPH_BYTES + layer * shape.layers,
        weights=matrices + floats + (0 if shape.two_tables else tables),
        cache_1k=1000 * shape.cached * _FLOAT,
        memory=memory,
        tokens_a_second=settings.bandwidth * 1e9 / matrices,
        export_peak=round(_LIBRARIES + _EXPORTING.get(variant.algorithm, _EXPORTED) * shape.parameters * _FLOAT),
        fits=tuple(gib for gib in PHONES if memory <= settings.share * gib * _GIB),
    )


def _float(name: str, size: int, settings: PlanSettings, shape: Shape, files: int) -> Planned:
    read = size * sum(matrix.rows * matrix.columns for matrix in shape.matrices)
    speed, weights = settings.bandwidth * 1e9 / read, size * shape.parameters
    return Planned(name, weights + files, weights, 1000 * shape.cached * size, None, speed, None, ())


def table(settings: PlanSettings, shape: Shape, rows: list[Planned]) -> Table:
    """Return a plan as a table for the terminal; megabytes are millions of bytes."""
    room = min(settings.context, shape.reach)
    made = Table(
        title=f"{shape.family}, {shape.parameters / 1e6:,.1f} million parameters, {room} tokens of context",
        caption="MB; memory: as seen on x86-64; cache: for 1,000 tokens; export: peak memory of making it; "
        f"tok/s: at most, at {settings.bandwidth:g} GB/s; phones: GB, if an app may take {settings.share:.0%}, an assumption",
    )
    made.add_column("variant", no_wrap=True)
    for heading in ("disk", "memory", "cache", "tok/s", "export", "phones"):
        made.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        peak = f"{row.export_peak / 1e6:,.0f}" if row.export_peak else "-"
        held, phones = (f"{row.memory / 1e6:,.0f}", " ".join(map(str, row.fits)) or "none") if row.memory else ("-", "-")
        disk, cache = f"{row.disk / 1e6:,.1f}", f"{row.cache_1k / 1e6:,.1f}"
        made.add_row(row.name, disk, held, cache, f"{row.tokens_a_second:,.1f}", peak, phones)
    return made


def record(settings: PlanSettings, shape: Shape, rows: list[Planned]) -> dict[str, Any]:
    """Return a plan as JSON can hold it."""
    told = asdict(shape)
    told["matrices"] = len(shape.matrices)
    return {"settings": asdict(settings), "model": told, "variants": [asdict(row) for row in rows]}
