"""What ships, cycle by cycle: the last system of each report, on the suites of this one."""

from typing import Any, NamedTuple

from ..statistics import Rate
from .comparison import as_json
from .evidence import Evidence, figures_of


class Cycle(NamedTuple):
    """One cycle's result."""

    number: int
    system: str
    """The last of its report: what ships."""
    engine: str
    rates: tuple[Rate | None, ...]
    """One for each line of the history; None where it was not measured."""


class History(NamedTuple):
    """The cycles, the oldest first, this one last."""

    lines: tuple[tuple[str, str], ...]
    """Suite and measure."""
    cycles: tuple[Cycle, ...]

    @property
    def alike(self) -> bool:
        """Tell whether every cycle was measured on as many prompts."""
        sizes = zip(*(cycle.rates for cycle in self.cycles), strict=True)
        return all(len({rate.n if rate else 0 for rate in line}) == 1 for line in sizes)


def history(evidence: Evidence) -> History | None:
    """Return the cycles; None where this one is the first that is known."""
    if not evidence.earlier:
        return None
    told = [*map(figures_of, evidence.earlier), as_json(evidence.comparison)]
    lines = tuple((line.suite, line.measure) for line in evidence.comparison.lines)
    return History(lines, tuple(_cycle(number, figures, lines) for number, figures in enumerate(told, 1)))


def _cycle(number: int, figures: dict[str, Any], lines: tuple[tuple[str, str], ...]) -> Cycle:
    last = figures["systems"][-1]
    rates = {(line["suite"], line["measure"]): Rate(**line["rates"][-1]) for line in figures["lines"]}
    return Cycle(number, last["name"], last["engine"], tuple(rates.get(line) for line in lines))
