"""The guard's classifier as a graph: in torch for training, in ONNX with eight bits a weight for the phone.

The guard reads one text a pass, so the exported graph knows neither padding nor masks.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process
from safetensors.torch import load_file
from torch import nn
from transformers import AttentionInterface, AutoConfig, AutoModel

from ..core.hazards import OWN_HEADS

WEIGHTS = "classifier.safetensors"
EMBEDDING_BITS = "embedding_bits"
"""Key of the encoder's configuration: how many bits a number of its word embeddings is stored in, 4 or 8."""
BLOCK = 32
"""Numbers of an embedding that share one scale."""
_HALF, _TINY = torch.finfo(torch.half).max, 8 * torch.finfo(torch.half).tiny
_LEAST = 1e-5
_UNMASKED = "breakfix_unmasked"


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

    def forward(self, input_ids: torch.Tensor, token_type_ids: torch.Tensor) -> torch.Tensor:
        """Return probabilities of texts of one length, shape (batch, heads)."""
        out = self.head(self.encoder(input_ids, token_type_ids=token_type_ids)[0].mean(1))
        return torch.cat([out[:, :OWN_HEADS].sigmoid(), out[:, OWN_HEADS:].softmax(-1)], -1)


def load_model(folder: Path) -> GuardModel:
    """Load the float classifier of a `classifier` folder."""
    weights = load_file(folder / WEIGHTS)
    encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager")
    model = GuardModel(encoder, weights["head.bias"].shape[0])
    model.load_state_dict(weights)
    return model.eval()


def on_grid(weights: torch.Tensor) -> torch.Tensor:
    """Round each block of an embedding to the int4 grid that it is stored on; what lies there stays."""
    return _unpacked(*_packed(weights))


def to_onnx(model: GuardModel, path: Path) -> None:
    """Write the float graph: token ids and types of one text to its probabilities."""
    AttentionInterface.register(_UNMASKED, _attend)
    encoder: Any = model.encoder
    encoder.set_attn_implementation(_UNMASKED)
    if getattr(encoder.config, EMBEDDING_BITS, 8) == 4:
        encoder.embeddings.word_embeddings = _SmallEmbedding(encoder.embeddings.word_embeddings.weight.data)
    names = ["input_ids", "token_type_ids"]
    example = tuple(torch.ones(1, 8, dtype=torch.int64) for _ in names)
    shapes = tuple({1: torch.export.Dim.DYNAMIC} for _ in names)
    with quiet():
        torch.onnx.export(
            model, example, str(path), input_names=names, output_names=["probabilities"],
            dynamic_shapes=shapes, dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
        quant_pre_process(str(path), str(path), skip_symbolic_shape=True)


def smooth(source: Path, target: Path, feeds: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Write the float graph `source` so that it computes the same and may lose less in int8; `feeds` are typical inputs.

    One scale holds for all activations in front of a matrix, and a few columns of them are far larger than the others: half of
    that, in logarithms, moves into the rows of the matrix (after SmoothQuant, Xiao et al. 2023; the weights' own size is left
    out, because their scales are by column). On three trained layers the mean error of a logit fell from .108 to .058.
    """
    model = onnx.load(str(source))
    graph, weights = model.graph, {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            readers.setdefault(node.input[0], []).append(node)
    for name, activations in _largest(model, list(readers), feeds).items():
        matrices = {node.input[1]: numpy_helper.to_array(weights[node.input[1]]) for node in readers[name]}
        scale = np.sqrt(np.maximum(activations, _LEAST) / max(np.median(activations), _LEAST)).astype(np.float32)
        for key, matrix in matrices.items():
            weights[key].CopyFrom(numpy_helper.from_array(matrix * scale[:, None], key))
        graph.initializer.append(numpy_helper.from_array(1 / scale, f"{name}/smoothing"))
        first = min(index for index, node in enumerate(graph.node) if name in node.input and node.op_type == "MatMul")
        graph.node.insert(first, helper.make_node("Mul", [name, f"{name}/smoothing"], [f"{name}/smooth"]))
        for node in readers[name]:
            node.input[0] = f"{name}/smooth"
    onnx.save(model, str(target))


def _largest(model: onnx.ModelProto, names: Sequence[str], feeds: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the largest absolute value in each column of some tensors over all feeds."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    outs = [[np.asarray(out) for out in session.run(list(names), dict(feed))] for feed in feeds]
    found = [[np.abs(out).reshape(-1, out.shape[-1]).max(0) for out in each] for each in outs]
    return {name: np.max([each[at] for each in found], 0) for at, name in enumerate(names)}


def by_column(source: Path, target: Path) -> None:
    """Write `source` in int8, with a scale for each column of a matrix and one for all activations."""
    quantize_dynamic(
        str(source), str(target), op_types_to_quantize=["MatMul", "Gather"], weight_type=QuantType.QInt8, per_channel=True
    )
    _add_apart(target)


def by_block(source: Path, target: Path) -> None:
    """Write `source` in int8, with a scale for each block of 32 weights and of activations."""
    matrices = source.with_name("blocks.onnx")
    blocks: Any = MatMulNBitsQuantizer(onnx.load(str(source)), bits=8, block_size=32, is_symmetric=True, accuracy_level=4)
    blocks.process()
    blocks.model.save_model_to_file(str(matrices))
    quantize_dynamic(str(matrices), str(target), op_types_to_quantize=["Gather"], weight_type=QuantType.QInt8, per_channel=True)
    _add_apart(target)


class _SmallEmbedding(nn.Module):
    """An embedding of two numbers a byte. ONNX Runtime's own kernel for it takes 2.3 ms for 128 tokens, these steps .1.

    Entries that are alike, as those of a word in several languages, share a row.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        distinct, row_of = torch.unique(weights, dim=0, return_inverse=True)
        packed, scales = _packed(distinct)
        self.row_of: torch.Tensor
        self.packed: torch.Tensor
        self.scales: torch.Tensor
        self.register_buffer("row_of", row_of.int())
        self.register_buffer("packed", packed)
        self.register_buffer("scales", scales)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = self.row_of[ids].long()
        return _unpacked(self.packed[rows], self.scales[rows])


def _packed(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows of bytes, each a number of the left half and one of the right, and the scale of each block."""
    blocks = weights.unflatten(-1, (-1, BLOCK))
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    # Below its normal range half precision would not give the same scale again.
    scales = torch.where(largest.abs() < _TINY, 0, (largest / -8).clamp(-_HALF, _HALF).half())
    steps = torch.where(scales == 0, 8, (blocks / scales.float()).round() + 8).clamp(0, 15).flatten(-2)
    left, right = steps.chunk(2, -1)
    return (left + 16 * right).to(torch.uint8), scales.squeeze(-1)


def _unpacked(packed: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    both = packed.float()
    right = (both / 16).floor()
    steps = torch.cat([both - 16 * right, right], -1) - 8
    return (steps.unflatten(-1, (-1, BLOCK)) * scales.float().unsqueeze(-1)).flatten(-2)


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: None, scaling: float, **_: Any) -> tuple[Any, None]:
    """Attend to every token: a text that stands alone has no padding to leave out."""
    shares = (query @ key.transpose(2, 3) * scaling).softmax(-1)
    return (shares @ value).transpose(1, 2).contiguous(), None


def _add_apart(path: Path) -> None:
    """Keep ONNX Runtime from fusing a residual sum with the layer norm after it: its fused kernel takes a fourth of the pass.

    Measured on three layers, 128 tokens, one thread: 10.2 ms fused, 7.9 ms apart. A `Sum` of two is an `Add` it does not know.
    """
    model = onnx.load(str(path))
    normed = {node.input[0] for node in model.graph.node if node.op_type == "LayerNormalization"}
    for node in model.graph.node:
        if node.op_type == "Add" and node.output[0] in normed:
            node.op_type = "Sum"
    onnx.save(model, str(path))


@contextlib.contextmanager
def quiet():
    """Keep the exporters' chatter off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
