"""A guarded system as an engine, so that suites measure what a user would see; and answers already recorded as another.

`Guarded(Recorded(records), guard)` measures the guard on the answers of the very file that was measured without it:
decoding is greedy, so asking again would give the same text.
"""

from collections.abc import Iterator, Sequence

from ..core.artifact import Artifact
from ..core.errors import EngineError, UsageError
from ..core.jsonl import read_jsonl
from ..guardrails.guard import Guard
from ..runtime.engine import Conversation, Engine, Message, Sampling
from ..runtime.session import Session
from .judge import ActJudge
from .run import RECORDS


class Recorded:
    """An engine that repeats the answers of a `records` artifact, under the id of the engine that gave them."""

    def __init__(self, records: Artifact) -> None:
        """Read the recorded answers."""
        self.id = str(records.facts["engine"])
        self._sampling = records.manifest["recipe"]["sampling"]
        rows = read_jsonl(records.path / RECORDS, ("prompt", "answer"))
        self._answers = {row["prompt"]: row["answer"] for row in rows}

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Yield the recorded answer word by word. Raises EngineError for a prompt or a sampling not recorded."""
        if vars(sampling) != self._sampling:
            raise EngineError("these answers were recorded with another sampling; measure the engine itself")
        if conversation[-1].content not in self._answers:
            raise EngineError("this prompt was not recorded; measure the engine itself")
        for number, word in enumerate(self._answers[conversation[-1].content].split(" ")):
            yield word if number == 0 else f" {word}"

    def length(self, conversation: Conversation) -> int:
        """Return 0: an answer that is there already costs nothing."""
        return 0

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return the recorded answers."""
        return ["".join(self.stream(conversation, sampling)) for conversation in conversations]


class Guarded:
    """An engine behind both rails: each prompt is one guarded turn of a fresh session."""

    def __init__(self, engine: Engine, guard: Guard) -> None:
        """Put a guard in front of and behind an engine. Raises UsageError when what it says would be read as an answer."""
        names = {name for texts in guard.rules.messages.values() for name in texts} - {"failed"}
        messages = {name: guard.rules.say(name) for name in sorted(names)}
        self._messages = tuple(messages.values())
        if unclear := [name for name, text in messages.items() if ActJudge().judge("", text).outcome != "refused"]:
            raise UsageError(
                f"the policy's message {unclear[0]} does not read as an English refusal, so what it blocks would count as "
                "answered; measure with a policy whose messages do"
            )
        self.engine = engine
        self.guard = guard

    @property
    def id(self) -> str:
        """Return both ids: the same model behind another guard is another system."""
        return f"{self.engine.id}+{self.guard.id}"

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Yield one guarded turn, checked as a chat checks it. Raises EngineError when the guard could not judge."""
        session = Session(self.engine, self.guard, sampling)
        session.history = self._remembered(conversation[:-1])
        yield from session.ask(conversation[-1].content)
        if session.last and session.last.verdict and session.last.verdict.failed:
            # A chat refuses here; counted as a refusal, a broken guard would measure as a perfect one.
            raise EngineError(
                f"the guard could not judge the {session.last.verdict.rail} of a prompt, so nothing is measured; "
                "train or install the guard again, or leave out prompts of many thousand words"
            )

    def _remembered(self, before: Conversation) -> list[Message]:
        """Return what a session remembers of a conversation: a turn that the guard blocked leaves no trace in it."""
        kept: list[Message] = []
        for message in before:
            if message.role == "assistant" and message.content.endswith(self._messages):
                kept = kept[:-1]
            else:
                kept.append(message)
        return kept

    def length(self, conversation: Conversation) -> int:
        """Return what the engine behind the guard says."""
        return self.engine.length(conversation)

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return what a user would see for each conversation."""
        return ["".join(self.stream(conversation, sampling)) for conversation in conversations]
