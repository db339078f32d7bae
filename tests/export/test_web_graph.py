"""The graph for WebAssembly: what it computes is what the int4 graph does with float activations."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from breakfix.core import artifact
from breakfix.core.errors import ExportError
from breakfix.export import int4 as export
from breakfix.export.int4 import Int4Settings, int4
from breakfix.export.mobile import web_graph
from breakfix.export.mobile.web_graph import CONFIG, DATA, MODEL, for_web

LAYERS, HEAD, PROMPT = 2, 32, [5, 6, 7, 8, 9, 10, 11]
SIZE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
SIZE |= {"num_key_value_heads": 1, "initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig, {"head_dim": HEAD, "tie_word_embeddings": True}),
    "untied": (LlamaForCausalLM, LlamaConfig, {"head_dim": HEAD, "tie_word_embeddings": False}),
    "qwen": (Qwen2ForCausalLM, Qwen2Config, {"tie_word_embeddings": True}),
    "phi": (Phi3ForCausalLM, Phi3Config, {"original_max_position_embeddings": 512}),
    "gemma": (Gemma3ForCausalLM, Gemma3TextConfig, {"head_dim": HEAD}),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function from a family and settings to an int4 folder, made once."""
    made = {}

    def make(family="llama", **settings):
        key = (family, *sorted(settings.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("web")
            source = artifact.produce(folder / "model", "checkpoint", {}, {}, lambda work: checkpoint(family, work)).path
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    export, "PARITY_TEXTS", ()
                )  # each family reads text in a way of its own; graphs are what is tested
                made[key] = int4(Int4Settings(context=256, **settings), source, folder / "int4").path
        return made[key]

    return make


def checkpoint(family, folder):
    kind, config, more = FAMILIES[family]
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = {word: at for at, word in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=specials[2], bos_token=specials[1])
    fast.add_special_tokens({"additional_special_tokens": specials})
    fast.chat_template = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    model = kind(config(vocab_size=len(words), max_position_embeddings=512, **SIZE, **more))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            # A random Gemma says the last token again, unless its layers are louder than its embedding.
            if family == "gemma" and "post_" in name:
                weights.fill_(40.0)
    model.save_pretrained(folder)


def session(folder):
    """Open a graph for the web as the browser does."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    for key in ("session.disable_quant_qdq", "session.disable_prepacking"):
        options.add_session_config_entry(key, "1")
    return ort.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])


def empty(graph, room=0):
    heads = {each.name: each.shape for each in graph.get_inputs() if each.name.startswith("past_key_values")}
    return {name: np.zeros((1, shape[1], room, HEAD), np.float32) for name, shape in heads.items()}


def run(graph, ids, past, counted):
    names = [each.name for each in graph.get_outputs()]
    feed = {"input_ids": np.asarray([ids]), "attention_mask": np.ones((1, counted), np.int64), **past}
    return dict(zip(names, graph.run(names, feed), strict=True))


def greedy(graph, count=8):
    """Return the tokens said behind the prompt, and the raw outputs at each of them."""
    past, ids, said, scores = empty(graph), PROMPT, [], []
    for at in range(count):
        outputs = run(graph, ids, past, len(PROMPT) + at)
        past = {name: outputs[name.replace("past_key_values", "present")] for name in past}
        scores.append(outputs["logits"][0, -1])
        ids = [int(scores[-1].argmax())]
        said += ids
    return said, np.asarray(scores)


def weights(node, constants):
    """Return the matrix of a MatMulNBits as its own kernel unpacks it: what it makes of the identity."""
    sizes = {each.name: each.i for each in node.attribute}
    eye, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("eye", "result"))
    alone = helper.make_node("MatMulNBits", ["eye", *node.input[1:4]], ["result"], domain="com.microsoft", **sizes)
    used = [constants[name] for name in node.input[1:4] if name]
    model = helper.make_model(helper.make_graph([alone], "alone", [eye], [result], used), ir_version=10, opset_imports=OPSETS)
    for each in model.graph.node[0].attribute:
        each.i = 1 if each.name == "accuracy_level" else each.i
    return ort.InferenceSession(model.SerializeToString()).run(None, {"eye": np.eye(sizes["K"], dtype=np.float32)})[0]


def in_float(folder, made):
    """Open the int4 graph with the matrices that the graph for the web holds, in float; they are the int4 ones, rounded."""
    model, web = onnx.load(str(folder / MODEL)), onnx.load(str(made / MODEL))
    held = {each.name: numpy_helper.to_array(each) for each in web.graph.initializer}
    constants = {each.name: each for each in model.graph.initializer}
    tied, nodes = {}, []
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            name = node.input[1]
            values, scales = (held[f"{name}/{part}"].astype(np.float32) for part in ("bytes", "scales"))
            whole = np.concatenate(values * scales, -1) if values.ndim == 3 else values * scales
            theirs = weights(node, constants)
            assert np.abs(whole - theirs).max() <= 0.501 * np.abs(theirs).max() / 127
            assert (np.abs(whole - theirs) <= 0.501 * np.abs(theirs).max(0) / 127).all()
            model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(whole), name + "/float"))
            model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(whole.T), name + "/rows"))
            tied[name] = whole
            bias = node.input[5] if len(node.input) > 5 else ""
            nodes.append(helper.make_node("MatMul", [node.input[0], name + "/float"], [node.output[0] + "/sum" * bool(bias)]))
            if bias:
                nodes.append(helper.make_node("Add", [node.output[0] + "/sum", bias], [node.output[0]]))
        else:
            nodes.append(node)
    sources = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Reshape"}
    for at, node in enumerate(nodes):
        name = sources.get(node.input[0], node.input[0]) if node.input else ""
        if node.op_type == "GatherBlockQuantized" and name in tied:
            nodes[at] = helper.make_node("Gather", [name + "/rows", node.input[1]], node.output)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def assert_computes_the_same(folder, made):
    said, scores = greedy(in_float(folder, made))
    ours, close = greedy(session(made))
    assert ours == said and len(set(said)) > 1
    assert np.abs(close - scores).max() < 1e-3 * max(1.0, np.abs(scores).max())


@pytest.mark.parametrize("wide", [3072, 40])
@pytest.mark.parametrize(
    "settings",
    [{}, {"algorithm": "k_quant", "embedding_bits": 8}, {"block": 16}, {"block": 64}, {"prompt_logits": "all"}],
    ids=["4 bits", "8-bit head, zero points", "block 16", "block 64", "all logits"],
)
def test_it_computes_what_the_int4_graph_does(exported, settings, wide, tmp_path, monkeypatch):
    monkeypatch.setattr(web_graph, "_WIDE", wide)  # matrices in parts, and the embedding
    folder = exported(**settings)
    assert for_web(folder, tmp_path)["tied_embedding"]
    assert_computes_the_same(folder, tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_that_the_builder_writes_alike_pass(exported, family, tmp_path):
    folder = exported(family)
    facts = for_web(folder, tmp_path)
    assert facts["tied_embedding"] == (family not in ("untied", "phi"))
    assert_computes_the_same(folder, tmp_path)


def test_no_four_bit_kernel_is_left_and_a_weight_takes_a_byte(exported, tmp_path):
    folder = exported()
    for_web(folder, tmp_path)
    kinds = {node.op_type for node in onnx.load(str(tmp_path / MODEL), load_external_data=False).graph.node}
    assert not kinds & {"MatMulNBits", "GatherBlockQuantized"} and "MatMulIntegerToFloat" in kinds
    assert (tmp_path / DATA).stat().st_size < 2 * (folder / DATA).stat().st_size


def test_same_input_same_bytes_over_what_was_there(exported, tmp_path):
    for_web(exported(), tmp_path / "one")
    for _ in range(2):
        for_web(exported(), tmp_path / "two")
    for name in (MODEL, DATA):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_new_rows_alone_fill_a_cache_with_room_to_spare(exported, tmp_path):
    """As the browser does it: rows are written behind the others, and the mask says how many count."""
    for_web(exported(), tmp_path)
    graph = session(tmp_path)
    said, scores = greedy(graph)
    past, room = empty(graph, room=32), 0
    for at, ids in enumerate([PROMPT[:3], PROMPT[3:], *[[token] for token in said[:-1]]]):
        outputs = run(graph, ids, past if at else empty(graph), room + len(ids))
        for name, rows in past.items():
            new = outputs[name.replace("past_key_values", "new")]
            assert new.shape == (1, rows.shape[1], len(ids), HEAD)
            rows[:, :, room : room + len(ids)] = new
        room += len(ids)
        if at:
            assert np.abs(outputs["logits"][0, -1] - scores[at - 1]).max() < 1e-4 * np.abs(scores).max()


def test_a_token_of_zeros_is_no_division_by_zero(exported, tmp_path):
    """An embedding of nothing: every activation is zero."""
    folder = exported()
    for_web(folder, tmp_path)
    model = onnx.load(str(tmp_path / MODEL))
    for each in model.graph.initializer:
        if each.name.endswith("norm.weight") or "layernorm.weight" in each.name:
            each.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(each)), each.name))
    graph = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = run(graph, PROMPT, empty(graph), len(PROMPT))
    assert all(np.isfinite(value).all() for value in outputs.values())


def other(folder, out, change):
    """Copy a graph with a change."""
    model = onnx.load(str(folder / MODEL))
    change(model)
    out.mkdir()
    onnx.save(model, str(out / MODEL))
    (out / CONFIG).write_text(json.dumps(json.loads((folder / CONFIG).read_text())))
    return out


def unknown(model):
    model.graph.node.append(helper.make_node("QMoE", ["input_ids"], ["x"], domain="com.microsoft"))


def unquantized(model):
    for node in [node for node in model.graph.node if node.op_type == "MatMulNBits"]:
        model.graph.node.remove(node)


def old(model):
    model.opset_import[0].version = 17


def reordered(model):
    node = next(node for node in model.graph.node if node.op_type == "MatMulNBits")
    node.input.extend([""] * (4 - len(node.input)))
    node.input.append("g_idx")
    model.graph.initializer.append(TensorProto(name="g_idx", data_type=TensorProto.INT32, dims=[1], int32_data=[0]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (unknown, "holds QMoE, which the web export does not know"),
        (unquantized, "holds no int4 matrix"),
        (old, "without four-bit types; export it again"),
        (reordered, "is quantized in a way that the web export does not know"),
    ],
)
def test_a_graph_it_does_not_know_is_refused(exported, change, sentence, tmp_path):
    with pytest.raises(ExportError, match=sentence):
        for_web(other(exported(), tmp_path / "other", change), tmp_path / "out")
    assert not (tmp_path / "out").exists()
