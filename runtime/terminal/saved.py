"""Conversations in files: `/save` and `/load`."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...core.errors import DataError
from ...guardrails.guard import Guard
from ...guardrails.rules import redact
from ..engine import Message, Role

_FORMAT = "breakfix chat 1"
_MOST_BYTES = 10_000_000


def save(path: Path, history: Sequence[Message], model: str) -> None:
    """Write a conversation that only its owner may read. Raises DataError rather than write over a file of another kind."""
    if path.exists() and not _is_ours(path):
        raise DataError(f"{path} is no saved chat and is left as it is; choose another name")
    rows = [message._asdict() for message in history]
    text = json.dumps({"format": _FORMAT, "model": model, "messages": rows}, indent=1)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:  # its owner's alone
        try:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink()
            raise


def load(path: Path, guard: Guard | None) -> list[Message]:
    """Return a saved conversation. The guard judges it again, for files can be edited.

    Raises DataError when it is no saved chat, or when the guard would not have let it happen.
    """
    history = _messages(path)
    question, said, kept = "", [], []
    for number, message in enumerate(history, 1):
        if guard is None:
            return history
        answers = message.role == "assistant"
        verdict = guard.check_output(question, message.content) if answers else guard.check_input(message.content, said)
        if verdict.blocked:
            raise DataError(f"{path}, message {number}: the guard blocks it; take it out, with its answer, and load again")
        text = redact(message.content, verdict.findings) if verdict.action == "redact" else message.content
        kept.append(message._replace(content=text))
        if not answers:
            said.append(message.content)
            question = message.content
    return kept


def _messages(path: Path) -> list[Message]:
    rows = _read(path).get("messages")
    if not isinstance(rows, list):
        raise DataError(f"{path} is no saved chat; save one with /save FILE")
    history: list[Message] = []
    for number, row in enumerate(rows, 1):
        given, content = (row.get("role"), row.get("content")) if isinstance(row, dict) else (None, None)
        answers = bool(history) and history[-1].role == "user"
        awaited: tuple[Role, ...] = ("assistant",) if answers else ("user",) if history else ("user", "system")
        role: Role | None = next((each for each in awaited if each == given), None)
        if role is None or not isinstance(content, str):
            raise DataError(f"{path}, message {number}: it should be a text of {' or '.join(awaited)}; mend it")
        history.append(Message(role, content))
    if history and history[-1].role == "user":
        raise DataError(f"{path}: its last question has no answer; take it out")
    return history


def _is_ours(path: Path) -> bool:
    try:
        return _read(path).get("format") == _FORMAT
    except DataError:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is too large for a saved chat; choose another file")
        held = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no saved chat; save one with /save FILE") from error
    if not isinstance(held, dict) or held.get("format") != _FORMAT:
        raise DataError(f"{path} is no saved chat; save one with /save FILE")
    return held
