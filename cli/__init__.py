"""The front door: one short command a stage. It parses, imports what the command needs, and turns errors into a sentence."""

import io
import sys
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..core.errors import EXTRAS, BreakfixError, MissingExtra, os_sentence
from . import evaluate, export, guard, redteam, train, use

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Make a small language model safe, shrink it to int4 for a phone, guard it, and prove it on the file that ships.",
)
for name, room in (("train", train), ("export", export), ("eval", evaluate), ("redteam", redteam), ("guard", guard)):
    app.add_typer(room.app, name=name)
for command in (use.chat, use.serve, use.bench, use.doctor):
    app.command()(command)

_INTERRUPTED = 130
_MAKE_NOTHING = {"chat", "serve", "guard", "bench", "doctor"}
"""Commands without parts that a second run could go on from."""


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Make a small language model safe, shrink it to int4 for a phone, guard it, and prove it on the file that ships."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; every expected error becomes one sentence and an exit code."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    try:
        code = app(standalone_mode=False)
    except BreakfixError as error:
        _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        _fail_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        _stopped()
    except ModuleNotFoundError as error:
        extra = next((e for e, modules in EXTRAS.items() if (error.name or "").split(".")[0] in modules), None)
        if extra is None:
            raise
        _fail(str(MissingExtra(str(error.name), extra)), 1)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        _fail(os_sentence(error), 1)
    else:
        # typer turns Ctrl-C into this code and says nothing.
        if code == _INTERRUPTED:
            _stopped()
        sys.exit(code or 0)


def _fail_usage(error: typer.TyperException) -> NoReturn:
    said = error.format_message()
    if said.startswith("Usage:"):
        # No command was given: what typer says is the help.
        print(said, file=sys.stderr)
        sys.exit(error.exit_code)
    context = getattr(error, "ctx", None)
    _fail(f"{said.rstrip('.')}; see {context.command_path if context else 'breakfix'} --help", error.exit_code)


def _stopped() -> NoReturn:
    goes_on = "; run the same command again, it goes on from its last finished part"
    _fail("stopped" if _MAKE_NOTHING & set(sys.argv[1:2]) else f"stopped{goes_on}", _INTERRUPTED)


def _fail(sentence: str, code: int) -> NoReturn:
    print(f"breakfix: {sentence}", file=sys.stderr)
    sys.exit(code)
