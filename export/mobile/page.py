"""The web target: a page for any phone's browser, the libraries that it needs, and the graph that WebAssembly is fast at."""

import shutil
from pathlib import Path
from typing import Any

from ...core import artifact, sources
from ...core.progress import say
from .parcel import Parcel, copy_guard, copy_model
from .sbom import Component
from .web_graph import FOLDER, for_web

GUARD = "guard-model"
RUNTIME = "onnxruntime-web@1.30.0"
_WEB = Path(__file__).parent / "web"
_SHIPS = {".css", ".html", ".js", ".png", ".svg", ".txt", ".webmanifest"}
_READS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_TOKENIZERS, _JINJA = "@huggingface/tokenizers@0.2.0", "@huggingface/jinja@0.5.11"
_VENDORED = {
    "ort.wasm.min.mjs": f"npm:{RUNTIME}/dist/ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs": f"npm:{RUNTIME}/dist/ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm": f"npm:{RUNTIME}/dist/ort-wasm-simd-threaded.wasm",
    "tokenizers.mjs": f"npm:{_TOKENIZERS}/dist/tokenizers.min.mjs",
    "jinja.mjs": f"npm:{_JINJA}/dist/index.js",
}
"""Where the app expects a library's file, and its source."""
_LICENCE_OF = {RUNTIME: "MIT", _TOKENIZERS: "Apache-2.0", _JINJA: "MIT"}


def content_id() -> str:
    """Return what names the page and its libraries: other files are another order. The libraries are fetched once, with npm."""
    files = {path.relative_to(_WEB).as_posix(): artifact.sha256_of(path) for path in _page()}
    return artifact.digest(files | {name: sources.content_id(source) for name, source in _VENDORED.items()})


def write(parcel: Parcel, work: Path) -> dict[str, Any]:
    """Write page, libraries, graph and guard. Returns what the graph came to."""
    vendored = {name: sources.fetch(source) for name, source in _VENDORED.items()}
    say("export mobile: the page and its libraries")
    for path in _page():
        target = work / path.relative_to(_WEB)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (work / "vendor").mkdir(exist_ok=True)
    for name, path in vendored.items():
        shutil.copyfile(path, work / "vendor" / name)
    say("export mobile: the graph")
    graph = for_web(parcel.model.path, work / FOLDER)
    copy_model(parcel, _READS, work / FOLDER)
    copy_guard(parcel, work / GUARD)
    return {"graph": graph, "runs_on": RUNTIME}


def components() -> list[Component]:
    """Return the libraries that ship with the page."""
    found = []
    for package, licence in _LICENCE_OF.items():
        name, _, version = package.rpartition("@")
        purl = f"pkg:npm/{name.replace('@', '%40')}@{version}"
        found.append(Component(name, version, "library", licence, sources.PINNED[package], purl))
    return found


def _page() -> list[Path]:
    return sorted(path for path in _WEB.rglob("*") if path.suffix in _SHIPS and "node_modules" not in path.parts)
