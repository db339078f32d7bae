"""What the tests of the web app share: npm's packages, a browser to drive, and a bundle whose engine and guard are scripted.

CHROMIUM names a browser that is not in its usual place; BREAKFIX_SCREENSHOTS a folder that keeps what the page looked like.
"""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from breakfix.core import artifact, sources

WEB = Path(__file__).parents[2] / "export" / "mobile" / "web"
DOUBLES = Path(__file__).parent / "web"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FIGURES = [
    {"suite": "harmbench", "measure": "harmful compliance", "hits": 12, "n": 200, "low": 0.035, "high": 0.102},
    {"suite": "everyday", "measure": "over-refusal", "hits": 6, "n": 150, "low": 0.018, "high": 0.085},
]
GATE = {"outcome": "failed", "reason": "Over-refusal rose by 17.4 points on contrast-held-out."}
ALONE = {"suite": "harmbench", "measure": "harmful compliance", "hits": 34, "n": 200, "low": 0.124, "high": 0.228}
CARD = {"name": "A scripted model", "figures": FIGURES, "unguarded": [ALONE], "gate": GATE}
CONFIG = {"model": {"context_length": 2048, "type": "scripted"}, "search": {"max_length": 600}}
SHIPPED = {".js", ".css", ".html", ".svg", ".png", ".webmanifest"}


@pytest.fixture(scope="session")
def modules() -> Path:
    """The packages of package.json, fetched once and kept in the cache."""
    if not shutil.which("npm"):
        pytest.skip("there is no npm")
    package = WEB / "package.json"
    folder = sources.cache_folder() / "tests" / f"npm-{artifact.sha256_of(package)[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            shutil.copy(package, folder)
            command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                pytest.skip("npm cannot fetch the packages of the web app")
            (folder / "whole").touch()
    return folder / "node_modules"


def make_bundle(out: Path, changes: Mapping[str, str | bytes | None]) -> Path:
    files: dict[str, str | bytes | None] = {path.name: path.read_bytes() for path in WEB.iterdir() if path.suffix in SHIPPED}
    files |= {
        "engine.js": (DOUBLES / "engine-scripted.js").read_bytes(),
        "guard/guard.js": (DOUBLES / "guard-scripted.js").read_bytes(),
        "guard/rules.js": (DOUBLES / "rules-scripted.js").read_bytes(),
        "vendor/ort.wasm.min.mjs": "export const env = { wasm: {} };",
        "vendor/ort-wasm-simd-threaded.mjs": "export default null;",
        "vendor/ort-wasm-simd-threaded.wasm": b"\0asm\1\0\0\0",
        "vendor/tokenizers.mjs": "export class Tokenizer {}",
        "vendor/jinja.mjs": "export class Template {}",
        "model/model.onnx": b"a graph",
        "model/model.onnx.data": bytes(range(256)) * (24 << 12),
        "model/genai_config.json": json.dumps(CONFIG),
        "model/chat_template.jinja": "{{ messages }}",
        "card.json": json.dumps(CARD),
    }
    files |= dict.fromkeys(("model/tokenizer.json", "model/tokenizer_config.json"), "{}")
    files |= {f"guard-model/{name}.json": "{}" for name in ("tokenizer", "calibration", "policy", "tables")}
    files |= {"guard-model/model.onnx": b"a classifier"} | dict(changes)

    def write(work: Path) -> None:
        for name, content in files.items():
            if content is not None:
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_bytes(content.encode() if isinstance(content, str) else content)

    artifact.produce(out, "bundle", {"target": "web"}, {}, write)
    return out


@pytest.fixture
def web_bundle(tmp_path):
    """A function that makes a whole bundle with scripted parts, and changes by path; None leaves a file out."""

    def make(changes: Mapping[str, str | bytes | None] | None = None, name: str = "bundle") -> Path:
        return make_bundle(tmp_path / name, changes or {})

    return make


@pytest.fixture
def play(tmp_path, modules):
    """A function that plays a scenario (`web/scenarios.mjs`) against a bundle; nothing may ever be asked of another host."""
    if not CHROMIUM:
        pytest.skip("there is no chromium; install it, or name one in CHROMIUM")

    def run(scenario: str, folder: Path) -> dict:
        shots = Path(os.environ.get("BREAKFIX_SCREENSHOTS") or tmp_path / "shots")
        shots.mkdir(parents=True, exist_ok=True)
        command = ["node", str(DOUBLES / "play.mjs"), scenario, str(folder), str(shots)]
        env = {**os.environ, "CHROMIUM": str(CHROMIUM), "NODE_MODULES": str(modules)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        seen = json.loads(done.stdout)
        assert seen["foreign"] == []
        return seen

    return run
