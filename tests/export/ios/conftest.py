"""What the tests of the iOS template share: the compiled Swift libraries, and programs that run them.

BREAKFIX_SWIFT names the compiler, with what it runs in before it (`chroot /srv/trixie swiftc`): that runs what was compiled
as well, and must see the same paths. Without it `swiftc` is looked for, and without either what needs one is skipped.
"""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from breakfix.core import recipe
from breakfix.guardrails import policy, vectors
from breakfix.guardrails.classifier import OnnxClassifier, Window, run_session
from breakfix.guardrails.guard import SHIPPED

IOS = Path(__file__).parents[3] / "export" / "mobile" / "ios"
DRIVERS = Path(__file__).parent
SWIFT = shlex.split(os.environ.get("BREAKFIX_SWIFT") or shutil.which("swiftc") or "")
MODULES = ("BreakfixGuard", "BreakfixSession")


@pytest.fixture(scope="session")
def compiler() -> list[str]:
    """The command that compiles."""
    if not SWIFT:
        pytest.skip("there is no Swift compiler: BREAKFIX_SWIFT names none, and there is no swiftc")
    return SWIFT


@pytest.fixture(scope="session")
def swift(compiler, tmp_path_factory) -> Path:
    """The folder of the compiled modules."""
    folder = tmp_path_factory.mktemp("swift")
    for module in MODULES:
        sources = sorted((IOS / "Sources" / module).glob("*.swift"))
        made = [f"-emit-module-path={folder / module}.swiftmodule"]
        _compile(
            "-c", "-wmo", "-module-name", module, "-emit-module", *made, "-o", folder / f"{module}.o", "-I", folder, *sources
        )
    return folder


def _compile(*arguments: str | Path) -> None:
    command = [*SWIFT, "-O", "-parse-as-library", "-enable-testing", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def _linked(swift: Path, name: str) -> Path:
    objects = [swift / f"{module}.o" for module in MODULES]
    _compile("-I", swift, DRIVERS / "pipe.swift", DRIVERS / f"{name}.swift", *objects, "-o", swift / name)
    return swift / name


class SwiftGuard:
    """A Swift program that guards; the shipped model answers it from here."""

    def __init__(self, program: Path, *arguments: Path) -> None:
        command = [*SWIFT[:-1], str(program), *map(str, arguments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._model = OnnxClassifier(SHIPPED)
        self._known: dict[tuple[int, ...], list[float]] = {}

    def ask(self, op: str, name: str, **request: Any) -> Any:
        """Return the answer to a request; raises ValueError with what the guard says of one that it cannot do."""
        self._write({"op": op, "name": name, **request})
        while "done" not in (answer := self._read()):
            if "error" in answer:
                raise ValueError(answer["error"])
            self._write(_is_signed(**answer) if "signature" in answer else self.heads(answer["ids"], answer["types"]))
        return answer["done"]

    def heads(self, ids: list[int], types: list[int]) -> list[float]:
        """Return the model's heads for one window."""
        if (key := (*ids, -1, *types)) not in self._known:
            row = run_session(self._model._session, [Window(ids, types, 0, 0)])[0]
            self._known[key] = [float(head) for head in row]
        return self._known[key]

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=30) == 0

    def _write(self, value: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the Swift guard ended: {self._process.poll()}"
        return json.loads(line)


@pytest.fixture(scope="session")
def guard(swift, tmp_path_factory) -> Iterator[SwiftGuard]:
    tables = tmp_path_factory.mktemp("tables") / "tables.json"
    tables.write_text(json.dumps(vectors.tables(), sort_keys=True), encoding="ascii")
    running = SwiftGuard(_linked(swift, "guard"), SHIPPED, tables)
    yield running
    running.close()


@pytest.fixture(scope="session")
def session(swift) -> Iterator[SwiftGuard]:
    running = SwiftGuard(_linked(swift, "session"))
    yield running
    running.close()


def _is_signed(signature: list[int], message: list[int], key: list[int]) -> bool:
    """Tell what CryptoKit would: on Linux there is none, and the port asks the test."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes(key)).verify(bytes(signature), bytes(message))
    except InvalidSignature:
        return False
    return True


@pytest.fixture
def rules() -> dict[str, Any]:
    """The whole default policy."""
    return recipe.plain(policy.load())
