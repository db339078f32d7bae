"""Prints every command with the first line of its help: the README's section Commands, which a test compares with it.

After a change of the command line: `python tests/reference.py`, and paste what it prints.
"""

from collections.abc import Iterator

import typer

from breakfix.cli import app


def reference() -> str:
    """Return one line a command, in the order of the command line's own help."""
    lines = list(_commands(typer.main.get_command(app), "breakfix"))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:{width}}  {help_line}" for name, help_line in lines)


def _commands(command, name: str) -> Iterator[tuple[str, str]]:
    groups = getattr(command, "commands", None)
    if groups is None:
        yield name, (command.help or "").strip().split("\n")[0]
        return
    for word, below in groups.items():
        yield from _commands(below, f"{name} {word}")


if __name__ == "__main__":
    print(reference())
