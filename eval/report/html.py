"""The page: one HTML file that needs no network and no script, in light and in dark, on a phone and on paper.

It may load nothing (Content-Security-Policy), and every text in it is escaped: models wrote it.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..judge_card import Estimate
from ..statistics import Rate
from . import pictures, svg
from .comparison import HTML
from .contents import TITLES, contents
from .evidence import Evidence
from .figures import save_png, styled
from .markdown import p_value
from .pictures import Picture
from .samples import one_line

FIGURES = "figures"
_HERE = Path(__file__).parent
_TEMPLATE, _STYLE = "report.html.jinja", "report.css"
_WARMTH = 5
"""Steps of the red team's square, from hardly any to all."""


def draw(evidence: Evidence, work: Path) -> None:
    """Write the page into a folder, and its figures, which are also files of their own."""
    told = contents(evidence)
    (work / FIGURES).mkdir(exist_ok=True)
    drawn = {}
    with styled():
        for picture in _pictures(told, evidence):
            save_png(picture.figure, work / FIGURES / f"{picture.name}.png")
            drawn[picture.name] = Markup(svg.inline(*picture[:3], picture.figure))
    (work / HTML).write_text(_page(told, drawn), encoding="utf-8", newline="\n")


def _pictures(told: Mapping[str, Any], evidence: Evidence) -> list[Picture]:
    found = [pictures.systems(evidence.comparison)]
    if told["hazards"] and len(told["names"]) > 1:
        found.append(pictures.hazards(told["hazards"], told["names"]))
    if told["quantized"]:
        found.append(pictures.turned(told["quantized"]))
    found += [pictures.guard(f"guard-{number}", each, told["names"]) for number, each in enumerate(told["guard"], 1)]
    if told["redteam"]:
        found.append(pictures.families(told["redteam"], told["names"]))
    if told["history"]:
        found.append(pictures.history(told["history"]))
    return found


def _page(told: Mapping[str, Any], figures: Mapping[str, Markup]) -> str:
    """Return the page as HTML."""
    # A section that nobody filled is an error, and not an empty place.
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        name=one_line, line=_line, brief=_brief, percent=_percent, interval=_interval, points=_points, p=p_value, warmth=_warmth
    )
    style = (_HERE / _STYLE).read_text(encoding="utf-8")
    shown = [(name, title) for name, title in TITLES.items() if told[name]]
    return environment.get_template(_TEMPLATE).render(
        **told, figures=figures, titles=TITLES, shown=shown, style=Markup(style), style_hash=Markup(_hash(style))
    )


def _hash(style: str) -> str:
    """Return what a Content-Security-Policy calls the one style it allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _line(text: str) -> str:
    return one_line(str(text), 600)


def _brief(text: str) -> str:
    return one_line(text, 110)


def _percent(rate: Rate | Estimate) -> str:
    return f"{100 * rate.value:.1f}"


def _interval(rate: Rate | Estimate) -> str:
    return f"{100 * rate.low:.1f}–{100 * rate.high:.1f}"


def _points(share: float) -> str:
    """Write a difference of shares in points, with a minus that is as wide as the plus."""
    return f"{100 * share:+.1f}".replace("-", "−")


def _warmth(rate: Rate) -> str:
    return f"h{min(_WARMTH - 1, int(rate.value * _WARMTH))}" if rate.n else ""
