"""The guard's graph: what ONNX computes is what torch does, and four bits keep what lies on their grid."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import load
from transformers import BertConfig, BertModel

from breakfix.core.hazards import HEADS
from breakfix.export import guard_graph
from breakfix.export.guard_graph import EMBEDDING_BITS, GuardModel, by_block, by_column, on_grid, to_onnx

WORDS = 100


def model(bits):
    """A guard of random weights, large enough that eight bits are close."""
    torch.manual_seed(0)
    size = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
    encoder = BertModel(BertConfig(vocab_size=WORDS, **size))
    if bits == 4:
        weights = encoder.embeddings.word_embeddings.weight.data
        weights.copy_(on_grid(weights))
    setattr(encoder.config, EMBEDDING_BITS, bits)
    return GuardModel(encoder, len(HEADS)).eval()


def run(path, ids):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {"input_ids": np.asarray([ids]), "token_type_ids": np.asarray([[0] * (len(ids) - 1) + [1]])}
    assert {each.name for each in session.get_inputs()} == feed.keys()
    return session.run(None, feed)[0][0]


@pytest.mark.parametrize("bits", [4, 8])
def test_onnx_computes_what_torch_does(bits, tmp_path):
    guard, texts = model(bits), [[1, 2, 3], [7] * 40, list(range(WORDS))]
    with torch.inference_mode():
        ones = [torch.ones(1, len(ids), dtype=torch.int64) for ids in texts]
        types = [torch.tensor([[0] * (len(ids) - 1) + [1]]) for ids in texts]
        expected = [guard(torch.tensor([ids]), kinds)[0].numpy() for ids, kinds in zip(texts, types, strict=True)]
        padded = [guard.logits(torch.tensor([i]), m, t)[0, :4].sigmoid() for i, m, t in zip(texts, ones, types, strict=True)]
    to_onnx(guard, tmp_path / "float.onnx")
    for ids, want, trained in zip(texts, expected, padded, strict=True):
        assert run(tmp_path / "float.onnx", ids) == pytest.approx(want, abs=1e-5)
        assert want[:4] == pytest.approx(trained.numpy(), abs=1e-5), "what is trained is what is exported"
    for write in (by_column, by_block):
        with guard_graph.quiet():
            write(tmp_path / "float.onnx", tmp_path / "int8.onnx")
        for ids, want in zip(texts, expected, strict=True):
            assert run(tmp_path / "int8.onnx", ids) == pytest.approx(want, abs=0.02)
    assert (tmp_path / "int8.onnx").stat().st_size < 0.5 * (tmp_path / "float.onnx").stat().st_size


def test_entries_that_are_alike_are_stored_once(tmp_path):
    sizes, said = [], []
    for alike in (1, 60):
        guard = model(4)
        weights = guard.encoder.embeddings.word_embeddings.weight.data
        weights[20 : 20 + alike] = weights[20]
        with torch.inference_mode():
            said.append(guard(torch.tensor([[5, 20, 99]]), torch.zeros(1, 3, dtype=torch.int64))[0].numpy())
        to_onnx(guard, tmp_path / "float.onnx")
        sizes.append((tmp_path / "float.onnx").stat().st_size)
        assert run(tmp_path / "float.onnx", [5, 20 + alike - 1, 99])[:4] == pytest.approx(
            guard(torch.tensor([[5, 20, 99]]), torch.tensor([[0, 0, 1]]))[0].detach().numpy()[:4], abs=1e-5
        )
    assert sizes[0] - sizes[1] >= 59 * (128 // 2 + 128 // 32 * 2) and said[0] == pytest.approx(said[1], abs=1e-6)


@given(st.lists(st.floats(-100, 100, width=32), min_size=64, max_size=64), st.sampled_from([1.0, 1e-9, 1e-6, 1e-3, 100.0]))
def test_what_lies_on_the_grid_stays_and_the_rest_moves_less_than_a_step(numbers, scale):
    weights = torch.tensor(numbers).reshape(1, 64) * scale
    once = on_grid(weights)
    assert torch.equal(on_grid(once), once)
    # The end of the grid away from the largest number is one step short.
    steps = weights.abs().unflatten(-1, (-1, 32)).amax(-1) / 8
    assert ((once - weights).abs().unflatten(-1, (-1, 32)).amax(-1) <= 1.01 * steps + 5e-4).all()


def test_smoothed_it_computes_the_same(tmp_path):
    guard = model(8)
    with torch.no_grad():  # a few columns far larger than the others, as trained encoders have them
        for layer in guard.encoder.encoder.layer:
            layer.output.LayerNorm.weight[:3] *= 30
    to_onnx(guard, tmp_path / "float.onnx")
    texts = [[1, 2, 3], [7] * 40, list(range(WORDS))]
    feeds = [{"input_ids": np.asarray([ids]), "token_type_ids": np.zeros((1, len(ids)), np.int64)} for ids in texts]
    guard_graph.smooth(tmp_path / "float.onnx", tmp_path / "smooth.onnx", feeds)
    for ids in texts:
        assert run(tmp_path / "smooth.onnx", ids) == pytest.approx(run(tmp_path / "float.onnx", ids), abs=1e-4)
    assert sum(node.op_type == "Mul" and "smooth" in node.output[0] for node in load(tmp_path / "smooth.onnx").graph.node) >= 8
