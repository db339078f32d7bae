"""Scoring answers only must be the same loss, computed at fewer places."""

from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from breakfix.train.head import IGNORED, score_answers_only


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, num_key_value_heads=1, **size))


def patched(model: LlamaForCausalLM) -> LlamaForCausalLM:
    score_answers_only(SimpleNamespace(model=SimpleNamespace(get_base_model=lambda: model)))
    return model


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU trl scores answers only by itself")
def test_loss_and_gradient_are_those_of_the_whole_head(model):
    ids = torch.randint(0, 50, (3, 9))
    labels = ids.masked_fill(torch.rand(3, 9) < 0.5, IGNORED)
    plain = model(input_ids=ids, labels=labels).loss
    plain.backward()
    expected = model.model.layers[0].mlp.up_proj.weight.grad.clone()
    model.zero_grad()
    out = patched(model)(input_ids=ids, labels=labels, fused_lm_head=True)
    out.loss.backward()
    torch.testing.assert_close(out.loss, plain)
    torch.testing.assert_close(model.model.layers[0].mlp.up_proj.weight.grad, expected)
    assert out.log_probs.shape == (3, 8) and (out.log_probs[labels[:, 1:] == IGNORED] == 0).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU trl scores answers only by itself")
def test_every_other_call_goes_to_the_model_itself(model):
    ids = torch.randint(0, 50, (1, 4))
    before = model(input_ids=ids).logits
    torch.testing.assert_close(patched(patched(model))(input_ids=ids).logits, before)
