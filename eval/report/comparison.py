"""A comparison in every form: a table for the terminal, Markdown, JSON, and the `report` artifact that holds them."""

import itertools
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...core import artifact
from ...core.artifact import Artifact
from ...core.errors import MissingExtra
from .. import judge_card
from ..compare import MEASURES, Comparison, Line, System
from ..judge_card import JudgeCard, corrected
from ..statistics import Paired, Rate
from .card import card_of, safety_markdown
from .evidence import Evidence, gather, judge_of
from .markdown import grid, judge_sentence, p_value, percent

MARKDOWN, JSON, HTML, SAFETY = "report.md", "report.json", "report.html", "SAFETY.md"


def can_draw() -> bool:
    """Tell whether a page can be drawn here: whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def write(evidence: Evidence | Comparison, out: Path, judge: Artifact | None = None, page: bool | None = None) -> Artifact:
    """Write a `report` artifact for a comparison, or for it and what stands beside it.

    With a `judge` artifact, rates are also corrected for the judge's error. A model that was also measured behind a guard gets
    its safety card. The page comes where it can be drawn, or as `page` says. Raises UsageError for the card of another judge,
    MissingExtra for a page that cannot be drawn.
    """
    found = gather(evidence, judge) if isinstance(evidence, Comparison) else evidence
    comparison, card = found.comparison, found.card
    draws = can_draw() if page is None else page
    if draws and not can_draw():
        raise MissingExtra("matplotlib", "report")

    def make(work: Path) -> dict[str, Any]:
        figures = as_json(comparison, card)
        (work / JSON).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (work / MARKDOWN).write_text(as_markdown(comparison, card), encoding="utf-8")
        if safety := card_of(found):
            (work / SAFETY).write_text(safety_markdown(safety), encoding="utf-8")
        if draws:
            from . import html  # it needs matplotlib

            html.draw(found, work)
        return {"figures": figures["lines"]}

    return artifact.produce(out, "report", order(comparison), found.inputs, make)


def order(comparison: Comparison) -> dict[str, Any]:
    """Name what was measured, and not only the answers: two files may give the same."""
    return {"systems": [{"records": system.records.id, "engine": system.engine} for system in comparison.systems]}


def table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the main table."""
    head = ["suite", "measure", "n", *(system.name for system in comparison.systems)]
    return head, [[line.suite, line.measure, _count(line), *map(percent, line.rates)] for line in comparison.lines]


def show(comparison: Comparison) -> None:
    """Print the main table to the terminal."""
    head, rows = table(comparison)
    drawn = Table(*map(escape, head), title="Defects in percent [95 % interval]; lower is better")
    for row in rows:
        drawn.add_row(*map(escape, row))
    Console().print(drawn)


def as_json(comparison: Comparison, card: JudgeCard | None = None) -> dict[str, Any]:
    """Return every figure of a comparison."""
    return {
        "systems": [
            {"name": s.name, "engine": s.engine, "records": s.records.id, "sampling": s.records.manifest["recipe"]["sampling"]}
            for s in comparison.systems
        ],
        "judge": judge_of(comparison),
        "suites": comparison.suites,
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
        files(comparison.systems),
        f"\nJudge: `{judge_of(comparison)}`. A judge that reads text can be wrong; the intervals above do not include its "
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


def _estimate(rate: Rate, line: Line, card: JudgeCard) -> dict[str, float] | None:
    found = corrected(rate, card, refused=line.measure == MEASURES["answer"])
    return found and found._asdict()


def _corrected(rate: Rate, line: Line, card: JudgeCard) -> str:
    found = _estimate(rate, line, card)
    if found is None:
        return "does not fit" if rate.n else "not judged"
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * share for share in found.values()))


def files(systems: Sequence[System]) -> str:
    """Return the ids of systems and of their records, as a Markdown table."""
    files = [[s.name, f"`{s.engine}`", f"`{s.records.id}`"] for s in systems]
    return grid(["system", "engine id", "records id"], files)


def _count(line: Line) -> str:
    return str(max(rate.n for rate in line.rates))


def _change(change: Paired) -> str:
    return f"+{change.gained} -{change.lost}, p {'' if change.p < 0.001 else '= '}{p_value(change.p)}"
