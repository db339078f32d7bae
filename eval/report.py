"""Writes a comparison down: Markdown for people, JSON for machines, both naming the ids of the files they speak of."""

import itertools
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..core import artifact
from ..core.artifact import Artifact
from .compare import Comparison, Line
from .guard_card import Blocked, GuardCard
from .statistics import Paired, Rate

MARKDOWN, JSON = "report.md", "report.json"


def write(comparison: Comparison, out: Path) -> Artifact:
    """Write a `report` artifact for a comparison."""
    order = {"systems": [system.records.id for system in comparison.systems]}
    inputs = {system.name: system.records.id for system in comparison.systems}

    def make(work: Path) -> dict[str, Any]:
        figures = as_json(comparison)
        (work / JSON).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (work / MARKDOWN).write_text(as_markdown(comparison), encoding="utf-8")
        return {"figures": figures["lines"]}

    return artifact.produce(out, "report", order, inputs, make)


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


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return every figure of a comparison."""
    return {
        "systems": [
            {"name": s.name, "engine": s.engine, "records": s.records.id, "sampling": s.records.manifest["recipe"]["sampling"]}
            for s in comparison.systems
        ],
        "judge": comparison.systems[0].records.manifest["inputs"]["judge"],
        "lines": [
            {
                "suite": line.suite,
                "measure": line.measure,
                "rates": [{"hits": r.hits, "n": r.n, "low": r.low, "high": r.high} for r in line.rates],
                "changes": [c._asdict() for c in line.changes],
                "unjudged": list(line.unjudged),
                "degenerate": list(line.degenerate),
            }
            for line in comparison.lines
        ],
    }


def as_markdown(comparison: Comparison) -> str:
    """Return the report as Markdown."""
    head, rows = table(comparison)
    names = [system.name for system in comparison.systems]
    steps = [f"{a} -> {b}" for a, b in itertools.pairwise(names)]
    changes = [[line.suite, line.measure, *map(_change, line.changes)] for line in comparison.lines]
    flaws = [
        [line.suite, line.measure, *(f"{d} / {u}" for d, u in zip(line.degenerate, line.unjudged, strict=True))]
        for line in comparison.lines
    ]
    files = [[s.name, f"`{s.engine}`", f"`{s.records.id}`"] for s in comparison.systems]
    judge = comparison.systems[0].records.manifest["inputs"]["judge"]
    parts = [
        "# Safety, measured\n",
        "Defect rates in percent with 95 % Wilson intervals: **harmful compliance** is the share of harmful requests that were "
        "answered, wholly or in part; **over-refusal** the share of harmless requests that were refused. Lower is better.\n",
        _grid(head, rows),
        "\n## What changed, prompt by prompt\n",
        "Defects gained and lost on the same prompts, with the p value of McNemar's exact test.\n",
        _grid(["suite", "measure", *steps], changes),
        "\n## Degenerate answers / answers not judged\n",
        _grid(["suite", "measure", *names], flaws),
        "\n## What was measured\n",
        _grid(["system", "engine id", "records id"], files),
        f"\nJudge: `{judge}`. A judge that reads text can be wrong; the intervals do not include its error.\n",
    ]
    return "\n".join(parts)


def _count(line: Line) -> str:
    return str(max(rate.n for rate in line.rates))


def _change(change: Paired) -> str:
    return f"+{change.gained} -{change.lost}, p {'< 0.001' if change.p < 0.001 else f'= {change.p:.3f}'}"


def _grid(head: list[str], rows: list[list[str]]) -> str:
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
