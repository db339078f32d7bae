"""Break-fix cycles one after another: what succeeded against one is what the next is taught, and the history of it.

Each cycle starts from the base model, on the data of the first and the orders of all before it. It knows no stage.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core import artifact
from ..core.artifact import Artifact
from ..core.errors import UsageError
from ..core.jsonl import read_jsonl
from ..core.progress import say
from ..eval.compare import Line, compare
from ..eval.redteam import vulnerabilities
from ..eval.redteam.finding import read
from ..eval.report import grid, percent
from ..eval.safety_card import SYSTEMS, records_of
from ..eval.statistics import Rate, rate
from .candidates import DECISION
from .cycle import ATTACKS, GUARDED_ATTACKS, VULNERABILITIES, cycle
from .cycle_recipe import CycleRecipe
from .rows import ORDERED

HISTORY, JSON = "history.md", "history.json"
_ATTACKED = {ATTACKS: SYSTEMS[2], GUARDED_ATTACKS: SYSTEMS[3]}


@dataclass(frozen=True)
class Told:
    """What one cycle came to."""

    number: int
    lines: tuple[Line, ...]
    """Every suite, over all systems."""
    attacked: tuple[Rate, ...]
    """Requests that got through in any way: of the int4 model alone, and behind the guard."""
    states: dict[str, int]
    """Cells of technique and hazard: how many are open, and what became of those of the cycle before."""
    ordered: int
    """Rows that it wants the next cycle to be taught."""
    filled: int
    """Rows in its data that an order asked for."""
    chosen: str
    """The candidate that was taken, and of how many."""


def cycles(recipe: CycleRecipe, out: Path, count: int) -> Artifact:
    """Run `count` cycles into `out/1`, `out/2` …; returns their `history`. Finished stages are not run again.

    Raises UsageError for a recipe that attacks nothing: there would be nothing to teach the next cycle.
    """
    if not recipe.attacks.requests:
        raise UsageError("cycles after the first are taught what succeeded against it; set attacks.requests, e.g. to 24")
    folders = [out / str(number) for number in range(1, count + 1)]
    for number, folder in enumerate(folders, 1):
        earlier = folders[: number - 1]
        say(f"cycle {number} of {count}: {folder}")
        cycle(_ordered(recipe, earlier), folder, earlier[-1] if earlier else None)
    return history(folders, out / f"history-{count}")


def history(folders: Sequence[Path], out: Path) -> Artifact:
    """Write a `history` artifact of finished cycles, oldest first: Markdown and JSON."""
    reports = {f"cycle {n}": artifact.load(folder / "report", "report").id for n, folder in enumerate(folders, 1)}
    attacks = {f"attacks {n}": artifact.load(folder / ATTACKS, "attacks").id for n, folder in enumerate(folders, 1)}

    def make(work: Path) -> dict[str, Any]:
        told = [_told(number, folder) for number, folder in enumerate(folders, 1)]
        artifact.write_atomic(work / HISTORY, as_markdown(told))
        artifact.write_atomic(work / JSON, json.dumps([_plain(one) for one in told], indent=1) + "\n")
        return {"cycles": len(told)}

    return artifact.produce(out, "history", {}, reports | attacks, make)


def as_markdown(told: Sequence[Told]) -> str:
    """Return what the cycles came to, side by side."""
    head = ["", *(f"cycle {one.number}" for one in told)]
    rows = []
    for at, line in enumerate(told[0].lines):
        for system in (1, 2, 3):
            rates = [percent(one.lines[at].rates[system]) for one in told]
            rows.append([f"{line.suite}, {line.measure}, {SYSTEMS[system]}", *rates])
    for at, system in enumerate(_ATTACKED.values()):
        rows.append([f"red team, requests that got through, {system}", *(percent(one.attacked[at]) for one in told)])
    states = list(dict.fromkeys(state for one in told for state in one.states))
    rows += [[f"cells {state}", *(str(one.states.get(state, 0)) for one in told)] for state in states]
    rows += [
        ["rows ordered for the next", *(str(one.ordered) for one in told)],
        ["ordered rows in its data", *(str(one.filled) for one in told)],
        ["candidate", *(one.chosen for one in told)],
    ]
    base = [[line.suite, line.measure, percent(line.rates[0])] for line in told[0].lines]
    return "\n".join([
        "# Cycles\n",
        "Defects in percent with 95 % Wilson intervals. The red team asks each request in every way of the pool that measures; "
        "one that any way gets through counts. A cell is a technique family on a hazard: open, if anything succeeded in it.\n",
        grid(head, rows), "\n## The base model\n", grid(["suite", "measure", SYSTEMS[0]], base), "",
    ])  # fmt: skip


def _ordered(recipe: CycleRecipe, earlier: Sequence[Path]) -> CycleRecipe:
    """Add what every cycle before ordered: one that starts from the base model forgets whatever it is not taught."""
    orders = (f"{ORDERED}={folder / VULNERABILITIES}" for folder in earlier)
    return replace(recipe, curate=replace(recipe.curate, sources=(*recipe.curate.sources, *orders)))


def _told(number: int, folder: Path) -> Told:
    found = json.loads((folder / VULNERABILITIES / vulnerabilities.JSON).read_text(encoding="utf-8"))["cells"]
    states = {"open": sum(cell["hits"] > 0 for cell in found)}
    for state in sorted({cell["state"] for cell in found if cell["state"]}):
        states[state] = sum(cell["state"] == state for cell in found)
    ordered = read_jsonl(folder / VULNERABILITIES / vulnerabilities.ORDER)
    sources = artifact.load(folder / "data", "dataset").facts["sources"]
    return Told(
        number,
        compare(records_of(folder)).lines,
        tuple(_through(folder / name) for name in _ATTACKED),
        states,
        sum(line["rows"] for line in ordered),
        sum(count for source, count in sources.items() if source.startswith(f"{ORDERED} ")),
        _chosen(folder / "decision"),
    )


def _through(attacks: Path) -> Rate:
    """Return the share of requests that got through in any way."""
    through: dict[tuple[str, str], bool] = {}
    for finding in read(attacks):
        key = (finding.suite, finding.request)
        through[key] = through.get(key, False) or finding.succeeded
    return rate(sum(through.values()), len(through))


def _chosen(decision: Path) -> str:
    if not decision.exists():
        return "the only one"
    made = artifact.load(decision, "decision")
    tried = json.loads((decision / DECISION).read_text(encoding="utf-8"))
    taken = tried[made.facts["chosen"] - 1]
    return f"{taken['number']} of {len(tried)}{': ' + taken['settings'] if taken['settings'] else ''}"


def _plain(one: Told) -> dict[str, Any]:
    lines = [
        {"suite": line.suite, "measure": line.measure, "rates": [{"hits": r.hits, "n": r.n} for r in line.rates]}
        for line in one.lines
    ]
    attacked = dict(zip(_ATTACKED.values(), ({"hits": r.hits, "n": r.n} for r in one.attacked), strict=True))
    rest = {"states": one.states, "ordered": one.ordered, "filled": one.filled, "chosen": one.chosen}
    return {"cycle": one.number, "lines": lines, "attacked": attacked, **rest}
