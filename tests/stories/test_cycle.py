"""The main job, from the first source to the report, through the front door."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from breakfix.core import artifact
from breakfix.core.jsonl import read_jsonl
from breakfix.eval import suites
from breakfix.eval.run import EvalSettings
from breakfix.eval.torch_engine import TorchEngine
from breakfix.guardrails.guard import SHIPPED
from breakfix.runtime.engine import Message, Sampling
from breakfix.runtime.genai import GenAIEngine
from breakfix.runtime.session import Session
from breakfix.train.cycle import stages
from breakfix.train.cycle_recipe import CycleRecipe

# One worker runs all that shares the tiny cycle.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny cycle")]

STAGES = (
    "base", "data", "sft", "tuned", "pairs", "dpo", "aligned", "calibrated", "int4", "teacher", "classifier", "guard",
    "records-base", "records-aligned-float", "records-aligned-int4", "records-int4-guard", "report",
)  # fmt: skip
INT4 = "int4={context: 512, over_refusal: 0.5}"
WITHOUT_NETWORK = (
    "import socket, sys\n"
    "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
    "socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse\n"
    "from breakfix.cli import main\n"
    "main()\n"
)
SILENTLY = (
    "import os, sys\n"
    "sys.argv, sys.stdout = ['breakfix', *{words!r}], open(os.devnull, 'w')\n"
    "sys.stderr = sys.stdout\n"
    "from breakfix.cli import main\n"
    "main()\n"
)


def ids(folder: Path) -> dict[str, str]:
    return {name: artifact.load(folder / name).id for name in STAGES}


def test_a_cycle_ends_with_every_artifact_and_a_report_that_names_them(tiny_cycle):
    made = ids(tiny_cycle)
    report = (tiny_cycle / "report" / "report.md").read_text()
    figures = json.loads((tiny_cycle / "report" / "report.json").read_text())
    assert [system["name"] for system in figures["systems"]] == ["base", "aligned float", "aligned int4", "int4 + guard"]
    assert figures["systems"][2]["engine"] == made["int4"]
    assert figures["systems"][3]["engine"].startswith(made["int4"] + "+" + made["guard"])
    assert made["int4"] in report and made["records-base"] in report


def test_curated_data_hold_nothing_twice_and_nothing_we_measure_with(tiny_cycle):
    data = artifact.load(tiny_cycle / "data")
    rows = read_jsonl(data.path / "rows.jsonl")
    measured = {sample.prompt for suite in suites.registered() for sample in suite.samples}
    assert data.facts["removed"]["overlaps everyday"] == 1 and data.facts["removed"]["duplicate"] == 2
    assert not measured & {row["prompt"] for row in rows} and all(row["licence"] and row["source"] for row in rows)
    assert {f"suite:{name}" for name in ("harmbench", "contrast", "everyday")} <= set(data.manifest["inputs"])


def test_a_second_run_returns_at_once_and_changes_nothing(breakfix, tiny_cycle, tiny_settings):
    before = ids(tiny_cycle)
    again = breakfix("train", "cycle", "--out", tiny_cycle, *tiny_settings)
    assert again.returncode == 0 and "report.html" in again.stdout
    assert again.stderr.count("finished before") == len(STAGES) and ids(tiny_cycle) == before


def test_a_cycle_may_take_a_finished_guard_instead_of_training_one(tiny_cycle, tmp_path):
    ready = CycleRecipe(ready_guard=str(tiny_cycle / "guard"), eval=EvalSettings(suites=("everyday",)))
    planned = {stage.name: stage for stage in stages(ready, tmp_path)}
    assert [*planned] == [name for name in STAGES if name not in ("teacher", "classifier")]
    assert planned["guard"].make().id == artifact.load(tiny_cycle / "guard").id


def test_the_guard_of_a_cycle_is_measured(breakfix, tiny_cycle):
    done = breakfix("eval", "guard", "everyday", "contrast-held-out", "--guard", tiny_cycle / "guard")
    assert done.returncode == 0, done.stderr
    assert json.loads((tiny_cycle / "guard" / "manifest.json").read_text())["id"] in done.stdout
    assert "| everyday | not judged | 0 |" in done.stdout
    assert "all suites: F1 " in done.stdout


def test_many_texts_are_judged_one_verdict_a_line(breakfix, tiny_cycle):
    rows = '{"prompt": "How do I bake bread?"}\n\n{"prompt": "Hello", "answer": "Good morning."}\n'
    done = breakfix("guard", "check", "--jsonl", "--guard", tiny_cycle / "guard", stdin=rows)
    assert [json.loads(line)["rail"] for line in done.stdout.splitlines()] == ["input", "output"], done.stderr
    broken = breakfix("guard", "check", "--jsonl", "--guard", tiny_cycle / "guard", stdin=rows + '{"answer": "x"}\n')
    assert len(broken.stdout.splitlines()) == 2, "what was judged before the broken line stands"
    assert (
        broken.returncode == 1 and broken.stderr == "breakfix: standard input line 4 lacks prompt; mend or remove that line\n"
    )


def test_what_the_guard_costs_is_measured(breakfix, tiny_cycle):
    done = breakfix("guard", "bench", "--rounds", "2", "--guard", tiny_cycle / "guard")
    figures = {line[:24].strip(): float(line[24:36]) for line in done.stdout.splitlines()}
    assert figures.keys() >= {"one pass, 128 tokens", "one input check", "one output check", "memory", "guard folder"}, (
        done.stderr
    )
    assert all(value > 0 for name, value in figures.items() if name != "memory")


def test_a_bundle_is_raced_against_itself_without_the_guard(breakfix, tiny_cycle, tmp_path):
    out = tmp_path / "bench"
    words = ["--guard", SHIPPED, "--rounds", "1", "--prompt-tokens", "96", "--tokens", "6", "--out", out]
    done = breakfix("bench", tiny_cycle, *words)
    assert done.returncode == 0, done.stderr
    told = json.loads((out / "bench.json").read_text())
    assert [result["name"] for result in told["results"]] == ["both rails", "no guard"]
    assert 80 <= told["read"] <= 96
    assert all(result[key] > 0 for result in told["results"] for key in ("load", "first", "prefill", "decode", "peak", "size"))
    assert (out / "bench.md").read_text() in done.stdout and (out / "bench.png").stat().st_size > 1000
    refused = breakfix("bench", tiny_cycle, "--vs", "gguf:nowhere.gguf")
    assert (refused.returncode, refused.stderr) == (
        2,
        "breakfix: --vs gguf:nowhere.gguf names no GGUF file; write it as gguf:FILE\n",
    )


def test_another_recipe_for_the_same_folder_is_refused(breakfix, tiny_cycle, tiny_settings):
    refused = breakfix("train", "cycle", "--out", tiny_cycle, *tiny_settings, "--set", "sft.lora.rank=4")
    assert refused.returncode == 1
    assert "lora.rank" in refused.stderr and "choose another --out" in refused.stderr and "Traceback" not in refused.stderr


def test_killed_in_every_stage_and_started_again_it_ends_with_the_same_ids(tiny_cycle, tiny_settings, tmp_path):
    out = tmp_path / "run"
    words = ["train", "cycle", "--out", str(out), *map(str, tiny_settings)]
    # Each run is a process of its own, forked from one that has imported everything: importing took most of the time.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["trl", "breakfix.cli", "breakfix.train.cycle"])
    for stage in STAGES:
        _kill_in(stage, processes.Process(target=exec, args=(SILENTLY.format(words=words),)), out)
    done = subprocess.run([sys.executable, "-m", "breakfix.cli", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ids(out) == ids(tiny_cycle)


def test_chat_eval_and_export_open_no_socket(tiny_cycle, tmp_path):
    for words in (
        ["chat", str(tiny_cycle), "--prompt", "hello", "--max-new-tokens", "4"],
        ["eval", "run", str(tiny_cycle / "int4"), "--suite", "everyday", "--out", str(tmp_path / "r"), "--max-new-tokens", "2"],
        [
            "export",
            "int4",
            str(tiny_cycle / "calibrated"),
            "--out",
            str(tmp_path / "int4"),
            "--set",
            INT4,
            "--pairs",
            str(tiny_cycle / "pairs"),
        ],
        ["guard", "check", "hello", "--guard", str(tiny_cycle / "guard")],
    ):
        done = subprocess.run([sys.executable, "-c", WITHOUT_NETWORK, *words], capture_output=True, text=True, check=False)
        assert "a socket was opened" not in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert done.returncode == 0 or words[0] == "guard"
    assert artifact.load(tmp_path / "int4").id == artifact.load(tiny_cycle / "int4").id, "the same export has the same id"


def test_a_changed_byte_in_the_model_is_refused_by_chat(breakfix, tiny_cycle, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(tiny_cycle / "int4", copy / "int4")
    shutil.copytree(tiny_cycle / "guard", copy / "guard")
    weights = copy / "int4" / "model.onnx.data"
    blob = bytearray(weights.read_bytes())
    blob[len(blob) // 2] ^= 1
    weights.write_bytes(blob)
    refused = breakfix("chat", copy, "--prompt", "hello")
    assert refused.returncode == 1 and "model.onnx.data was changed" in refused.stderr and refused.stdout == ""


@pytest.mark.parametrize(
    ("stage", "parts"), [("sft", ("base", "base", "data", "data")), ("dpo", ("base", "tuned", "pairs", "pairs"))]
)
def test_two_processes_train_one_adapter(stage, parts, tiny_cycle, tiny_settings, tmp_path):
    option, model, second, rows = parts
    words = ["train", stage, f"--{option}", tiny_cycle / model, f"--{second}", tiny_cycle / rows, "--out", tmp_path / stage]
    # On a machine without GPUs this is how accelerate starts several processes by itself.
    launcher = [
        Path(sys.executable).parent / "accelerate",
        "launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "breakfix.cli"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [str(word) for word in (*launcher, *words, *tiny_settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    two, one = artifact.load(tmp_path / stage, "adapter"), artifact.load(tiny_cycle / stage, "adapter")
    assert two.manifest["inputs"] == one.manifest["inputs"]
    assert two.facts["steps"] < one.facts["steps"], "two processes share the rows of a step"


def _kill_in(stage: str, process: multiprocessing.process.BaseProcess, out: Path) -> None:
    """Start the cycle and SIGKILL it while the stage is at work; training stages once they have saved a checkpoint."""
    partial, finished = out / f"{stage}.partial", out / stage / artifact.MANIFEST
    sign = "scratch/checkpoints/checkpoint-*/trainer_state.json" if stage in ("sft", "dpo", "classifier") else artifact.ORDER
    process.start()
    try:
        while not any(partial.glob(sign)) and not finished.exists():
            assert process.is_alive(), f"the cycle ended before {stage}"
            time.sleep(0.002)
    finally:
        process.kill()
        process.join()


def test_the_int4_model_refuses_as_many_look_alikes_as_told(tiny_cycle):
    told = artifact.load(tiny_cycle / "int4").facts["threshold"]
    pairs = artifact.load(tiny_cycle / "pairs")
    unseen = [row for row in read_jsonl(tiny_cycle / "data" / "rows.jsonl") if row["use"] == "preference"]
    kept = {tuple(row["ids"]) for row in read_jsonl(pairs.path / "look-alikes.jsonl")}
    engine = GenAIEngine(tiny_cycle / "int4")
    asked = [c for row in unseen if tuple(engine.template.encode(c := [Message("user", row["prompt"])])) in kept]
    said = engine.generate(asked, Sampling(1))
    refused = said.count(engine.template.decode(pairs.facts["openings"]))
    assert told["refused_as_set"] == pytest.approx(refused / told["prompts"], abs=1e-4)
    assert len(asked) == told["prompts"] > 1 and refused == told["prompts"] // 2 != told["refused_as_built"] * told["prompts"]


def test_a_turn_reads_only_what_is_new(tiny_cycle):
    engine, fresh = GenAIEngine(tiny_cycle / "int4"), GenAIEngine(tiny_cycle / "int4")
    talk: list[Message] = []
    for number in range(6):
        talk.append(Message("user", f"How do I bake {number} breads?"))
        answer = "".join(engine.stream(talk, Sampling(8)))
        # Another conversation on the same weights, which has seen nothing of this one.
        # Where the last token ends inside a character, only one of them shows that there was one.
        assert answer.rstrip("\ufffd") == fresh.generate([talk], Sampling(8))[0].rstrip("\ufffd")
        new = engine.length(talk) - (engine.length(talk[:-2]) if number else 0)
        assert engine.read <= new + 2, "the turn, and what the template writes around the last answer"
        talk.append(Message("assistant", answer))
    assert "".join(engine.stream(talk[:5], Sampling(8))) == talk[5].content and engine.read < 40, "asked again"
    started = engine.stream(talk[:3], Sampling(8))
    next(started)
    beside = "".join(engine.stream(talk[:5], Sampling(8)))
    assert beside == talk[5].content and engine.read == engine.length(talk[:5]), "two at once do not share a cache"
    started.close()
    assert "".join(engine.stream(talk[:3], Sampling(8))) == talk[3].content, "the rest that nobody wanted is forgotten"
    drawn = ["".join(engine.stream(talk[:3], Sampling(8, temperature=1.0, seed=5))) for _ in range(2)]
    assert drawn[0] == drawn[1], "the same dice from the same seed"


def test_fifty_turns_keep_within_the_models_context(tiny_cycle):
    engine = GenAIEngine(tiny_cycle / "int4")
    session = Session(engine, None, Sampling(8))
    forgotten = 0
    for number in range(50):
        said = "".join(session.ask(f"How do I bake {number} breads with so many words around it as one likes to type?"))
        forgotten += session.last.forgotten
        assert said == session.last.answer
        assert engine._kept.room <= engine.context and engine.read <= engine.context
    assert forgotten > 0, "the conversation outgrew the model and went on"


def test_the_float_reference_answers_a_batch_as_it_answers_one(tiny_cycle):
    engine = TorchEngine(tiny_cycle / "aligned")
    asked = [[Message("user", text)] for text in ("Hi", "How do I bake bread at home?", "Hi", "Why?", "How do I bake a cake?")]
    together = engine.generate(asked, Sampling(8))
    assert together == [engine.generate([one], Sampling(8))[0] for one in asked]
    assert together == ["".join(engine.stream(one, Sampling(8))) for one in asked]
    only = engine.template.encode_answer("A")[0]
    others = [token for token in range(engine.template.tokenizer.get_vocab_size()) if token != only]
    assert all(text.startswith("A") for text in engine.generate(asked, Sampling(8), others)), "what may not come first does not"
