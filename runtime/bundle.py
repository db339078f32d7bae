"""What a chat, a server or a bench runs: an int4 model and the guard that belongs to it."""

from pathlib import Path
from typing import NamedTuple

from ..core import artifact
from ..core.errors import ArtifactError
from ..guardrails.guard import SHIPPED

RUNS = Path("runs")
"""Where cycles are made when nothing else is said."""


class Bundle(NamedTuple):
    """The two artifacts that are needed."""

    model: Path
    guard: Path


def finished(runs: Path = RUNS) -> list[Path]:
    """Return the int4 models of the cycles under a folder, of those one after another too, the newest first."""
    found = (path for depth in ("*/int4", "*/*/int4") for path in runs.glob(depth))
    models = [path for path in found if (path / artifact.MANIFEST).exists()]
    return sorted(models, key=lambda path: (path / artifact.MANIFEST).stat().st_mtime, reverse=True)


def find_bundle(model: Path | None, guard: Path | None, runs: Path = RUNS) -> Bundle:
    """Return the int4 model and the guard to use.

    `model` is an int4 artifact or the folder of a finished cycle; without it the newest cycle under `runs` is taken. The guard
    is the one named, else the one beside the model, else the one that is installed.
    Raises ArtifactError, with the command that makes one, when there is none.
    """
    if model is None:
        models = finished(runs)
        if not models:
            raise ArtifactError(
                f"there is no model under {runs}/; make one with: breakfix train cycle --recipe demo, or name a folder"
            )
        model = models[0]
    if not (model / artifact.MANIFEST).exists() and (model / "int4").is_dir():
        model = model / "int4"
    if not (model / artifact.MANIFEST).exists():
        raise ArtifactError(f"there is no model in {model}; give an int4 folder or the folder of a finished cycle")
    beside = model.parent / "guard"
    # A guard that lies there unfinished or broken is refused when it is opened, and not exchanged without a word.
    started = beside.exists() or artifact.beside(beside, ".partial").exists()
    return Bundle(model, guard or (beside if started else SHIPPED))
