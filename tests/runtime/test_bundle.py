import os

import pytest

from breakfix.core import artifact
from breakfix.core.errors import ArtifactError
from breakfix.guardrails.guard import SHIPPED
from breakfix.runtime.bundle import Bundle, find_bundle


def make(folder, kind):
    return artifact.produce(folder, kind, {}, {}, lambda work: (work / "file").write_text(kind) and None).path


def cycle(folder, *, age=0):
    """Make a folder as a finished cycle leaves it, so many seconds old."""
    bundle = Bundle(make(folder / "int4", "int4"), make(folder / "guard", "guard"))
    now = (bundle.model / "manifest.json").stat().st_mtime
    os.utime(bundle.model / "manifest.json", (now - age, now - age))
    return bundle


def test_without_a_name_the_newest_cycle_is_taken(tmp_path):
    cycle(tmp_path / "old", age=100)
    newest = cycle(tmp_path / "b-new")
    cycle(tmp_path / "older", age=200)
    assert find_bundle(None, None, tmp_path) == newest


def test_a_cycle_of_several_is_found_too(tmp_path):
    cycle(tmp_path / "old", age=100)
    cycle(tmp_path / "release" / "1", age=50)
    newest = cycle(tmp_path / "release" / "2")
    assert find_bundle(None, None, tmp_path) == newest


def test_an_unfinished_cycle_is_not_taken(tmp_path):
    done = cycle(tmp_path / "old", age=100)
    (tmp_path / "new" / "int4").mkdir(parents=True)
    assert find_bundle(None, None, tmp_path) == done


@pytest.mark.parametrize("there", [True, False])
def test_without_any_cycle_the_command_that_makes_one_is_named(tmp_path, there):
    runs = tmp_path if there else tmp_path / "runs"
    with pytest.raises(ArtifactError, match="make one with: breakfix train cycle"):
        find_bundle(None, None, runs)


def test_a_cycle_folder_gives_its_model_and_guard(tmp_path):
    bundle = cycle(tmp_path / "run")
    assert find_bundle(tmp_path / "run", None) == bundle


def test_a_model_takes_the_guard_beside_it(tmp_path):
    bundle = cycle(tmp_path)
    assert find_bundle(bundle.model, None) == bundle


def test_a_named_guard_wins(tmp_path):
    bundle, other = cycle(tmp_path / "run"), make(tmp_path / "other", "guard")
    assert find_bundle(bundle.model, other) == Bundle(bundle.model, other)
    assert find_bundle(tmp_path / "run", other) == Bundle(bundle.model, other)
    assert find_bundle(None, other, tmp_path) == Bundle(bundle.model, other)


def test_a_model_alone_is_guarded_by_the_guard_that_is_installed(tmp_path):
    model = make(tmp_path / "int4", "int4")
    assert find_bundle(model, None) == Bundle(model, SHIPPED)


@pytest.mark.parametrize("name", ["guard", "guard.partial"])
def test_a_guard_that_lies_there_unfinished_is_not_exchanged(tmp_path, name):
    model = make(tmp_path / "int4", "int4")
    (tmp_path / name).mkdir()
    assert find_bundle(model, None).guard == tmp_path / "guard"


@pytest.mark.parametrize("guard", [True, False])
def test_a_folder_without_a_model_is_told_of(tmp_path, guard):
    with pytest.raises(ArtifactError, match=r"no model in .*nowhere"):
        find_bundle(tmp_path / "nowhere", make(tmp_path / "guard", "guard") if guard else None)
