"""The policy: what to do about each category on each rail, what to tell the user; and the verdict it comes to.

A policy is plain data: every port reads the same YAML. A file says what it does otherwise than default.yaml, so it can be
two lines long; `recipe.plain(policy)` is the whole of it. Numbers are probabilities of harm. A category without a threshold
of its own uses the one that was calibrated on the guard file itself for the policy's level.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core import artifact, recipe
from ..core.errors import UsageError
from ..core.hazards import HAZARDS, JAILBREAK
from .rules import Finding

POLICIES = Path(__file__).parent / "policies"
BLOCKLIST = "blocklist"
"""The category of a text that holds one of the policy's own forbidden phrases."""
PII = "pii"
"""The category of a verdict about personal data; what is done about them stands under `pii`."""
UNREAD = "unread"
"""The category of a text in a script that the guard cannot read; it is blocked, whatever the policy says."""
CATEGORIES = (*HAZARDS, JAILBREAK, BLOCKLIST)
_LANGUAGE = "en"
"""Where a message is looked for that the policy's language lacks."""
_NEEDED = ("blocked", "failed")
_LONGEST_PHRASE = 100

Level = Literal["strict", "balanced", "permissive"]
Rail = Literal["input", "output"]
PiiAction = Literal["allow", "warn", "redact", "block"]
CategoryAction = Literal["allow", "warn", "replace", "block"]
Action = Literal["allow", "warn", "redact", "replace", "block"]
_RANK: Mapping[Action, int] = {"allow": 0, "warn": 1, "redact": 2, "replace": 3, "block": 3}


@dataclass(frozen=True)
class Verdict:
    """What the guard decided about one text."""

    action: Action
    """allow; warn: it passes, and the caller is told; redact: it passes without `findings`; replace or block: it does not."""
    rail: Rail
    """Which side was checked: the user's input or the model's output."""
    category: str | None = None
    """S1 to S13, jailbreak, blocklist, pii or unread; None when allowed, or when the guard failed."""
    score: float = 0.0
    """The probability behind the decision, 0 to 1."""
    span: tuple[int, int] = (0, 0)
    """The characters of the text, as it was given, that this score was given to."""
    message: str = ""
    """What the user reads instead of the text, when it does not pass."""
    failed: bool = False
    """True when the guard could not judge and therefore blocked."""
    hard: bool = False
    """True when the score reached the policy's hard threshold, at which a stream stops at once."""
    milliseconds: float = 0.0
    """How long the check took; of an answer, all its checks together."""
    would: Action | None = None
    """In shadow mode what the action would have been, if not allow; None otherwise."""
    findings: tuple[Finding, ...] = ()
    """Personal data in the text, kind and place, where the policy asks for them."""

    @property
    def blocked(self) -> bool:
        """Tell whether the text must not pass."""
        return self.action in ("block", "replace")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that counts among several; raises ValueError where there is none, for nobody has judged."""
    return max(verdicts, key=lambda verdict: (_RANK[verdict.action], verdict.failed, verdict.hard, verdict.score))


@dataclass(frozen=True)
class CategoryPolicy:
    """What to do about one category."""

    action: CategoryAction = "block"
    """allow: ignore it. warn: let it through and say so. block: refuse, and what was shown of an answer stays.
    replace: refuse, and the message stands in place of all of the answer."""
    input: float | None = None
    """Threshold on the user's text, 0 to 1; None uses the calibrated one of the level."""
    output: float | None = None
    """Threshold on the model's answer, 0 to 1; None uses the calibrated one of the level."""
    message: str = "blocked"
    """Which of the policy's messages the user reads."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        return [
            f"{rail} must be between 0 and 1"
            for rail, value in (("input", self.input), ("output", self.output))
            if value is not None and not 0 <= value <= 1
        ]


@dataclass(frozen=True)
class PiiPolicy:
    """What to do about personal data: e-mail addresses, phone, card and account numbers, keys."""

    input: PiiAction = "allow"
    """In the user's text; redact: the model reads it without them."""
    output: PiiAction = "allow"
    """In the model's answer; redact: the user reads it without them."""
    message: str = "blocked"
    """Which of the policy's messages the user reads where the action is block."""


@dataclass(frozen=True)
class Policy:
    """A whole policy."""

    level: Level = "balanced"
    """Which calibrated threshold applies: strict 5 %, balanced 2 %, permissive 0.5 % false positives."""
    hard: float = 0.5
    """How far from the threshold (0) to certainty (1) a score counts at once. Below, a stream holds its text back until the
    next check clears it, and what only shows together with earlier turns is let through."""
    shadow: bool = False
    """Decide and record, but let everything pass unchanged, even where the guard fails: a trial run, no protection."""
    language: str = _LANGUAGE
    """Which of the messages the user reads; what one language lacks is said in English."""
    pii: PiiPolicy = field(default_factory=PiiPolicy)
    """What to do about personal data."""
    allow: tuple[str, ...] = ()
    """Phrases: a user's text that is one of them, and nothing else, passes unseen."""
    block: tuple[str, ...] = ()
    """Phrases: a text that holds one is in the category blocklist."""
    categories: Mapping[str, CategoryPolicy] = field(default_factory=dict)
    """Exceptions, by category (S1 to S13, jailbreak, blocklist); every other is blocked, a jailbreak warned about."""
    messages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What the user reads, by language: `blocked`, `failed` (the guard could not judge) and any that a category names."""

    @property
    def id(self) -> str:
        """Return the content id of the rules."""
        return artifact.digest(recipe.plain(self))

    def of(self, category: str) -> CategoryPolicy:
        """Return what to do about a category."""
        # A framing alone harms nobody: what it asks for is judged by itself.
        return self.categories.get(category, CategoryPolicy("warn" if category == JAILBREAK else "block"))

    def say(self, name: str) -> str:
        """Return a message in the policy's language, or in English; raises KeyError where there is neither."""
        return self.messages.get(self.language, {}).get(name) or self.messages[_LANGUAGE][name]

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [] if 0 <= self.hard <= 1 else ["hard must be between 0 and 1"]
        found += [] if self.language in self.messages else [f"language is {self.language}, which messages lacks"]
        return found + self._problems_of_messages() + self._problems_of_categories() + self._problems_of_phrases()

    def _problems_of_messages(self) -> list[str]:
        english = self.messages.get(_LANGUAGE, {})
        known = {*_NEEDED, *english}
        named = {f"categories.{name}": entry.message for name, entry in self.categories.items()} | {"pii": self.pii.message}
        said = {
            (f"messages.{language}.{name}", name): text for language, own in self.messages.items() for name, text in own.items()
        }
        found = [f"messages.{_LANGUAGE}.{name} is missing" for name in _NEEDED if name not in english]
        found += [f"{at} is empty" for (at, _), text in said.items() if not text.strip()]
        found += [f"{at} has no counterpart in messages.{_LANGUAGE}" for at, name in said if name not in known]
        lacking = {at: name for at, name in named.items() if name not in known}
        return found + [f"{at}.message names {name}, which messages.{_LANGUAGE} lacks" for at, name in lacking.items()]

    def _problems_of_categories(self) -> list[str]:
        known = f"S1 to S{len(HAZARDS)}, {JAILBREAK}, {BLOCKLIST}"
        found = [f"categories.{name} is no category ({known})" for name in self.categories if name not in CATEGORIES]
        if self.of(JAILBREAK).output is not None:
            found.append(f"categories.{JAILBREAK}.output: an answer attacks no model; leave it out")
        if (self.of(BLOCKLIST).input, self.of(BLOCKLIST).output) != (None, None):
            found.append(f"categories.{BLOCKLIST}: a phrase is there or is not; leave its thresholds out")
        return found

    def _problems_of_phrases(self) -> list[str]:
        lists = {"allow": self.allow, "block": self.block}
        return [
            f"{name}[{number}] must hold 1 to {_LONGEST_PHRASE} characters that can be seen"
            for name, phrases in lists.items()
            for number, phrase in enumerate(phrases)
            if not 0 < len(phrase.strip()) <= _LONGEST_PHRASE
        ]


def load(name: str = "default") -> Policy:
    """Read a policy by name or path, laid over the default one. Raises UsageError, or RecipeError with every problem."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else POLICIES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in POLICIES.glob("*.yaml")))
        raise UsageError(f"there is no policy {name}; known ones: {known}, or give the path of a .yaml file")
    return recipe.build(Policy, _laid_over(recipe.read_yaml(POLICIES / "default.yaml"), recipe.read_yaml(path)), str(path))


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _laid_over(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return {**below, **above, **both}
