"""What several commands take and say: options, recipes, what was made."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import UsageError

Out = Annotated[Path, typer.Option("--out", help="Folder to make. A finished one of the same order is kept.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A recipe's name or the path of a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeatable.")]
Base = Annotated[Path, typer.Option("--base", help="Checkpoint folder to start from.")]
Data = Annotated[Path, typer.Option("--data", help="Dataset folder made by train curate.")]
SuiteNames = Annotated[list[str] | None, typer.Option("--suite", help="Suite by name, or NAME=SOURCE; repeatable.")]
GuardFolder = Annotated[Path | None, typer.Option("--guard", help="Guard folder; by default the installed one.")]
BundleModel = Annotated[Path | None, typer.Argument(help="int4 folder or cycle folder; by default the newest under runs/.")]
BundleGuard = Annotated[
    Path | None, typer.Option("--guard", help="Guard folder; by default the one beside the model, else the installed one.")
]
PolicyName = Annotated[str, typer.Option("--policy", help="Policy by name or path.")]
Audit = Annotated[
    Path | None, typer.Option("--audit", help="Append what the guard decides to this JSONL file; it holds no text.")
]
Measured = Annotated[str, typer.Argument(help="int4 or checkpoint folder, or an endpoint: http://HOST:PORT/v1#MODEL.")]
MeasuredGuard = Annotated[Path | None, typer.Option("--guard", help="Guard folder; without it the model alone.")]
MeasuredPolicy = Annotated[str | None, typer.Option("--policy", help="Policy by name or path; by default `default`.")]
SystemName = Annotated[str | None, typer.Option("--name", help="What reports call it; by default the folder's name.")]
JudgeName = Annotated[
    str, typer.Option("--judge", help="Who judges: acts, or a language model: its folder, or http://HOST:PORT/v1#MODEL.")
]
RubricFile = Annotated[Path | None, typer.Option("--rubric", help="What tells a language model how to judge; YAML.")]


def group(what: str) -> typer.Typer:
    """Return an empty group of commands with this help line."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=what)


def recipe_of(name: str, overrides: list[str] | None):
    """Return a cycle's recipe with some settings changed. Raises RecipeError."""
    from ..core import recipe
    from ..train.cycle_recipe import RECIPES, CycleRecipe

    return recipe.load(CycleRecipe, name, RECIPES, overrides or [])


def engine_of(model: str, guard_folder: Path | None, policy: str | None) -> Any:
    """Open what is to be measured, behind both rails where a guard is named."""
    from ..eval import run

    if policy is not None and guard_folder is None:
        raise UsageError("--policy says what a guard does; name one with --guard")
    engine = run.open_engine(model)
    if guard_folder is None:
        return engine
    from ..eval.guarded import Guarded
    from ..guardrails.guard import Guard

    return Guarded(engine, Guard.open(guard_folder, policy or "default"))


def called(model: str) -> str:
    """Return what reports call a model: its name at an endpoint, or its folder's."""
    return model.rpartition("#")[2] if "://" in model else Path(model).resolve().name


def done(made) -> None:
    """Say which artifact was made, and where."""
    typer.echo(f"{made.kind} {made.id}\n{made.path}")


def print_figures(figures) -> None:
    """Print measured figures, one a line."""
    for figure in figures:
        typer.echo(f"{figure.what:24} {figure.value:10.1f} {figure.unit}")
