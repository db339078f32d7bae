"""What a race looks like: Markdown, JSON and a picture."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ...core.artifact import write_atomic
from .alone import Figure
from .race import Race

MARKDOWN, JSON, PICTURE = "bench.md", "bench.json", "bench.png"


def markdown(race: Race, figures: Sequence[Figure] = ()) -> str:
    """Return a table, a line a contender, the first one's ratios to the others, and more figures."""
    heads = (
        "",
        "first token, ms",
        "prefill, tok/s",
        "decode, tok/s",
        "p95 gap, ms",
        "peak, MB",
        "load, s",
        "files, MB",
        "ceiling, %",
    )
    rows = [
        (
            result.name, f"{result.first:.0f}", f"{result.prefill:.0f}", f"{result.decode:.1f}", f"{result.slowest:.1f}",
            f"{result.peak:.0f}", f"{result.load:.2f}", f"{result.size:.0f}", f"{race.ceiling(result):.0f}",
        )
        for result in race.results
    ]  # fmt: skip
    lines = [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
    first, *others = race.results
    lines += ["", f"{race.read} tokens read, {first.written} written, {race.threads} threads, in turn; medians."]
    lines.append(f"The ceiling is {race.bandwidth:.1f} GB a second, what this machine copies; a file is read once a token.")
    lines += [f"{first.name} / {other.name}: {_ratios(first, other)}" for other in others]
    lines += [f"{result.name}: {result.joules:.3f} joules a token" for result in race.results if result.joules is not None]
    lines += [f"{figure.what}: {figure.value:.1f} {figure.unit}" for figure in figures]
    lines += ["", *(f"{result.name}: {result.id}" for result in race.results)]
    return "\n".join(lines) + "\n"


def write(race: Race, figures: Sequence[Figure], folder: Path) -> Sequence[Path]:
    """Write the table, the figures and the picture into a folder, over those of a bench before; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / MARKDOWN, markdown(race, figures))
    write_atomic(
        folder / JSON, json.dumps({**asdict(race), "figures": [figure._asdict() for figure in figures]}, indent=1) + "\n"
    )
    _draw(race, folder / PICTURE)
    return [folder / name for name in (MARKDOWN, JSON, PICTURE)]


def _ratios(first, other) -> str:
    parts = {"first token": "first", "prefill": "prefill", "decode": "decode", "peak memory": "peak", "load": "load"}
    said = (f"{what} {getattr(first, name) / getattr(other, name):.2f}" for what, name in parts.items() if getattr(other, name))
    return ", ".join(said)


def _draw(race: Race, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    bars = (("decode", "tokens/s"), ("prefill", "tokens/s"), ("first", "ms to first token"), ("peak", "MB at most"))
    figure, axes = pyplot.subplots(1, len(bars), figsize=(3.2 * len(bars), 0.5 * len(race.results) + 1.4), sharey=True)
    for axis, (name, unit) in zip(axes, bars, strict=True):
        drawn = axis.barh([result.name for result in race.results], [getattr(result, name) for result in race.results])
        axis.bar_label(drawn, fmt="%.0f", padding=2)
        axis.margins(x=0.2)
        axis.set_title(name if name != "first" else "first token", fontsize=10)
        axis.set_xlabel(unit)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
