"""Writes down what was measured: Markdown for people, JSON and JUnit for machines, all naming the ids of their files."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

from ..core import artifact
from ..core.artifact import Artifact
from ..core.errors import UsageError
from . import judge_card
from .compare import MEASURES, Comparison, Line, System
from .gate import ALL, Check, Gate
from .guard_card import Blocked, GuardCard
from .judge_card import JudgeCard, corrected
from .statistics import Paired, Rate

MARKDOWN, JSON, JUNIT = "report.md", "report.json", "junit.xml"


def write(comparison: Comparison, out: Path, judge: Artifact | None = None) -> Artifact:
    """Write a `report` artifact for a comparison; with a `judge` artifact, rates are also corrected for the judge's error.

    Raises UsageError for the card of another judge.
    """
    card = judge_card.read(judge) if judge else None
    if card and card.judge != _judge_of(comparison):
        judge_of = _judge_of(comparison)
        raise UsageError(f"the records were judged by {judge_of} and the card is of {card.judge}; measure that judge")

    def make(work: Path) -> dict[str, Any]:
        figures = as_json(comparison, card)
        (work / JSON).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (work / MARKDOWN).write_text(as_markdown(comparison, card), encoding="utf-8")
        return {"figures": figures["lines"]}

    inputs = {system.name: system.records.id for system in comparison.systems}
    return artifact.produce(out, "report", _order(comparison), inputs | ({"card": judge.id} if judge else {}), make)


def _order(comparison: Comparison) -> dict[str, Any]:
    """Name what was measured, and not only the answers: two files may give the same."""
    return {"systems": [{"records": system.records.id, "engine": system.engine} for system in comparison.systems]}


def _judge_of(comparison: Comparison) -> str:
    return comparison.systems[0].records.manifest["inputs"]["judge"]


def table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the main table."""
    head = ["suite", "measure", "n", *(system.name for system in comparison.systems)]
    return head, [[line.suite, line.measure, _count(line), *map(percent, line.rates)] for line in comparison.lines]


def show(comparison: Comparison) -> None:
    """Print the main table to the terminal."""
    head, rows = table(comparison)
    drawn = Table(*head, title="Defects in percent [95 % interval]; lower is better")
    for row in rows:
        drawn.add_row(*row)
    Console().print(drawn)


def percent(rate: Rate) -> str:
    """Write a rate with its 95 % interval, in percent."""
    return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]" if rate.n else "not judged"


def as_json(comparison: Comparison, card: JudgeCard | None = None) -> dict[str, Any]:
    """Return every figure of a comparison."""
    return {
        "systems": [
            {"name": s.name, "engine": s.engine, "records": s.records.id, "sampling": s.records.manifest["recipe"]["sampling"]}
            for s in comparison.systems
        ],
        "judge": _judge_of(comparison),
        **({"card": judge_card.plain(card)} if card else {}),
        "lines": [
            {
                "suite": line.suite,
                "measure": line.measure,
                "rates": [{"hits": r.hits, "n": r.n, "low": r.low, "high": r.high} for r in line.rates],
                "changes": [c._asdict() for c in line.changes],
                "unjudged": list(line.unjudged),
                "degenerate": list(line.degenerate),
                **({"corrected": [_estimate(rate, line, card) for rate in line.rates]} if card else {}),
            }
            for line in comparison.lines
        ],
    }


def as_markdown(comparison: Comparison, card: JudgeCard | None = None) -> str:
    """Return the report as Markdown."""
    head, rows = table(comparison)
    names = [system.name for system in comparison.systems]
    steps = [f"{a} -> {b}" for a, b in itertools.pairwise(names)]
    changes = [[line.suite, line.measure, *map(_change, line.changes)] for line in comparison.lines]
    flaws = [
        [line.suite, line.measure, *(f"{d} / {u}" for d, u in zip(line.degenerate, line.unjudged, strict=True))]
        for line in comparison.lines
    ]
    parts = [
        "# Safety, measured\n",
        "Defect rates in percent with 95 % Wilson intervals: **harmful compliance** is the share of harmful requests that were "
        "answered, wholly or in part; **over-refusal** the share of harmless requests that were refused. Lower is better.\n",
        grid(head, rows),
        "\n## What changed, prompt by prompt\n",
        "Defects gained and lost on the same prompts, with the p value of McNemar's exact test.\n",
        grid(["suite", "measure", *steps], changes),
        "\n## Degenerate answers / answers not judged\n",
        grid(["suite", "measure", *names], flaws),
        "\n## What was measured\n",
        _files(comparison.systems),
        f"\nJudge: `{_judge_of(comparison)}`. A judge that reads text can be wrong; the intervals above do not include its "
        "error.\n",
    ]
    if card:
        fixed = [[li.suite, li.measure, *(_corrected(rate, li, card) for rate in li.rates)] for li in comparison.lines]
        parts += [
            "\n## As people would have counted\n",
            "The rates corrected for the judge's error (Rogan and Gladen 1978), assuming that it errs on these answers "
            f"as on the labelled ones. {judge_sentence(card)} Where a rate contradicts that, the card does not fit.\n",
            grid(["suite", "measure", *names], fixed), "",
        ]  # fmt: skip
    return "\n".join(parts)


def judge_sentence(card: JudgeCard) -> str:
    """Say how a judge agrees with people."""
    kappa = f"kappa {card.kappa:.3f} [{card.kappa_low:.3f}, {card.kappa_high:.3f}]"
    rates = {"accuracy": card.accuracy, "sensitivity": card.sensitivity, "specificity": card.specificity}
    shares = ", ".join(f"{name} {percent(rate)} %" for name, rate in rates.items())
    unread = f"; {card.unjudged} not judged" if card.unjudged else ""
    labels = f"{card.accuracy.n} answers labelled by people (`{card.labels[:16]}`)"
    return f"Judge `{card.judge}` on {labels}: refusal {kappa}, {shares}{unread}."


def _estimate(rate: Rate, line: Line, card: JudgeCard) -> dict[str, float] | None:
    found = corrected(rate, card, refused=line.measure == MEASURES["answer"])
    return found and found._asdict()


def _corrected(rate: Rate, line: Line, card: JudgeCard) -> str:
    found = _estimate(rate, line, card)
    if found is None:
        return "does not fit" if rate.n else "not judged"
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * share for share in found.values()))


def write_gate(gate: Gate, out: Path) -> Artifact:
    """Write a `gate` artifact: the decision as Markdown, JSON and JUnit."""
    comparison = gate.comparison

    def make(work: Path) -> dict[str, Any]:
        figures = {
            "outcome": gate.outcome, "reason": gate.reason, "margin": gate.margin, "unjudged": gate.unjudged,
            "systems": as_json(comparison)["systems"], "judge": _judge_of(comparison),
            "checks": [_plain(check) for check in gate.checks],
        }  # fmt: skip
        (work / JSON).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (work / MARKDOWN).write_text(gate_markdown(gate), encoding="utf-8")
        (work / JUNIT).write_text(_junit(gate), encoding="utf-8")
        return {"outcome": gate.outcome, "reason": gate.reason}

    inputs = {system.name: system.records.id for system in comparison.systems}
    return artifact.produce(out, "gate", {**_order(comparison), "margin": gate.margin}, inputs, make)


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
        _files(gate.comparison.systems),
        f"\nJudge: `{_judge_of(gate.comparison)}`; {gate.unjudged} prompts left out, an answer to which could not be judged.",
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
    points = [f"{100 * moved.value:+.1f}", f"{100 * moved.high:+.1f}", _p(check.p)]
    return [check.suite, check.measure, str(moved.n), *shares, f"{check.change.gained} / {check.change.lost}", *points, outcome]


def _plain(check: Check) -> dict[str, Any]:
    numbers = {**asdict(check), "change": check.change._asdict(), "difference": check.difference._asdict()}
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


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _files(systems: Sequence[System]) -> str:
    files = [[s.name, f"`{s.engine}`", f"`{s.records.id}`"] for s in systems]
    return grid(["system", "engine id", "records id"], files)


def _count(line: Line) -> str:
    return str(max(rate.n for rate in line.rates))


def _change(change: Paired) -> str:
    return f"+{change.gained} -{change.lost}, p {'' if change.p < 0.001 else '= '}{_p(change.p)}"


def grid(head: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def guard_table(card: GuardCard, *, by_group: bool = False) -> str:
    """Write a guard's card as Markdown; `by_group`: also what it blocked of each group of each suite."""
    checked = f"input check {card.milliseconds:.1f} ms (median), " if card.suites else ""
    cost = f"{checked}{card.megabytes:.1f} MB"
    lines = [
        f"guard {card.guard_id}, level {card.level}: {cost}", "",
        "| suite | recall, % [95 %] | n | false positives, % [95 %] | n |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for figures in card.suites:
        lines.append(_blocked(figures.suite, figures.all))
        if by_group:
            lines += [_blocked(f"{figures.suite}: {name}", group) for name, group in figures.groups.items()]
    for answers in card.answers:
        lines.append(_blocked(f"answers of {answers.system}", answers.blocked))
    for answers in card.answers:
        leaked = f"median {answers.leaked.median:.0f}, 95th percentile {answers.leaked.percentile_95:.0f}"
        lines += [
            "",
            f"answers of {answers.system}: verdict on the stream as on the whole {percent(answers.agreement)} %; "
            f"tokens shown of a blocked answer: {leaked}",
        ]
    if by_group:
        lines += ["", "Pairs of prompts of one group on which it decides otherwise:"]
        lines += [f"{figures.suite} {100 * figures.changes:.1f} %" for figures in card.suites]
    if card.overall:
        o = card.overall
        at_one = f"recall at 1 % FPR {100 * o.recall_at_1_fpr:.1f} %"
        lines += ["", f"all suites: F1 {100 * o.f1:.1f}, AUPRC {o.auprc:.3f}, {at_one}, ECE {o.ece:.3f}"]
    lines += ["", *(f"suite {f.suite} {f.suite_id}" for f in card.suites)]
    lines += [f"records {a.system} {a.records_id}" for a in card.answers]
    return "\n".join(lines)


def _blocked(name: str, blocked: Blocked) -> str:
    recall, alarms = blocked
    return f"| {name} | {percent(recall)} | {recall.n} | {percent(alarms)} | {alarms.n} |"
