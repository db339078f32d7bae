"""The policy: what to do about each category on each rail, and what to tell the user. One YAML file says it all.

Numbers in a policy are probabilities of harm. A hazard without its own threshold uses the one that was calibrated on
the guard file itself for the policy's level. Nothing is calibrated for `jailbreak`: its thresholds are plain numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..core import recipe
from ..core.hazards import HAZARDS, JAILBREAK

POLICIES = Path(__file__).parent / "policies"
CATEGORIES = (*HAZARDS, JAILBREAK)

Level = Literal["strict", "balanced", "permissive"]
Rail = Literal["input", "output"]
Action = Literal["allow", "warn", "block"]


@dataclass(frozen=True)
class CategoryPolicy:
    """What to do about one category."""

    action: Action = "block"
    """allow: ignore it. warn: let it through and say so. block: refuse."""
    input: float | None = None
    """Threshold on the user's text, 0 to 1; None uses the calibrated one of the level (jailbreak: 0.9)."""
    output: float | None = None
    """Threshold on the model's answer, 0 to 1; None uses the calibrated one of the level (jailbreak: 1.0)."""
    message: str = "blocked"
    """Which of the policy's messages the user reads."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        return [
            f"{rail} must be between 0 and 1"
            for rail, value in (("input", self.input), ("output", self.output))
            if value is not None and not 0 <= value <= 1
        ]


_JAILBREAK = CategoryPolicy("warn", input=0.9, output=1.0)


@dataclass(frozen=True)
class Policy:
    """A whole policy."""

    level: Level = "balanced"
    """Which calibrated threshold applies: strict 5 %, balanced 2 %, permissive 0.5 % false positives."""
    categories: Mapping[str, CategoryPolicy] = field(default_factory=dict)
    """Exceptions, by category (S1 to S13, jailbreak); every other hazard is blocked, a jailbreak warned about."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """What the user reads: `blocked`, `failed` (the guard could not judge) and any that a category names."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [
            f"categories.{name} is no category (S1 to S13, jailbreak)" for name in self.categories if name not in CATEGORIES
        ]
        found += [f"messages.{name} is missing" for name in ("blocked", "failed") if name not in self.messages]
        found += [
            f"categories.{name}.message names {entry.message}, which messages lacks"
            for name, entry in self.categories.items()
            if entry.message not in self.messages and entry.message != "blocked"
        ]
        return found

    def of(self, category: str) -> CategoryPolicy:
        """Return what to do about a category; jailbreak always comes with thresholds of its own."""
        if category != JAILBREAK:
            return self.categories.get(category, CategoryPolicy())
        rule = self.categories.get(category, _JAILBREAK)
        return replace(
            rule,
            input=_JAILBREAK.input if rule.input is None else rule.input,
            output=_JAILBREAK.output if rule.output is None else rule.output,
        )


def load(name: str = "default") -> Policy:
    """Read a policy by name or path. Raises RecipeError with every problem of the file."""
    return recipe.load(Policy, name, POLICIES)
