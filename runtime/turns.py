"""A chat template as the plain pieces that it writes around each message, for runtimes that have no Jinja.

Most templates say nothing more than that. It is proven of each, on conversations of every shape; one that says more is refused
by name. Knows no phone.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from ..core.errors import EngineError
from .engine import Conversation, Message
from .template import ChatTemplate

FORMAT = 1
"""The version of what `plain_turns` returns; a port refuses another."""
_TEXTS = (
    "one",
    "Two words.",
    "a\nb\n\nc",
    "  spaces about \n",
    "quotes \" ' and {{ braces }} {% raw %}",
    "你好 🙂",
    "",
    "<think>a</think>b",
)


def plain_turns(template: ChatTemplate) -> dict[str, Any]:
    """Return what a template writes around messages, JSON-ready.

    `bare` stands before the first question where there is no system message; `system`, `user` and `assistant` are the texts
    before and after such a message (`system` None: the template has no turn of its own for it); after `answer` the model's
    begins; with `trim` messages lose the space around them; `specials` are what a space replaces wherever they stand in a
    message. Raises EngineError for a template that is no plain sequence of turns.
    """
    if template.is_dated:
        raise _no_sequence("it tells the day, which would stay the day of the export")
    try:
        found = _taken_apart(template)
    except ValueError as error:
        raise _no_sequence("it cannot be taken apart") from error
    for conversation in _conversations(found):
        if joined(found, conversation) != template.render(conversation):
            raise _no_sequence(f"it differs for {' + '.join(message.role for message in conversation)}")
    return found


def joined(turns: dict[str, Any], conversation: Conversation) -> str:
    """Return what a port writes for a conversation: equal to `ChatTemplate.render`."""
    opening = "" if conversation[0].role == "system" else turns["bare"]
    return opening + "".join(_turn(turns, message) for message in conversation) + turns["answer"]


def _turn(turns: dict[str, Any], message: Message) -> str:
    before, after = turns[message.role]
    text = message.content
    while (cleaned := _without(text, turns["specials"])) != text:
        text = cleaned
    return before + (text.strip() if turns["trim"] else text) + after


def _without(text: str, specials: list[str]) -> str:
    for special in specials:
        text = text.replace(special, " ")
    return text


def _taken_apart(template: ChatTemplate) -> dict[str, Any]:
    """Find the pieces between marks that no template writes. Raises ValueError where one stands nowhere."""
    first, said, then = (f"⟦{name}⟧" for name in ("first", "said", "then"))
    asked, answered = Message("user", first), Message("assistant", said)
    opening, rest = _split(template.render([asked, answered, Message("user", then)]), first)
    between, rest = _split(rest, said)
    again, ending = _split(rest, then)
    ended = template.render([asked], opened=False)
    after_user = _split(ended, first)[1]
    after_assistant = _split(template.render([asked, answered], opened=False), said)[1]
    before_user = _without_start(again, after_assistant)
    trimmed = template.render([Message("user", f" {first} ")]) == template.render([asked])
    return {
        "format": FORMAT,
        "bare": _without_end(opening, before_user),
        "system": _system(template, before_user),
        "user": [before_user, after_user],
        "assistant": [_without_start(between, after_user), after_assistant],
        "answer": _without_start(ending, after_user),
        "trim": trimmed,
        "specials": list(template.specials),
    }


def _system(template: ChatTemplate, before_user: str) -> list[str] | None:
    told, asked = "⟦told⟧", "⟦asked⟧"
    try:
        before, rest = _split(template.render([Message("system", told), Message("user", asked)]), told)
        return [before, _without_end(_split(rest, asked)[0], before_user)]
    except (EngineError, ValueError):
        return None


def _split(text: str, mark: str) -> tuple[str, str]:
    at = text.index(mark)
    return text[:at], text[at + len(mark) :]


def _without_start(text: str, start: str) -> str:
    if not text.startswith(start):
        raise ValueError(start)
    return text[len(start) :]


def _without_end(text: str, end: str) -> str:
    if not text.endswith(end):
        raise ValueError(end)
    return text[: len(text) - len(end)]


def _conversations(turns: dict[str, Any]) -> Iterator[list[Message]]:
    """Yield conversations of every shape and text: with and without a system message, one question to three."""
    nested = [f"a{special[:3]}{special}{special[3:]}b" for special in turns["specials"]]
    for text, system, past_turns in product((*_TEXTS, *nested), (False, True)[: 1 + bool(turns["system"])], range(3)):
        opening = [Message("system", text)] if system else []
        for numbered in ("", "{}"):
            past = [Message(role, text + numbered.format(n)) for n in range(past_turns) for role in ("user", "assistant")]
            yield [*opening, *past, Message("user", text)]


def _no_sequence(why: str) -> EngineError:
    return EngineError(
        f"the chat template is no plain sequence of turns ({why}), and android and ios bundles need one; export for web"
    )
