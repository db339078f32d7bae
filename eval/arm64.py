"""An emulated phone as an engine: the int4 file and the guard on Arm's kernels, which round otherwise than those of x86-64.

Breakfix's own runtime runs in there, one conversation at a time as a chat does. What it says is what a phone with such a CPU
says; how long it takes is the emulator's time and says nothing.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from ..core import artifact, recipe
from ..core.errors import EngineError, UsageError
from ..runtime.engine import Conversation, ConversationTooLong, Sampling
from ..runtime.template import ChatTemplate
from . import arm64_root


class Arm64Engine:
    """An int4 artifact on an emulated Arm64 CPU, behind both rails where a guard is named. A context manager."""

    def __init__(self, folder: Path, cpu: str, guard: Path | None = None, policy: str | None = None) -> None:
        """Start the emulated process and open the artifacts in it; `cpu` is one of `arm64_root.CPUS`.

        Raises UsageError, ArtifactError, or EngineError when the emulated system was not set up.
        """
        made = artifact.load(folder)
        if made.kind != "int4":
            raise UsageError(f"{folder} is a {made.kind}, and phones run int4; give an int4 folder")
        self._folder, self._template = folder.resolve(), ChatTemplate(folder)
        self._worker = Worker(cpu)
        asked = {"model": str(self._folder), "guard": str(guard.resolve()) if guard else None, "policy": policy or "default"}
        try:
            self.id = f"{self._worker.ask('open', **asked)['id']}@emulated-{cpu}"
        except EngineError:
            self._worker.close()
            raise

    def __enter__(self) -> "Arm64Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Yield the whole answer at once: this engine is for measuring."""
        messages = [list(message) for message in conversation]
        yield self._worker.ask("answer", messages=messages, sampling=recipe.plain(sampling))["answer"]

    def length(self, conversation: Conversation) -> int:
        """Return the tokens of the prompt."""
        return len(self._template.encode(conversation))

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return one answer for each conversation."""
        return ["".join(self.stream(conversation, sampling)) for conversation in conversations]


class Arm64Graph:
    """A graph that tells the outputs of every token, on an emulated Arm64 CPU. A context manager."""

    def __init__(self, graph: bytes, folder: Path, entries: Mapping[str, str], past: tuple[int, int], cpu: str) -> None:
        """Open a graph whose weights lie in `folder`, with these session options; `past`: KV heads, and the size of one.

        Raises UsageError or EngineError.
        """
        self._worker = Worker(cpu)
        self._files = self._worker.files
        (self._files / "model.onnx").write_bytes(graph)
        asked = {"path": str(self._files / "model.onnx"), "folder": str(folder.resolve()), "entries": dict(entries)}
        try:
            self._worker.ask("graph", past=past, **asked)
        except EngineError:
            self._worker.close()
            raise

    def __enter__(self) -> Callable[[Sequence[int]], np.ndarray]:
        return self.logits

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Return the raw outputs at each of these tokens, shape (tokens, vocabulary)."""
        out = self._files / "logits.npy"
        self._worker.ask("logits", ids=list(ids), out=str(out))
        return np.load(out)


class Worker:
    """The emulated process, and what is said to it."""

    def __init__(self, cpu: str) -> None:
        """Start it. Raises UsageError for an unknown CPU, EngineError when the emulated system was not set up."""
        self._folder = tempfile.TemporaryDirectory(prefix="breakfix-arm64-")
        self.files = Path(self._folder.name)
        """A folder that both processes see, as long as this one lives."""
        self._cpu, self._errors = cpu, (self.files / "errors").open("w+", encoding="utf-8", errors="replace")
        try:
            command, environment = arm64_root.python(cpu, self.files)
        except (EngineError, UsageError):
            self._forget()
            raise
        command += ["-m", "breakfix.eval.arm64_worker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._process = subprocess.Popen(command, env=environment, text=True, encoding="utf-8", **pipes)

    def ask(self, what: str, **row: Any) -> dict[str, Any]:
        """Return the answer to one request. Raises EngineError, as ConversationTooLong for a conversation that is too long."""
        to, answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        try:
            to.write(json.dumps({"do": what, **row}) + "\n")
            to.flush()
        except BrokenPipeError:
            pass  # it has died, and what it answers says so
        line = answers.readline()
        if not line:
            raise EngineError(
                f"the emulated {self._cpu} stopped ({self._last_words()}); free some memory, or remove {arm64_root.folder()} "
                f"and set it up again: {arm64_root.SET_UP}"
            )
        if said := json.loads(line).get("error"):
            kind = ConversationTooLong if json.loads(line)["kind"] == ConversationTooLong.__name__ else EngineError
            raise kind(said)
        return json.loads(line)

    def close(self) -> None:
        """End the process and remove its files."""
        self._process.kill()
        self._process.communicate()
        self._forget()

    def _forget(self) -> None:
        self._errors.close()
        self._folder.cleanup()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"
