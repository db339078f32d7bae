"""The commands that post-train: curate, SFT, DPO, guard, or the whole cycle."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Base, Data, Out, Overrides, RecipeName, done, group, recipe_of

app = group("Post-train: curate, SFT, DPO, guard, or the whole cycle.")


@app.command("cycle")
def train_cycle(
    recipe: RecipeName = "demo",
    out: Annotated[Path | None, typer.Option("--out")] = None,
    count: Annotated[
        int, typer.Option("--cycles", min=1, help="Cycles, each taught what succeeded against the one before it.")
    ] = 1,
    overrides: Overrides = None,
) -> None:
    """Run the whole break-fix cycle and print what it bought. Run it again after a kill: it goes on."""
    from ..eval import report
    from ..eval.compare import compare
    from ..eval.safety_card import records_of
    from ..train.cycle import cycle
    from ..train.cycles import HISTORY, cycles

    folder = out or Path("runs") / Path(recipe).stem
    settings = recipe_of(recipe, overrides)
    if count > 1:
        made = cycles(settings, folder, count)
        typer.echo((made.path / HISTORY).read_text(encoding="utf-8"))
        typer.echo(f"history: {made.path / HISTORY}\nchat with the last: breakfix chat {folder / str(count)}")
        return
    made = cycle(settings, folder)
    report.show(compare(records_of(folder)))
    typer.echo(
        f"report: {made.path / (report.HTML if report.can_draw() else report.MARKDOWN)}\nchat with it: breakfix chat {folder}"
    )


@app.command("curate")
def train_curate(base: Base, out: Out, recipe: RecipeName = "demo", overrides: Overrides = None) -> None:
    """Collect, clean and decontaminate the training data."""
    from ..eval import suites
    from ..train.curate import curate

    settings = recipe_of(recipe, overrides)
    done(curate(settings.curate, base, suites.registered(settings.eval.suites), out))


@app.command("sft")
def train_sft(base: Base, data: Data, out: Out, recipe: RecipeName = "demo", overrides: Overrides = None) -> None:
    """Fine-tune an adapter on the curated data."""
    from ..train.sft import sft

    done(sft(recipe_of(recipe, overrides).sft, base, data, out))


@app.command("pairs")
def train_pairs(base: Base, data: Data, out: Out, recipe: RecipeName = "demo", overrides: Overrides = None) -> None:
    """Find what a model still gets wrong, as preference pairs for DPO."""
    from ..train.preferences import preferences

    done(preferences(recipe_of(recipe, overrides).preferences, base, data, out))


@app.command("dpo")
def train_dpo(
    base: Base,
    pairs: Annotated[Path, typer.Option("--pairs", help="Pairs folder made by train pairs.")],
    out: Out,
    recipe: RecipeName = "demo",
    overrides: Overrides = None,
) -> None:
    """Train an adapter on preference pairs."""
    from ..train.dpo import dpo

    done(dpo(recipe_of(recipe, overrides).dpo, base, pairs, out))


@app.command("guard")
def train_guard(data: Data, out: Out, recipe: RecipeName = "demo", overrides: Overrides = None) -> None:
    """Train the guard's classifier and export it as int8 to OUT; the float one, and its teacher, stay beside it."""
    from ..core.artifact import beside
    from ..eval import suites
    from ..export.guard import export_guard
    from ..train.guard import teach_guard
    from ..train.guard import train_guard as fit

    settings = recipe_of(recipe, overrides)
    guard, held_out = settings.guard, suites.registered(settings.eval.suites)
    teacher = teach_guard(guard, data, held_out, beside(out, "-teacher")).path if guard.teacher.encoder else None
    classifier = fit(guard, data, held_out, beside(out, "-classifier"), teacher)
    done(export_guard(settings.guard_export, classifier.path, out))
