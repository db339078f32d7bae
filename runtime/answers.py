"""One guarded model and its line of clients: each answer is made in a thread of its own and read piece by piece.

The model is the next client's only when the thread that used it has ended, whatever became of the client.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..core.errors import BreakfixError, EngineError
from ..guardrails.guard import Guard
from ..guardrails.policy import Verdict
from ..guardrails.rules import redact
from .engine import ConversationTooLong, Engine, Message, Sampling
from .session import Session
from .watched import Used, Watched

FAILED = "the server failed to finish this answer; ask again"
Gone = Callable[[], Awaitable[bool]]
"""Tells whether the client has left."""
_LOOK = 0.2
"""Seconds between two looks at whether a waiting client has left."""
_END = object()


class Busy(Exception):
    """The line is full."""


class Left(Exception):
    """The client has left."""


@dataclass(frozen=True)
class Limits:
    """What one server lets its clients have."""

    waiting: int = 8
    """Requests that may wait while one is answered."""
    tokens: int = 1024
    """The longest answer."""
    seconds: float = 300.0
    """The longest that one answer may take, checks included; it ends there as if it had reached its last token."""
    characters: int = 32_000
    """The longest conversation, and the longest list of texts to moderate."""


class Numbers:
    """What /metrics tells."""

    def __init__(self) -> None:
        """Count from nothing."""
        self.registry = CollectorRegistry()

        def made(kind: Any, name: str, what: str, *labels: str) -> Any:
            return kind(f"breakfix_{name}", what, labels, registry=self.registry)

        self.requests = made(Counter, "requests", "Requests answered, by path and status.", "path", "status")
        self.blocked = made(Counter, "blocked", "Turns that the guard blocked, by rail and category.", "rail", "category")
        self.tokens = made(Counter, "tokens", "Tokens read and written.", "kind")
        self.inside = made(Gauge, "inside", "Requests being answered or waiting.")
        self.first = made(Histogram, "first_piece_seconds", "Seconds from a request to the first checked piece of its answer.")
        self.whole = made(Histogram, "answer_seconds", "Seconds from a request to the end of the work on it.")


class Line:
    """One at a time; others wait, so many at most."""

    def __init__(self, waiting: int, shown: Callable[[int], None] = lambda _: None) -> None:
        """Let so many wait; `shown` hears how many are inside."""
        self._waiting, self._shown = waiting, shown
        self._lock, self._inside = asyncio.Lock(), 0

    async def enter(self, gone: Gone) -> None:
        """Wait for one's turn. Raises Busy when too many wait already, Left when the client has left meanwhile."""
        if self._inside > self._waiting:
            raise Busy
        self._count(1)
        try:
            while True:
                try:
                    await asyncio.wait_for(self._lock.acquire(), _LOOK)
                    break
                except TimeoutError:
                    if await gone():
                        raise Left from None
        except BaseException:
            self._count(-1)
            raise

    def leave(self) -> None:
        """Let the next one in."""
        self._count(-1)
        self._lock.release()

    @asynccontextmanager
    async def turn(self, gone: Gone) -> AsyncIterator[None]:
        """Enter, and leave at the end."""
        await self.enter(gone)
        try:
            yield
        finally:
            self.leave()

    def _count(self, more: int) -> None:
        self._inside += more
        self._shown(self._inside)


class Service:
    """One guarded model under a name."""

    def __init__(self, engine: Engine, guard: Guard, name: str, limits: Limits = Limits()) -> None:
        """Answer with this engine behind this guard."""
        self.engine, self.guard, self.name, self.limits = engine, guard, name, limits
        self.numbers = Numbers()
        self.line = Line(limits.waiting, self.numbers.inside.set)
        self.moderations = Line(limits.waiting)

    async def answer(self, messages: Sequence[Message], stops: Sequence[str], sampling: Sampling, gone: Gone) -> "Answer":
        """Begin to answer when it is one's turn. Raises Busy or Left, and ConversationTooLong."""
        if sum(len(message.content) for message in messages) > self.limits.characters:
            raise ConversationTooLong(f"the conversation has more than {self.limits.characters} characters; shorten it")
        await self.line.enter(gone)
        return Answer(self, messages, stops, sampling, gone)

    async def moderate(self, texts: Sequence[str], gone: Gone) -> list[Verdict]:
        """Judge texts, one list at a time. Raises Busy or Left."""
        async with self.moderations.turn(gone):
            found = []
            for text in texts:
                if await gone():
                    raise Left
                found.append(await asyncio.to_thread(self.guard.check_input, text))
            return found


class Answer:
    """One request's answer. It holds the model until its thread has ended."""

    def __init__(
        self, service: Service, messages: Sequence[Message], stops: Sequence[str], sampling: Sampling, gone: Gone
    ) -> None:
        """Start the thread; the service's line was entered."""
        self.blocked: Verdict | None = None
        """The verdict that blocked the request or the answer."""
        self._service, self._messages, self._gone = service, messages, gone
        self._engine = Watched(service.engine, stops, time.monotonic() + service.limits.seconds)
        self._session = Session(self._engine, service.guard, sampling)
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._loop, self._started, self._seen = asyncio.get_running_loop(), time.monotonic(), False
        try:
            threading.Thread(target=self._work, daemon=True).start()
        except BaseException:
            service.line.leave()
            raise

    @property
    def text(self) -> str:
        """Return what stands when all is said: what was shown less what was taken back."""
        if self._session.last is not None:
            return self._session.last.answer
        return self.blocked.message if self.blocked else ""

    @property
    def taken_back(self) -> int:
        """Return how many shown characters, right before the guard's message, do not stand."""
        return self._session.last.taken_back if self._session.last else 0

    @property
    def noted(self) -> Verdict | None:
        """Return what the guard has to say of the turn."""
        return self.blocked or (self._session.last.verdict if self._session.last else None)

    @property
    def cut(self) -> bool:
        """Tell whether the answer ended before the model did."""
        return self._engine.cut

    @property
    def used(self) -> Used:
        """Return the tokens that the model read and wrote."""
        return self._engine.used

    async def pieces(self) -> AsyncGenerator[str]:
        """Yield checked text as it comes; leaving early ends the model's work within a token. Raises BreakfixError, or Left."""
        try:
            while (got := await self._next()) is not _END:
                if isinstance(got, BaseException):
                    raise got
                if not self._seen:
                    self._seen = True
                    self._service.numbers.first.observe(time.monotonic() - self._started)
                yield got
                if await self._gone():
                    raise Left
        finally:
            self._engine.cancelled.set()

    async def _next(self) -> Any:
        while True:
            try:
                return await asyncio.wait_for(self._queue.get(), _LOOK)
            except TimeoutError:
                if await self._gone():
                    raise Left from None

    def _work(self) -> None:
        try:
            self._answer()
        except BreakfixError as error:
            self._put(error)
        except BaseException:  # what fails unforeseen may hold the user's text: it is not told and not logged
            self._put(EngineError(FAILED))
        finally:
            self._loop.call_soon_threadsafe(self._ended)

    def _answer(self) -> None:
        *before, last = self._messages
        self._session.history, self.blocked = self._checked(before, last)
        if self.blocked is not None:
            self._put(self.blocked.message)
            return
        whole = [*self._session.history, last]
        if self._service.engine.length(whole) >= getattr(self._service.engine, "context", float("inf")):
            raise ConversationTooLong("the conversation is longer than the model reads; shorten it")
        for text in self._session.ask(last.content):
            self._put(text)
        turn = self._session.last
        if turn is not None and turn.verdict is not None and turn.verdict.blocked:
            self.blocked = turn.verdict

    def _checked(self, before: Sequence[Message], last: Message) -> tuple[list[Message], Verdict | None]:
        """Return the earlier messages as the model may read them, and the verdict that blocks the request.

        The client wrote them all. A blocked question leaves with its answer, and a blocked answer with its question, for
        clients keep what was refused; a blocked system message blocks the request.
        """
        guard, kept, said, question = self._service.guard, [], [], ""
        left_out = False
        for message in before:
            if self._engine.over():
                raise EngineError("the conversation took too long to check; shorten it")
            answers = message.role == "assistant"
            if answers and left_out:
                continue
            verdict = guard.check_output(question, message.content) if answers else guard.check_input(message.content, said)
            if verdict.blocked and message.role == "system":
                return kept, verdict
            left_out = verdict.blocked
            if verdict.blocked:
                kept = kept[:-1] if answers and kept and kept[-1].role == "user" else kept
                continue
            text = redact(message.content, verdict.findings) if verdict.action == "redact" else message.content
            kept.append(message._replace(content=text))
            if not answers:
                said.append(message.content)
                question = message.content if message.role == "user" else question
        verdict = guard.check_input(last.content, said)
        return kept, verdict if verdict.blocked else None

    def _ended(self) -> None:
        numbers = self._service.numbers
        numbers.whole.observe(time.monotonic() - self._started)
        if self.blocked is not None:
            numbers.blocked.labels(self.blocked.rail, self.blocked.category or "failed").inc()
        for kind, tokens in zip(("prompt", "completion"), self.used, strict=True):
            numbers.tokens.labels(kind).inc(tokens)
        self._queue.put_nowait(_END)
        self._service.line.leave()

    def _put(self, thing: Any) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, thing)
