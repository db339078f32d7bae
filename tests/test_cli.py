import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "onnxruntime", "onnxruntime_genai", "huggingface_hub", "scipy")


@pytest.fixture
def breakfix(python):
    """A function that runs one command line."""
    return lambda *words, **environment: python("-m", "breakfix.cli", *words, **environment)


@pytest.fixture
def commanded(python):
    """A function that runs the front door with one more command, `go`, whose body is given."""
    return lambda body: python("-c", with_command(body))


def with_command(body: str) -> str:
    return f"""
import sys, time
from breakfix import cli

@cli.app.command()
def go():
    {body}

sys.argv = ["breakfix", "go"]
cli.main()
"""


def one_sentence(done) -> str:
    """Return the only line of standard error, less the program's name."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("breakfix: ")
    return line.removeprefix("breakfix: ")


# Command lines


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["frob"], "No such command 'frob'; see"),
        (["train", "frob"], "No such command 'frob'; see"),
        (["chat", "--frob"], "No such option"),
        (["chat", "--temperature", "9"], "less than or equal to 5; see"),
        (["train", "sft"], "Missing option '--base'"),
        (["eval", "run", "--out", "x"], "Missing argument 'model'"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_one_sentence(breakfix, words, sentence):
    done = breakfix(*words)
    assert done.returncode == 2
    assert sentence in one_sentence(done)


@pytest.mark.parametrize("words", [[], ["train"]])
def test_without_a_command_the_help_is_shown(breakfix, words):
    done = breakfix(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage:")
    assert done.stdout == ""


def test_the_version_is_told(breakfix):
    from breakfix import __version__

    done = breakfix("--version")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, __version__, "")


def test_doctor_looks_and_changes_nothing(breakfix, tmp_path):
    done = breakfix("doctor", BREAKFIX_CACHE=str(tmp_path / "cache"), HF_HUB_OFFLINE="1")
    assert done.returncode == 0
    assert done.stderr == ""
    marks = {line[:5] for line in done.stdout.splitlines()}
    assert marks <= {"ok   ", "miss "}
    assert "ok   runtime: onnxruntime" in done.stdout
    assert "miss garak==0.17.1: not cached" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_a_model_chat_says_how_to_make_one(breakfix):
    done = breakfix("chat", "--prompt", "hello")
    assert done.returncode == 1
    assert "make one with: breakfix train cycle" in one_sentence(done)


@pytest.mark.parametrize("words", [["train", "cycle", "--help"], ["doctor"]])
def test_the_front_door_imports_nothing_heavy(python, words):
    code = (
        "import sys, contextlib\nfrom breakfix import cli\n"
        f"sys.argv = {['breakfix', *words]!r}\n"
        "with contextlib.suppress(SystemExit):\n    cli.main()\n"
        f"print('imported:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "imported: []"


# Recipes

RUN_ALL = """
import contextlib, sys
from breakfix import cli
for words in {lines!r}:
    sys.argv = ["breakfix", "train", "sft", "--base", "a", "--data", "b", "--out", "c", *words]
    try:
        cli.main()
    except SystemExit as left:
        print(left.code, file=sys.stderr)
"""


def test_a_mistyped_recipe_or_setting_is_told(python, tmp_path):
    # One process for all lines: the recipes of training import torch, once.
    lines = [["--recipe", "nope"], ["--set", "sft.loop.epoch=2", "--set", "int4.block=33", "--set", "x"]]
    unknown, code, problems, other = python("-c", RUN_ALL.format(lines=lines)).stderr.splitlines()
    assert unknown == "breakfix: there is no recipe nope; known ones: demo, guard, release, or give the path of a .yaml file"
    assert (code, other) == ("2", "1")
    assert "3 problems: --set x: write it as key=value; " in problems
    assert "unknown key sft.loop.epoch (did you mean epochs?); int4.block must be one of 16, 32, 64, 128, not '33'" in problems
    assert list(tmp_path.iterdir()) == []


# What goes wrong on the way

WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
from breakfix import cli
sys.argv = ["breakfix", *{words!r}]
cli.main()
"""


@pytest.mark.parametrize(
    ("missing", "words", "extra"),
    [
        ("torch", ["export", "checkpoint", "a", "--out", "b"], "train"),
        ("transformers", ["train", "sft", "--base", "a", "--data", "b", "--out", "c"], "train"),
        ("onnx", ["export", "int4", "a", "--out", "b"], "export"),
    ],
)
def test_a_missing_extra_is_one_sentence(python, missing, words, extra):
    done = python("-c", WITHOUT.format(missing=missing, words=words))
    assert done.returncode == 1
    assert one_sentence(done).endswith(f"which is not installed; install it with: pip install 'breakfix[{extra}]'")


def test_a_missing_module_of_the_base_is_no_missing_extra(commanded):
    # A broken installation is a bug report, and that needs the traceback.
    done = commanded("import breakfix.nowhere")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_ctrl_c_is_one_sentence_and_130(tmp_path):
    command = [sys.executable, "-c", with_command("print('working', flush=True); time.sleep(60)")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # Started in the background, a shell lets its children ignore Ctrl-C; these shall hear it.
    hears = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen(command, cwd=tmp_path, text=True, preexec_fn=hears, **pipes) as process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert said == "breakfix: stopped; run the same command again, it goes on from its last finished part\n"


def test_a_stopped_chat_promises_nothing(python):
    code = "import sys; from breakfix import cli; sys.argv = ['breakfix', 'chat']; cli._stopped()"
    assert one_sentence(python("-c", code)) == "stopped"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        pytest.param(
            "from pathlib import Path; Path('/dev/full').write_text('x')",
            "the disk is full; free some space",
            id="a full disk",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full"),
        ),
        pytest.param("raise OSError(28, 'full', 'runs/a')", "the disk is full at runs/a; free", id="a full disk, named"),
        pytest.param("raise PermissionError(13, 'no', 'runs')", "not allowed to write or read at runs;", id="denied"),
        pytest.param("open('nowhere/file')", "No such file or directory at nowhere/file; check the path", id="not there"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(commanded, body, sentence):
    done = commanded(body)
    assert done.returncode == 1
    assert one_sentence(done).startswith(sentence)


def test_an_expected_error_is_one_sentence_and_a_bug_is_not(commanded):
    expected = commanded("from breakfix.core.errors import UsageError; raise UsageError('there is no such thing')")
    assert (expected.returncode, one_sentence(expected)) == (2, "there is no such thing")
    bug = commanded("1 / 0")
    assert bug.returncode == 1
    assert "ZeroDivisionError" in bug.stderr


def test_a_reader_that_leaves_early_hears_nothing(tmp_path):
    command = [sys.executable, "-c", with_command("[print('line ' * 100) for _ in range(10_000)]")]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False)
    os.close(writing)
    assert done.stderr == b""
