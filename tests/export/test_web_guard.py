"""The guard of the web bundle, in Node, over every golden vector: it reads, scores and decides what Python does."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from breakfix.core import recipe
from breakfix.guardrails import policy, vectors
from breakfix.guardrails.guard import SHIPPED

ROOT = Path(__file__).parent.parent.parent
WEB = ROOT / "export" / "mobile" / "web"
NEEDED = ("onnxruntime-web", "@huggingface/tokenizers")
NODE = "node"

pytestmark = pytest.mark.slow


def test_it_passes_every_vector(modules, tmp_path):
    (tmp_path / "tables.json").write_text(json.dumps(vectors.tables()), encoding="ascii")
    runner = Path(__file__).parent / "web" / "guard.mjs"
    files = sorted(vectors.VECTORS.glob("*.jsonl"))
    assert len(files) >= 4
    command = [NODE, runner, WEB / "guard", modules, SHIPPED, tmp_path / "tables.json", *files]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["differences"] == []
    assert result["checked"] > 4000 and result["scores"]["count"] > 2000
    # What one rounding of a float moves an int8 activation by, and with it a score, few of them see.
    assert result["scores"]["apart"] <= 0.05 * result["scores"]["count"]


def test_it_is_typed(modules, tmp_path):
    compiler = modules / ".bin" / "tsc"
    if not compiler.exists():
        pytest.skip("typescript is not installed")
    config = {"extends": str(WEB / "tsconfig.json"), "include": [str(WEB / "guard" / "*.js")]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config), encoding="utf-8")
    command = [str(compiler), "--project", str(tmp_path / "tsconfig.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    "lost",
    ["tables.classifier.unread", "tables.stream.most_checks", "calibration.temperatures.input", "policy.hard", "policy.pii"],
)
def test_a_guard_that_lacks_what_it_decides_by_does_not_open(lost):
    files = {
        "tables": vectors.tables(),
        "calibration": json.loads((SHIPPED / "calibration.json").read_text(encoding="utf-8")),
        "policy": recipe.plain(policy.load()),
    }
    assert _whole(files) == ""
    at: Any = files
    *path, last = lost.split(".")
    for key in path:
        at = at[key]
    del at[last]
    assert f"the guard's {lost}" in _whole(files)


def _whole(files):
    """Return what the port says of these files; nothing where they are whole."""
    script = (
        f"import {{ assertWhole }} from {json.dumps((WEB / 'guard' / 'whole.js').as_uri())};"
        "const { tables, calibration, policy } = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));"
        "try { assertWhole(tables, calibration, policy); } catch (error) { console.log(error.message); }"
    ).replace("require('node:fs')", "(await import('node:fs'))")
    command = [NODE, "--input-type=module", "--eval", script]
    done = subprocess.run(command, input=json.dumps(files), capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_the_packages_are_pinned():
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    pins = package["dependencies"] | package["devDependencies"]
    assert set(NEEDED) <= pins.keys() and "typescript" in pins
    assert all(part.isdigit() for version in pins.values() for part in version.split("."))
