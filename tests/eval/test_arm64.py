"""The emulated phone: what it refuses, what it is told, and the guard's verdicts on Arm's kernels.

What needs the emulated system is skipped where `breakfix eval arm64-setup` was not run; `make test-arm64` runs it.
"""

import io
import json
import os
import subprocess
import sys

import pytest

from breakfix.core.errors import EngineError, SourceError, UsageError
from breakfix.eval import arm64, arm64_root, arm64_worker
from breakfix.guardrails import vectors

SLOW = "everything is emulated; make test-arm64 runs it"
CLOSE = 0.02
HOUR = 3600
JUDGE = """
import json, sys
from breakfix.guardrails import vectors
from breakfix.guardrails.guard import SHIPPED, Guard
made = {"input": vectors.input_row, "output": vectors.output_row}
judge = Guard.open(SHIPPED, sys.argv[1])
for line in sys.stdin:
    given = json.loads(line)
    print(json.dumps(made[given.pop("kind")](judge, given)))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("BREAKFIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fake(cache):
    """A function that makes a set-up system whose emulator is a shell script."""

    def make(script: str, versions=None) -> None:
        root = arm64_root.folder()
        root.mkdir(parents=True)
        (root / "qemu").write_text(f"#!/bin/sh\n{script}\n")
        (root / "qemu").chmod(0o755)
        (root / "ready.json").write_text(json.dumps(versions or dict(arm64_root._versions())))

    return make


# Without an emulator


def test_an_unknown_cpu_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="there is no CPU m1; the emulated ones are cortex-a53, cortex-a76, neoverse-n1, max"):
        arm64.Worker("m1")


def test_without_the_system_one_sentence_says_how_to_get_it(cache):
    with pytest.raises(EngineError, match=r"no emulated Arm64 system in .*: breakfix eval arm64-setup"):
        arm64.Worker("cortex-a76")


def test_a_system_of_other_versions_is_not_used(fake):
    fake("exit 0", {"onnxruntime": "1.0"})
    with pytest.raises(EngineError, match=r"holds other versions .*: breakfix eval arm64-setup"):
        arm64.Worker("cortex-a76")


def test_a_system_that_is_there_is_not_fetched_again(fake, monkeypatch):
    fake("exit 0")
    monkeypatch.setenv("PATH", "")
    assert arm64_root.set_up() == arm64_root.folder()


def test_where_there_is_no_debian_or_no_network_allowed_the_setup_says_so(cache, monkeypatch):
    monkeypatch.setattr(arm64_root.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE is set"):
        arm64_root.set_up()
    monkeypatch.setattr(arm64_root.shutil, "which", lambda name: None)
    with pytest.raises(SourceError, match="there is no apt-get here; use Debian"):
        arm64_root.set_up()
    assert not arm64_root.folder().exists()


def test_a_process_that_dies_is_one_sentence_with_its_last_words_and_leaves_nothing(fake):
    fake("echo first >&2; echo 'illegal instruction' >&2; exit 3")
    worker = arm64.Worker("cortex-a76")
    with pytest.raises(EngineError, match=r"the emulated cortex-a76 stopped \(illegal instruction\); free some memory"):
        worker.ask("open", model="somewhere", guard=None, policy="default")
    worker.close()
    assert not worker.files.exists()


def test_what_the_process_refuses_is_the_same_error_here(fake, tmp_path):
    # The emulator's four words and the Python's path go, this machine's Python takes their place.
    fake(f'unset PYTHONHOME; shift 5; PYTHONPATH="${{PYTHONPATH%%:*}}" exec {sys.executable} "$@"')
    worker = arm64.Worker("max")
    with pytest.raises(EngineError, match=r"nowhere is no artifact .*give a folder a stage has made"):
        worker.ask("open", model=str(tmp_path / "nowhere"), guard=None, policy="default")
    with pytest.raises(EngineError, match="no model was opened"):
        worker.ask("answer", messages=[["user", "hi"]], sampling={})
    worker.close()


def test_a_worker_goes_on_after_what_it_cannot_do(tmp_path):
    out = io.StringIO()
    asked = {"do": "open", "model": str(tmp_path), "guard": None, "policy": "default"}
    arm64_worker.serve(iter([json.dumps(asked) + "\n"] * 2), out)
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [each["kind"] for each in said] == ["ArtifactError"] * 2 and "no artifact" in said[1]["error"]


# On Arm's kernels


def close(ours, theirs):
    """Compare rows, scores as far apart as another processor's may be."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(close(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float):
        return abs(ours - theirs) <= CLOSE
    return ours == theirs


@pytest.mark.slow
@pytest.mark.timeout(HOUR)
@pytest.mark.skipif("BREAKFIX_ARM64" not in os.environ, reason=SLOW)
@pytest.mark.parametrize("name", ["default", "strict", "house-rules", "shadow"])
def test_the_guard_gives_the_golden_verdicts_on_arm(name, tmp_path):
    _, rows = vectors.read(vectors.VECTORS / f"{name}.jsonl")
    rows = [{key: value for key, value in row.items() if key != "forms"} for row in rows if row["kind"] in ("input", "output")]
    given = [{key: row[key] for key in ("kind", "text", "context", "prompt", "answer") if key in row} for row in rows]
    policy = name if name in ("default", "strict") else str(vectors.VECTORS / f"{name}.yaml")
    command, environment = arm64_root.python("cortex-a76", tmp_path)
    asked = "".join(json.dumps(each) + "\n" for each in given)
    done = subprocess.run(
        [*command, "-c", JUDGE, policy], input=asked, env=environment, capture_output=True, text=True, timeout=HOUR, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(made) == len(rows) >= 80
    assert [row for row, other in zip(rows, made, strict=True) if not close(other, row)] == []


@pytest.mark.slow
@pytest.mark.skipif("BREAKFIX_ARM64" not in os.environ, reason=SLOW)
@pytest.mark.parametrize("cpu", arm64_root.CPUS)
def test_every_cpu_starts_and_says_what_it_is(cpu, tmp_path):
    command, environment = arm64_root.python(cpu, tmp_path)
    told = "import platform, onnxruntime, breakfix.runtime.genai, breakfix; print(platform.machine(), breakfix.__file__)"
    done = subprocess.run([*command, "-c", told], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["aarch64", str(tmp_path / "breakfix" / "__init__.py")], done.stderr[-2000:]
