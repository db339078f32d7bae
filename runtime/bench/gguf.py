"""llama.cpp in the race: the peer, at its fastest, without a guard."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...core.errors import EngineError, MissingExtra


class Gguf:
    """A GGUF file in llama-cpp-python."""

    def __init__(self, model: Path, threads: int, context: int) -> None:
        """Load it. Raises MissingExtra or EngineError."""
        try:
            import llama_cpp  # type: ignore[import-not-found]
        except ModuleNotFoundError as error:
            raise MissingExtra("llama_cpp", "bench") from error
        # Flash attention is its faster way on this class of machine, and takes less memory.
        settings: dict[str, Any] = {"n_ctx": context, "n_threads": threads, "n_threads_batch": threads, "flash_attn": True}
        try:
            self._model = llama_cpp.Llama(str(model), verbose=False, **settings)
        except (ValueError, OSError, AssertionError) as error:
            raise EngineError(f"{model} cannot be loaded by llama.cpp; give a GGUF file that it can run") from error

    def lap(self, text: str, ids: Sequence[int], tokens: int) -> tuple[float, Sequence[float], float]:
        """Read the same tokens; the answer is as long as asked for, whatever it says."""
        self._model.reset()
        began, came = time.perf_counter(), []
        for _ in self._model.generate(list(ids), temp=0.0, top_k=1):
            came.append(time.perf_counter())
            if len(came) >= tokens:
                break
        return began, came, time.perf_counter()
