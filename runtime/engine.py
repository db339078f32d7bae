"""What it takes to be an engine, and the engine that needs no model.

An engine turns conversations into text. It knows nothing of guards, suites or terminals.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from ..core.errors import EngineError

Role = Literal["system", "user", "assistant"]


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = Sequence[Message]


@dataclass(frozen=True)
class Sampling:
    """How to pick the next token."""

    max_new_tokens: int = 256
    """The longest answer, in tokens."""
    temperature: float = 0.0
    """0 is greedy and deterministic."""
    top_p: float = 0.95
    """Nucleus; unused when greedy."""
    seed: int = 0
    """Seed of the sampler; unused when greedy."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = []
        if self.max_new_tokens < 1:
            found.append("max_new_tokens must be at least 1")
        if not 0 <= self.temperature <= 5:
            found.append("temperature must be between 0 and 5")
        if not 0 < self.top_p <= 1:
            found.append("top_p must be above 0 and at most 1")
        return found


class ConversationTooLong(EngineError):
    """A conversation leaves no room for an answer; raised before the answer's first piece."""


class Engine(Protocol):
    """Anything that answers conversations."""

    @property
    def id(self) -> str:
        """Return the content id of the weights: every number measured on this engine names it."""
        ...

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Yield one answer piece by piece; the pieces joined are the answer. Raises ConversationTooLong."""
        ...

    def length(self, conversation: Conversation) -> int:
        """Return how much there is to read, in tokens where it knows them: equal lengths are cheapest asked together."""
        ...

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return one answer for each conversation, in order."""
        ...


class ScriptedEngine:
    """An engine for tests and demos: answers come from a table or a function, streamed word by word."""

    def __init__(self, answers: Mapping[str, str] | Callable[[Conversation], str], name: str = "scripted") -> None:
        """Answer by the last message's text, or by calling a function with the conversation."""
        self.id = name
        self._answers = answers
        self.asked: list[Conversation] = []
        """Every conversation this engine saw, oldest first."""

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Yield the scripted answer word by word, at most `max_new_tokens` of them."""
        self.asked.append(conversation)
        if callable(self._answers):
            answer = self._answers(conversation)
        else:
            answer = self._answers.get(conversation[-1].content, "I have no line for that.")
        for number, word in enumerate(answer.split(" ")[: sampling.max_new_tokens]):
            yield word if number == 0 else f" {word}"

    def length(self, conversation: Conversation) -> int:
        """Return the characters of the last message."""
        return len(conversation[-1].content)

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return the scripted answers."""
        return ["".join(self.stream(conversation, sampling)) for conversation in conversations]
