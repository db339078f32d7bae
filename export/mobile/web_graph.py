"""The int4 graph re-expressed for ONNX Runtime's WebAssembly build, from the same int4 weights.

WebAssembly has no int4 kernel: `MatMulNBits` unpacks all its weights to float at every token. It has fast ones for float and
for bytes, so the file keeps four bits and the session widens them when it opens: matrices to float, which is fastest, as far as
a memory budget goes, and the others to bytes. Where weights are bytes, each block of activations is rounded to sixteen bits and
multiplied as two bytes, in exact integers; one byte, as native kernels take, would make two machines answer differently. So
all of it computes what accuracy level 1 does. A tied embedding stays one tensor, and a cache need not be copied out at every
token: the newest keys and values are outputs of their own. It knows no tokenizer and no JavaScript.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ...core.errors import ExportError

MODEL, DATA, CONFIG = "model.onnx", "model.onnx.data", "genai_config.json"
FLOAT_BYTES = 240_000_000
"""Memory that float weights may take in the browser."""
_PRUNES = "/lm_head/prune/"
"""What the builder calls its step that keeps the last token alone."""
_NBITS, _EMBED, _MICROSOFT = "MatMulNBits", "GatherBlockQuantized", "com.microsoft"
_LEAST_OPSET = 21
"""The first with four-bit types."""
_KNOWN = {
    _NBITS, _EMBED, "GroupQueryAttention", "RotaryEmbedding", "SkipSimplifiedLayerNormalization", "SkipLayerNormalization",
    "FastGelu", "Gelu", "QuickGelu", "BiasGelu",
}  # fmt: skip
"""Operators outside the ONNX standard that the WebAssembly build has."""
_OUTSIDE = 256
"""Bytes from which on a tensor lies in the data file."""
_NUMBERS = {"most": 1 / (127 * 256), "least": 1e-30, "half": 128.5, "part": 1 / 256, "whole": 256.0, "up": 128.0}
_AXES = {"first": [0], "second": [1], "third": [2], "last": [-1]}
_Step = tuple[str, list[str], str, dict[str, Any]]
"""Operator, inputs, what its output is called behind a prefix, attributes."""


def for_web(int4_folder: Path, out: Path, float_bytes: int = FLOAT_BYTES) -> dict[str, Any]:
    """Write model.onnx and model.onnx.data for WebAssembly into `out`; returns facts about them. Same input, same bytes.

    Raises ExportError for a graph that is not one of the builder's, or that holds what WebAssembly cannot compute.
    """
    decoder = json.loads((int4_folder / CONFIG).read_text(encoding="utf-8"))["model"]["decoder"]
    model = onnx.load(str(int4_folder / decoder["filename"]))
    _refuse_unknown(model, int4_folder)
    _only_last(model.graph)
    graph = _Rewriting(model.graph, float_bytes)
    nodes = [new for node in model.graph.node for new in graph.rewritten(node)]
    nodes += _new_rows(model.graph, decoder, graph)
    _replace(model.graph, nodes, graph.constants.values())
    out.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, DATA):
        (out / name).unlink(missing_ok=True)
    onnx.save(model, str(out / MODEL), save_as_external_data=True, location=DATA, size_threshold=_OUTSIDE)
    (out / DATA).chmod((out / MODEL).stat().st_mode)
    resident = {kind: sum(map(graph.memory, names)) for kind, names in (("float", graph.floats), ("bytes", graph.matrices))}
    resident["bytes"] = (resident["bytes"] - resident["float"]) // 4
    return {"computes_in": "float32", "tied_embedding": bool(graph.tied), "resident": resident}


def _refuse_unknown(model: onnx.ModelProto, folder: Path) -> None:
    if {each.domain: each.version for each in model.opset_import}.get("", 0) < _LEAST_OPSET:
        raise ExportError(f"the graph in {folder} is of an ONNX version without four-bit types; export it again")
    if unknown := {node.op_type for node in model.graph.node if node.domain == _MICROSOFT} - _KNOWN:
        raise ExportError(f"the graph in {folder} holds {', '.join(sorted(unknown))}, which the web export does not know")
    matrices = [node for node in model.graph.node if node.op_type == _NBITS]
    if not matrices:
        raise ExportError(f"the graph in {folder} holds no int4 matrix; the web export takes what `breakfix export int4` wrote")
    kinds = {each.name: each.data_type for each in model.graph.initializer}
    for node in matrices:
        types = [kinds.get(node.input[at]) if _input(node, at) else None for at in range(1, 5) if at < len(node.input)]
        whole = _size(node, "bits") in (4, 8) and _size(node, "K") % _size(node, "block_size") == 0
        plain = types[:2] == [TensorProto.UINT8, TensorProto.FLOAT] and set(types[2:3]) <= {TensorProto.UINT8, None}
        if not whole or not plain or _input(node, 4):
            raise ExportError(f"{node.name} in {folder} is quantized in a way that the web export does not know")


def _only_last(graph: onnx.GraphProto) -> None:
    """Compute the outputs of a prompt's last token alone, as the builder does where it is told to."""
    head = [node for node in graph.node if node.op_type == _NBITS][-1]
    if any(node.name.startswith(_PRUNES) for node in graph.node):
        return
    graph.initializer.append(numpy_helper.from_array(np.asarray([-1]), _PRUNES + "last"))
    prune = helper.make_node("Gather", [head.input[0], _PRUNES + "last"], [_PRUNES + "output"], _PRUNES + "Gather", axis=1)
    graph.node.insert(list(graph.node).index(head), prune)
    head.input[0] = prune.output[0]
    logits = next(each for each in graph.output if each.name == "logits")
    logits.type.tensor_type.shape.dim[1].dim_value = 1


def _input(node: NodeProto, at: int) -> str:
    return node.input[at] if at < len(node.input) else ""


def _size(node: NodeProto, name: str) -> int:
    return next(each.i for each in node.attribute if each.name == name)


def _blocks(node: NodeProto) -> int:
    return _size(node, "K") // _size(node, "block_size")


class _Rewriting:
    """A graph while it is rewritten: weights and rounded activations are made once, however many nodes read them."""

    def __init__(self, graph: onnx.GraphProto, float_bytes: int) -> None:
        self.constants = {each.name: each for each in graph.initializer}
        self.matrices = {node.input[1]: node for node in graph.node if node.op_type == _NBITS}
        self._reshaped = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Reshape"}
        self.tied = {self._source(node) for node in graph.node if node.op_type == _EMBED} & self.matrices.keys()
        self.floats: set[str] = set()
        for name in self.matrices:
            if name not in self.tied and self.memory(name) + sum(map(self.memory, self.floats)) <= float_bytes:
                self.floats.add(name)
        self._made: set[str] = set()

    def memory(self, name: str) -> int:
        """Return the bytes of a matrix in float."""
        return 4 * _size(self.matrices[name], "K") * _size(self.matrices[name], "N")

    def rewritten(self, node: NodeProto) -> Iterator[NodeProto]:
        """Yield what stands in a node's place."""
        if node.op_type == _NBITS:
            at, bias = node.output[0] + "/", _input(node, 5)
            yield from self._in_float(node, at) if node.input[1] in self.floats else self._in_bytes(node, at)
            yield helper.make_node("Add" if bias else "Identity", [at + "sum", *filter(None, [bias])], [node.output[0]], at)
        elif node.op_type == _EMBED and self._source(node) in self.tied:
            yield from self._embedding(node, self.matrices[self._source(node)])
        else:
            yield node

    def constant(self, name: str, value: np.ndarray | np.generic) -> str:
        """Add a tensor, once; returns its name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def axis(self, name: str) -> str:
        """Return the name of an axis that is an input."""
        return self.constant(f"web/axis/{name}", np.asarray(_AXES[name]))

    def _source(self, node: NodeProto) -> str:
        return self._reshaped.get(node.input[0], node.input[0])

    def _in_float(self, node: NodeProto, at: str) -> Iterator[NodeProto]:
        """Multiply with weights that become float when the session opens."""
        inputs = [f"{node.input[1]}/{part}" for part in ("values", "scales", "zeros")]
        for name, value in zip(inputs, self._arrays(node), strict=True):
            narrow = value.dtype == np.uint8 and _size(node, "bits") == 4
            self.constants[name] = _narrow(value, name) if narrow else numpy_helper.from_array(value, name)
        wide = {"axis": 0, "block_size": _size(node, "block_size")}
        yield from _chain(
            at, [("DequantizeLinear", inputs, "weights", wide), ("MatMul", [node.input[0], at + "weights"], "sum", {})]
        )

    def _in_bytes(self, node: NodeProto, at: str) -> Iterator[NodeProto]:
        """Multiply block by block in integers, then add up the blocks, each times its two scales."""
        weights, scales, zeros = yield from self._bytes(node)
        rounded, steps = yield from self._round(node.input[0], _blocks(node), _size(node, "block_size"))
        one, middle = self.constant("web/one", np.float32(1)), self.constant("web/middle", np.uint8(128))
        product = [rounded, weights, one, scales, middle, zeros]
        # Blocks times the two halves of a number, tokens, outputs.
        shape = [2 * _blocks(node), -1, _size(node, "N")]
        parts = self.constant(f"web/parts/{shape[0]}x{shape[2]}", np.asarray(shape))
        yield from _chain(at, [
            ("MatMulIntegerToFloat", product, "products", {"domain": _MICROSOFT}),
            ("Reshape", [at + "products", parts], "parts", {}),
            ("Mul", [at + "parts", steps], "scaled", {}),
            ("ReduceSum", [at + "scaled", self.axis("first")], "sum", {"keepdims": 1}),
        ])  # fmt: skip

    def _round(self, name: str, blocks: int, block: int) -> Iterator[NodeProto]:
        """Round activations to sixteen bits, block by block; returns the two bytes of each, and what each byte counts."""
        at = f"{name}/web/{blocks}x{block}/"
        number = {each: self.constant(f"web/number/{each}", np.float32(value)) for each, value in _NUMBERS.items()}
        shape = self.constant(f"web/by_block/{blocks}x{block}", np.asarray([-1, blocks, block]))
        halves = self.constant(f"web/halves/{blocks}", np.asarray([2 * blocks, -1, 1]))
        if at not in self._made:
            self._made.add(at)
            yield from _chain(at, [
                ("Reshape", [name, shape], "rows", {}),
                ("Transpose", [at + "rows"], "blocks", {"perm": [1, 0, 2]}),
                ("Abs", [at + "blocks"], "abs", {}),
                ("ReduceMax", [at + "abs", self.axis("last")], "max", {"keepdims": 1}),
                ("Mul", [at + "max", number["most"]], "step_or_0", {}),
                ("Max", [at + "step_or_0", number["least"]], "step", {}),  # a block of zeros is divided by no zero
                ("Div", [at + "blocks", at + "step"], "in_steps", {}),
                ("Add", [at + "in_steps", number["half"]], "raised", {}),  # the last cast cuts: a half more, and it rounds
                ("Mul", [at + "raised", number["part"]], "in_256", {}),
                ("Floor", [at + "in_256"], "high", {}),
                ("Mul", [at + "high", number["whole"]], "high_in_steps", {}),
                ("Sub", [at + "raised", at + "high_in_steps"], "low", {}),
                ("Add", [at + "high", number["up"]], "high_up", {}),
                ("Concat", [at + "high_up", at + "low"], "both", {"axis": 1}),
                ("Cast", [at + "both"], "bytes", {"to": TensorProto.UINT8}),
                ("Mul", [at + "step", number["whole"]], "high_step", {}),
                ("Concat", [at + "high_step", at + "step"], "both_steps", {"axis": 1}),
                ("Reshape", [at + "both_steps", halves], "steps", {}),
            ])  # fmt: skip
        return at + "bytes", at + "steps"

    def _bytes(self, node: NodeProto) -> Iterator[NodeProto]:
        """Widen weights to bytes of shape (blocks, block, outputs); returns the names of bytes, scales and zero points."""
        at, blocks, outputs = node.input[1] + "/", _blocks(node), _size(node, "N")
        if at not in self._made:
            self._made.add(at)
            values, scales, zeros = self._arrays(node)
            self.constant(at + "scales", scales[:, None])
            self.constant(at + "zeros", zeros[:, None])
            values = values.reshape(blocks, -1, outputs)
            if _size(node, "bits") == 8:
                self.constant(at + "values", values)
            else:  # one step: what lies between two stays in WebAssembly's memory, which never shrinks
                self.constants[at + "narrow"] = _narrow(values, at + "narrow")
                yield from _chain(at, [("Cast", [at + "narrow"], "values", {"to": TensorProto.UINT8})])
        return at + "values", at + "scales", at + "zeros"

    def _arrays(self, node: NodeProto) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return weights, scales and zero points, a number each, as (inputs, outputs) and twice (blocks, outputs)."""
        bits, blocks, outputs = _size(node, "bits"), _blocks(node), _size(node, "N")
        packed, scales = (numpy_helper.to_array(self.constants[name]) for name in node.input[1:3])
        zeros = np.full((outputs, blocks), 1 << (bits - 1), np.uint8)  # the middle of the range
        if _input(node, 3):
            zeros = _unpacked(numpy_helper.to_array(self.constants[node.input[3]]).reshape(outputs, -1), bits)[:, :blocks]
        found = _unpacked(packed, bits).reshape(outputs, -1), scales.reshape(outputs, blocks), zeros
        values, scales, zeros = (np.ascontiguousarray(each.T) for each in found)
        return values, scales, zeros

    def _embedding(self, node: NodeProto, head: NodeProto) -> Iterator[NodeProto]:
        """Read rows of the embedding, which are columns of the output head's blocks."""
        at, (weights, scales, zeros) = node.output[0] + "/", (yield from self._bytes(head))
        shape = self.constant("web/embedding", np.asarray([1, -1, _size(head, "K")]))
        yield from _chain(at, [
            ("Reshape", [node.input[1], self.axis("last")], "tokens", {}),
            ("Gather", [weights, at + "tokens"], "bytes", {"axis": 2}),
            ("Gather", [scales, at + "tokens"], "scales", {"axis": 2}),
            ("Gather", [zeros, at + "tokens"], "zeros", {"axis": 2}),
            ("Cast", [at + "bytes"], "values", {"to": TensorProto.FLOAT}),
            ("Cast", [at + "zeros"], "offsets", {"to": TensorProto.FLOAT}),
            ("Sub", [at + "values", at + "offsets"], "centred", {}),
            ("Mul", [at + "centred", at + "scales"], "scaled", {}),
            ("Transpose", [at + "scaled"], "by_token", {"perm": [2, 0, 1]}),
        ])  # fmt: skip
        yield helper.make_node("Reshape", [at + "by_token", shape], [node.output[0]], at + "embedding")


def _chain(at: str, steps: Iterable[_Step]) -> Iterator[NodeProto]:
    for kind, inputs, result, attributes in steps:
        yield helper.make_node(kind, inputs, [at + result], at + result, **attributes)


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Split bytes into two numbers of four bits, the low half first; bytes of eight bits stay."""
    return packed if bits == 8 else np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1)


def _narrow(values: np.ndarray, name: str) -> TensorProto:
    """Return numbers of four bits as ONNX stores them."""
    flat = np.append(values.reshape(-1), np.zeros(values.size % 2, np.uint8))
    packed = flat[::2] | flat[1::2] << 4
    return TensorProto(name=name, data_type=TensorProto.UINT4, dims=values.shape, raw_data=packed.tobytes())


def _new_rows(graph: onnx.GraphProto, decoder: dict[str, Any], made: _Rewriting) -> Iterator[NodeProto]:
    """Give each layer's keys and values of the tokens just read as outputs new.N.key and new.N.value."""
    outputs = {each.name: each for each in graph.output}
    for source, result in (("attention_mask", "total"), ("input_ids", "read")):
        yield from _chain("web/", [
            ("Shape", [decoder["inputs"][source]], result + "/shape", {}),
            ("Gather", [f"web/{result}/shape", made.axis("second")], result, {}),
        ])  # fmt: skip
    yield from _chain("web/", [("Sub", ["web/total", "web/read"], "past", {})])
    for layer in range(decoder["num_hidden_layers"]):
        for kind in ("key", "value"):
            whole, new = decoder["outputs"][f"present_{kind}_names"] % layer, f"new.{layer}.{kind}"
            shape = [1, decoder["num_key_value_heads"], "sequence_length", decoder["head_size"]]
            graph.output.append(helper.make_tensor_value_info(new, outputs[whole].type.tensor_type.elem_type, shape))
            yield helper.make_node("Slice", [whole, "web/past", "web/total", made.axis("third")], [new], new)


def _replace(graph: onnx.GraphProto, nodes: list[NodeProto], constants: Iterable[TensorProto]) -> None:
    """Put nodes and tensors in place, without those that nothing reads any more."""
    read, kept = {each.name for each in graph.output}, []
    for node in reversed(nodes):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
            branches = [each.g for each in node.attribute if each.HasField("g")]
            read.update(name for branch in branches for inner in branch.node for name in inner.input)
    tensors = [each for each in constants if each.name in read]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(tensors)
