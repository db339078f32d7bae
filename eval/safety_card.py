"""What ships with a bundle about its safety: what was measured on exactly its files, and what the gate decided.

It measures nothing itself, and takes no figure of any other file.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ..core import artifact
from ..core.artifact import MANIFEST
from ..core.errors import UsageError
from .compare import System, compare
from .gate import Gate, gate
from .statistics import Rate

SYSTEMS = ("base", "aligned float", "aligned int4", "int4 + guard")
"""What a cycle measures, in order."""


class Measured(NamedTuple):
    """The `records` that a card is made of; None for what was not measured."""

    before: Path | None
    """Of the float model."""
    after: Path | None
    """Of the int4 model."""
    guarded: Path | None
    """Of the int4 model behind the guard."""


def records_of(cycle: Path) -> list[Path]:
    """Return the records folders of a cycle, in the order of SYSTEMS."""
    return [cycle / ("records-" + system.replace(" + ", "-").replace(" ", "-")) for system in SYSTEMS]


def found(cycle: Path, model: str, guard: str) -> Measured:
    """Return what of a cycle's records is of this model and this guard, by their ids, so far as it is there."""
    engines = (None, model, f"{model}+{guard}")
    return Measured(*(_of(path, engine) for path, engine in zip(records_of(cycle)[1:], engines, strict=True)))


def _of(records: Path, engine: str | None) -> Path | None:
    if not (records / MANIFEST).exists():
        return None
    return records if engine in (None, artifact.load(records, "records").facts["engine"]) else None


def safety_card(model: str, guard: str, measured: Measured) -> dict[str, Any]:
    """Return the card of an int4 model and a guard, as JSON would hold it.

    `model` and `guard` are their ids (the guard's with its policy's, as `Guard.id` gives it). What was not measured is None, or
    a list of nothing; shares are from 0 to 1. Raises UsageError for records of other models.
    """
    before, after, guarded = measured
    return {
        "model": model,
        "guard": guard,
        "gate": _decision(gate(before, after), model) if before and after else None,
        "figures": _figures(guarded, f"{model}+{guard}"),
        "unguarded": _figures(after, model),
    }


def _decision(decided: Gate, model: str) -> dict[str, Any]:
    first, second = decided.comparison.systems
    _must_be(second, model)
    return {
        "outcome": decided.outcome, "reason": decided.reason, "margin": decided.margin,
        "float": first.engine, "records": [first.records.id, second.records.id],
    }  # fmt: skip


def _figures(records: Path | None, engine: str) -> list[dict[str, Any]]:
    """Return the defect rates of one system, suite by suite."""
    if records is None:
        return []
    comparison = compare([records])
    _must_be(comparison.systems[0], engine)
    return [{"suite": line.suite, "measure": line.measure, **_rate(line.rates[0])} for line in comparison.lines]


def _rate(rate: Rate) -> dict[str, Any]:
    return {"hits": rate.hits, "n": rate.n, "low": rate.low, "high": rate.high}


def _must_be(system: System, engine: str) -> None:
    if system.engine != engine:
        raise UsageError(
            f"{system.records.path} was measured on {system.engine[:12]}…, and {engine[:12]}… is to ship; measure what ships"
        )
