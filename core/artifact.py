"""Folders that stages hand each other, complete or not there at all.

A folder is an artifact if and only if it holds `manifest.json`, which is written last. Work happens in `NAME.partial/`;
one `os.replace` publishes it. So a killed stage leaves no artifact, and running it again goes on from `.partial`.
This module does not know what any kind of artifact contains.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import ArtifactError, UsageError

FORMAT = 1
MANIFEST = "manifest.json"
ORDER = "order.json"
SCRATCH = "scratch"
"""A sub-folder of the work folder for what must survive a kill but is no part of the result (checkpoints)."""

_LOCK = ".lock"
SIGNATURE = "manifest.sig"
"""Somebody's signature of the manifest, if it has one; it comes after it."""
_UNPUBLISHED = {MANIFEST, MANIFEST + ".tmp", SIGNATURE, SIGNATURE + ".tmp", ORDER, _LOCK}
"""No part of the content. A kill can leave all but the first and the signature behind; nobody reads those in a finished one."""
_FULL_BYTES = 1 << 20
"""With less than this free a disk counts as full: what writes files in blocks fails before the last byte is taken."""
_VERSIONED = ("breakfix", "torch", "transformers", "trl", "peft", "onnxruntime", "onnxruntime-genai", "numpy")

Facts = Mapping[str, Any]
"""What a stage wants to say about its result (counts, figures); recorded in the manifest, no part of the id."""


@dataclass(frozen=True)
class Artifact:
    """A finished, verified folder."""

    path: Path
    """Where it lies."""
    kind: str
    """What it holds: checkpoint, dataset, adapter, pairs, int4, teacher, classifier, guard, records, attacks, report …"""
    id: str
    """sha256 over the kind and the hashes of all files."""
    manifest: Mapping[str, Any]
    """The whole manifest: recipe, inputs, files, facts, recorded, and the seal over all of it."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return what the stage recorded about its result."""
        return self.manifest["facts"]


def load(path: Path | str, kind: str | None = None) -> Artifact:
    """Open an artifact and verify every hash in it.

    Raises ArtifactError when the folder is missing, is of another kind, or a file was changed, cut short, added or lost.
    """
    path = Path(path)
    artifact = _read_manifest(path)
    if kind is not None and artifact.kind != kind:
        raise ArtifactError(f"{path} holds a {artifact.kind}, and a {kind} is needed here; give a {kind} folder")
    expected = artifact.manifest["files"]
    present = set(_file_names(path)) - _UNPUBLISHED
    for name in sorted(set(expected) | present):
        if name not in expected:
            raise ArtifactError(f"{path / name} does not belong to this {artifact.kind}; remove it or make it again")
        if name not in present:
            raise ArtifactError(f"{path / name} is missing; the {artifact.kind} is not whole, make it again")
        if sha256_of(path / name) != expected[name]["sha256"]:
            raise ArtifactError(f"{path / name} was changed or cut short since it was made; make the folder again")
    if artifact.id != content_id(artifact.kind, expected):
        raise ArtifactError(f"{path / MANIFEST} was edited: its id does not fit its files; make the folder again")
    if artifact.manifest.get("seal") != _seal(artifact.manifest):
        raise ArtifactError(f"{path / MANIFEST} was edited: its seal does not fit what it says; make the folder again")
    return artifact


def produce(
    out: Path | str,
    kind: str,
    recipe: Mapping[str, Any],
    inputs: Mapping[str, str],
    make: Callable[[Path], Facts | None],
    *,
    collective: bool = False,
) -> Artifact:
    """Return the finished artifact at `out`, or have `make` fill the work folder and publish it.

    `make` gets `NAME.partial/`, which may hold its own earlier work. `inputs` are content ids. With several processes
    (RANK set by a launcher) rank 0 does the work and the others wait; with `collective` all of them run `make`.
    Raises ArtifactError when `out` or its `.partial` was made to another order, or another process is at work there,
    UsageError when `out` has no name of its own (`.`), and OSError when the disk is full, whatever `make` made of it.
    """
    out = Path(out)
    partial = beside(out, ".partial")
    order = json.loads(json.dumps({"kind": kind, "recipe": recipe, "inputs": inputs}))
    if out.exists() and (out / MANIFEST).exists():
        return _finished(out, order)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtifactError(f"{out} exists and is no artifact; remove it or choose another --out")
    if int(os.environ.get("RANK", "0")) != 0:
        return _follow(partial, out, order, make if collective else None)
    with _claimed(partial, order):
        # A kill between the manifest and its publication left nothing to do but that.
        if not _is_whole(partial):
            started = time.monotonic()
            facts = _make(make, partial)
            _seal_up(partial, order, facts, time.monotonic() - started)
        _publish(partial, out)
    return _read_manifest(out)


def copy(made: Artifact, out: Path | str) -> Artifact:
    """Return a copy of a finished artifact at `out`: the same files, order and id. Raises what `produce` raises."""

    def make(work: Path) -> Facts:
        for name in made.manifest["files"]:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made.path / name, work / name)
        return made.facts

    return produce(out, made.kind, made.manifest["recipe"], made.manifest["inputs"], make)


def content_id(kind: str, files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the sha256 of a kind and the hashes of its files: the name of the content, wherever it lies."""
    listing = {name: entry["sha256"] for name, entry in files.items()}
    return digest([kind, listing])


def beside(out: Path, ending: str) -> Path:
    """Return the folder beside `out` with an ending to its name. Raises UsageError when `out` has no name of its own."""
    if out.name in ("", ".."):
        raise UsageError(
            f"{out} cannot be made or replaced; give --out a folder with a name of its own, such as {out / 'made'}"
        )
    return out.with_name(out.name + ending)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Return the sha256 of what JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def _read_manifest(path: Path) -> Artifact:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        artifact = Artifact(path, manifest["kind"], manifest["id"], manifest)
        if manifest["format"] != FORMAT:
            raise ArtifactError(f"{path} has format {manifest['format']}, this Breakfix reads {FORMAT}; update Breakfix")
        if not all({"sha256", "bytes"} <= set(entry) for entry in manifest["files"].values()):
            raise KeyError("files")
    except FileNotFoundError as error:
        partial = Path(f"{path}.partial")
        hint = "it was not finished: run its stage again" if partial.exists() else "give a folder a stage has made"
        raise ArtifactError(f"{path} is no artifact (no {MANIFEST}); {hint}") from error
    except (ValueError, KeyError, TypeError, AttributeError, NotADirectoryError) as error:
        raise ArtifactError(f"{path / MANIFEST} is damaged; make the folder again") from error
    return artifact


def _finished(out: Path, order: Mapping[str, Any]) -> Artifact:
    artifact = load(out)
    held = {key: artifact.manifest[key] for key in ("kind", "recipe", "inputs")}
    if held != order:
        raise ArtifactError(f"{out} was made to another order ({_difference(held, order)}); choose another --out")
    return artifact


def _difference(held: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Name the first setting in which two orders differ."""
    for key in sorted({*held, *asked}):
        one, other = held.get(key), asked.get(key)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            return f"{key}.{_difference(one, other)}"
        return f"{key} {str(one)[:60]} there, {str(other)[:60]} now"
    return "the same settings in another shape"


@contextlib.contextmanager
def _claimed(partial: Path, order: Mapping[str, Any]) -> Iterator[None]:
    """Hold the work folder for this process and this order."""
    partial.mkdir(parents=True, exist_ok=True)
    with (partial / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactError(f"another process is working in {partial}; wait for it or choose another --out") from error
        if (partial / ORDER).exists():
            held = json.loads((partial / ORDER).read_text(encoding="utf-8"))
            if held != order:
                raise ArtifactError(
                    f"{partial} holds unfinished work for another order ({_difference(held, order)}); "
                    f"delete it or choose another --out"
                )
        else:
            write_atomic(partial / ORDER, json.dumps(order))
        yield


def _follow(partial: Path, out: Path, order: Mapping[str, Any], make: Callable[[Path], Facts | None] | None) -> Artifact:
    """Take part in another rank's work: run `make` beside it if it is collective, then wait for the result."""
    while make is not None and not (partial / ORDER).exists() and not (out / MANIFEST).exists():
        time.sleep(0.1)
    if make is not None and not (out / MANIFEST).exists():
        _make(make, partial)
    while not (out / MANIFEST).exists():
        time.sleep(0.2)
    return _finished(out, order)


def _make(make: Callable[[Path], Facts | None], partial: Path) -> Facts:
    """Run `make`; what fails on a full disk is told as that, for torch and safetensors raise errors of their own."""
    try:
        return make(partial) or {}
    except Exception as error:
        said = os.strerror(errno.ENOSPC)
        if not isinstance(error, OSError) and (said in str(error) or shutil.disk_usage(partial).free < _FULL_BYTES):
            raise OSError(errno.ENOSPC, said, str(partial)) from error
        raise


def _seal_up(partial: Path, order: Mapping[str, Any], facts: Facts, seconds: float) -> None:
    """Write the manifest of what was made, and all of it to the disk. Scratch stays until then: a kill costs none of it."""
    names = [n for n in _file_names(partial) if n not in _UNPUBLISHED and not n.startswith(f"{SCRATCH}/")]
    files = {n: {"sha256": sha256_of(partial / n), "bytes": (partial / n).stat().st_size} for n in names}
    manifest = {
        "format": FORMAT,
        "id": content_id(order["kind"], files),
        **order,
        "files": files,
        "facts": facts,
        "recorded": {
            "versions": _versions(),
            "commit": _commit(),
            "seconds": round(seconds, 1),
            "host": {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()},
        },
    }
    manifest["seal"] = _seal(manifest)
    for name in names:
        _fsync(partial / name)
    write_atomic(partial / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True))


def _is_whole(partial: Path) -> bool:
    """Tell whether a work folder holds a manifest and all that it lists."""
    try:
        files = _read_manifest(partial).manifest["files"]
        return all(sha256_of(partial / name) == entry["sha256"] for name, entry in files.items())
    except (ArtifactError, OSError):
        return False


def _publish(partial: Path, out: Path) -> None:
    shutil.rmtree(partial / SCRATCH, ignore_errors=True)
    _fsync(partial)
    os.replace(partial, out)
    _fsync(out.parent)
    # Only now: until it is published, the work folder belongs to this order and this process.
    (out / ORDER).unlink()
    (out / _LOCK).unlink()


def _seal(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 of all a manifest says, as JSON would give it back: reports quote its facts, inputs and recipe."""
    told = json.loads(json.dumps({key: value for key, value in manifest.items() if key != "seal"}))
    return digest(told)


def _file_names(folder: Path) -> list[str]:
    """Return all that lies there but plain folders: what is behind a link is not looked at, and the link is told of."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _commit() -> str | None:
    """Return the commit of this source tree, or None outside a checkout."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists() or shutil.which("git") is None:
        return None
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
