"""Any server that speaks OpenAI's chat completions, as an engine: what a cluster serves is measured with the same suites.

Its weights cannot be hashed from here, so its id is its address and what it calls its model: a number names no more than that,
and records of an endpoint whose model has changed since are to be made anew, in another folder.
"""

import http.client
import itertools
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from ..core.errors import EngineError, UsageError
from ..runtime.engine import Conversation, ConversationTooLong, Sampling

KEY = "OPENAI_API_KEY"
"""Environment variable that holds the key, where the server wants one."""
_AT_ONCE = 8
_MOST = 8 << 20
"""Bytes of a server's reply; no answer is as long, and a broken server's may have no end."""
_TRIES = 4
_SECONDS = 300
"""How long a server may be silent, and how long one that is busy is asked again."""
_REFUSED = "I can't help with that."
"""What is recorded where the server's own filter ended an answer: its words may be in any language, their sense is known."""
_BUSY = (429, 503)
_LATER = (408, 409, *_BUSY, 500, 502, 504)
"""What a server says that may do better next time."""
_NAME = re.compile(r"[A-Za-z][\w.-]{0,63}")
_TOO_LONG = re.compile(r"context[ _](?:length|size|window)|too many tokens", re.I)
"""How servers say that a conversation is too long; the code that OpenAI has for it is used by few."""


class EndpointEngine:
    """A model behind an OpenAI-compatible endpoint, asked for some answers at once."""

    def __init__(self, address: str, pause: float = 1.0) -> None:
        """Take `http://HOST/v1#MODEL`; without #MODEL the server must have but one. `pause`: seconds before a second try.

        Raises UsageError for an address that is none, EngineError when the server does not answer.
        """
        url, _, model = address.partition("#")
        try:
            parts = urllib.parse.urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and not parts.username and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(f"{address} is no endpoint; write http://HOST:PORT/v1#MODEL, and the key into {KEY}")
        self._url, self._pause = url.rstrip("/"), pause
        self._opener = urllib.request.build_opener(_StayHere)
        self.model = model or self._only_model()
        self.id = f"{self.model}@{self._url}"

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Yield the whole answer at once: this engine is for measuring."""
        yield self._answer(conversation, sampling)

    def length(self, conversation: Conversation) -> int:
        """Return the characters of the conversation."""
        return sum(len(message.content) for message in conversation)

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[str]:
        """Return one answer for each conversation.

        Raises EngineError where the server gives none after some tries, ConversationTooLong where it says so.
        """
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            return list(pool.map(lambda conversation: self._answer(conversation, sampling), conversations))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, conversation: Conversation, sampling: Sampling) -> str:
        asked = {
            "model": self.model,
            "messages": [message._asdict() for message in conversation],
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            **({"top_p": sampling.top_p} if sampling.temperature else {}),
        }
        said = self._ask("chat/completions", asked)
        try:
            choice = said["choices"][0]
            failed = (choice.get("guard") or {}).get("failed")
            content = choice["message"].get("content") or choice["message"].get("refusal") or ""
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise EngineError(f"{self._url} answers in a form that is no chat completion; check the address") from error
        if failed:
            raise EngineError(f"the guard of {self._url} fails, so its answers say nothing; mend it first")
        if not isinstance(content, str):
            raise EngineError(f"{self._url} answers with what is no text; only text is measured")
        # Half a character, which JSON can spell, is no text that can be kept.
        whole = content.encode("utf-8", "replace").decode("utf-8")
        return _REFUSED if choice.get("finish_reason") == "content_filter" else whole

    def _only_model(self) -> str:
        try:
            names = [str(each["id"]) for each in self._ask("models")["data"]]
        except (KeyError, TypeError) as error:
            raise EngineError(f"{self._url}/models lists no models; write {self._url}#MODEL") from error
        if len(names) != 1:
            raise UsageError(f"{self._url} has the models {', '.join(names) or '(none)'}; write {self._url}#MODEL")
        return names[0]

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY, "").strip():
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}/{path}", data, headers)
        began, pause = time.monotonic(), self._pause
        for attempt in itertools.count(1):
            try:
                with self._opener.open(request, timeout=_SECONDS) as response:
                    return json.loads(_read(response))
            except urllib.error.HTTPError as error:
                said = _said(error)
                if error.code == 400 and said.get("code") == "content_filter":  # as Azure tells it
                    return {"choices": [{"message": {"content": _REFUSED}}]}
                patient = error.code in _BUSY and time.monotonic() - began < _SECONDS
                if not patient and (error.code not in _LATER or attempt >= _TRIES):
                    if _is_too_long(error.code, said):
                        raise ConversationTooLong(f"a conversation is too long for {self.model}; ask less") from error
                    raise EngineError(f"{self._url} answers {_status(error.code, said)}; {_remedy(error.code)}") from error
                time.sleep(_wait(error.headers.get("Retry-After"), pause))
            except (ValueError, RecursionError) as error:
                raise EngineError(f"{self._url} answers with what is no JSON; check the address") from error
            except (OSError, http.client.HTTPException) as error:
                if attempt >= _TRIES:
                    raise EngineError(f"{self._url} does not answer ({error}); check that the server runs") from error
                time.sleep(pause)
            pause = min(2 * pause, 30.0)
        raise AssertionError("the loop returns or raises")


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere: the key would go along."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        raise EngineError(f"{req.full_url} redirects to {newurl}; write that address")


def _read(response: Any) -> bytes:
    """Return the whole reply. Raises EngineError for one that has no end in sight."""
    said = response.read(_MOST + 1)
    if len(said) > _MOST:
        raise EngineError(f"{response.url} answers with more than {_MOST >> 20} MB; check the address")
    return said


def _is_too_long(code: int, said: dict[str, Any]) -> bool:
    told = " ".join(str(said.get(name)) for name in ("code", "type", "message"))
    return code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or (code in (400, 422) and _TOO_LONG.search(told) is not None)


def _status(code: int, said: dict[str, Any]) -> str:
    """Name an error by number and name. What the server says in words may repeat what it was asked, and goes into no log."""
    names = [str(said.get(name) or "") for name in ("code", "type")]
    try:
        phrase = HTTPStatus(code).phrase
    except ValueError:
        phrase = ""
    named = next((f"({name})" for name in names if _NAME.fullmatch(name)), "")
    return " ".join(part for part in (str(code), phrase, named) if part)


def _said(error: urllib.error.HTTPError) -> dict[str, Any]:
    """Return what the server says of an error, where it says it as OpenAI does."""
    try:
        said = json.loads(error.read(_MOST)).get("error")
    except (OSError, ValueError, RecursionError, AttributeError, http.client.HTTPException):
        return {}
    return said if isinstance(said, dict) else {}


def _remedy(code: int) -> str:
    if code in (401, 403):
        return f"set {KEY}"
    if code in _BUSY:
        return "ask when it is less busy"
    return "check the address" if code == 404 else "look into the server's log"


def _wait(told: str | None, otherwise: float) -> float:
    """Return the seconds that a server asks to wait, at most a minute."""
    return min(float(told), 60.0) if told and told.isdigit() else otherwise
