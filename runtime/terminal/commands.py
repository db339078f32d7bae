"""The commands of a chat: what stands behind a slash."""

from dataclasses import replace
from pathlib import Path

from ...core.errors import DataError
from ..memory import peak_megabytes
from . import saved
from .chat import Chat, Command, Leave

_LIVELY = 0.7
"""The temperature of another try where the first was greedy: the same answer would come again."""


def _help(chat: Chat, _: str) -> None:
    width = max(len(f"{name} {command.takes}") for name, command in COMMANDS.items())
    for name, command in COMMANDS.items():
        chat.display.note(f"/{f'{name} {command.takes}':{width}}  {command.what}")
    chat.display.note("Enter sends, Alt-Enter begins a new line, Ctrl-C stops an answer, Ctrl-D ends the chat")


def _system(chat: Chat, text: str) -> None:
    if text:
        chat.instruct(None if text == "none" else text)
    chat.display.note(f"system message: {chat.session.system or 'none'}")


def _policy(chat: Chat, name: str) -> None:
    if name and chat.reopen is not None:
        chat.session.guard = chat.reopen(name)
    guard = chat.session.guard
    chat.display.note(f"guard {guard.id}, level {guard.rules.level}" if guard else "no guard")


def _save(chat: Chat, name: str) -> None:
    if not name:
        chat.display.note("say where: /save FILE")
        return
    saved.save(_path(name), chat.session.history, chat.session.engine.id)
    chat.display.note(f"saved; go on another day with: /load {name}")


def _load(chat: Chat, name: str) -> None:
    if not name:
        chat.display.note("say what: /load FILE")
        return
    chat.session.history = saved.load(_path(name), chat.session.guard)
    chat.asked, chat.session.last = None, None
    turns = sum(message.role == "user" for message in chat.session.history)
    chat.display.note(f"{turns} turns loaded; the last answer was:" if turns else "an empty chat loaded")
    if turns:
        chat.display.note(chat.session.history[-1].content)


def _retry(chat: Chat, _: str) -> None:
    if chat.asked is None:
        chat.display.note("there is nothing to ask again")
        return
    session, history, usual = chat.session, list(chat.session.history), chat.session.sampling
    if session.last is not None and session.last.remembered:
        session.undo()
    session.sampling = replace(usual, temperature=usual.temperature or _LIVELY, seed=usual.seed + chat.turns)
    try:
        chat.answer(chat.asked, stoppable=True)
    finally:
        session.sampling = usual
        if session.last is None or not session.last.remembered:  # the answer before is better than none
            session.history = history


def _undo(chat: Chat, _: str) -> None:
    last, chat.asked, chat.session.last = chat.session.last, None, None
    if last is not None and not last.remembered:
        chat.display.note("the last question was not kept; /undo again forgets the one before")
    elif chat.session.undo() is None:
        chat.display.note("there is nothing to undo")
    else:
        chat.display.note("the last question and its answer are forgotten")


def _stats(chat: Chat, _: str) -> None:
    session, used = chat.session, chat.engine.used
    if session.last is not None and session.last.asked_model:
        speed = f"{used.written / chat.seconds:.0f} tokens/s"
        chat.display.note(
            f"last turn: {used.read} tokens of prompt, {used.written} of answer, first text after {chat.first:.2f} s, {speed}"
        )
    context = chat.engine.context
    held = session.engine.length(session.history) if session.history else 0
    turns = sum(message.role == "user" for message in session.history)
    chat.display.note(f"conversation: {turns} turns, {held} tokens" + (f" of {context}" if context else ""))
    chat.display.note(f"peak memory: {peak_megabytes():.0f} MB")
    chat.display.note(f"model {session.engine.id}")
    _policy(chat, "")


def _clear(chat: Chat, _: str) -> None:
    chat.session.restart()
    chat.asked = None
    chat.display.note("a new conversation")


def _exit(chat: Chat, _: str) -> None:
    raise Leave


def _path(name: str) -> Path:
    """Return the path that a person means. Raises DataError for another person's home that is not there."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise DataError(f"{name} names nobody's folder; write the path out") from error


COMMANDS: dict[str, Command] = {
    "help": Command("", "list the commands", _help),
    "system": Command("[TEXT]", "show or set the system message; none takes it away", _system),
    "policy": Command("[NAME]", "show the guard, or open it with another policy", _policy),
    "save": Command("FILE", "write the conversation to a file", _save),
    "load": Command("FILE", "go on with a saved conversation; the guard reads it again", _load),
    "retry": Command("", "ask the last question again", _retry),
    "undo": Command("", "forget the last question and its answer", _undo),
    "stats": Command("", "tokens, speed, memory, and what is running", _stats),
    "clear": Command("", "begin a new conversation", _clear),
    "exit": Command("", "end the chat", _exit),
}
