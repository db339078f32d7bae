"""The figures, drawn by matplotlib on a narrow sheet that a phone can show without shrinking the letters.

The only module that needs matplotlib. A figure knows colours by what they mean (`ROLES`); `svg` gives them to the page.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import NamedTuple

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ..statistics import Rate
from .breakdown import Flips
from .history import History
from .samples import one_line

ROLES = {
    "ink": "#1b1f24", "muted": "#5a6370", "grid": "#e1e5ea", "paper": "#fefefe",
    # Okabe and Ito's colours, told apart by any eye; grey is what was there before.
    "s0": "#767d88", "s1": "#0072b2", "s2": "#d55e00", "s3": "#009e73", "s4": "#aa4499", "s5": "#b07c00", "s6": "#3d8fc4",
}  # fmt: skip
"""What a colour means, and what it is on white paper; the page has others for the dark."""
_MARKS = "osD^vPX"
_WIDTH, _MARGIN = 344, 0.14
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "breakfix", "text.parse_math": False, "font.family": "DejaVu Sans",
    "axes.unicode_minus": False,
}  # fmt: skip
_TICKS = (0, 25, 50, 75, 100)
_TITLE, _ROW, _GAP, _AXIS, _LEGEND = 19.0, 14.0, 9.0, 20.0, 15.0
"""Heights, in points."""


class Dot(NamedTuple):
    """One rate of one system."""

    label: str
    rate: Rate
    series: int
    """Its place among the systems: colour and mark."""


class Group(NamedTuple):
    """Dots that belong together."""

    title: str
    dots: Sequence[Dot]


@contextmanager
def styled() -> Iterator[None]:
    """Draw as Breakfix draws, whatever this machine's own settings for matplotlib are."""
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        # A system may be called anything; what the font lacks shows as a box.
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font")
        yield


def dots(groups: Sequence[Group]) -> Figure:
    """Draw rates with their intervals, a line each, in groups."""
    rows = sum(len(group.dots) for group in groups)
    axes = _sheet(len(groups) * (_TITLE + _GAP) + rows * _ROW, left=94, right=36)
    y = 0.0
    for group in groups:
        _left(axes, y + 10, group.title, "ink", size=9, weight="bold")
        y += _TITLE
        _rules(axes, y, y + _ROW * len(group.dots))
        for dot in group.dots:
            _left(axes, y + _ROW / 2, one_line(dot.label, 18), "muted")
            _interval(axes, y + _ROW / 2, dot)
            _right(axes, y + _ROW / 2, f"{100 * dot.rate.value:.1f}" if dot.rate.n else "–")
            y += _ROW
        y += _GAP
    return _finished(axes)


def rows(groups: Sequence[Group], between: str) -> Figure:
    """Draw groups that all hold the same systems a row each, the systems close below each other, under one legend."""
    names = [(dot.label, dot.series) for dot in groups[0].dots]
    step = 7.8
    row, legend = step * len(names) + 6.5, _LEGEND * ceil(len(names) / 2) + 5
    axes = _sheet(legend + row * len(groups), left=142, right=26 + 15 * len(names))
    _legend(axes, names)
    _rules(axes, legend, legend + row * len(groups))
    for number, group in enumerate(groups):
        y = legend + row * (number + 0.5)
        _left(axes, y, group.title, "ink", size=8)
        for place, dot in enumerate(group.dots):
            _interval(axes, y + step * (place - (len(names) - 1) / 2), dot)
        _right(axes, y, between.join(f"{100 * dot.rate.value:.0f}" if dot.rate.n else "–" for dot in group.dots))
    return _finished(axes)


def turned(flips: Sequence[Flips]) -> Figure:
    """Draw how many answers went wrong and how many went right, as shares of the prompts, away from a middle line."""
    row, legend = 36.0, _LEGEND + 5
    shares = [(100 * each.change.lost / each.n, 100 * each.change.gained / each.n) if each.n else (0, 0) for each in flips]
    most = max([5.0, *(share for pair in shares for share in pair)]) * 1.25
    axes = _sheet(legend + row * len(flips), left=14, right=14, low=-most, high=most, ticks=())
    _legend(axes, [("went right", 3), ("went wrong", 2)])
    for number, (each, (right, wrong)) in enumerate(zip(flips, shares, strict=True)):
        y = legend + row * number + 24
        _left(axes, y - 14, f"{each.suite}, {each.measure}", "ink", size=9, weight="bold")
        axes.plot([0, 0], [y - 7, y + 7], color=ROLES["muted"], linewidth=0.8, clip_on=False)
        axes.barh([y], [-right], height=9, color=ROLES["s3"], clip_on=False)
        axes.barh([y], [wrong], height=9, color=ROLES["s2"], clip_on=False)
        _text(axes, -right - most * 0.015, y, str(each.change.lost), "ink", "right")
        _text(axes, wrong + most * 0.015, y, str(each.change.gained), "ink", "left")
    return _finished(axes)


def lines(told: History) -> Figure:
    """Draw each measure over the cycles, with intervals."""
    step, height, count = 13.0, 190.0, len(told.cycles)
    legend = step * len(told.lines) + 14
    whole = legend + height + _AXIS
    figure = Figure(figsize=(_WIDTH / 72, whole / 72), dpi=72)
    axes = figure.add_axes((24 / _WIDTH, _AXIS / whole, 1 - 38 / _WIDTH, height / whole))
    axes.axis("off")
    axes.set(xlim=(0.7, count + 0.3), ylim=(0, 100))
    for tick in _TICKS:
        axes.axhline(tick, color=ROLES["grid"], linewidth=0.8, clip_on=False)
        _text(axes, 0.7, tick, str(tick), "muted", "right", beside=-4)
    for number in range(1, count + 1):
        said = "this one" if number == count else f"cycle {number}"
        axes.text(number, -5, said, ha="center", va="top", fontsize=8, color=ROLES["muted"])
    for place, (suite, measure) in enumerate(told.lines):
        beside = (place - (len(told.lines) - 1) / 2) * 0.025 * count
        _line(axes, [(cycle.number + beside, cycle.rates[place]) for cycle in told.cycles], place)
        y = 100 + (legend - 6 - step * place) * 100 / height
        axes.plot([0.72], [y], _MARKS[place % 7], color=_of_measure(place), markersize=5, clip_on=False)
        _text(axes, 0.72, y, f"{one_line(suite, 30)}, {measure}", "ink", "left", beside=7)
    return figure


def _line(axes: Axes, points: Sequence[tuple[float, Rate | None]], place: int) -> None:
    known = [(x, rate) for x, rate in points if rate is not None and rate.n]
    colour, mark = _of_measure(place), _MARKS[place % 7]
    axes.plot([x for x, _ in known], [100 * rate.value for _, rate in known], color=colour, linewidth=1.4, clip_on=False)
    for x, rate in known:
        axes.plot([x, x], [100 * rate.low, 100 * rate.high], color=colour, linewidth=0.9, clip_on=False)
        axes.plot([x], [100 * rate.value], mark, color=colour, markersize=5, clip_on=False)


def _of_measure(place: int) -> str:
    """Return a measure's colour; the first ones are the systems'."""
    return ROLES[f"s{(place + 4) % 7}"]


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure for where SVG is not read: on white with a margin, 2.5 pixels a point, and nothing of when or by what."""
    width, height = figure.get_size_inches()
    paper = Bbox([[-_MARGIN, -_MARGIN], [width + _MARGIN, height + _MARGIN]])
    figure.savefig(path, format="png", dpi=180, facecolor="white", bbox_inches=paper, metadata={"Software": None})


def _sheet(height: float, left: float, right: float, low: float = 0, high: float = 100, ticks: Sequence[int] = _TICKS) -> Axes:
    """Return axes whose vertical unit is a point, down from the top; across they go from `low` to `high`."""
    bottom = _AXIS if ticks else 6.0
    whole = height + bottom + 4
    figure = Figure(figsize=(_WIDTH / 72, whole / 72), dpi=72)
    axes = figure.add_axes((left / _WIDTH, bottom / whole, (_WIDTH - left - right) / _WIDTH, height / whole))
    axes.axis("off")
    axes.set(xlim=(low, high), ylim=(height, 0))
    for tick in ticks:
        said = f"{tick} %" if tick == 100 else str(tick)
        axes.text(tick, height + 4, said, ha="center", va="top", fontsize=8, color=ROLES["muted"])
    return axes


def _rules(axes: Axes, top: float, bottom: float) -> None:
    for tick in _TICKS:
        axes.plot([tick, tick], [top, bottom], color=ROLES["grid"], linewidth=0.8, zorder=0, clip_on=False)


def _finished(axes: Axes) -> Figure:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure


def _interval(axes: Axes, y: float, dot: Dot) -> None:
    if not dot.rate.n:
        return
    colour = ROLES[f"s{dot.series % 7}"]
    axes.plot([100 * dot.rate.low, 100 * dot.rate.high], [y, y], color=colour, linewidth=1.5, clip_on=False)
    axes.plot([100 * dot.rate.value], [y], _MARKS[dot.series % 7], color=colour, markersize=5.5, clip_on=False)


def _legend(axes: Axes, entries: Sequence[tuple[str, int]]) -> None:
    """Say which mark is whose, two to a line."""
    low, high = axes.get_xlim()
    for place, (name, series) in enumerate(entries):
        x, y = low + (high - low) * (place % 2) * 0.5, 6 + _LEGEND * (place // 2)
        axes.plot([x], [y], _MARKS[series % 7], color=ROLES[f"s{series % 7}"], markersize=5.5, clip_on=False)
        _text(axes, x, y, one_line(name, 18), "ink", "left", beside=7)


def _left(axes: Axes, y: float, text: str, role: str, size: float = 8.5, weight: str = "normal") -> None:
    """Write at the sheet's left edge."""
    place = -axes.get_position().x0 / axes.get_position().width
    axes.text(
        place, y, one_line(text, 58), transform=axes.get_yaxis_transform(), color=ROLES[role], fontsize=size, fontweight=weight,
        va="center_baseline",
    )  # fmt: skip


def _right(axes: Axes, y: float, text: str) -> None:
    """Write at the sheet's right edge."""
    place = (1 - axes.get_position().x0) / axes.get_position().width
    axes.text(
        place, y, text, transform=axes.get_yaxis_transform(), color=ROLES["ink"], fontsize=8.5, ha="right", va="center_baseline"
    )


def _text(axes: Axes, x: float, y: float, text: str, role: str, align: str, beside: float = 0) -> None:
    """Write at a place, or so many points to the right of it."""
    axes.annotate(
        text, (x, y), (beside, 0), textcoords="offset points", color=ROLES[role], fontsize=8.5, ha=align, va="center_baseline",
        annotation_clip=False,
    )  # fmt: skip
