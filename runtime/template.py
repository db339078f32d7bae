"""From a conversation to token ids and back: the tokenizer and chat template that lie beside the weights.

Special tokens inside a message are not markup but text somebody typed; a space takes their place, so that nobody can
close a turn and open another one from inside a message, nor have a word read as one that the guard judged in two pieces.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from ..core.errors import EngineError
from .engine import Conversation, Message

TEMPLATE, TOKENIZER, TOKENIZER_CONFIG = "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"


class ChatTemplate:
    """The tokenizer and the chat template of one model folder."""

    def __init__(self, folder: Path) -> None:
        """Open `tokenizer.json` and `chat_template.jinja`. Raises EngineError when one is missing or broken."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse_template
        environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
        try:
            source = (folder / TEMPLATE).read_text(encoding="utf-8")
            self._template = environment.from_string(source)
            self.tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            self._variables = _variables(folder / TOKENIZER_CONFIG)
        except Exception as error:  # tokenizers raises a bare Exception
            raise EngineError(f"{folder} has no usable {TOKENIZER} and {TEMPLATE}; export the model again") from error
        self.is_dated = "strftime_now" in source
        """Whether what it writes may tell the day."""
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.specials = tuple(t.content for t in self.tokenizer.get_added_tokens_decoder().values() if t.special)
        """The tokens that are no text; in a message a space takes their place."""
        self._special = re.compile("|".join(map(re.escape, self.specials))) if self.specials else None

    def render(self, conversation: Conversation, *, opened: bool = True) -> str:
        """Return the text the model reads, ready for its answer if `opened`."""
        messages = [{"role": m.role, "content": self._clean(m.content)} for m in conversation]
        try:
            return self._template.render(messages=messages, add_generation_prompt=opened, **self._variables)
        except TemplateError as error:
            raise EngineError(f"the chat template refuses this conversation: {error}") from error

    def encode(self, conversation: Conversation) -> list[int]:
        """Return the token ids of the rendered conversation."""
        return self.tokenizer.encode(self.render(conversation), add_special_tokens=False).ids

    def encode_user_header(self) -> list[int]:
        """Return the token ids up to where a user's first word would stand."""
        mark = "user-text-goes-here"
        text = self.render([Message("user", mark)])
        return self.tokenizer.encode(text[: text.index(mark)], add_special_tokens=False).ids

    def encode_answer(self, text: str) -> list[int]:
        """Return the token ids of an assistant's whole answer as the template writes it, its end token included."""
        question = [Message("user", "?")]
        before = self.render(question)
        after = self.render([*question, Message("assistant", text)], opened=False)
        if not after.startswith(before):
            raise EngineError("the chat template writes a past answer otherwise than a new one; training needs them equal")
        return self.tokenizer.encode(after[len(before) :], add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """Return the text of an answer, special tokens left out."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def decode_stream(self) -> Callable[[int], str]:
        """Return a function from one token to the text it completes; bytes of an unfinished character are kept back."""
        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(self.tokenizer, token) or ""

    def _clean(self, text: str) -> str:
        text = text.encode("utf-8", "replace").decode("utf-8")
        while self._special and (cleaned := self._special.sub(" ", text)) != text:
            text = cleaned
        return text


def _variables(config: Path) -> dict[str, Any]:
    """Return what else a template may ask for: the special tokens by name (`bos_token`), and that there are no tools."""
    tokens = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    named = {name: value.get("content") if isinstance(value, dict) else value for name, value in tokens.items()}
    return {"tools": None, "documents": None} | {n: v for n, v in named.items() if n.endswith("_token") and isinstance(v, str)}


def _refuse_template(message: str) -> None:
    raise TemplateError(message)
