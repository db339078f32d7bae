"""The commands that ask the guard."""

import sys
from typing import Annotated

import typer

from ..core.errors import UsageError
from .options import GuardFolder, PolicyName, group, print_figures

app = group("Ask the guard.")


@app.command("check")
def guard_check(
    text: Annotated[str | None, typer.Argument(help="The text; without it, standard input.")] = None,
    answer: Annotated[str | None, typer.Option("--answer", help="Judge this answer to the text instead of the text.")] = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Judge each line of standard input, {prompt} or {prompt, answer}; a verdict a line.")
    ] = False,
    guard_folder: GuardFolder = None,
    policy: PolicyName = "default",
) -> None:
    """Say what the guard makes of a text, or of many. Exit code 1 when it blocks one."""
    import json

    from ..core.jsonl import parse_lines
    from ..guardrails.guard import SHIPPED, Guard

    if jsonl and (text is not None or answer is not None):
        raise UsageError("--jsonl reads prompts and answers from standard input; leave out TEXT and --answer")
    rows = parse_lines(sys.stdin, "standard input", ("prompt",)) if jsonl else None
    judge = Guard.open(guard_folder or SHIPPED, policy)
    if rows is None:
        rows = [{"prompt": sys.stdin.read() if text is None else text, "answer": answer}]
    blocked = False
    for verdict in map(judge.check_row, rows):
        typer.echo(json.dumps(vars(verdict)))
        blocked |= verdict.blocked
    if blocked:
        raise typer.Exit(1)


@app.command("bench")
def guard_bench(
    guard_folder: GuardFolder = None,
    policy: PolicyName = "default",
    rounds: Annotated[int, typer.Option("--rounds", min=1)] = 50,
) -> None:
    """Measure the guard's time, size and memory on one thread of this machine."""
    from ..guardrails.guard import SHIPPED
    from ..runtime.bench.alone import bench_guard

    print_figures(bench_guard(guard_folder or SHIPPED, rounds, policy))
