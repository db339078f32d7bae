"""What a page tells, section by section, worked out of the evidence; a section that there is no evidence of holds nothing."""

import itertools
from typing import Any, NamedTuple

from ..compare import MEASURES
from ..judge_card import Estimate, JudgeCard, corrected
from .attacks import red_team
from .breakdown import ablation, by_hazard, flips, suites_with_hazards
from .card import LIMITS
from .evidence import Evidence, judge_of
from .history import history
from .samples import shelves

TITLES = {
    "systems": "Every system",
    "hazards": "Harm by hazard",
    "quantized": "Float against int4",
    "guard": "What the guard adds",
    "redteam": "Red team",
    "history": "Cycle by cycle",
    "judge": "The judge",
    "samples": "Read the answers",
    "limits": "Limits, in plain words",
    "files": "What was measured",
}
"""The sections in their order: the name of each, which is also its place on the page, and its title."""


class Corrected(NamedTuple):
    """One line of the comparison as people would have counted it."""

    suite: str
    measure: str
    found: tuple[Estimate | None, ...]
    """One for each system; None where the card does not fit."""


def contents(evidence: Evidence) -> dict[str, Any]:
    """Return what each section tells, by its name, and what the page's head tells besides."""
    comparison, card, pair = evidence.comparison, evidence.card, evidence.quantized
    names = [system.name for system in comparison.systems]
    recipe = comparison.systems[0].records.manifest["recipe"]
    return {
        "names": names,
        "steps": list(itertools.pairwise(names)),
        "prompts": len(comparison.systems[0].rows),
        "judged_by": judge_of(comparison),
        "sampling": recipe["sampling"],
        "systems": comparison.lines,
        "hazards": by_hazard(comparison),
        "hazard_suites": suites_with_hazards(comparison),
        "quantized": flips(*pair) if pair else None,
        "pair": [system.name for system in pair] if pair else None,
        "gate": evidence.decision,
        "guard": [ablation(*each) for each in evidence.guarded],
        "redteam": red_team(evidence.attacked),
        "history": history(evidence),
        "judge": card,
        "corrected": _corrected(evidence, card) if card else [],
        "samples": shelves(comparison),
        "limits": _limits(evidence),
        "files": _files(evidence),
    }


def _corrected(evidence: Evidence, card: JudgeCard) -> list[Corrected]:
    return [
        Corrected(
            line.suite,
            line.measure,
            tuple(corrected(rate, card, refused=line.measure == MEASURES["answer"]) for rate in line.rates),
        )
        for line in evidence.comparison.lines
    ]


def _limits(evidence: Evidence) -> list[str]:
    """Return what holds of every measurement, and what is missing from this one."""
    systems = evidence.comparison.systems
    found = [*LIMITS]
    if evidence.quantized and not evidence.gate:
        found.append("No gate's decision was given to this report: whether quantization cost safety is not decided here.")
    if not evidence.attacked:
        found.append("No attacks were given to this report: how the systems stand up to people who try is not known.")
    if not evidence.judge:
        found.append("No card of the judge was given to this report: how often the judge errs is not known here.")
    if not any("+" in system.engine for system in systems):
        found.append("No system was measured behind a guard.")
    return found


def _files(evidence: Evidence) -> list[tuple[str, str]]:
    """Return the name and the id of everything that a number here was measured on."""
    found = []
    for system in evidence.comparison.systems:
        found += [(f"{system.name}: engine", system.engine), (f"{system.name}: records", system.records.id)]
    asked = evidence.comparison.systems[0].records.manifest["inputs"]
    found += [(name.replace(":", " "), value) for name, value in asked.items() if name.startswith("suite:")]
    if evidence.gate:
        found.append(("gate", evidence.gate.id))
        found += [(f"gate: records of {side['name']}", side["records"]) for side in (evidence.decision or {})["systems"]]
    for each in evidence.attacked:
        found += [(f"attacks on {each.name}", each.attacks.id), (f"attacks on {each.name}: engine", each.engine)]
    found += [(f"report of cycle {number}", made.id) for number, made in enumerate(evidence.earlier, 1)]
    if evidence.judge:
        card = evidence.card
        found += [("judge's card", evidence.judge.id), *([("judge's labels", card.labels)] if card else [])]
    return found
