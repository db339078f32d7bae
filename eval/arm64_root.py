"""An Arm64 system in a folder: Debian's Python and libraries for Arm, the runtime's wheels, and the emulator that runs them.

It is set up once, with a network; from then on it needs none. Nothing is installed on the machine and no rights are needed.
Debian's packages come from the machine's own sources, checked by apt, the wheels from pip's index in the versions that are
installed here. This module runs Python in there; what that Python does, it does not know.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from ..core.errors import EngineError, SourceError, UsageError
from ..core.progress import say
from ..core.sources import cache_folder, is_offline

CPUS = {"cortex-a53": "0xd03", "cortex-a76": "0xd0b", "neoverse-n1": "0xd0c", "max": "0xd0c"}
"""What can be emulated, by the emulator's name, and the part number that ONNX Runtime asks of a CPU before it picks kernels:
the A53 has none for int8 products, the A76 and the N1 have SDOT, max has all that the emulator knows."""
WHEELS = (
    "onnxruntime-genai", "onnxruntime", "numpy", "tokenizers", "jinja2", "markupsafe", "pyyaml", "rich", "markdown-it-py",
    "mdurl", "pygments", "flatbuffers", "protobuf", "packaging",
)  # fmt: skip
"""What the runtime and the guard import."""
SET_UP = "breakfix eval arm64-setup"
_PACKAGES = ("python3", "libstdc++6", "libgomp1")
_EMULATOR = "qemu-user-static"
_READY = "ready.json"
_GLIBC = range(17, 37)
"""Minor versions of glibc 2 that wheels may ask for; Debian 12 has 2.36."""
_UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var")
_CPUINFO = """processor\t: {number}
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 0

"""


def folder() -> Path:
    """Return where the root for the installed versions is, or would be."""
    return cache_folder() / f"arm64-{_versions()['onnxruntime']}"


def check(cpu: str) -> None:
    """Raise UsageError for a CPU that cannot be emulated, EngineError when the root was not set up for these versions."""
    if cpu not in CPUS:
        raise UsageError(f"there is no CPU {cpu}; the emulated ones are {', '.join(CPUS)}")
    try:
        held = json.loads((folder() / _READY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        held = None
    if held != _versions():
        why = "there is no emulated Arm64 system" if held is None else "the emulated Arm64 system holds other versions"
        raise EngineError(f"{why} in {folder()}; set it up once, on Debian and with a network: {SET_UP}")


def python(cpu: str, link: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command of the emulated Python and its whole environment, in which this very Breakfix can be imported.

    `link` is an empty folder for the process to keep; it gets a link to the package. Raises what `check` does.
    """
    check(cpu)
    root = folder()
    (link / "breakfix").symlink_to(Path(__file__).parent.parent)
    environment = {
        "PYTHONHOME": str(root / "root/usr"),
        "PYTHONPATH": f"{link}{os.pathsep}{root / 'site'}",
        # It would write into the checkout.
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }
    return [str(root / "qemu"), "-cpu", cpu, "-L", str(root / "cpus" / cpu), str(root / "root/usr/bin/python3")], environment


def set_up() -> Path:
    """Fetch and unpack everything, and run it once; returns the folder. What is there already is kept.

    Raises SourceError where it cannot be had.
    """
    where = folder()
    where.parent.mkdir(parents=True, exist_ok=True)
    with where.with_name(where.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            check("cortex-a76")
        except EngineError:
            _make(where)
    return where


def _make(where: Path) -> None:
    if missing := [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]:
        raise SourceError(f"the Arm64 system is made of Debian's packages, and there is no {missing[0]} here; use Debian")
    if is_offline():
        raise SourceError("HF_HUB_OFFLINE is set, and the Arm64 system has to be fetched; run once with a network")
    work = where.with_name(where.name + ".partial")
    shutil.rmtree(work, ignore_errors=True)
    (work / "root").mkdir(parents=True)
    say("arm64: fetch Debian's packages")
    _unpack(_debian(work / "apt"), work)
    say("arm64: fetch the wheels")
    _wheels(work / "site", (work / "root/usr/bin/python3").readlink().name.removeprefix("python"))
    for cpu, part in CPUS.items():
        _describe(work / "cpus" / cpu, part)
    shutil.rmtree(work / "apt")
    (work / _READY).write_text(json.dumps(_versions()), encoding="utf-8")
    shutil.rmtree(where, ignore_errors=True)
    os.replace(work, where)


def _debian(apt: Path) -> list[Path]:
    """Download the packages with all that they need, through an apt that knows nothing of this machine but its sources."""
    for name in ("lists/partial", "archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    here = _run(["dpkg", "--print-architecture"], "dpkg does not say what this machine is").strip()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": f"arm64,{here}",
        "APT::Sandbox::User": "root",
        "Dir::State": apt,
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Dir::Cache::archives": apt / "archives",
    }
    command = ["apt-get", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
    failed = "Debian's sources on this machine do not offer the Arm64 packages, or cannot be reached; check its network"
    # A source that has nothing for Arm makes it fail; the packages tell whether that matters.
    subprocess.run([*command, "update"], capture_output=True, check=False)
    names = [*_PACKAGES, f"{_EMULATOR}:{here}"]
    _run([*command, "install", "--yes", "--download-only", "--no-install-recommends", *names], failed)
    return sorted((apt / "archives").glob("*.deb"))


def _unpack(packages: Sequence[Path], work: Path) -> None:
    """Unpack the packages, and keep of them what runs."""
    emulator = work / "apt" / "emulator"
    for package in packages:
        place = emulator if package.name.startswith("qemu-user") else work / "root"
        _run(["dpkg-deb", "--extract", str(package), str(place)], f"{package.name} cannot be unpacked; try again")
    shutil.copy(emulator / "usr/bin/qemu-aarch64-static", work / "qemu")
    for name in _UNUSED:
        shutil.rmtree(work / "root" / name, ignore_errors=True)


def _wheels(site: Path, version: str) -> None:
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in _GLIBC] + ["manylinux2014_aarch64"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--target", str(site), "--python-version", version]
    command += [word for platform in platforms for word in ("--platform", platform)]
    command += [f"{name}=={held}" for name, held in _versions().items()]
    _run(
        command, "the package index does not offer the Arm64 wheels, or cannot be reached; check the network and pip's settings"
    )


def _describe(cpu: Path, part: str) -> None:
    """Make what one CPU sees: the root, and an account of the CPU, without which ONNX Runtime does not start."""
    (cpu / "proc").mkdir(parents=True)
    for name in ("lib", "usr", "etc"):
        (cpu / name).symlink_to(Path("../../root") / name)
    text = "".join(_CPUINFO.format(number=number, part=part) for number in range(os.cpu_count() or 1))
    (cpu / "proc/cpuinfo").write_text(text, encoding="ascii")


def _versions() -> Mapping[str, str]:
    return {name: metadata.version(name) for name in WHEELS}


def _run(command: Sequence[str], failed: str) -> str:
    """Return what a command says. Raises SourceError with the last line of its complaint."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise SourceError(f"{failed} ({last})")
    return done.stdout
