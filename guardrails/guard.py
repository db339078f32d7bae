"""The guard: scores and a policy make a verdict. It fails closed: whatever goes wrong inside, the verdict is to block.

It keeps no text and logs none.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..core.hazards import JAILBREAK
from . import normalize, policy
from .classifier import OnnxClassifier, Passage, Scores
from .policy import Action, Policy, Rail


@dataclass(frozen=True)
class Verdict:
    """What the guard decided about one text."""

    action: Action
    """allow, warn or block."""
    rail: Rail
    """Which side was checked: the user's input or the model's output."""
    category: str | None = None
    """S1 to S13 or jailbreak; None when allowed, or when the guard failed."""
    score: float = 0.0
    """The probability behind the decision, 0 to 1."""
    message: str = ""
    """What the user reads instead of the text, when blocked."""
    failed: bool = False
    """True when the guard could not judge and therefore blocked."""
    milliseconds: float = 0.0
    """How long the check took."""

    @property
    def blocked(self) -> bool:
        """Tell whether the text must not pass."""
        return self.action == "block"


class CalibratedClassifier(Protocol):
    """A classifier that knows the thresholds calibrated on its own file."""

    @property
    def id(self) -> str:
        """Return the content id of the weights."""
        ...

    @property
    def thresholds(self) -> Mapping[str, Mapping[str, float]]:
        """Return rail -> level -> probability."""
        ...

    def score(self, passages: Sequence[Passage]) -> list[list[Scores]]:
        """Return the scores of every window of each passage, at least one."""
        ...


class Guard:
    """Checks the user's text before the model sees it, and the model's text before the user does."""

    def __init__(self, classifier: CalibratedClassifier, rules: Policy) -> None:
        """Guard with these scores and these rules."""
        self.classifier = classifier
        self.rules = rules

    @classmethod
    def open(cls, folder: Path | str, policy_name: str = "default", threads: int = 1) -> "Guard":
        """Open a guard artifact with a policy, by name or path."""
        return cls(OnnxClassifier(folder, threads), policy.load(policy_name))

    @property
    def id(self) -> str:
        """Return the ids of the guard's weights and of its rules: other rules are another guard."""
        rules = hashlib.sha256(repr(self.rules).encode()).hexdigest()
        return f"{self.classifier.id}/{rules[:16]}"

    def check_input(self, text: str) -> Verdict:
        """Judge what a user wrote."""
        return self._check("input", lambda: [Passage(form) for form in normalize.forms(text)])

    def check_output(self, prompt: str, answer: str) -> Verdict:
        """Judge what a model answered to a prompt; the answer may be an unfinished one."""
        return self._check("output", lambda: [Passage(prompt, form) for form in normalize.forms(answer)])

    def _check(self, rail: Rail, passages) -> Verdict:
        started = time.perf_counter()
        try:
            verdict = self._judge(rail, self.classifier.score(passages()))
        except Exception:  # fail closed: no failure of any library may let a text through
            verdict = Verdict("block", rail, message=self.rules.messages["failed"], failed=True)
        elapsed = (time.perf_counter() - started) * 1000
        return Verdict(**{**vars(verdict), "milliseconds": round(elapsed, 2)})

    def _judge(self, rail: Rail, scores: Sequence[Sequence[Scores]]) -> Verdict:
        """Return the worst of what the policy makes of every window of every spelling of one text."""
        found = [
            verdict
            for spelling in scores
            for window in spelling
            for category, score in ((window.hazard, window.unsafe), (JAILBREAK, window.jailbreak))
            if (verdict := self._apply(rail, category, score)).action != "allow"
        ]
        # max() raises, and the guard refuses, where a spelling has no window: nobody has judged it.
        allowed = Verdict("allow", rail, score=max(max(window.unsafe for window in spelling) for spelling in scores))
        return max(found, key=lambda v: (v.blocked, v.failed, v.score), default=allowed)

    def _apply(self, rail: Rail, category: str, score: float) -> Verdict:
        rule = self.rules.of(category)
        own = rule.input if rail == "input" else rule.output
        threshold = self.classifier.thresholds[rail][self.rules.level] if own is None else own
        # A score that is no number is no proof of harmlessness.
        if score < threshold:
            return Verdict("allow", rail, score=score)
        if not score >= threshold:
            return Verdict("block", rail, message=self.rules.messages["failed"], failed=True)
        return Verdict(rule.action, rail, category, score, self.rules.messages[rule.message])
