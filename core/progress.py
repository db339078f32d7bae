"""Progress on standard error, with the time that remains; silent when nobody watches a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)
"""Where everything that is no result goes: progress, notes and errors."""

_LOG_STEPS = 5


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar for `what`; yields a function that moves it forward by a number of units.

    Without a terminal it prints a plain line at every fifth of the way, so that CI logs show life and stay short.
    """
    if not console.is_terminal:
        yield _plain_steps(what, total, done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda units: bar.update(task, advance=units)


def say(text: str) -> None:
    """Print one line of news on standard error."""
    console.print(text, markup=False)


def _plain_steps(what: str, total: int, done: int) -> Callable[[int], None]:
    state = {"done": done, "told": done * _LOG_STEPS // max(total, 1)}

    def advance(units: int) -> None:
        state["done"] += units
        step = state["done"] * _LOG_STEPS // max(total, 1)
        if step > state["told"]:
            state["told"] = step
            say(f"{what}: {state['done']}/{total}")

    return advance
