"""Downloads that are whole or not there: resumed after a kill, verified by sha256, published atomically.

pip and npm are asked only for the address, so that the user's own index or mirror holds; they install nothing. The download
itself goes through the proxy that the environment names (https_proxy, no_proxy); one that stands in pip's or npm's settings is
not used.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from .artifact import sha256_of
from .errors import SourceError
from .progress import progress

_CHUNK = 1 << 20
_TIMEOUT = 60.0


def download(address_of, name: str, sha256: str, target: Path) -> Path:
    """Download what `address_of(name)` points to, going on from an earlier part, and check its sha256.

    A part whose hash is wrong is thrown away, so that the next try starts clean.
    """
    if target.exists() and sha256_of(target) == sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    _fetch(address_of(name), name, part)
    if (found := sha256_of(part)) != sha256:
        part.unlink()
        raise SourceError(
            f"the download of {name} is not what it should be (sha256 {found[:12]}…, expected {sha256[:12]}…); "
            f"it was removed, run the command again"
        )
    os.replace(part, target)
    return target


def wheel_address(requirement: str) -> str:
    """Return where pip would fetch the wheel of `DIST==VERSION`. Raises SourceError when its index does not say."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-deps"]
    command += ["--only-binary", ":all:", "--report", "-", requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["install"][0]["download_info"]["url"]
    except (ValueError, LookupError) as error:
        raise SourceError(
            f"the package index does not offer {requirement} or cannot be reached; check the network and pip's settings"
        ) from error


def npm_address(package: str) -> str:
    """Return where npm would fetch the package `NAME@VERSION`. Raises SourceError when it is not installed or does not say."""
    if shutil.which("npm") is None:
        raise SourceError(f"{package} is fetched with npm, which is not installed; install Node.js and run the command again")
    done = subprocess.run(["npm", "view", package, "dist.tarball", "--json"], capture_output=True, text=True, check=False)
    try:
        if isinstance(address := json.loads(done.stdout), str):
            return address
    except ValueError:
        pass
    raise SourceError(f"npm's registry does not offer {package} or cannot be reached; check the network and npm's settings")


def _fetch(address: str, name: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            resumed = have > 0 and answer.status == 206
            total = int(answer.headers.get("Content-Length") or 0) + (have if resumed else 0)
            with part.open("ab" if resumed else "wb") as out, progress(f"fetch {name}", total, have if resumed else 0) as step:
                while chunk := answer.read(_CHUNK):
                    out.write(chunk)
                    step(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is already whole; its hash will tell
            return
        raise SourceError(f"{name} cannot be downloaded (HTTP {error.code}); try again later") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise SourceError(_broke_off(name)) from error
    # A connection that closes early looks like the end of the file; only the announced length tells.
    if part.stat().st_size < total:
        raise SourceError(_broke_off(name))


def _broke_off(name: str) -> str:
    return f"the download of {name} broke off; run the command again, it goes on from there"
