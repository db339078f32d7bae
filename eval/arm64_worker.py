"""What runs under emulation: the runtime as it is, asked in JSON lines on standard input, answering on standard output.

    {"do": "open", "model": FOLDER, "guard": FOLDER or null, "policy": NAME}         -> {"id": ID}
    {"do": "answer", "messages": [[ROLE, TEXT] …], "sampling": {…}}                  -> {"answer": TEXT}
    {"do": "graph", "path": FILE, "folder": FOLDER, "entries": {NAME: VALUE …}, "past": [HEADS, SIZE]} -> {}
    {"do": "logits", "ids": [ID …], "out": FILE}                                     -> {}, and an .npy file

What cannot be done is answered with {"error": SENTENCE, "kind": CLASS}. It does not know that it is emulated.
"""

import json
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from ..core.errors import BreakfixError, EngineError
from ..guardrails.guard import Guard
from ..runtime.engine import Engine, Message, Sampling
from ..runtime.genai import GenAIEngine
from .guarded import Guarded

Row = dict[str, Any]
_PAST = "past_key_values"


class Worker:
    """Holds one engine and one graph, and does what it is told."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._engine: Engine | None = None
        self._session: Any = None
        self._empty: dict[str, np.ndarray] = {}

    def do(self, row: Row) -> Row:
        """Return the answer to one request. Raises BreakfixError."""
        return {"open": self._open, "answer": self._answer, "graph": self._graph, "logits": self._logits}[row["do"]](row)

    def _open(self, row: Row) -> Row:
        engine = GenAIEngine(row["model"], keeps=False)
        self._engine = Guarded(engine, Guard.open(row["guard"], row["policy"])) if row["guard"] else engine
        return {"id": self._engine.id}

    def _answer(self, row: Row) -> Row:
        if self._engine is None:
            raise EngineError("no model was opened; open one first")
        conversation = [Message(*message) for message in row["messages"]]
        return {"answer": self._engine.generate([conversation], Sampling(**row["sampling"]))[0]}

    def _graph(self, row: Row) -> Row:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", row["folder"])
        for name, value in row["entries"].items():
            options.add_session_config_entry(name, value)
        try:
            self._session = ort.InferenceSession(row["path"], options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises types of its own
            raise EngineError(f"{row['folder']} does not run in onnxruntime ({error}); export it again") from error
        heads, size = row["past"]
        nothing = np.zeros((1, heads, 0, size), np.float32)
        self._empty = {each.name: nothing for each in self._session.get_inputs() if each.name.startswith(_PAST)}
        return {}

    def _logits(self, row: Row) -> Row:
        tokens = np.asarray([row["ids"]], np.int64)
        feed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), **self._empty}
        np.save(row["out"], self._session.run(["logits"], feed)[0][0])
        return {}


def serve(lines: Iterator[str], out: IO[str]) -> None:
    """Answer every line until they end."""
    worker = Worker()
    for line in lines:
        try:
            said = worker.do(json.loads(line))
        except BreakfixError as error:
            said = {"error": str(error), "kind": type(error).__name__}
        print(json.dumps(said), file=out, flush=True)


if __name__ == "__main__":
    # What a library prints is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(iter(sys.stdin.readline, ""), answers)
