"""A bundle: one folder with all that an app needs, each file hashed, with what was measured on exactly these weights.

It puts together what others made. It judges nothing, measures nothing, and knows neither what a policy means nor how an app
shows its card. Where the gate did not pass, a bundle has to be asked for, and says so for good.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ... import __version__
from ...core import artifact, recipe, sources
from ...core.artifact import Artifact
from ...core.errors import ArtifactError, ExportError
from ...core.progress import say
from .sbom import Component, sbom
from .web_graph import for_web

KIND = "bundle"
CARD, SBOM, LICENCE = "card.json", "sbom.cdx.json", "LICENSE.txt"
MODEL, GUARD = "model", "guard-model"
_WEB = Path(__file__).parent / "web"
_LEAST_CONTEXT = 256
"""The page begins no answer with less than 192 tokens left for it."""
_SHIPS = {".css", ".html", ".js", ".png", ".svg", ".txt", ".webmanifest"}
_CONFIG = "genai_config.json"
_READS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_GUARD_FILES = ("model.onnx", "tokenizer.json", "calibration.json")
_ORT, _TOKENIZERS, _JINJA = "onnxruntime-web@1.30.0", "@huggingface/tokenizers@0.2.0", "@huggingface/jinja@0.5.11"
_VENDORED: Mapping[str, str] = {
    "ort.wasm.min.mjs": f"npm:{_ORT}/dist/ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs": f"npm:{_ORT}/dist/ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm": f"npm:{_ORT}/dist/ort-wasm-simd-threaded.wasm",
    "tokenizers.mjs": f"npm:{_TOKENIZERS}/dist/tokenizers.min.mjs",
    "jinja.mjs": f"npm:{_JINJA}/dist/index.js",
}
"""Where the app expects a library's file, and its source."""
_LICENCE_OF = {_ORT: "MIT", _TOKENIZERS: "Apache-2.0", _JINJA: "MIT"}


@dataclass(frozen=True)
class MobileSettings:
    """What kind of bundle it is."""

    target: Literal["web"] = "web"
    """What it runs on: web is a page for any phone's browser."""
    name: str = "Local model"
    """What the app calls the model."""
    licence: str = ""
    """The model's licence, as SPDX names it; empty: not stated."""
    context: int = 1024
    """The most tokens of prompt and answer together; memory grows with it."""
    most_megabytes: float = 0.0
    """The most that all files may come to; 0 sets no limit."""
    ungated: bool = False
    """Export although the gate did not pass; the manifest and the card say so."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        return [] if self.context >= _LEAST_CONTEXT else [f"context must be at least {_LEAST_CONTEXT}"]


class Papers(NamedTuple):
    """What goes with the weights, as JSON would hold it."""

    policy: Mapping[str, Any]
    """The whole policy."""
    tables: Mapping[str, Any]
    """The constants that the guard's port needs."""
    card: Mapping[str, Any]
    """What was measured on exactly these weights: `model` and `guard`, their ids, and `gate`, what it decided or None."""


def mobile(settings: MobileSettings, int4: Path, guard: Path, papers: Papers, out: Path) -> Artifact:
    """Write a `bundle` artifact from an `int4` and a `guard`. The libraries of the page are fetched once, with npm.

    Raises ExportError where the gate did not pass for exactly this model, or where the bundle is larger than it may be.
    """
    model, judge = artifact.load(int4, "int4"), artifact.load(guard, "guard")
    _must_have_passed(settings, model, judge, papers.card)
    if papers.policy["shadow"]:
        raise ExportError("a policy in shadow mode lets everything pass, which no app may; ship one without shadow")
    if model.facts["context"] < _LEAST_CONTEXT:
        raise ExportError(
            f"{model.path} reads {model.facts['context']} tokens and a chat needs {_LEAST_CONTEXT}; raise int4.context"
        )
    vendored = {name: sources.fetch(source) for name, source in _VENDORED.items()}

    def make(work: Path) -> dict[str, Any]:
        say("export mobile: the page and its libraries")
        _copy_page(work, vendored)
        say("export mobile: the graph")
        graph = for_web(model.path, work / MODEL)
        _copy_model(model.path, work / MODEL, settings.context)
        _copy_guard(judge.path, work / GUARD, papers)
        card = {**papers.card, "name": settings.name, "ungated": settings.ungated}
        _write(work / CARD, card)
        _write(work / SBOM, _materials(settings, model, judge))
        (work / LICENCE).write_text(_licence(), encoding="utf-8")
        megabytes = _megabytes(work)
        if 0 < settings.most_megabytes < megabytes:
            raise ExportError(
                f"the bundle is {megabytes} MB and may be {settings.most_megabytes:g}; raise --max-mb or ship less"
            )
        return {"name": settings.name, "megabytes": megabytes, "graph": graph, "gate": _outcome(papers.card), "runs_on": _ORT}

    inputs = {"int4": model.id, "guard": judge.id, "papers": artifact.digest(papers._asdict()), "page": _page_id()}
    return artifact.produce(out, KIND, recipe.plain(settings), inputs, make)


def verify(folder: Path) -> Artifact:
    """Open a bundle: every file is what the manifest says, and none is foreign; its card is of the weights that it was made of.

    Raises ArtifactError with the name of the file.
    """
    bundle = artifact.load(folder, KIND)
    card, inputs = json.loads((bundle.path / CARD).read_text(encoding="utf-8")), bundle.manifest["inputs"]
    if card["model"] != inputs["int4"] or card["guard"].partition("/")[0] != inputs["guard"]:
        raise ArtifactError(f"{bundle.path / CARD} is of another model or guard than the bundle; export it again")
    return bundle


def _must_have_passed(settings: MobileSettings, model: Artifact, guard: Artifact, card: Mapping[str, Any]) -> None:
    if card["model"] != model.id or card["guard"].partition("/")[0] != guard.id:
        raise ExportError("the safety card is of another model or guard than the one to ship; measure what ships")
    if card["gate"] and card["gate"]["float"] != model.facts.get("float"):
        raise ExportError(
            f"the gate compared {model.path} with another float model than it was made of; run it on records of that"
        )
    if settings.ungated or _outcome(card) == "passed":
        return
    told = f"the gate says {card['gate']['outcome']}: {card['gate']['reason']}" if card["gate"] else "no gate was run on it"
    raise ExportError(f"{model.path} may not ship: {told}; mend the int4, or ship it with --ungated, which is put on record")


def _outcome(card: Mapping[str, Any]) -> str:
    return card["gate"]["outcome"] if card["gate"] else "not run"


def _copy_page(work: Path, vendored: Mapping[str, Path]) -> None:
    for path in _page():
        target = work / path.relative_to(_WEB)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (work / "vendor").mkdir(exist_ok=True)
    for name, path in vendored.items():
        shutil.copyfile(path, work / "vendor" / name)


def _page() -> list[Path]:
    return sorted(path for path in _WEB.rglob("*") if path.suffix in _SHIPS and "node_modules" not in path.parts)


def _page_id() -> str:
    """Return what names the page and its libraries: other files are another order."""
    files = {path.relative_to(_WEB).as_posix(): artifact.sha256_of(path) for path in _page()}
    return artifact.digest(files | {name: sources.content_id(source) for name, source in _VENDORED.items()})


def _copy_model(source: Path, folder: Path, context: int) -> None:
    for name in _READS:
        shutil.copyfile(source / name, folder / name)
    config = json.loads((source / _CONFIG).read_text(encoding="utf-8"))
    most = min(context, config["model"]["context_length"])
    config["model"]["context_length"] = config["search"]["max_length"] = most
    _write(folder / _CONFIG, config)


def _copy_guard(source: Path, folder: Path, papers: Papers) -> None:
    folder.mkdir(exist_ok=True)
    for name in _GUARD_FILES:
        shutil.copyfile(source / name, folder / name)
    _write(folder / "policy.json", papers.policy)
    _write(folder / "tables.json", papers.tables)


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _materials(settings: MobileSettings, model: Artifact, guard: Artifact) -> dict[str, Any]:
    parts = [
        Component(settings.name, model.id, "machine-learning-model", settings.licence),
        Component("breakfix guard", guard.id, "machine-learning-model", "Apache-2.0"),
    ]
    for package, licence in _LICENCE_OF.items():
        name, _, version = package.rpartition("@")
        purl = f"pkg:npm/{name.replace('@', '%40')}@{version}"
        parts.append(Component(name, version, "library", licence, sources.PINNED[package], purl))
    return sbom(Component(f"{settings.name}, guarded", __version__, "application"), parts)


def _licence() -> str:
    """Return the licence of the page and the guard; NOTICE.txt, which lies with the page, tells the libraries'."""
    checkout = Path(__file__).parents[2] / "LICENSE"
    if text := checkout.read_text(encoding="utf-8") if checkout.is_file() else _installed_licence():
        return text
    raise ExportError("Breakfix's own licence is not installed with it, and a bundle needs it; install Breakfix again")


def _installed_licence() -> str | None:
    return metadata.distribution("breakfix").read_text("licenses/LICENSE")


def _megabytes(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if path.is_file() and artifact.SCRATCH not in path.parts)
    return round(sum(path.stat().st_size for path in files) / 1e6, 1)
