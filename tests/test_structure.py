import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Who may import whom: core <- guardrails <- runtime <- eval <- train, core <- export <- train, and cli above all.
ARROWS = {
    "core": set(),
    "guardrails": {"core"},
    "runtime": {"core", "guardrails"},
    "eval": {"core", "guardrails", "runtime"},
    "export": {"core"},
    "train": {"core", "guardrails", "runtime", "eval", "export"},
    "cli": {"core", "guardrails", "runtime", "eval", "export", "train"},
}
# What runs on a phone needs neither, and nor does the ground floor.
TRAINING = {"torch", "transformers", "trl", "peft", "datasets", "accelerate"}


def tree() -> list[str]:
    """Return every file of the project as it is now: what git holds or would take, less what was deleted."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({name for name in listed if name and (ROOT / name).is_file()})


def sources() -> list[str]:
    return [name for name in tree() if name.endswith(".py") and not name.startswith("tests/")]


def room(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def imports(path: str, text: str) -> set[str]:
    """Return what a file imports, anywhere in it, by absolute names."""
    here = ["breakfix", *path.split("/")[:-1]]
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) + 1 - node.level] if node.level else []
            module = [*start, *filter(None, [node.module])]
            found |= {".".join([*module, alias.name]) for alias in node.names}
    return found


def rooms_of(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("breakfix.")} & ARROWS.keys()


def section(heading: str) -> list[str]:
    """Return the lines of the first fenced block below a heading of the README."""
    _, _, below = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    own, _, _ = below.partition("\n## ")
    found = re.search(r"^```\w*\n(.*?)\n```", own, re.M | re.S)
    assert found, f"README.md has no fenced block below '## {heading}'"
    return found[1].split("\n")


# The arrows


def test_imports_are_seen_wherever_and_however_they_are_written():
    text = "def f():\n    from ..train import sft\n    import breakfix.eval.run\n"
    text += "from .. import runtime\nfrom . import loop\nimport torch.nn"
    seen = imports("core/thing.py", text)
    assert seen == {"breakfix.train.sft", "breakfix.eval.run", "breakfix.runtime", "breakfix.core.loop", "torch.nn"}
    assert rooms_of(seen) == {"train", "eval", "runtime", "core"}
    assert rooms_of(imports("eval/suites/__init__.py", "from ...core import sources")) == {"core"}


def test_every_room_has_its_place_in_the_arrows():
    assert {room(name) for name in sources()} == {*ARROWS, "__init__"}


@pytest.mark.parametrize("path", [name for name in sources() if name != "__init__.py"])
def test_imports_run_along_the_arrows(path):
    above = rooms_of(imports(path, (ROOT / path).read_text(encoding="utf-8"))) - ARROWS[room(path)] - {room(path)}
    assert not above, f"{path} is in the wrong room: it imports {sorted(above)}"


@pytest.mark.parametrize("path", [name for name in sources() if room(name) in {"core", "guardrails", "runtime", "__init__"}])
def test_what_runs_on_the_phone_never_imports_what_trains(path):
    heavy = {name.split(".")[0] for name in imports(path, (ROOT / path).read_text(encoding="utf-8"))} & TRAINING
    assert not heavy


# What ships


def test_the_package_list_is_the_folders_with_an_init():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = [str(Path(name).parent).replace("/", ".") for name in sources() if name.endswith("__init__.py")]
    assert sorted(listed) == sorted("breakfix" if folder == "." else f"breakfix.{folder}" for folder in folders)


def test_every_folder_with_modules_has_an_init():
    folders = {str(Path(name).parent) for name in sources()}
    assert not [folder for folder in folders if not (ROOT / folder / "__init__.py").exists()]


def test_the_root_holds_one_module():
    # Any other would ship as part of the package.
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py"}


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    # Built from a copy, so that nothing old in build/ can hide what is missing.
    for name in tree():
        place = tmp_path / "tree" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, tmp_path / "tree"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("breakfix-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if not re.match(r"breakfix-[^/]+\.dist-info/", name)}
    rooms = {f"{room(name)}/" for name in sources() if "/" in name}
    expected = {name for name in tree() if name.startswith(tuple(rooms))} | {"__init__.py"}
    assert shipped == {f"breakfix/{name}" for name in expected}


# What the README says


def test_the_readme_lists_the_house_as_it_is():
    def entry(name: str) -> str:
        # A folder's line speaks for its __init__.py.
        return name.rstrip("/").removesuffix("/__init__.py")

    files = tree()
    listed = {entry(line.split()[0]) for line in section("The house") if line.strip()}
    # Hidden folders are the hosting's.
    needed = {entry(name) for name in sources()} | {n.split("/")[0] for n in files if "/" in n and not n.startswith(".")}
    there = {entry(name) for name in files} | {str(folder) for name in files for folder in Path(name).parents}
    assert sorted(needed - listed) == [], "not in the README"
    assert sorted(listed - there) == [], "in the README alone"


def test_the_readme_lists_the_commands_as_they_are(python):
    done = python(ROOT / "tests" / "reference.py")
    assert done.returncode == 0, done.stderr
    assert section("Commands") == done.stdout.rstrip("\n").split("\n"), "paste the output of: python tests/reference.py"
