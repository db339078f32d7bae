"""The break-fix cycle: the stages in their order, each an artifact, so that a second run goes on where a kill stopped it.

    base -> curate -> sft -> preferences -> dpo -> calibrate -> int4 -> guard -> measured four times -> attacked -> report

Where a recipe names candidates, post-training is done for each, and one is chosen before it is rounded. It knows what each
stage needs from the others and nothing of how a stage works.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..core import artifact, sources
from ..core import recipe as settings
from ..core.artifact import MANIFEST, Artifact
from ..core.progress import say
from ..eval import report, run, suites
from ..eval.compare import compare
from ..eval.guarded import Guarded, Recorded
from ..eval.judge import ActJudge
from ..eval.redteam import vulnerabilities
from ..eval.redteam.attack import attack
from ..eval.redteam.techniques import usable
from ..eval.safety_card import SYSTEMS, records_of
from ..eval.suites import Suite
from ..eval.torch_engine import TorchEngine
from ..export.calibrate import calibrate
from ..export.checkpoint import open_checkpoint
from ..export.guard import export_guard
from ..export.int4 import int4
from ..export.merge import merge
from ..guardrails import policy
from ..guardrails.guard import SHIPPED, Guard
from ..runtime.genai import GenAIEngine
from . import candidates
from .curate import curate
from .cycle_recipe import CycleRecipe
from .dpo import dpo
from .guard import teach_guard, train_guard
from .preferences import preferences
from .sft import sft

ATTACKS, GUARDED_ATTACKS, VULNERABILITIES = "attacks", "attacks-guarded", "vulnerabilities"
"""Folders of a cycle whose recipe asks for attacks."""


class Stage(NamedTuple):
    """One stage: its name is its folder's."""

    name: str
    make: Callable[[], Artifact]


POST_TRAINING = ("data", "sft", "tuned", "pairs", "dpo", "aligned")
"""The stages that candidates may differ in, in order."""


class _Candidate(NamedTuple):
    """One way to post-train: up to its first stage that differs it shares the folders of the recipe as it stands."""

    number: int
    recipe: CycleRecipe
    settings: str
    first: str | None
    """None: there are no others."""
    out: Path

    def at(self, stage: str) -> Path:
        """Return the folder of a stage."""
        own = self.first is not None and POST_TRAINING.index(stage) >= POST_TRAINING.index(self.first)
        return self.out / (f"{stage}-{self.number}" if own else stage)


def cycle(recipe: CycleRecipe, out: Path, earlier: Sequence[Path] = ()) -> Artifact:
    """Run every stage of a cycle into `out/<stage>`; returns the report. Finished stages are not run again.

    `earlier` are the folders of the cycles before it, the oldest first: the report tells their history, and its attacks are
    compared with those of the last.
    """
    planned = stages(recipe, out, earlier)
    for candidate in _candidates(recipe, out):
        fetch_all(candidate.recipe)
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


def stages(recipe: CycleRecipe, out: Path, earlier: Sequence[Path] = ()) -> list[Stage]:
    """Return the stages in order. Raises UsageError, RecipeError or ArtifactError for what is named and is not there."""
    tried = _candidates(recipe, out)
    policy.load(recipe.policy)
    measured = [suites.load(name) for name in recipe.eval.suites]
    held_out = suites.registered(recipe.eval.suites)
    sampling = recipe.eval.sampling

    def picked() -> _Candidate:
        return tried[candidates.chosen(out / "decision") - 1] if len(tried) > 1 else tried[0]

    def quantize() -> Artifact:
        return int4(recipe.int4, float_, out / "int4", picked().at("pairs") if recipe.int4.over_refusal else None)

    calibrated = recipe.calibrate.rows > 0
    float_ = out / ("calibrated" if calibrated else "aligned")

    base, aligned, quantized, behind = zip(SYSTEMS, records_of(out), strict=True)

    def measure(engine, system: tuple[str, Path]) -> Artifact:
        name, records = system
        return run.run(engine, measured, ActJudge(), sampling, records, name)

    def guarded() -> Artifact:
        answers = Recorded(artifact.load(quantized[1], "records"))
        return measure(Guarded(answers, Guard.open(out / "guard", recipe.policy)), behind)

    def told() -> Artifact:
        attacks = [out / name for name in (ATTACKS, GUARDED_ATTACKS)] if recipe.attacks.requests else []
        return report.write(report.gather(compare(records_of(out)), attacks=attacks, earlier=earlier), out / "report")

    return [
        Stage("base", lambda: open_checkpoint(recipe.base, out / "base")),
        *_post_training(recipe, tried, held_out, out),
        *(
            [Stage("calibrated", lambda: calibrate(recipe.calibrate, out / "aligned", picked().at("data"), float_))]
            if calibrated
            else []
        ),
        Stage("int4", quantize),
        *_guard_stages(recipe, held_out, out),
        Stage("records-base", lambda: measure(TorchEngine(out / "base"), base)),
        Stage("records-aligned-float", lambda: measure(TorchEngine(out / "aligned"), aligned)),
        Stage("records-aligned-int4", lambda: measure(GenAIEngine(out / "int4"), quantized)),
        Stage("records-int4-guard", guarded),
        *_attacks(recipe, out, earlier[-1] if earlier else None),
        Stage("report", told),
    ]


def _candidates(recipe: CycleRecipe, out: Path) -> list[_Candidate]:
    others = recipe.candidates.others
    if not others:
        return [_Candidate(1, recipe, "", None, out)]
    values, where = settings.plain(recipe), "candidates.others"
    made = [settings.build(CycleRecipe, values, where, text.split()) for text in ("", *others)]
    named = zip(made, ("", *others), strict=True)
    return [_Candidate(n, own, text, candidates.first_changed(text), out) for n, (own, text) in enumerate(named, 1)]


def _post_training(recipe: CycleRecipe, tried: Sequence[_Candidate], held_out: Sequence[Suite], out: Path) -> list[Stage]:
    """Return the stages from the data to the aligned model: for each candidate, and the choice."""
    found = {stage.name: stage for candidate in tried for stage in _aligning(candidate, held_out)}
    if len(tried) == 1:
        return list(found.values())
    records = [out / f"candidate-{candidate.number}" for candidate in tried]

    def measure(candidate: _Candidate, folder: Path) -> Artifact:
        asked = candidates.requests(recipe.candidates, [(each.at("data"), each.recipe.preferences.requests) for each in tried])
        engine, name = TorchEngine(candidate.at("aligned")), f"candidate {candidate.number}"
        return run.run(engine, asked, ActJudge(), recipe.eval.sampling, folder, name)

    def choose() -> Artifact:
        return candidates.choose(recipe.candidates, [each.settings for each in tried], records, out / "decision")

    def take() -> Artifact:
        best = tried[candidates.chosen(out / "decision") - 1]
        return artifact.copy(artifact.load(best.at("aligned"), "checkpoint"), out / "aligned")

    return [
        *found.values(),
        *(Stage(path.name, partial(measure, each, path)) for each, path in zip(tried, records, strict=True)),
        Stage("decision", choose),
        Stage("aligned", take),
    ]


def _aligning(candidate: _Candidate, held_out: Sequence[Suite]) -> list[Stage]:
    own, base = candidate.recipe, candidate.out / "base"
    data, adapter, tuned, pairs, second, aligned = map(candidate.at, POST_TRAINING)
    return [
        Stage(data.name, lambda: curate(own.curate, base, held_out, data)),
        Stage(adapter.name, lambda: sft(own.sft, base, data, adapter)),
        Stage(tuned.name, lambda: merge(base, [adapter], tuned)),
        Stage(pairs.name, lambda: preferences(own.preferences, tuned, data, pairs)),
        Stage(second.name, lambda: dpo(own.dpo, tuned, pairs, second)),
        Stage(aligned.name, lambda: merge(tuned, [second], aligned)),
    ]


def _attacks(recipe: CycleRecipe, out: Path, before: Path | None) -> list[Stage]:
    """Return the attacks on the int4 model, alone and guarded, and what they say to teach next: of the model alone."""
    if not recipe.attacks.requests:
        return []
    asked = [suites.load(name) for name in recipe.attacks.suites]
    earlier = before / ATTACKS if before else None

    def strike(folder: Path, *, guarded: bool) -> Artifact:
        model = GenAIEngine(out / "int4", keeps=False)
        engine = Guarded(model, Guard.open(out / "guard", recipe.policy)) if guarded else model
        name = SYSTEMS[3 if guarded else 2]
        limits = (recipe.attacks.sampling, folder, name, recipe.attacks.requests)
        return attack(engine, usable("test", (), guarded=guarded), asked, ActJudge(), *limits)

    return [
        Stage(ATTACKS, lambda: strike(out / ATTACKS, guarded=False)),
        Stage(GUARDED_ATTACKS, lambda: strike(out / GUARDED_ATTACKS, guarded=True)),
        Stage(VULNERABILITIES, lambda: vulnerabilities.analyse(out / ATTACKS, out / VULNERABILITIES, earlier)),
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
    """Estimates what is left from how this machine compares with the one the recipe was measured on, where all is known."""

    def __init__(self, expected: Mapping[str, int], names: list[str]) -> None:
        self._expected = expected
        self._names = names
        self._spent = self._planned = 0.0

    def left(self, name: str) -> str:
        rest = self._names[self._names.index(name) :]
        if not all(each in self._expected for each in rest):
            return ""
        pace = self._spent / self._planned if self._planned else 1.0
        return f", about {max(1, round(sum(map(self._expected.__getitem__, rest)) * pace / 60))} min left"

    def passed(self, name: str, made: Artifact, *, counts: bool) -> None:
        if counts and name in self._expected:
            self._spent += made.manifest["recorded"]["seconds"]
            self._planned += self._expected[name]
