import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.core import artifact
from breakfix.core.errors import ArtifactError, UsageError

RECIPE = {"name": "tiny", "loop": {"steps": 3, "rate": 0.1}}
INPUTS = {"base": "1" * 64}


def fill(work):
    (work / "part").mkdir(exist_ok=True)
    (work / "a.txt").write_text("alpha\n" * 8)
    (work / "part" / "b.bin").write_bytes(bytes(range(64)))
    return {"rows": 8}


def never(work):
    raise AssertionError("this was already done")


def order(out, make=fill, kind="dataset", recipe=RECIPE, inputs=INPUTS, **how):
    return artifact.produce(out, kind, recipe, inputs, make, **how)


@pytest.fixture
def made(tmp_path):
    return order(tmp_path / "out")


def edit(path, change):
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


# Orders that cannot be carried out


@pytest.mark.parametrize("out", [".", "..", "/", ""])
def test_a_folder_without_a_name_of_its_own_cannot_be_made(out):
    with pytest.raises(UsageError, match="a name of its own"):
        order(out, never)


def test_a_nameless_folder_is_no_artifact(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="is no artifact"):
        artifact.load(".")


@pytest.mark.parametrize("free", [0, 1 << 20])
def test_what_fails_on_a_full_disk_is_told_as_that(tmp_path, monkeypatch, free):
    def make(work):
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(OSError if free == 0 else RuntimeError) as caught:
        order(tmp_path / "out", make)
    if free == 0:
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "out.partial"))


def test_a_library_that_names_the_full_disk_is_believed(tmp_path):
    def make(work):
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    with pytest.raises(OSError, match="No space left"):
        order(tmp_path / "out", make)


# What is published


def test_the_manifest_tells_what_was_made_from_what(made):
    manifest = json.loads((made.path / "manifest.json").read_text())
    assert (manifest["kind"], manifest["recipe"], manifest["inputs"]) == ("dataset", RECIPE, INPUTS)
    assert manifest["files"].keys() == {"a.txt", "part/b.bin"}
    assert manifest["files"]["part/b.bin"]["bytes"] == 64
    assert made.facts == {"rows": 8}
    assert {"versions", "commit", "seconds", "host"} <= manifest["recorded"].keys()


def test_nothing_but_the_result_is_published(tmp_path):
    made = order(tmp_path / "out", lambda work: (work / "a.txt").write_text("a") and None)
    assert sorted(p.name for p in made.path.iterdir()) == ["a.txt", "manifest.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_loads_is_what_was_made(made):
    assert artifact.load(made.path, "dataset") == made


def test_while_make_runs_there_is_no_artifact(tmp_path):
    def make(work):
        assert not (tmp_path / "out").exists()
        assert not (work / "manifest.json").exists()
        with pytest.raises(ArtifactError, match="it was not finished: run its stage again"):
            artifact.load(tmp_path / "out")
        return fill(work)

    order(tmp_path / "out", make)


def test_the_manifest_is_written_last(made):
    written = {p.name: p.stat().st_mtime_ns for p in made.path.rglob("*") if p.is_file()}
    assert written.pop("manifest.json") >= max(written.values())


# The id names the content


def test_the_id_is_the_content_wherever_it_lies_and_however_it_was_ordered(tmp_path, made):
    other = order(tmp_path / "deep" / "er", recipe={"other": 1}, inputs={})
    assert other.id == made.id
    moved = shutil.move(made.path, tmp_path / "moved")
    assert artifact.load(moved).id == made.id


def test_another_kind_name_or_content_is_another_id(tmp_path, made):
    def renamed(work):
        fill(work)
        (work / "a.txt").rename(work / "c.txt")

    def changed(work):
        fill(work)
        (work / "a.txt").write_text("beta")

    others = [
        order(tmp_path / "1", kind="records"),
        order(tmp_path / "2", renamed),
        order(tmp_path / "3", changed),
    ]
    assert len({made.id, *(other.id for other in others)}) == 4


# The same order, another order


def test_the_same_order_returns_at_once(made):
    assert order(made.path, never) == made


def test_an_order_is_compared_as_the_manifest_holds_it(tmp_path):
    # JSON knows no tuples; asking again with the same settings object must not be another order.
    recipe = {"suites": ("a", "b"), "levels": {1: 0.5}}
    made = order(tmp_path / "out", recipe=recipe)
    assert order(tmp_path / "out", never, recipe=recipe) == made


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": {**RECIPE, "loop": {"steps": 4, "rate": 0.1}}}, "recipe.loop.steps 3 there, 4 now"),
        ({"recipe": {**RECIPE, "added": True}}, "recipe.added None there, True now"),
        ({"inputs": {"base": "2" * 64}}, "inputs.base"),
        ({"kind": "records"}, "kind dataset there, records now"),
    ],
)
def test_another_order_is_refused_and_named(tmp_path, made, change, named):
    with pytest.raises(ArtifactError, match=named):
        order(made.path, never, **change)
    with pytest.raises(ZeroDivisionError):
        order(tmp_path / "unfinished", lambda work: 1 / 0)
    with pytest.raises(ArtifactError, match=named):
        order(tmp_path / "unfinished", never, **change)


def test_a_failure_is_not_kept_as_a_result(tmp_path):
    with pytest.raises(ZeroDivisionError):
        order(tmp_path / "out", lambda work: 1 / 0)
    assert order(tmp_path / "out").facts == {"rows": 8}


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="exists and is no artifact"):
        order(tmp_path / "out", never)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_an_empty_folder_may_become_the_artifact(tmp_path):
    (tmp_path / "out").mkdir()
    assert order(tmp_path / "out").facts == {"rows": 8}


# Damage


def cut(path):
    (path / "a.txt").write_bytes((path / "a.txt").read_bytes()[:-1])


def swap(path):
    """Change a file and its hash in the manifest: only the id still tells."""
    (path / "a.txt").write_text("other")
    digest = artifact.sha256_of(path / "a.txt")
    edit(path, lambda m: m["files"]["a.txt"].update(sha256=digest))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda p: (p / "a.txt").write_text("ALPHA\n" * 8), "a.txt was changed or cut short"),
        (cut, "a.txt was changed or cut short"),
        (lambda p: (p / "part" / "b.bin").unlink(), "b.bin is missing"),
        (lambda p: (p / "part" / "c.bin").touch(), "c.bin does not belong"),
        (lambda p: (p / "linked").symlink_to(p.parent), "linked does not belong"),
        (lambda p: (p / "linked").symlink_to(p / "a.txt"), "linked does not belong"),
        (lambda p: (p / "linked").symlink_to("nowhere"), "linked does not belong"),
        (lambda p: (p / "manifest.json").unlink(), "is no artifact"),
        (lambda p: (p / "manifest.json").write_bytes(b""), "is damaged"),
        (lambda p: (p / "manifest.json").write_bytes(b"\xff[]"), "is damaged"),
        (lambda p: (p / "manifest.json").write_text("[]"), "is damaged"),
        (lambda p: edit(p, lambda m: m.pop("files")), "is damaged"),
        (lambda p: edit(p, lambda m: m.update(format=99)), "has format 99"),
        (lambda p: edit(p, lambda m: m.update(id="0" * 64)), "was edited"),
        (lambda p: edit(p, lambda m: m.update(kind="records")), "was edited"),
        (lambda p: edit(p, lambda m: m["facts"].update(rows=9)), "was edited"),
        (lambda p: edit(p, lambda m: m["inputs"].update(base="2" * 64)), "was edited"),
        (swap, "was edited"),
    ],
)
def test_a_damaged_folder_is_refused(made, damage, sentence):
    damage(made.path)
    with pytest.raises(ArtifactError, match=sentence):
        artifact.load(made.path)


def test_a_damaged_folder_is_not_taken_as_finished(made):
    cut(made.path)
    with pytest.raises(ArtifactError, match="was changed or cut short"):
        order(made.path, never)


@pytest.mark.parametrize("path", ["nowhere", "file", "file/below"])
def test_a_path_that_is_no_folder_is_one_sentence(tmp_path, path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError):
        artifact.load(tmp_path / path)


def test_another_kind_is_refused(made):
    with pytest.raises(ArtifactError, match="holds a dataset, and a int4 is needed"):
        artifact.load(made.path, "int4")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return order(tmp_path_factory.mktemp("whole") / "out")


@given(data=st.data())
def test_any_changed_byte_of_any_file_is_caught(whole, data):
    path = whole.path / data.draw(st.sampled_from(["a.txt", "part/b.bin", "manifest.json"]))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    path.write_bytes(before[:at] + bytes([before[at] ^ data.draw(st.integers(1, 255))]) + before[at + 1 :])
    try:
        loaded = artifact.load(whole.path)
    except ArtifactError:
        pass
    else:
        # A line feed for a space between two keys of the manifest says the same, and may load.
        assert path.name == "manifest.json"
        assert loaded == whole
    finally:
        path.write_bytes(before)


# Kills, full disks, neighbours

KILLED_INSIDE_MAKE = """
import os, signal, sys
from breakfix.core import artifact

def make(work):
    (work / "first.txt").write_text("kept")
    (work / artifact.SCRATCH).mkdir()
    (work / artifact.SCRATCH / "step").write_text("7")
    os.kill(os.getpid(), signal.SIGKILL)

artifact.produce(sys.argv[1], "dataset", {"a": 1}, {}, make)
"""


def test_a_killed_stage_leaves_no_artifact_and_goes_on(tmp_path, python):
    out = tmp_path / "out"
    assert python("-c", KILLED_INSIDE_MAKE, out).returncode == -9
    assert not out.exists()
    for folder in (out, tmp_path / "out.partial"):
        with pytest.raises(ArtifactError, match="is no artifact"):
            artifact.load(folder)

    def go_on(work):
        assert (work / "first.txt").read_text() == "kept"
        assert (work / artifact.SCRATCH / "step").read_text() == "7"
        (work / "second.txt").write_text("new")

    made = order(out, go_on, recipe={"a": 1}, inputs={})
    # What was only there to survive the kill is no part of the result.
    assert made.manifest["files"].keys() == {"first.txt", "second.txt"}
    assert sorted(p.name for p in out.iterdir()) == ["first.txt", "manifest.json", "second.txt"]


# A child dies at its n-th file operation, for every n until it lives to the end; then a second run must finish its work.
KILLED_EVERYWHERE = """
import os, signal, sys
from pathlib import Path
from breakfix.core import artifact
from breakfix.core.errors import ArtifactError

made = 0

def make(work):
    # What is costly lies in scratch, and must be there until it is published.
    global made
    step = work / artifact.SCRATCH / "step"
    if not step.exists():
        made += 1
        step.parent.mkdir(exist_ok=True)
        (work / "step.tmp").write_text("done")
        (work / "step.tmp").replace(step)
    (work / "a.txt").write_text("alpha")

def refused(action):
    try:
        action()
    except ArtifactError:
        return True
    return False

def dies_at(last, out):
    seen = 0
    def count(event, arguments):
        nonlocal seen
        if event in {"open", "os.rename", "os.remove", "os.mkdir", "shutil.rmtree"} and "out" in str(arguments[0]):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    artifact.produce(out, "dataset", {"a": 1}, {}, make)

ids, steps, killed = set(), 0, True
while killed:
    steps += 1
    out = Path(sys.argv[1]) / str(steps) / "out"
    child = os.fork()
    if child == 0:
        dies_at(steps, out)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status)
    assert killed or status == 0
    assert out.exists() != refused(lambda: artifact.load(out)), f"step {steps}: half an artifact"
    if out.exists() or (out.with_name("out.partial") / "a.txt").exists():
        other = lambda: artifact.produce(out, "dataset", {"a": 2}, {}, make)
        assert refused(other), f"step {steps}: another order took over the work of this one"
    partial = out.with_name("out.partial")
    worked, made = (partial / artifact.SCRATCH / "step").exists() or (partial / artifact.MANIFEST).exists(), 0
    artifact.produce(out, "dataset", {"a": 1}, {}, make)
    assert not (worked and made), f"step {steps}: finished work was done again"
    ids.add(artifact.load(out).id)
assert len(ids) == 1, ids
print(steps)
"""


def test_a_kill_at_any_file_operation_leaves_all_or_nothing(tmp_path, python):
    done = python("-c", KILLED_EVERYWHERE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_a_full_disk_leaves_no_artifact_and_the_work(tmp_path):
    def full(work):
        (work / "first.txt").write_text("kept")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        order(tmp_path / "out", full)
    assert not (tmp_path / "out").exists()
    order(tmp_path / "out", lambda work: print((work / "first.txt").read_text()))


PRODUCE = """
import sys
from breakfix.core import artifact

def make(work):
    print("made here")
    (work / "joined").touch()

print(artifact.produce(sys.argv[1], "dataset", {"a": 1}, {}, make, collective="together" in sys.argv).id)
"""


def test_a_second_process_is_refused_while_the_first_works(tmp_path, python):
    def make(work):
        second = python("-c", PRODUCE, tmp_path / "out")
        assert second.returncode == 1
        assert "another process is working in" in second.stderr
        assert "made here" not in second.stdout

    order(tmp_path / "out", make, recipe={"a": 1}, inputs={})


@pytest.mark.parametrize("together", [False, True])
def test_other_ranks_wait_for_the_artifact_of_rank_0(tmp_path, together):
    out = tmp_path / "out"

    def wait_for_all(work):
        while together and not (work / "joined").exists():
            time.sleep(0.01)

    command = [sys.executable, "-c", PRODUCE, out, *["together"] * together]
    with subprocess.Popen(command, env={**os.environ, "RANK": "1"}, stdout=subprocess.PIPE, text=True) as follower:
        try:
            time.sleep(0.5)
            assert follower.poll() is None
            made = order(out, wait_for_all, recipe={"a": 1}, inputs={}, collective=together)
            said = follower.communicate(timeout=60)[0].split("\n")
        finally:
            follower.kill()
    assert said[:-1] == ["made here"] * together + [made.id]


def test_a_rank_that_comes_late_takes_the_finished_artifact(tmp_path, python):
    made = order(tmp_path / "out", recipe={"a": 1}, inputs={}, collective=True)
    assert python("-c", PRODUCE, tmp_path / "out", "together", RANK="1").stdout.split() == [made.id]


def test_a_reader_never_sees_half_a_text(tmp_path):
    path = tmp_path / "state.json"
    texts = {"a" * 100_000, "b" * 200_000}
    artifact.write_atomic(path, min(texts))
    writer = threading.Thread(target=lambda: [artifact.write_atomic(path, text) for text in [*texts] * 20])
    writer.start()
    while writer.is_alive():
        assert path.read_text() in texts
    writer.join()
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_a_copy_is_the_same_artifact(tmp_path):
    def make(work):
        (work / "sub").mkdir()
        (work / "sub" / "file").write_text("inside")
        return {"rows": 3}

    made = order(tmp_path / "made", make, recipe={"a": 1}, inputs={})
    copied = artifact.copy(made, tmp_path / "copy")
    assert (copied.id, copied.facts) == (made.id, {"rows": 3}) and artifact.load(copied.path, made.kind).id == made.id
    assert artifact.copy(made, tmp_path / "copy").id == made.id, "a finished copy is returned"
