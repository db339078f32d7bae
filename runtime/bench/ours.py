"""A bundle in the race: the int4 engine in a session, with or without the guard."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...core.errors import EngineError
from ...guardrails.guard import Guard
from ..engine import Conversation, Engine, Sampling
from ..genai import GenAIEngine
from ..session import Session


class Ours:
    """An int4 folder and a guard; None leaves both rails off."""

    def __init__(self, model: Path, guard: Path | None, threads: int) -> None:
        """Load both. Raises ArtifactError or EngineError."""
        self._engine = _Timed(GenAIEngine(model, threads))
        self._guard = Guard.open(guard) if guard else None

    def lap(self, text: str, ids: Sequence[int], tokens: int) -> tuple[float, Sequence[float], float]:
        """Ask the text in a new conversation. Raises EngineError where the guard blocks it."""
        session = Session(self._engine, self._guard, Sampling(max_new_tokens=tokens))
        self._engine.came = []
        began = time.perf_counter()
        for _ in session.ask(text):
            pass
        ended = time.perf_counter()
        if not self._engine.came:
            raise EngineError(
                "not one token came: the guard blocks the bench's question, or the model says nothing to it; use another"
            )
        return began, self._engine.came, ended


class _Timed:
    """An engine that notes when each token came."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.id = engine, engine.id
        self.came: list[float] = []

    def length(self, conversation: Conversation) -> int:
        return self._engine.length(conversation)

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        return self._engine.generate(conversations, sampling)

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        for piece in self._engine.stream(conversation, sampling):
            self.came.append(time.perf_counter())
            yield piece
