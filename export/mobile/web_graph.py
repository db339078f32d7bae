"""The int4 graph re-expressed for ONNX Runtime's WebAssembly build, from the same int4 weights.

WebAssembly has no int4 kernel: `MatMulNBits` unpacks all its weights to float at every token. Its fastest kernel multiplies
bytes, so each column of a matrix becomes bytes of one scale: what that loses is a hundredth of what four bits lost. One byte
is too little for activations; those of each token are rounded to two, and both are multiplied in one pass over the weights, in
exact integers, so that all machines say the same. A tied embedding stays one tensor, and a cache need not be copied out at
every token: the newest keys and values are outputs of their own. It knows no tokenizer and no JavaScript.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ...core.errors import ExportError
from ..drift import Logits

FOLDER = "model"
"""Where the graph lies in a bundle."""
MODEL, DATA, CONFIG = "model.onnx", "model.onnx.data", "genai_config.json"
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
_WIDE = 3072
"""Columns above which a matrix is multiplied in parts, one behind the other: its rows lie too far apart for the cache."""
_OUTSIDE = 256
"""Bytes from which on a tensor lies in the data file."""
_NUMBERS = {"one": 1.0, "most": 1 / 127, "least": 1e-30, "part": 1 / 254}
_MIDDLE, _MIDDLES, _HALF = "web/middle", "web/middles", np.asarray([128], np.uint8)
_AXES = {"first": [0], "second": [1], "third": [2], "last": [-1], "rows": [0, 2]}
_Step = tuple[str, list[str], str, dict[str, Any]]
"""Operator, inputs, what its output is called behind a prefix, attributes."""


def for_web(int4_folder: Path, out: Path) -> dict[str, Any]:
    """Write model.onnx and model.onnx.data for WebAssembly into `out`; returns facts about them. Same input, same bytes.

    Raises ExportError for a graph that is not one of the builder's, or that holds what WebAssembly cannot compute.
    """
    decoder = json.loads((int4_folder / CONFIG).read_text(encoding="utf-8"))["model"]["decoder"]
    model = onnx.load(str(int4_folder / decoder["filename"]))
    _refuse_unknown(model, int4_folder)
    _only_last(model.graph)
    graph = _Rewriting(model.graph)
    nodes = [*_counts(decoder, graph), *(new for node in model.graph.node for new in graph.rewritten(node))]
    nodes += _new_rows(model.graph, decoder, graph)
    _replace(model.graph, nodes, graph.constants.values())
    out.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, DATA):
        (out / name).unlink(missing_ok=True)
    onnx.save(model, str(out / MODEL), save_as_external_data=True, location=DATA, size_threshold=_OUTSIDE)
    (out / DATA).chmod((out / MODEL).stat().st_mode)
    return {"computes_in": "int8", "tied_embedding": bool(graph.tied)}


def web_logits(bundle: Path) -> Logits:
    """Open a web bundle's graph on this machine's kernels; it reads a token at a time, as the browser writes.

    Raises ExportError when it does not run.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    folder = bundle / FOLDER
    try:
        decoder = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model"]["decoder"]
        inputs, heads, size = (decoder[name] for name in ("inputs", "num_key_value_heads", "head_size"))
        session = ort.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        nothing = np.zeros((1, heads, 0, size), np.float32)
        empty = {each.name: nothing for each in session.get_inputs() if each.name.startswith("past_key_values")}
    except Exception as error:  # onnxruntime raises types of its own
        raise ExportError(f"{bundle} does not run in onnxruntime ({error}); make it again") from error
    results = ["logits", *(name.replace("past_key_values", "present") for name in empty)]

    def logits(ids: Sequence[int]) -> np.ndarray:
        cache, rows = empty, []
        for count, token in enumerate(ids, 1):
            feed = {inputs["input_ids"]: np.asarray([[token]]), inputs["attention_mask"]: np.ones((1, count), np.int64)}
            row, *present = session.run(results, {**feed, **cache})
            cache = dict(zip(empty, present, strict=True))
            rows.append(np.asarray(row)[0, -1])
        return np.stack(rows)

    return logits


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


class _Rewriting:
    """A graph while it is rewritten: weights and rounded activations are made once, however many nodes read them."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {each.name: each for each in graph.initializer}
        self._matrices = {node.input[1]: node for node in graph.node if node.op_type == _NBITS}
        self._reshaped = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Reshape"}
        self.tied = {self._source(node) for node in graph.node if node.op_type == _EMBED} & self._matrices.keys()
        self._rounded: set[str] = set()
        *_, self._head = (node.input[0] for node in graph.node if node.op_type == _NBITS)

    def rewritten(self, node: NodeProto) -> Iterator[NodeProto]:
        """Yield what stands in a node's place."""
        if node.op_type == _NBITS:
            at, bias = node.output[0] + "/", _input(node, 5)
            yield from self._product(node, at)
            yield helper.make_node("Add" if bias else "Identity", [at + "sum", *filter(None, [bias])], [node.output[0]], at)
        elif node.op_type == _EMBED and self._source(node) in self.tied:
            yield from self._embedding(node, self._matrices[self._source(node)])
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

    def _number(self, name: str) -> str:
        return self.constant(f"web/number/{name}", np.float32(_NUMBERS[name]))

    def _source(self, node: NodeProto) -> str:
        return self._reshaped.get(node.input[0], node.input[0])

    def _product(self, node: NodeProto, at: str) -> Iterator[NodeProto]:
        """Multiply both bytes of the activations in integers, then add them up, each times its step."""
        weights, scales = self._bytes(node)
        yield from self._round(node.input[0])
        both, steps = (f"{node.input[0]}/web/{part}" for part in ("both", "steps"))
        product = [both, weights, self._number("one"), scales, self.constant(_MIDDLE, _HALF)]
        if self._parts(node):
            flat, whole = (
                self.constant(f"web/{name}/{size}", np.asarray([first, -1, size]))
                for name, first, size in (("flat", 1, _size(node, "K")), ("whole", 2, _size(node, "N")))
            )
            product[0] = at + "flat"
            yield from _chain(at, [
                ("Reshape", [both, flat], "flat", {}),
                ("MatMulIntegerToFloat", product, "parts", {"domain": _MICROSOFT}),
                ("Transpose", [at + "parts"], "by_byte", {"perm": [1, 0, 2]}),
                ("Reshape", [at + "by_byte", whole], "products", {}),
            ])  # fmt: skip
        else:
            yield from _chain(at, [("MatMulIntegerToFloat", product, "products", {"domain": _MICROSOFT})])
        yield from _chain(at, [
            ("Mul", [at + "products", steps], "scaled", {}),
            ("ReduceSum", [at + "scaled", self.axis("first")], "sum", {"keepdims": 1}),
        ])  # fmt: skip

    def _round(self, name: str) -> Iterator[NodeProto]:
        """Round the activations of each token to a byte, and what that leaves to another; give both, and their steps."""
        at = f"{name}/web/"
        if at in self._rounded:
            return
        self._rounded.add(at)
        by_token = {"axis": 1}
        # The head reads the last token alone.
        middles = self.constant(_MIDDLE, _HALF) if name == self._head else _MIDDLES
        columns = self.constant("web/columns", np.asarray([2, -1, 1]))
        yield from _chain(at, [
            ("Abs", [name], "abs", {}),
            ("ReduceMax", [at + "abs", self.axis("rows")], "max", {"keepdims": 0}),
            ("Mul", [at + "max", self._number("most")], "step_or_0", {}),
            ("Max", [at + "step_or_0", self._number("least")], "step", {}),  # a token of zeros is divided by no zero
            ("QuantizeLinear", [name, at + "step", middles], "high", by_token),
            ("DequantizeLinear", [at + "high", at + "step", middles], "heard", by_token),
            ("Sub", [name, at + "heard"], "rest", {}),
            ("Mul", [at + "step", self._number("part")], "low_step", {}),
            ("QuantizeLinear", [at + "rest", at + "low_step", middles], "low", by_token),
            ("Concat", [at + "high", at + "low"], "both", {"axis": 0}),
            ("Concat", [at + "step", at + "low_step"], "both_steps", {"axis": 0}),
            ("Reshape", [at + "both_steps", columns], "steps", {}),
        ])  # fmt: skip

    def _parts(self, node: NodeProto) -> int:
        """Return in how many parts a matrix is multiplied; 0: as it is. One that is an embedding too has one at least."""
        outputs = _size(node, "N")
        if outputs <= _WIDE and node.input[1] not in self.tied:
            return 0
        return outputs // max(width for width in range(1, min(outputs, _WIDE) + 1) if outputs % width == 0)

    def _bytes(self, node: NodeProto) -> tuple[str, str]:
        """Give weights as signed bytes of shape (parts, inputs, outputs), and a scale for each output; returns their names."""
        values, scales = (f"{node.input[1]}/{part}" for part in ("bytes", "scales"))
        if values not in self.constants:
            weights = self._weights(node)
            steps = np.maximum(np.abs(weights).max(0) / 127, np.float32(1e-30))
            whole = np.rint(weights / steps).astype(np.int8)
            if parts := self._parts(node):
                whole = np.ascontiguousarray(whole.reshape(len(whole), parts, -1).transpose(1, 0, 2))
                steps = steps.reshape(parts, 1, -1)
            self.constant(values, whole)
            self.constant(scales, steps)
        return values, scales

    def _weights(self, node: NodeProto) -> np.ndarray:
        """Return a matrix in float, as (inputs, outputs)."""
        bits, inputs, outputs = (_size(node, name) for name in ("bits", "K", "N"))
        blocks = inputs // _size(node, "block_size")
        packed, scales = (numpy_helper.to_array(self.constants[name]) for name in node.input[1:3])
        zeros = np.full((outputs, blocks), 1 << (bits - 1), np.uint8)  # the middle of the range
        if _input(node, 3):
            zeros = _unpacked(numpy_helper.to_array(self.constants[node.input[3]]).reshape(outputs, -1), bits)[:, :blocks]
        values = _unpacked(packed, bits).reshape(outputs, blocks, -1).astype(np.float32)
        whole = (values - zeros[..., None]) * scales.reshape(outputs, blocks, 1)
        return np.ascontiguousarray(whole.reshape(outputs, inputs).T)

    def _embedding(self, node: NodeProto, head: NodeProto) -> Iterator[NodeProto]:
        """Read rows of the embedding, which are columns of the output head's parts."""
        at, parts, (inputs, outputs) = node.output[0] + "/", self._parts(head), (_size(head, name) for name in "KN")
        weights, scales = self._bytes(head)
        # A token's part, its first row, and its column there; then all rows.
        divide, wrap = np.asarray([outputs // parts, outputs, 1]), np.asarray([parts, 1, outputs // parts])
        rows = np.arange(inputs)[:, None] * np.asarray([0, 1, 0])
        by_token = self.constant("web/embedding/tokens", np.asarray([-1, 1, 1]))
        shape = self.constant("web/embedding", np.asarray([1, -1, inputs]))
        yield from _chain(at, [
            ("Reshape", [node.input[1], by_token], "tokens", {}),
            ("Div", [at + "tokens", self.constant("web/embedding/divide", divide)], "divided", {}),
            ("Mod", [at + "divided", self.constant("web/embedding/wrap", wrap)], "first", {}),
            ("Add", [at + "first", self.constant("web/embedding/rows", rows)], "all", {}),
            ("GatherND", [weights, at + "all"], "bytes", {}),
            ("GatherND", [scales, at + "first"], "scales", {}),
            ("Cast", [at + "bytes"], "values", {"to": TensorProto.FLOAT}),
            ("Mul", [at + "values", at + "scales"], "scaled", {}),
        ])  # fmt: skip
        yield helper.make_node("Reshape", [at + "scaled", shape], [node.output[0]], at + "embedding")


def _chain(at: str, steps: Iterable[_Step]) -> Iterator[NodeProto]:
    for kind, inputs, result, attributes in steps:
        yield helper.make_node(kind, inputs, [at + result], at + result, **attributes)


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Split bytes into two numbers of four bits, the low half first; bytes of eight bits stay."""
    return packed if bits == 8 else np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1)


def _counts(decoder: dict[str, Any], made: _Rewriting) -> Iterator[NodeProto]:
    """Count the tokens that are read and those before them, and give the middle of a byte once for each that is read."""
    for source, result in (("attention_mask", "total"), ("input_ids", "read")):
        yield from _chain("web/", [
            ("Shape", [decoder["inputs"][source]], result + "/shape", {}),
            ("Gather", [f"web/{result}/shape", made.axis("second")], result, {}),
        ])  # fmt: skip
    middle = made.constant(_MIDDLE, _HALF)
    yield from _chain("web/", [("Sub", ["web/total", "web/read"], "past", {}), ("Expand", [middle, "web/read"], "middles", {})])


def _new_rows(graph: onnx.GraphProto, decoder: dict[str, Any], made: _Rewriting) -> Iterator[NodeProto]:
    """Give each layer's keys and values of the tokens just read as outputs new.N.key and new.N.value."""
    outputs = {each.name: each for each in graph.output}
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
