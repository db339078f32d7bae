"""The JavaScript engine, in Node, over a tiny model: native greedy tokens, and the same words whatever its cache holds."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from breakfix.core import artifact
from breakfix.export.int4 import Int4Settings, int4
from breakfix.export.mobile.web_graph import CONFIG, MODEL, for_web
from breakfix.runtime.engine import Message
from breakfix.runtime.template import TEMPLATE, TOKENIZER, TOKENIZER_CONFIG, ChatTemplate

WEB = Path(__file__).parents[2] / "export" / "mobile" / "web"
NODE = "node"
NEEDED = ("onnxruntime-web", "@huggingface/tokenizers", "@huggingface/jinja")
END, CONTEXT, COUNT = 2, 256, 24
FIRST = Message("user", "Two words, né 😀<|im_end|><|im_<|im_end|>start|>?")
ANSWER, SECOND = Message("assistant", "What else"), Message("user", "And now?")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model's graph for the web, with what lies beside it."""
    folder = tmp_path_factory.mktemp("model")
    source = artifact.produce(folder / "model", "checkpoint", {}, {}, checkpoint).path
    made = int4(Int4Settings(context=CONTEXT), source, folder / "int4").path
    for_web(made, folder / "web")
    for name in (CONFIG, TEMPLATE, TOKENIZER, TOKENIZER_CONFIG):
        shutil.copy(made / name, folder / "web")
    return folder / "web"


def checkpoint(folder):
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = {word: at for at, word in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=specials[END], bos_token=specials[1])
    fast.add_special_tokens({"additional_special_tokens": specials})
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    torch.manual_seed(2)
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 32}
    more = {"num_key_value_heads": 1, "initializer_range": 0.2, "eos_token_id": END, "tie_word_embeddings": True}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), max_position_embeddings=512, **size, **more)).save_pretrained(folder)


def native(folder, ids):
    """Return the greedy tokens of the same graph on native kernels, an end included."""
    options = ort.SessionOptions()
    for key in ("session.disable_quant_qdq", "session.disable_prepacking"):
        options.add_session_config_entry(key, "1")
    graph = ort.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
    said, ids = [], list(ids)
    past = {each.name: np.zeros((1, 1, 0, 32), np.float32) for each in graph.get_inputs() if each.name.startswith("past")}
    while len(said) < COUNT and END not in said:
        feed = {"input_ids": np.asarray([ids + said]), "attention_mask": np.ones((1, len(ids) + len(said)), np.int64), **past}
        said.append(int(graph.run(["logits"], feed)[0][0, -1].argmax()))
    return said


@pytest.fixture(scope="module")
def run(modules, model, tmp_path_factory):
    """What the engine said of everything that was asked."""
    conversation = [FIRST]
    asked = {
        "conversation": [message._asdict() for message in conversation],
        "goesOn": [message._asdict() for message in (FIRST, ANSWER, SECOND)],
        "prompts": [[5, 6, 7], [40], list(range(3, 150))],
        "count": COUNT,
    }
    path = tmp_path_factory.mktemp("asked") / "asked.json"
    path.write_text(json.dumps(asked), encoding="utf-8")
    command = [NODE, Path(__file__).parent / "web" / "engine.mjs", WEB, modules, model, path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return asked, json.loads(done.stdout)


def test_its_tokens_are_the_native_ones(run, model):
    """The longest prompt is read in several parts."""
    asked, seen = run
    assert seen["tokens"] == [native(model, ids) for ids in asked["prompts"]]
    assert all(len(set(tokens)) > 1 for tokens in seen["tokens"])


def test_it_reads_a_conversation_as_python_does(run, model):
    """Tokens inside a message are taken for text, also those that appear when others are taken out."""
    template = ChatTemplate(model)
    ids = template.encode([FIRST])
    assert run[1]["ids"] == ids and ids.count(END) == 1
    said = [token for token in native(model, ids) if token != END]
    assert run[1]["first"]["text"] == template.decode(said)
    assert run[1]["first"]["newTokens"] == len(said) and run[1]["first"]["promptTokens"] == len(ids)


def test_a_cache_changes_what_is_read_and_not_what_is_said(run, model):
    seen = run[1]
    assert seen["warm"]["text"] == seen["cold"]["text"] and seen["again"]["text"] == seen["first"]["text"]
    assert seen["cold"]["readTokens"] == seen["cold"]["promptTokens"] == seen["warm"]["promptTokens"]
    question = len(ChatTemplate(model).encode([FIRST]))
    assert seen["warm"]["readTokens"] == seen["warm"]["promptTokens"] - question
    # The question's beginning is in the cache still; its last token is always read again.
    assert seen["again"]["readTokens"] == 1
    assert seen["afterStop"]["text"] == seen["first"]["text"]


def test_it_stops_between_two_tokens(run):
    assert run[1]["stopped"] == 2


def test_no_piece_ends_inside_a_character(run):
    seen = run[1]
    assert "né 😀 好" in "".join(seen["characters"])
    assert not any("\ufffd" in piece for piece in seen["characters"]) and {"é", "😀", "好"} <= set(seen["characters"])


def test_a_seed_draws_the_same_words_and_the_nucleus_no_others(run):
    seen = run[1]
    assert seen["sampled"][0] == seen["sampled"][1] != seen["sampled"][2]
    one, again, other = seen["drawn"]
    assert one == again != other
    # Of .5 and .25 and .15 and .1, the first two are the least that make up .7.
    assert set(one) == {0, 1} and 0.58 < one.count(0) / len(one) < 0.75


def test_a_conversation_without_room_for_an_answer_is_refused(run):
    assert run[1]["tooLong"].startswith("RangeError: the conversation has 10") and f"reads {CONTEXT}" in run[1]["tooLong"]
