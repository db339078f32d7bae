"""The commands that attack a model and say where it is weakest."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import Measured, MeasuredGuard, MeasuredPolicy, Out, SuiteNames, SystemName, called, done, engine_of, group

app = group("Attack a model, and say where it is weakest.")


@app.command("run")
def redteam_run(
    model: Measured,
    out: Out,
    suite: SuiteNames = None,
    technique: Annotated[
        list[str] | None, typer.Option("--technique", help="Technique by name; repeatable. By default all of the pool.")
    ] = None,
    pool: Annotated[
        Literal["train", "test"], typer.Option("--pool", help="Techniques to measure with, or to teach with.")
    ] = "test",
    limit: Annotated[int, typer.Option("--limit", min=0, help="Requests of each suite, spread evenly; 0 takes all.")] = 0,
    guard_folder: MeasuredGuard = None,
    policy: MeasuredPolicy = None,
    name: SystemName = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 48,
) -> None:
    """Attack a model, with --guard behind both rails, with every technique on every harmful request of some suites."""
    from ..eval import suites
    from ..eval.judge import ActJudge
    from ..eval.redteam.attack import attack
    from ..eval.redteam.techniques import chosen
    from ..runtime.engine import Sampling

    techniques = chosen(pool, technique or ())
    asked = [suites.load(text) for text in suite or ("contrast",)]
    engine = engine_of(model, guard_folder, policy)
    done(attack(engine, techniques, asked, ActJudge(), Sampling(max_new_tokens), out, name or called(model), limit))


@app.command("replay")
def redteam_replay(
    attacks: Annotated[Path, typer.Argument(help="Attacks folder whose talks are held again.")],
    model: Measured,
    out: Out,
    guard_folder: MeasuredGuard = None,
    policy: MeasuredPolicy = None,
    name: SystemName = None,
) -> None:
    """Ask another model what recorded attacks asked, turn by turn."""
    from ..eval.judge import ActJudge
    from ..eval.redteam.attack import replay

    done(replay(engine_of(model, guard_folder, policy), attacks, ActJudge(), out, name or called(model)))


@app.command("import")
def redteam_import(
    report: Annotated[Path, typer.Argument(help="garak's report (.jsonl) or conversations exported by PyRIT (.json).")],
    out: Out,
) -> None:
    """Take over what garak or PyRIT found."""
    from ..eval.redteam.foreign import bring_in

    done(bring_in(report, out))


@app.command("correct")
def redteam_correct(
    attacks: Annotated[Path, typer.Argument(help="Attacks folder.")],
    said: Annotated[Path, typer.Argument(help="CSV with the columns id and outcome: refused, partial or complied.")],
    out: Out,
) -> None:
    """Write attacks again with what a person says of some; it counts before the judge's word."""
    from ..eval.redteam.vulnerabilities import correct

    done(correct(attacks, said, out))


@app.command("vulnerabilities")
def redteam_vulnerabilities(
    attacks: Annotated[Path, typer.Argument(help="Attacks folder.")],
    out: Out,
    before: Annotated[Path | None, typer.Option("--before", help="The same attacks on an earlier model.")] = None,
) -> None:
    """Sort what worked by technique and hazard, the worst first, and say what to teach next."""
    from ..eval.redteam import vulnerabilities

    made = vulnerabilities.analyse(attacks, out, before)
    typer.echo((made.path / vulnerabilities.MARKDOWN).read_text(encoding="utf-8"))
    done(made)
