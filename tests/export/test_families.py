"""Every family that the export knows, as a tiny random model: weights on the int4 grid, so that its graph must agree with them.

Exact agreement can be asked for because nothing is rounded any more: the weights lie on the grid (`calibrate`), and
`accuracy_level=1` leaves activations as they are. What is left is the order of float32 sums.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime_genai
import pytest
import torch
from gguf import GGUFWriter
from peft import LoraConfig, get_peft_model
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from breakfix.core import artifact
from breakfix.export.calibrate import CalibrateSettings, calibrate
from breakfix.export.checkpoint import open_checkpoint
from breakfix.export.int4 import Int4Settings, int4
from breakfix.export.merge import merge
from breakfix.export.plan import VARIANTS, PlanSettings, plan
from breakfix.runtime.engine import Message, Sampling
from breakfix.runtime.genai import GenAIEngine
from breakfix.runtime.template import ChatTemplate

EXACT = Int4Settings(context=512, accuracy_level=1)
CALIBRATE = CalibrateSettings(rows=8, tokens=16)
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
TALK = [
    "How do I fold a paper boat?",
    "Fold it in half, then like a hat.",
    "Which birds stay here in winter?",
    "Wrens and robins do.",
]
WINDOW = 16
TOLERANCE = 1e-3
"""Of the largest logit: what the order of float32 sums may change. A wrong position or window changes tenths of it."""

QWEN_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for message in messages %}<|start|>{{ message['role'] }}<|stop|>\n\n"
    "{{ message['content'] | trim }}<|eot|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|stop|>\n\n{% endif %}"
)
PHI = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] | trim }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
INSTRUCT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] {{ message['content'] }}[/INST]"
    "{% else %} {{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
DATED = "{% set ns = namespace(day=strftime_now('%Y')) %}<|im_start|>system\nIt is {{ ns.day }}.<|im_end|>\n" + CHATML
SIZE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 1024, "initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
LONG = {"type": "longrope", "short_factor": [1 + n / 24 for n in range(24)], "long_factor": [2.0 + n for n in range(24)]}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


class Family(NamedTuple):
    """How a tiny model of a family is built."""

    config: type
    changes: dict
    specials: tuple[str, ...]
    """Its special tokens: unknown, beginning, end, and those of its template."""
    template: str
    pieces: bool = False
    """Whether its tokenizer writes spaces as SentencePiece does, and not as bytes."""
    composes: bool = False
    """Whether its tokenizer brings letters and their accents together first (NFC)."""


QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PHI_TOKENS = ("<unk>", "<s>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|endoftext|>")
FAMILIES = {
    "llama": Family(LlamaConfig, {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 256}, "head_dim": 32},
                    ("<|unk|>", "<|bos|>", "<|eot|>", "<|start|>", "<|stop|>"), HEADERS),
    "smollm2": Family(LlamaConfig, {"tie_word_embeddings": True}, QWEN, CHATML),
    "mistral": Family(MistralConfig, {"sliding_window": WINDOW}, ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), INSTRUCT, True),
    "phi-3": Family(Phi3Config, {"original_max_position_embeddings": 1024, "sliding_window": WINDOW}, PHI_TOKENS, PHI, True),
    "phi-4-mini": Family(
        Phi3Config, {"hidden_size": 128, "tie_word_embeddings": True, "original_max_position_embeddings": 128,
                     "rope_scaling": LONG, "partial_rotary_factor": 0.75}, PHI_TOKENS, PHI),
    "qwen2.5": Family(Qwen2Config, {"tie_word_embeddings": True}, QWEN, CHATML, composes=True),
    "qwen3": Family(Qwen3Config, {"tie_word_embeddings": True, "head_dim": 32}, QWEN, CHATML, composes=True),
    "gemma-3": Family(
        Gemma3TextConfig, {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": WINDOW, "num_hidden_layers": 3,
                           "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]},
        ("<pad>", "<bos>", "<end>", "<turn>", "<unk>"), TURNS, True),
    "smollm3": Family(
        SmolLM3Config, {"tie_word_embeddings": True, "num_hidden_layers": 4, "no_rope_layers": [1, 1, 0, 1]}, QWEN, DATED),
}  # fmt: skip


def byte_tokenizer(specials, composes):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if composes:
        tokenizer.normalizer = normalizers.NFC()
        cut = pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TALK, trainers.BpeTrainer(vocab_size=350, special_tokens=list(specials), initial_alphabet=LETTERS)
    )
    return tokenizer


def piece_tokenizer(specials):
    tokenizer = Tokenizer(models.BPE(unk_token=specials[0], byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    # No piece goes on beyond a word, as in SentencePiece; the tokenizer itself cuts nothing.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    octets = [f"<0x{octet:02X}>" for octet in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=350, special_tokens=[*specials, *octets])
    tokenizer.train_from_iterator(TALK, trainer)
    return Tokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()) | {"pre_tokenizer": None}))


class Made(NamedTuple):
    """What became of a tiny model."""

    source: Path
    calibrated: Path
    int4: Path


def write_model(family, folder, seed=0):
    """Write a random model as an HF folder, its norms and biases as uneven as a trained one's."""
    specials = family.specials
    tokenizer = piece_tokenizer(specials) if family.pieces else byte_tokenizer(specials, family.composes)
    unknown, first, last, *_ = specials
    named = {"unk_token": unknown, "pad_token": unknown, "bos_token": first, "eos_token": last}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    fast.add_special_tokens({"additional_special_tokens": [*specials[3:], "<|spare|>"]})
    fast.chat_template = family.template
    torch.manual_seed(seed)
    config = family.config(**SIZE | family.changes | {"vocab_size": len(fast)})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                # Layers of Gemma 3 would be lost beside its large embeddings, and each token would be said again and again.
                louder = 4.0 if config.model_type == "gemma3_text" and "post_" in name else 0.0
                parameter.add_(louder + 0.1 * torch.randn_like(parameter))
            assert parameter.std() > 0.05, name
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def talk(folder):
    """Write a dataset to calibrate with."""

    def write(work):
        rows = [
            {"label": label, "prompt": TALK[n % 4], "answer": TALK[(n + 1) % 4], "use": "sft"}
            for n in range(40)
            for label in ("safe", "general", "unsafe")
        ]
        (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    return artifact.produce(folder, "dataset", {}, {}, write).path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function that takes a family from an HF folder to int4, once."""
    done = {}

    def make(name):
        if name not in done:
            folder = tmp_path_factory.mktemp("family")
            source = write_model(FAMILIES[name], folder / "source")
            opened = open_checkpoint(str(source), folder / "checkpoint")
            rounded = calibrate(CALIBRATE, opened.path, talk(folder / "data"), folder / "calibrated")
            done[name] = Made(source, rounded.path, int4(EXACT, rounded.path, folder / "int4").path)
        return done[name]

    return make


def float_model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def greedy(folder, prompt, tokens):
    """Return the tokens that onnxruntime-genai takes one after another, and the logits that it took each from."""
    model = onnxruntime_genai.Model(str(folder))
    parameters = onnxruntime_genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(prompt) + tokens, do_sample=False)
    generator = onnxruntime_genai.Generator(model, parameters)
    generator.append_tokens(np.asarray([prompt], np.int32))
    logits = []
    while not generator.is_done():
        logits.append(generator.get_logits()[0, -1])
        generator.generate_next_token()
    said = generator.get_sequence(0)[len(prompt) :].tolist()
    # The token that ends an answer is none of it.
    return said, torch.tensor(np.stack(logits[: len(said)]))


def compare(folder, reference, length, tokens=24):
    """Assert that an int4 folder says what a float model says, and that what it says is worth comparing."""
    vocabulary = reference.config.vocab_size
    prompt = torch.randint(len(QWEN), vocabulary, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    said, logits = greedy(folder, prompt, tokens)
    with torch.inference_mode():
        expected = reference(torch.tensor([prompt + said])).logits[0, length - 1 : -1]
    assert said == expected.argmax(-1).tolist()
    assert (logits[:, :vocabulary] - expected).abs().max() < TOLERANCE * expected.abs().max()
    return said


@pytest.mark.parametrize("name", FAMILIES)
def test_int4_says_token_by_token_what_its_float_weights_say(made, name):
    _, calibrated, folder = made(name)
    reference = float_model(calibrated)
    # The second prompt is longer than the attention window of those families that have one.
    said = [compare(folder, reference, length) for length in (5, 3 * WINDOW)]
    assert len(set(said[0] + said[1])) > 8


@pytest.mark.parametrize("name", FAMILIES)
def test_the_template_and_the_answer_are_those_of_transformers(made, name):
    _, calibrated, folder = made(name)
    tokenizer = AutoTokenizer.from_pretrained(calibrated)
    turns = [Message("user", "Which birds stay? é 😀"), Message("assistant", "Wrens do."), Message("user", "  Why, then? ")]
    said = [message._asdict() for message in turns]
    ids = tokenizer.apply_chat_template(said, add_generation_prompt=True, return_dict=False)
    assert ChatTemplate(folder).encode(turns) == ids
    text = GenAIEngine(folder).generate([turns], Sampling(max_new_tokens=16))[0]
    with torch.inference_mode():
        expected = float_model(calibrated).generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)[0, len(ids) :]
    ends = artifact.load(folder, "int4").facts["eos_token_ids"]
    kept = [token for token in expected.tolist() if token not in ends]
    assert text == tokenizer.decode(kept, skip_special_tokens=True)


def test_the_same_export_twice_has_the_same_id(made, tmp_path):
    _, calibrated, folder = made("gemma-3")
    again = int4(EXACT, calibrated, tmp_path / "again")
    assert again.id == artifact.load(folder, "int4").id


def test_a_killed_export_starts_clean(made, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    _, calibrated, folder = made("smollm3")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("breakfix.export.int4._configure", kill)
        int4(EXACT, calibrated, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    # As if the builder had been stopped in the middle of a file.
    (tmp_path / "again.partial" / "model.onnx.data").write_bytes(b"half")
    assert int4(EXACT, calibrated, tmp_path / "again").id == artifact.load(folder, "int4").id


def test_another_model_than_the_exported_one_is_told_apart(made):
    # What the comparison must see: the same graph with one layer's window, or its positions, as another family has them.
    for name, change in {"gemma-3": {"sliding_window": 4 * WINDOW}, "smollm3": {"no_rope_layers": [1, 1, 1, 1]}}.items():
        _, calibrated, folder = made(name)
        reference = AutoModelForCausalLM.from_pretrained(calibrated, dtype=torch.float32, **change)
        with pytest.raises(AssertionError):
            compare(folder, reference, 3 * WINDOW)


def test_positions_told_otherwise_beyond_a_length_end_there(made):
    assert artifact.load(made("phi-4-mini").int4).facts["context"] == 128


def test_text_that_the_app_must_compose_is_put_on_record(made):
    forms = {name: artifact.load(made(name).int4).facts.get("text_form") for name in ("qwen2.5", "qwen3", "smollm2")}
    assert forms == {"qwen2.5": "NFC", "qwen3": "NFC", "smollm2": None}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_plan_counts_the_bytes_of_the_weights(made, name):
    _, calibrated, folder = made(name)
    planned = plan(PlanSettings(context=512), str(calibrated))[1][0]
    # What is small lies in the graph.
    assert planned.weights == pytest.approx((folder / "model.onnx.data").stat().st_size, rel=0.01)


# k_quant divides zero by zero where a whole block is zero, as the padding token's is, and takes another scale.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning:onnxruntime.*")
@pytest.mark.parametrize("name", ["llama", "smollm2"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_that_a_plan_offers_loads_and_has_its_bytes(made, name, variant, tmp_path):
    calibrated = made(name).calibrated
    exported = int4(replace(VARIANTS[variant], context=512), calibrated, tmp_path / "int4")
    planned = {row.name: row for row in plan(PlanSettings(context=512), str(calibrated))[1]}[variant]
    assert planned.weights == pytest.approx((exported.path / "model.onnx.data").stat().st_size, rel=0.01)


def test_a_base_with_an_adapter_says_what_both_say(made, tmp_path):
    base = open_checkpoint(str(made("phi-3").source), tmp_path / "base")
    model = float_model(base.path)
    torch.manual_seed(1)
    lora = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"))
    adapter = artifact.produce(tmp_path / "adapter", "adapter", {}, {}, lambda work: lora.save_pretrained(work) and None)
    merged = merge(base.path, [adapter.path], tmp_path / "merged")
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        both, plain = lora(ids).logits, float_model(base.path)(ids).logits
        apart = (float_model(merged.path)(ids).logits - both).abs().max()
    assert apart < TOLERANCE * both.abs().max() < (plain - both).abs().max()
    rounded = calibrate(CALIBRATE, merged.path, talk(tmp_path / "data"), tmp_path / "rounded")
    compare(int4(EXACT, rounded.path, tmp_path / "int4").path, float_model(rounded.path), 20)


def test_a_gguf_file_becomes_the_model_that_it_was_written_from(made, tmp_path):
    _, calibrated, folder = made("qwen2.5")
    model = float_model(calibrated)
    write_gguf(model, AutoTokenizer.from_pretrained(calibrated), tmp_path / "model.gguf")
    opened = open_checkpoint(str(tmp_path / "model.gguf"), tmp_path / "opened")
    weights = float_model(opened.path).state_dict()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    exported = int4(EXACT, opened.path, tmp_path / "int4")
    turns = [Message("user", TALK[0])]
    answers = [GenAIEngine(path).generate([turns], Sampling(max_new_tokens=16)) for path in (exported.path, folder)]
    assert answers[0] == answers[1]


def write_gguf(model, tokenizer, path):
    """Write a Qwen2 model as a GGUF file, as llama.cpp's converter names and shapes it."""
    config, writer = model.config, GGUFWriter(path, "qwen2")
    sizes = {"block_count": config.num_hidden_layers, "context_length": config.max_position_embeddings,
             "embedding_length": config.hidden_size, "feed_forward_length": config.intermediate_size,
             "attention.head_count": config.num_attention_heads, "attention.head_count_kv": config.num_key_value_heads,
             "vocab_size": config.vocab_size}  # fmt: skip
    for key, size in sizes.items():
        writer.add_uint32(f"qwen2.{key}", size)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    inner = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([tokenizer.convert_ids_to_tokens(number) for number in range(len(tokenizer))])
    writer.add_token_types([3 if number in tokenizer.added_tokens_decoder else 1 for number in range(len(tokenizer))])
    writer.add_token_merges([" ".join(pair) for pair in inner["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    names = {
        "self_attn.": "attn_",
        "o_proj": "output",
        "q_proj": "q",
        "k_proj": "k",
        "v_proj": "v",
        "mlp.": "ffn_",
        "_proj": "",
    }
    names |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "model.layers.": "blk."}
    names |= {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
    for name, value in model.state_dict().items():
        if name != "lm_head.weight":
            for ours, theirs in names.items():
                name = name.replace(ours, theirs)
            writer.add_tensor(name, value.numpy())
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        write()
