"""What OpenAI's clients send and expect: requests that are read strictly, replies that they can parse. Knows no model."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..core.hazards import HAZARDS, JAILBREAK
from ..guardrails.policy import Verdict
from .engine import Message
from .watched import Used

Finish = Literal["stop", "length", "content_filter"]
_Stop = Annotated[str, Field(max_length=64)]


class Part(BaseModel):
    """A piece of a message; only text is read."""

    type: Literal["text"]
    text: str


class Said(BaseModel):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], Field(max_length=64)]

    def message(self) -> Message:
        """Return it as the engine reads it."""
        text = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class ChatRequest(BaseModel):
    """A call of chat/completions. What would change the answer's meaning and is not supported is refused, the rest ignored."""

    model_config = ConfigDict(extra="ignore")

    messages: list[Said] = Field(min_length=1, max_length=256)
    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**31), lt=2**31)
    stop: (
        Annotated[str, Field(max_length=64)] | Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=4)] | None
    ) = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    n: Literal[1] | None = None
    tools: None = None
    functions: None = None
    logprobs: Literal[False] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    response_format: dict[str, Any] | None = None

    def stops(self) -> list[str]:
        """Return the texts that end an answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [text for text in given if text]

    def problem(self) -> str:
        """Return what is wrong with it as a whole, or nothing."""
        if self.messages[-1].role != "user":
            return "the last message must be the user's"
        if self.response_format and self.response_format.get("type") != "text":
            return "only the response format `text` is supported"
        return ""


class ModerationRequest(BaseModel):
    """A call of moderations."""

    input: str | Annotated[list[str], Field(max_length=64)]
    model: str | None = None

    def texts(self) -> list[str]:
        """Return the texts to judge."""
        return [self.input] if isinstance(self.input, str) else self.input


def error(message: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def filtered(verdict: Verdict | None, taken_back: int = 0) -> dict[str, Any]:
    """Return what the guard did with a turn, where it did something; never the text, and no score to climb by."""
    if verdict is None:
        return {}
    said = {"rail": verdict.rail, "action": verdict.action, "category": verdict.category, "failed": verdict.failed}
    return {"guard": {**said, **({"taken_back": taken_back} if taken_back else {})}}


def completion(name: str, model: str, answer: str, finish: Finish, used: Used, verdict: Verdict | None) -> dict[str, Any]:
    """Return a whole answer."""
    message = {"role": "assistant", "content": answer, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None, **filtered(verdict)}
    return {**_head(name, model, "chat.completion"), "choices": [choice], "usage": usage(used)}


def chunk(name: str, model: str, text: str, *, first: bool = False) -> dict[str, Any]:
    """Return a piece of a streamed answer."""
    delta = {**({"role": "assistant"} if first else {}), "content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": None}
    return {**_head(name, model, "chat.completion.chunk"), "choices": [choice]}


def last_chunk(name: str, model: str, finish: Finish, verdict: Verdict | None, taken_back: int) -> dict[str, Any]:
    """Return the end of a streamed answer; so many shown characters before the guard's message are taken back."""
    choice = {"index": 0, "delta": {}, "finish_reason": finish, "logprobs": None, **filtered(verdict, taken_back)}
    return {**_head(name, model, "chat.completion.chunk"), "choices": [choice]}


def usage_chunk(name: str, model: str, used: Used) -> dict[str, Any]:
    """Return what comes after the end where a client asks for it: the tokens."""
    return {**_head(name, model, "chat.completion.chunk"), "choices": [], "usage": usage(used)}


def usage(used: Used) -> dict[str, int]:
    """Return the tokens read and written as clients read them."""
    return {"prompt_tokens": used.read, "completion_tokens": used.written, "total_tokens": sum(used)}


def moderation(name: str, guard_id: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return verdicts as moderation results; categories are the MLCommons hazards and `jailbreak`."""
    results = []
    for verdict in verdicts:
        hit = verdict.category if verdict.action != "allow" else None
        categories = {category: category == hit for category in (*HAZARDS, JAILBREAK)}
        scores = {category: verdict.score if found else 0.0 for category, found in categories.items()}
        results.append({"flagged": verdict.blocked, "categories": categories, "category_scores": scores, **filtered(verdict)})
    return {"id": name, "model": guard_id, "results": results}


def models(name: str) -> dict[str, Any]:
    """Return the one model there is."""
    return {"object": "list", "data": [model(name)]}


def model(name: str) -> dict[str, Any]:
    """Return a model as clients read it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "breakfix"}


def _head(name: str, model: str, kind: str) -> dict[str, Any]:
    return {"id": name, "object": kind, "created": int(time.time()), "model": model}
