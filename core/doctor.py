"""Looks at this machine: what is installed, what hardware there is, what is cached, what is missing. It changes nothing."""

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from . import sources
from .errors import EXTRAS

_PARTS = {"runtime": ("onnxruntime", "onnxruntime-genai", "tokenizers", "numpy"), **EXTRAS}
_DISTRIBUTIONS = {"llama_cpp": "llama-cpp-python"}
"""Modules that are installed under another name."""
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimddp", "i8mm")
_NEEDED_DISK_GB = 6


class Finding(NamedTuple):
    """One thing looked at."""

    what: str
    fine: bool
    state: str
    """How it is, and the remedy if it is not fine."""


def examine() -> list[Finding]:
    """Return everything that a user might have to know before the first command."""
    return [*_packages(), *_hardware(), *_cache()]


def _packages() -> list[Finding]:
    found = []
    for extra, names in _PARTS.items():
        versions = {name: _version(name) for name in map(_distribution, names)}
        missing = [name for name, version in versions.items() if version is None]
        have = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        target = "breakfix" if extra == "runtime" else f"'breakfix[{extra}]'"
        state = f"without {', '.join(missing)}; pip install {target}" if missing else have
        found.append(Finding(extra, not missing, state))
    return found


def _distribution(module: str) -> str:
    return _DISTRIBUTIONS.get(module, module)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hardware() -> list[Finding]:
    cores = os.cpu_count() or 1
    flags = _cpu_flags()
    found = [Finding("processor", True, f"{platform.machine()}, {cores} cores, {', '.join(flags) or 'flags unknown'}")]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        found.append(Finding("memory", gib >= 4, f"{gib:.0f} GiB" + ("" if gib >= 4 else "; training needs 4 or more")))
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    short = "" if free >= _NEEDED_DISK_GB else f"; a cycle needs {_NEEDED_DISK_GB}"
    found.append(Finding("disk here", not short, f"{free:.0f} GB free{short}"))
    return found


def _cpu_flags() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return []
    return [flag for flag in _FLAGS if flag in text]


def _cache() -> list[Finding]:
    folder = sources.cache_folder()
    cached = sorted(path.name.rsplit("-", 1)[0] for kind in ("wheels", "npm") for path in (folder / kind).glob("*"))
    offline = "; HF_HUB_OFFLINE is set, nothing will be fetched" if sources.is_offline() else ""
    found = [Finding("cache", True, f"{folder}: {', '.join(cached) or 'empty'}{offline}")]
    for package in sources.PINNED:
        if sources.cached_name(package) not in cached:
            found.append(Finding(package, not sources.is_offline(), "not cached; fetched by the first command that needs it"))
    return found
