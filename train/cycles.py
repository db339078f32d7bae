"""Break-fix cycles one after another: what succeeded against one is what the next is taught, and the history of it.

Each cycle starts from the base model, on the data of the first and the orders of all before it. It knows no stage.
"""

import json
from collections.abc import Mapping, Sequence
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
from ..eval.redteam.finding import read, success
from ..eval.report import grid, percent
from ..eval.safety_card import SYSTEMS, records_of
from ..eval.statistics import Rate
from .candidates import DECISION
from .curate import ROWS
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
    """Rows that it was taught because an order asked for them."""
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
        cycle(_ordered(recipe, earlier), folder, earlier)
    return history(folders, out / f"history-{count}")


def history(folders: Sequence[Path], out: Path) -> Artifact:
    """Write a `history` artifact of finished cycles, oldest first: Markdown and JSON."""
    parts = {number: _parts(folder) for number, folder in enumerate(folders, 1)}
    inputs = {f"{name} {number}": made.id for number, own in parts.items() for name, made in own.items()}

    def make(work: Path) -> dict[str, Any]:
        told = [_told(number, own) for number, own in parts.items()]
        artifact.write_atomic(work / HISTORY, as_markdown(told))
        artifact.write_atomic(work / JSON, json.dumps([_plain(one) for one in told], indent=1) + "\n")
        return {"cycles": len(told)}

    return artifact.produce(out, "history", {}, inputs, make)


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
        ["ordered rows that it was taught", *(str(one.filled) for one in told)],
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


def _parts(folder: Path) -> dict[str, Artifact]:
    """Open all that is told of a cycle; `data` is what the chosen candidate learned from."""
    kinds = {"report": "report", **{path.name: "records" for path in records_of(folder)}}
    kinds |= {**dict.fromkeys(_ATTACKED, "attacks"), VULNERABILITIES: "vulnerabilities"}
    found = {name: artifact.load(folder / name, kind) for name, kind in kinds.items()}
    data = folder / "data"
    if (folder / "decision").exists():
        found["decision"] = artifact.load(folder / "decision", "decision")
        own = folder / f"data-{found['decision'].facts['chosen']}"
        data = own if own.exists() else data
    return found | {"data": artifact.load(data, "dataset")}


def _told(number: int, parts: Mapping[str, Artifact]) -> Told:
    found = json.loads((parts[VULNERABILITIES].path / vulnerabilities.JSON).read_text(encoding="utf-8"))["cells"]
    states = {"open": sum(cell["hits"] > 0 for cell in found)}
    for state in sorted({cell["state"] for cell in found if cell["state"]}):
        states[state] = sum(cell["state"] == state for cell in found)
    ordered = read_jsonl(parts[VULNERABILITIES].path / vulnerabilities.ORDER)
    learned = read_jsonl(parts["data"].path / ROWS)
    return Told(
        number,
        compare([made.path for made in parts.values() if made.kind == "records"]).lines,
        tuple(success(read(parts[name].path)) for name in _ATTACKED),
        states,
        sum(line["rows"] for line in ordered),
        sum((row["source"], row["use"]) == (ORDERED, "sft") for row in learned),
        _chosen(parts.get("decision")),
    )


def _chosen(decision: Artifact | None) -> str:
    if decision is None:
        return "the only one"
    tried = json.loads((decision.path / DECISION).read_text(encoding="utf-8"))
    taken = tried[decision.facts["chosen"] - 1]
    return f"{taken['number']} of {len(tried)}{': ' + taken['settings'] if taken['settings'] else ''}"


def _plain(one: Told) -> dict[str, Any]:
    lines = [
        {"suite": line.suite, "measure": line.measure, "rates": [{"hits": r.hits, "n": r.n} for r in line.rates]}
        for line in one.lines
    ]
    attacked = dict(zip(_ATTACKED.values(), ({"hits": r.hits, "n": r.n} for r in one.attacked), strict=True))
    rest = {"states": one.states, "ordered": one.ordered, "filled": one.filled, "chosen": one.chosen}
    return {"cycle": one.number, "lines": lines, "attacked": attacked, **rest}
