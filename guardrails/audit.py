"""The audit log: what the guard decided and when, one JSON line a check, and not a word that anybody wrote.

The verdict comes first and stands by itself: a line that cannot be written (a full disk, a folder taken away) changes no
verdict and stops no chat. It is counted, and the next line that can be written says how many are missing.
"""

import json
import os
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from .policy import Verdict


class AuditLog:
    """A JSONL file that is moved to NAME.1, over the one before, when it is full."""

    def __init__(self, path: Path | str, most_bytes: int = 5_000_000) -> None:
        """Log to a file, made on the first line; with NAME.1 it takes at most twice `most_bytes`."""
        self.path = Path(path).absolute()
        self.most_bytes = most_bytes
        self.lost = 0
        """Lines that could not be written since the last one that could."""
        self._lock = threading.Lock()
        self._torn = False

    def record(self, verdict: Verdict, guard: str, policy: str, turn: int) -> None:
        """Append one verdict; `guard` and `policy` are ids, `turn` counts the user's turns from 1, 0 is none. Never raises."""
        row = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "turn": turn,
            "rail": verdict.rail,
            "action": verdict.action,
            "would": verdict.would,
            "category": verdict.category,
            "score": round(verdict.score, 2),
            "hard": verdict.hard,
            "failed": verdict.failed,
            "span": verdict.span[1] - verdict.span[0],
            "findings": Counter(finding.kind for finding in verdict.findings),
            "milliseconds": verdict.milliseconds,
            "guard": guard,
            "policy": policy,
        }
        with self._lock:
            try:
                self._append(json.dumps({**row, "lost": self.lost} if self.lost else row))
                self.lost = 0
            except (OSError, ValueError):  # ValueError: a path that no system takes
                self.lost += 1

    def _append(self, line: str) -> None:
        # One write: lines of several processes do not mix. Half a line, left by a full disk, is closed before the next.
        data = (("\n" if self._torn else "") + line + "\n").encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size + len(data) > self.most_bytes:
            os.replace(self.path, self.path.with_name(f"{self.path.name}.1"))
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            written = os.write(handle, data)
        finally:
            os.close(handle)
        self._torn = written < len(data)
        if self._torn:
            raise OSError("only a part of the line fitted")
