"""What every bundle carries, whatever it runs on: the model's files beside its weights, the guard, and the papers."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...core import artifact
from ...core.artifact import Artifact
from ...core.errors import ArtifactError

CONFIG = "genai_config.json"
_GUARD_FILES = ("model.onnx", "tokenizer.json", "calibration.json")


class Papers(NamedTuple):
    """What goes with the weights, as JSON would hold it."""

    policy: Mapping[str, Any]
    """The whole policy."""
    tables: Mapping[str, Any]
    """The constants that the guard's port needs."""
    card: Mapping[str, Any]
    """What was measured on exactly these weights: `model` and `guard`, their ids, and `gate`, what it decided or None."""
    turns: Mapping[str, Any] | None = None
    """The chat template as plain pieces, for what has no Jinja; None where nobody needs them."""
    safety: str = ""
    """The card in words, as Markdown, for who builds the app; empty: none."""


class Parcel(NamedTuple):
    """What is to be shipped."""

    model: Artifact
    """An int4."""
    guard: Artifact
    papers: Papers
    context: int
    """The most tokens of prompt and answer together."""

    @property
    def capped(self) -> int:
        """Return the context that the model can have."""
        return min(self.context, int(self.model.facts["context"]))


def copy_model(parcel: Parcel, names: Iterable[str], folder: Path) -> None:
    """Copy files that lie beside the weights, or the weights; the configuration comes along, its context capped."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        _copy(parcel.model, name, folder)
    config = json.loads((parcel.model.path / CONFIG).read_text(encoding="utf-8"))
    config["model"]["context_length"] = config["search"]["max_length"] = parcel.capped
    write_json(folder / CONFIG, config)


def copy_guard(parcel: Parcel, folder: Path) -> None:
    """Copy the guard, with its policy and the constants of a port."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _GUARD_FILES:
        _copy(parcel.guard, name, folder)
    write_json(folder / "policy.json", parcel.papers.policy)
    # In their own order, which counts: of two letters that look like one upside down, ports take the last.
    (folder / "tables.json").write_text(json.dumps(parcel.papers.tables, indent=1) + "\n", encoding="ascii")


def _copy(source: Artifact, name: str, folder: Path) -> None:
    shutil.copyfile(source.path / name, folder / name)
    if artifact.sha256_of(folder / name) != source.manifest["files"][name]["sha256"]:
        raise ArtifactError(f"{source.path / name} was changed while it was copied; make the {source.kind} again")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON that is the same for the same values."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
