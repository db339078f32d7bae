"""What a report rests on: a comparison, and what stands beside it, each an artifact of the very files that are compared.

It opens and checks; it counts nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core import artifact
from ...core.artifact import MANIFEST, Artifact
from ...core.errors import UsageError
from .. import judge_card
from ..compare import Comparison, System
from ..judge_card import JudgeCard
from ..redteam import finding
from ..redteam.finding import Finding
from ..safety_card import SYSTEMS, records_of

REPORT = "report.json"
_FLOAT_AND_INT4 = (SYSTEMS[1:3], ("float", "int4"))
"""What a cycle, and `eval gate`, call the two."""
EMULATED = "@emulated-"
"""Stands before the CPU at the end of an engine's id that ran on another CPU's kernels."""


@dataclass(frozen=True)
class Attacked:
    """One red team's attacks on one system."""

    name: str
    """A system's, where it is one of those compared."""
    engine: str
    """Its content id; or what another tool called it."""
    compared: bool
    """Whether the engine is that of a system compared."""
    attacks: Artifact
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Evidence:
    """Everything a report is made of; all but the comparison may be missing."""

    comparison: Comparison
    judge: Artifact | None = None
    """How the judge agrees with people."""
    gate: Artifact | None = None
    attacked: tuple[Attacked, ...] = ()
    earlier: tuple[Artifact, ...] = ()
    """Reports of cycles before this one, the oldest first."""

    @property
    def card(self) -> JudgeCard | None:
        """Return what is known of the judge."""
        return judge_card.read(self.judge) if self.judge else None

    @property
    def decision(self) -> Mapping[str, Any] | None:
        """Return what the gate decided, as its JSON tells it."""
        return figures_of(self.gate) if self.gate else None

    @property
    def quantized(self) -> tuple[System, System] | None:
        """Return the float model and the int4 one: those of the gate, else those called so; None where there are none."""
        systems = self.comparison.systems
        if self.decision:
            wanted = [side["engine"] for side in self.decision["systems"]]
            first, second = (next(s for s in systems if s.engine == engine) for engine in wanted)
            return first, second
        named = {system.name: system for system in systems}
        for before, after in _FLOAT_AND_INT4:
            if before in named and after in named:
                return named[before], named[after]
        return None

    @property
    def guarded(self) -> list[tuple[System, System]]:
        """Return each model that was also measured behind a guard, on the same CPU, with that system."""
        systems = self.comparison.systems
        return [(a, b) for a in systems for b in systems if _is_guarded(a.engine, b.engine)]

    @property
    def inputs(self) -> dict[str, str]:
        """Return the ids of everything, as a manifest lists them."""
        beside = {"beside:gate": self.gate, "card": self.judge}
        beside |= {f"beside:attacks {number}": each.attacks for number, each in enumerate(self.attacked, 1)}
        beside |= {f"beside:earlier {number}": each for number, each in enumerate(self.earlier, 1)}
        records = {system.name: system.records.id for system in self.comparison.systems}
        return records | {name: each.id for name, each in beside.items() if each}


def judge_of(comparison: Comparison) -> str:
    """Return the id of the judge that judged every answer."""
    return comparison.systems[0].records.manifest["inputs"]["judge"]


def figures_of(made: Artifact) -> dict[str, Any]:
    """Read the figures of a `report` or a `gate`."""
    return json.loads((made.path / REPORT).read_text(encoding="utf-8"))


def gather(
    comparison: Comparison,
    judge: Artifact | None = None,
    gate: Path | None = None,
    attacks: Sequence[Path] = (),
    earlier: Sequence[Path] = (),
) -> Evidence:
    """Open what stands beside a comparison: a gate's folder, folders of attacks, and reports or cycles before this one.

    Raises UsageError for a gate on other models, for what another judge judged, and for a report on other prompts or with
    other sampling; ArtifactError for what is no such folder.
    """
    found = Evidence(
        comparison,
        judge,
        artifact.load(_inside(gate), "gate") if gate else None,
        tuple(_attacked(path, comparison) for path in attacks),
        tuple(artifact.load(_inside(path), "report") for path in earlier),
    )
    here = judge_of(comparison)
    if found.card and found.card.judge != here:
        raise UsageError(f"the records were judged by {here} and the card is of {found.card.judge}; measure that judge")
    judges = [(made, figures_of(made)["judge"]) for made in filter(None, [found.gate, *found.earlier])]
    judges += [(each.attacks, finding.judge_of(each.attacks)) for each in found.attacked]
    for made, other in judges:
        if other != here:
            raise UsageError(f"the records were judged by {here} and {made.path} by {other}; judge both alike")
    for made in found.earlier:
        _must_be_alike(made, comparison)
    engines = {system.engine for system in comparison.systems}
    if found.decision and not {side["engine"] for side in found.decision["systems"]} <= engines:
        raise UsageError(f"{gate} compared models that are none of these; run the gate on these records")
    return found


def records_in(paths: Sequence[Path]) -> list[Path]:
    """Return the records folders that are meant: those given, or those that a cycle's folder holds. Raises UsageError."""
    if len(paths) != 1 or (paths[0] / MANIFEST).exists():
        return list(paths)
    found = [path for path in records_of(paths[0]) if (path / MANIFEST).exists()]
    if not found:
        raise UsageError(f"{paths[0]} holds no records; give records folders, or a cycle that has measured something")
    return found


def _inside(path: Path) -> Path:
    """Return the folder itself, or the report in it: of a cycle, or of what the gate was told to write."""
    inner = path / "report"
    return inner if (inner / MANIFEST).exists() and not (path / MANIFEST).exists() else path


def _is_guarded(alone: str, behind: str) -> bool:
    (model, _, cpu), (both, _, same) = (engine.partition(EMULATED) for engine in (alone, behind))
    return both.startswith(f"{model}+") and cpu == same


def _must_be_alike(earlier: Artifact, comparison: Comparison) -> None:
    """Refuse a report that cannot stand in one line with these records. A suite that only one of them has is no matter."""
    told, ids = figures_of(earlier), comparison.suites
    here = {name: ids[name] for name in (line["suite"] for line in told["lines"]) if name in ids}
    there = told.get("suites", {})  # an earlier version did not say
    if others := [name for name in here if there.get(name) != here[name]]:
        raise UsageError(
            f"{earlier.path} was measured on other prompts of {others[0]} than these records, or does not say on which; "
            "measure both alike"
        )
    if any(system["sampling"] != comparison.sampling for system in told["systems"]):
        raise UsageError(f"{earlier.path} was measured with another sampling than these records; measure both alike")


def _attacked(path: Path, comparison: Comparison) -> Attacked:
    made = artifact.load(path, "attacks")
    engine = str(made.facts["engine"])
    names = {system.engine: system.name for system in comparison.systems}
    name = names.get(engine) or str(made.facts["system"])
    return Attacked(name, engine, engine in names, made, tuple(finding.read(path)))
