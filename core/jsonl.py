"""JSON Lines, read and written with errors that name the line."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import DataError


def read_jsonl(path: Path, keys: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Read a JSONL file of objects; each must hold `keys`. Raises DataError naming file and line."""
    try:
        # JSON may hold U+2028, at which str.splitlines would cut: split at line feeds only.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text; give a JSONL file") from error
    return list(parse_lines(lines, str(path), keys))


def parse_lines(lines: Iterable[str], where: str, keys: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the object on each line as it comes; `where` is what an error calls the source. Raises DataError."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where} line {number} is not JSON; mend or remove that line") from error
        if not isinstance(row, dict):
            raise DataError(f"{where} line {number} is not an object; every line must be {{...}}")
        missing = [key for key in keys if key not in row]
        if missing:
            raise DataError(f"{where} line {number} lacks {', '.join(missing)}; mend or remove that line")
        yield row


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, one JSON object a line."""
    with path.open("w", encoding="utf-8") as handle:
        for row in rows:
            handle.write(dump(row) + "\n")


def dump(row: Mapping[str, Any]) -> str:
    """Return one row as a line: the same row is always the same bytes."""
    return json.dumps(row, ensure_ascii=False)
