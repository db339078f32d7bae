"""The gate's decision as Markdown, JSON and JUnit."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...core import artifact
from ...core.artifact import Artifact
from ..gate import ALL, Check, Gate
from .comparison import JSON, MARKDOWN, as_json, files, order
from .evidence import judge_of
from .markdown import grid, p_value

JUNIT = "junit.xml"


def write_gate(gate: Gate, out: Path) -> Artifact:
    """Write a `gate` artifact: the decision as Markdown, JSON and JUnit."""
    comparison = gate.comparison

    def make(work: Path) -> dict[str, Any]:
        figures = {
            "outcome": gate.outcome, "reason": gate.reason, "margin": gate.margin, "unjudged": gate.unjudged,
            "systems": as_json(comparison)["systems"], "judge": judge_of(comparison),
            "checks": [_plain(check) for check in gate.checks],
        }  # fmt: skip
        (work / JSON).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (work / MARKDOWN).write_text(gate_markdown(gate), encoding="utf-8")
        (work / JUNIT).write_text(_junit(gate), encoding="utf-8")
        return {"outcome": gate.outcome, "reason": gate.reason}

    inputs = {system.name: system.records.id for system in comparison.systems}
    return artifact.produce(out, "gate", {**order(comparison), "margin": gate.margin}, inputs, make)


def gate_markdown(gate: Gate) -> str:
    """Return the gate's decision as Markdown."""
    margin = f"{100 * gate.margin:g} points"
    parts = [
        f"# The gate: {gate.outcome}\n",
        f"{gate.reason}.\n",
        grid(_gate_head(gate), [_check(check) for check in gate.checks]),
        f"\nOver all suites together each share must be shown to have risen by at most {margin} (one-sided 95 % score bound, "
        f"Tango 1998). A check fails where a rise above {margin} is shown: p is how likely so large a rise is if the true "
        "one is that (Holm-adjusted over all checks; below .05 fails).\n",
        files(gate.comparison.systems),
        f"\nJudge: `{judge_of(gate.comparison)}`; {gate.unjudged} prompts have an answer that could not be judged: "
        "empty ones count as degenerate, others as wrong where passing is to be shown.",
    ]
    return "\n".join(parts) + "\n"


def _gate_head(gate: Gate) -> list[str]:
    shares = [f"{system.name}, %" for system in gate.comparison.systems]
    return ["suite", "measure", "n", *shares, "went wrong / right", "rise, points", "at most", "p", "outcome"]


def _check(check: Check) -> list[str]:
    moved = check.difference
    outcome = check.outcome if check.suite == ALL or check.outcome == "failed" else f"({check.outcome})"
    if not moved.n:
        return [check.suite, check.measure, "0", *["not asked"] * 6, outcome]
    shares = [f"{100 * share:.1f}" for share in (check.before, check.after)]
    points = [f"{100 * moved.value:+.1f}", f"{100 * moved.high:+.1f}", p_value(check.p)]
    return [check.suite, check.measure, str(moved.n), *shares, f"{check.change.gained} / {check.change.lost}", *points, outcome]


def _plain(check: Check) -> dict[str, Any]:
    numbers = {**asdict(check), "change": check.change._asdict(), "difference": check.difference._asdict()}
    numbers["worst"] = check.worst._asdict()
    return {**numbers, "before": check.before, "after": check.after} if check.difference.n else {
        "suite": check.suite, "measure": check.measure, "n": 0, "outcome": check.outcome,
    }  # fmt: skip


def _junit(gate: Gate) -> str:
    """Write each check as a test case; one that decides nothing is skipped, or an error where it leaves all undecided."""
    kinds = [_junit_kind(check) for check in gate.checks]
    names = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    numbers = {name: str(kinds.count(kind)) for name, kind in names.items()}
    suite = ElementTree.Element("testsuite", {"name": "breakfix gate", "tests": str(len(kinds)), **numbers})
    properties = ElementTree.SubElement(suite, "properties")
    for system in gate.comparison.systems:
        for key, value in (("engine", system.engine), ("records", system.records.id)):
            ElementTree.SubElement(properties, "property", {"name": f"{system.name} {key}", "value": value})
    for check, kind in zip(gate.checks, kinds, strict=True):
        case = ElementTree.SubElement(suite, "testcase", {"classname": check.suite, "name": check.measure})
        if kind:
            told = zip(_gate_head(gate)[2:], _check(check)[2:], strict=True)
            ElementTree.SubElement(case, kind, {"message": ", ".join(f"{name}: {value}" for name, value in told)})
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _junit_kind(check: Check) -> str:
    if check.outcome == "undecided":
        return "error" if check.suite == ALL else "skipped"
    return "failure" if check.outcome == "failed" else ""
