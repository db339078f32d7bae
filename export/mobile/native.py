"""The android and ios targets: what an app carries (`payload/`), and the project to build it from (`app/`).

The weights ship as they were measured: the very files of the int4 artifact. It compiles nothing.
"""

import shutil
from pathlib import Path
from typing import Any

from ...core import artifact
from ...core.artifact import MANIFEST
from ...core.errors import ExportError
from ...core.progress import say
from .parcel import CONFIG, Parcel, copy_guard, copy_model, write_json

PAYLOAD, APP = "payload", "app"
KEY = "signing-key.txt"
"""The public half of the key that the app demands its payload to be signed with; empty: it demands none."""
_TURNS = "chat.json"
_SHIPS = {
    ".entitlements",
    ".kt",
    ".kts",
    ".md",
    ".plist",
    ".pro",
    ".properties",
    ".swift",
    ".toml",
    ".xcprivacy",
    ".xml",
    ".yml",
}
_UNSHIPPED = {"build", ".build", ".gradle", ".idea", ".kotlin", ".swiftpm", "Bundle", "Frameworks", "libs", "local.properties"}
"""What tools and people leave in a project that was worked on."""


def content_id(target: str) -> str:
    """Return what names the project of a target: other files are another order."""
    root = _project(target)
    return artifact.digest({path.relative_to(root).as_posix(): artifact.sha256_of(path) for path in _files(root)})


def write(target: str, parcel: Parcel, signer: str, work: Path) -> dict[str, Any]:
    """Write payload and project; `signer` is the public key, in base64, of what the app demands to be signed, or empty."""
    if parcel.papers.turns is None:
        raise ExportError(f"a bundle for {target} has no Jinja and needs the chat template's turns")
    if form := parcel.model.facts.get("text_form"):
        raise ExportError(f"{parcel.model.path} reads text in {form} alone, and the apps do not write it so; export for web")
    say("export mobile: model and guard")
    payload = work / PAYLOAD
    weights = [name for name in parcel.model.manifest["files"] if name not in (MANIFEST, CONFIG)]
    copy_model(parcel, weights, payload / "model")
    told = {**parcel.papers.turns, "ends": parcel.model.facts["eos_token_ids"], "context": parcel.capped}
    write_json(payload / "model" / _TURNS, told)
    copy_guard(parcel, payload / "guard")
    say(f"export mobile: the project for {target}")
    root = _project(target)
    for path in _files(root):
        into = work / APP / path.relative_to(root)
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, into)
        into.chmod(path.stat().st_mode & 0o777)
    (work / APP / KEY).write_text(signer + "\n" if signer else "", encoding="ascii")
    return {"runs_on": f"onnxruntime-genai on {target}"}


def _project(target: str) -> Path:
    return Path(__file__).parent / target


def _files(root: Path) -> list[Path]:
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix in _SHIPS and path.is_file() and not _UNSHIPPED.intersection(path.relative_to(root).parts)
    )
