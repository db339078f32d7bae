"""A bundle: one folder with all that an app needs, each file hashed, with what was measured on exactly these weights.

It puts together what others made. It judges nothing, measures nothing, and knows neither what a policy means nor how an app
shows its card. Where the gate did not pass, a bundle has to be asked for, and says so for good.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ... import __version__
from ...core import artifact, recipe
from ...core.artifact import MANIFEST, SIGNATURE, Artifact
from ...core.errors import ArtifactError, ExportError
from . import native, page, signature
from .parcel import Papers, Parcel, write_json
from .sbom import Component, sbom

KIND = "bundle"
CARD, SAFETY, SBOM, LICENCE = "card.json", "SAFETY.md", "sbom.cdx.json", "LICENSE.txt"
Target = Literal["web", "android", "ios"]
_LEAST_CONTEXT = 256
"""Less holds no question with an answer: no app begins one with fewer than 192 tokens left for it."""


@dataclass(frozen=True)
class MobileSettings:
    """What kind of bundle it is."""

    target: Target = "web"
    """What it runs on: web is a page for any phone's browser, android and ios are an app's files with a project to build it."""
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


class _Form(NamedTuple):
    """What differs from target to target."""

    content: str
    """The content id of all that is neither model nor guard."""
    papers: Path
    """Where card and licences go."""
    write: Callable[[Path], dict[str, Any]]
    components: Callable[[], list[Component]]


def mobile(settings: MobileSettings, int4: Path, guard: Path, papers: Papers, out: Path, key: Path | None = None) -> Artifact:
    """Write a `bundle` artifact from an `int4` and a `guard`, signed with a private `key` (PEM, Ed25519) if one is given.

    The libraries of a page are fetched once, with npm. Raises ExportError where the gate did not pass for exactly this model,
    or where the bundle is larger than it may be.
    """
    model, judge = artifact.load(int4, "int4"), artifact.load(guard, "guard")
    _must_have_passed(settings, model, judge, papers.card)
    if papers.policy["shadow"]:
        raise ExportError("a policy in shadow mode lets everything pass, which no app may; ship one without shadow")
    if model.facts["context"] < _LEAST_CONTEXT:
        raise ExportError(
            f"{model.path} reads {model.facts['context']} tokens and a chat needs {_LEAST_CONTEXT}; raise int4.context"
        )
    signer = signature.public_key(key) if key else ""
    form = _form(settings.target, Parcel(model, judge, papers, settings.context), signer)

    def make(work: Path) -> dict[str, Any]:
        told = form.write(work)
        home = work / form.papers
        write_json(home / CARD, {**papers.card, "name": settings.name, "ungated": settings.ungated})
        if papers.safety:
            (home / SAFETY).write_text(papers.safety, encoding="utf-8")
        write_json(home / SBOM, _materials(settings, model, judge, form.components()))
        (home / LICENCE).write_text(_licence(), encoding="utf-8")
        megabytes = _megabytes(work)
        if 0 < settings.most_megabytes < megabytes:
            raise ExportError(
                f"the bundle is {megabytes} MB and may be {settings.most_megabytes:g}; raise --max-mb or ship less"
            )
        return {"name": settings.name, "megabytes": megabytes, "gate": _outcome(papers.card), **told}

    inputs = {"int4": model.id, "guard": judge.id, "papers": artifact.digest(papers._asdict()), "form": form.content}
    if signer:
        inputs["signer"] = signer
    try:
        made = artifact.produce(out, KIND, recipe.plain(settings), inputs, make)
    except ExportError:
        # What was refused is not gone on with: the remedy is another order.
        shutil.rmtree(artifact.beside(out, ".partial"), ignore_errors=True)
        raise
    if key and not (made.path / SIGNATURE).exists():
        signature.sign(made, key)
    return verify(made.path)


def _form(target: Target, parcel: Parcel, signer: str) -> _Form:
    if target == "web":
        return _Form(page.content_id(), Path(), partial(page.write, parcel), page.components)
    write = partial(native.write, target, parcel, signer)
    return _Form(native.content_id(target), Path(native.PAYLOAD), write, list)


def verify(folder: Path, signer: str = "") -> Artifact:
    """Open a bundle: every file is what the manifest says, and none is foreign; its card is of the weights it was made of.

    One that says who signed it has to be signed by them, and by `signer` (a public key in base64) if one is given. Raises
    ArtifactError with the name of the file.
    """
    bundle = artifact.load(folder, KIND)
    inputs, recorded = bundle.manifest["inputs"], bundle.manifest["recipe"]
    cards = [name for name in (CARD, f"{native.PAYLOAD}/{CARD}") if name in bundle.manifest["files"]]
    if len(cards) != 1 or not {"int4", "guard"} <= inputs.keys() or recorded.get("target") not in get_args(Target):
        raise ArtifactError(f"{folder / MANIFEST} is of no bundle for a phone; export it again")
    try:
        card = json.loads((bundle.path / cards[0]).read_text(encoding="utf-8"))
        is_of_these = _is_of(card, inputs["int4"], inputs["guard"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"{folder / cards[0]} is no safety card; export the bundle again") from error
    if not is_of_these:
        raise ArtifactError(f"{folder / cards[0]} is of another model or guard than the bundle; export it again")
    for each in dict.fromkeys(filter(None, (inputs.get("signer"), signer))):
        signature.check(bundle, each)
    return bundle


def _is_of(card: Mapping[str, Any], model: str, guard: str) -> bool:
    return card["model"] == model and card["guard"].partition("/")[0] == guard


def _must_have_passed(settings: MobileSettings, model: Artifact, guard: Artifact, card: Mapping[str, Any]) -> None:
    if not _is_of(card, model.id, guard.id):
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


def _materials(settings: MobileSettings, model: Artifact, guard: Artifact, libraries: list[Component]) -> dict[str, Any]:
    parts = [
        Component(settings.name, model.id, "machine-learning-model", settings.licence),
        Component("breakfix guard", guard.id, "machine-learning-model", "Apache-2.0"),
        *libraries,
    ]
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
