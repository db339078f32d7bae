"""The commands that attack a model and say where it is weakest."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..core.errors import UsageError
from .options import (
    JudgeName,
    Measured,
    MeasuredGuard,
    MeasuredPolicy,
    Out,
    RubricFile,
    SuiteNames,
    SystemName,
    called,
    done,
    engine_of,
    group,
)

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
    judge: JudgeName = "acts",
    rubric: RubricFile = None,
    attacker: Annotated[
        str | None,
        typer.Option("--attacker", help="A model that writes the attacks: its folder, or http://HOST:PORT/v1#MODEL."),
    ] = None,
    streams: Annotated[int, typer.Option("--streams", min=1, max=6, help="Attacker: ways tried side by side.")] = 3,
    depth: Annotated[int, typer.Option("--depth", min=1, help="Attacker: rounds, or turns of a talk.")] = 4,
    width: Annotated[int, typer.Option("--width", min=1, help="Attacker: talks kept in a round, or turns taken back.")] = 4,
) -> None:
    """Attack a model, with --guard behind both rails, with every technique on every harmful request of some suites."""
    from ..eval import run, suites
    from ..eval.llm_judge import open_judge
    from ..eval.redteam import pair
    from ..eval.redteam.attack import attack
    from ..eval.redteam.attacker import Attacker
    from ..eval.redteam.techniques import usable
    from ..runtime.engine import Sampling

    if attacker is not None and pool != "test":
        raise UsageError("what an attacker writes is for measuring; leave --pool out")
    names, system, sampling = technique or (), name or called(model), Sampling(max_new_tokens)
    ways = pair.chosen(names) if attacker is not None else ()
    if attacker is None and (written := [each for each in names if each in pair.WAYS]):
        raise UsageError(f"the technique {written[0]} is written by a model; name one with --attacker")
    techniques = usable(pool, names, guarded=guard_folder is not None) if attacker is None else ()
    asked, judging = [suites.load(text) for text in suite or ("contrast-dev",)], open_judge(judge, rubric)
    engine = engine_of(model, guard_folder, policy)
    if attacker is None:
        done(attack(engine, techniques, asked, judging, sampling, out, system, limit))
        return
    budget, by = pair.Budget(streams, depth, width), Attacker(run.open_engine(attacker))
    done(pair.search(engine, by, ways, asked, judging, sampling, out, system, budget, limit))


@app.command("replay")
def redteam_replay(
    attacks: Annotated[Path, typer.Argument(help="Attacks folder whose talks are held again.")],
    model: Measured,
    out: Out,
    guard_folder: MeasuredGuard = None,
    policy: MeasuredPolicy = None,
    name: SystemName = None,
    judge: JudgeName = "acts",
    rubric: RubricFile = None,
) -> None:
    """Ask another model what recorded attacks asked, turn by turn."""
    from ..eval.llm_judge import open_judge
    from ..eval.redteam.attack import replay

    judging = open_judge(judge, rubric)
    done(replay(engine_of(model, guard_folder, policy), attacks, judging, out, name or called(model)))


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
