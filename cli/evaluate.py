"""The commands that measure safety and over-refusal, and compare."""

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import UsageError
from .options import (
    GuardFolder,
    Measured,
    MeasuredGuard,
    MeasuredPolicy,
    Out,
    PolicyName,
    SuiteNames,
    SystemName,
    called,
    done,
    engine_of,
    group,
)

app = group("Measure safety and over-refusal, and compare.")


@app.command("run")
def eval_run(
    model: Measured,
    out: Out,
    suite: SuiteNames = None,
    guard_folder: MeasuredGuard = None,
    policy: MeasuredPolicy = None,
    name: SystemName = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 48,
) -> None:
    """Measure a model, with --guard behind both rails, on suites."""
    from ..eval import run, suites
    from ..eval.judge import ActJudge
    from ..runtime.engine import Sampling

    engine = engine_of(model, guard_folder, policy)
    chosen = [suites.load(text) for text in suite or run.EvalSettings().suites]
    done(run.run(engine, chosen, ActJudge(), Sampling(max_new_tokens), out, name or called(model)))


@app.command("compare")
def eval_compare(
    records: Annotated[list[Path], typer.Argument(help="Records folders, in the order to show.")],
    out: Annotated[Path | None, typer.Option("--out", help="Also write a report folder.")] = None,
    judge: Annotated[
        Path | None, typer.Option("--judge", help="The judge's card, from `eval judge`: the report corrects for its error.")
    ] = None,
) -> None:
    """Put measured systems side by side, with intervals and what changed."""
    from ..core import artifact
    from ..eval import report
    from ..eval.compare import compare

    if judge is not None and out is None:
        raise UsageError("--judge corrects the report; say where to write it with --out")
    comparison = compare(records)
    report.show(comparison)
    if out is not None:
        done(report.write(comparison, out, artifact.load(judge, "judge") if judge else None))


@app.command("judge")
def eval_judge(
    labels: Annotated[str, typer.Argument(help="CSV of answers labelled by people: a path, or a source such as pypi:….")],
    out: Annotated[Path | None, typer.Option("--out", help="Also write the judge's card, for `eval compare --judge`.")] = None,
) -> None:
    """Measure the judge of answers against people: accuracy, sensitivity, specificity, kappa."""
    from ..eval import judge_card
    from ..eval.judge import ActJudge
    from ..eval.report import judge_sentence

    card = judge_card.measure(ActJudge(), judge_card.read_labels(labels))
    typer.echo(judge_sentence(card))
    if out is not None:
        done(judge_card.write(card, out))


@app.command("gate")
def eval_gate(
    before: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float model: a checkpoint, or its records.")],
    after: Annotated[Path, typer.Argument(metavar="INT4", help="The quantized model: an int4 folder, or its records.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the report, and for the records of models.")] = None,
    suite: SuiteNames = None,
    margin: Annotated[float, typer.Option("--margin", min=0.1, max=50, help="Points that a share may rise by.")] = 2.0,
    max_new_tokens: Annotated[int | None, typer.Option("--max-new-tokens", min=1, help="The longest answer; 48.")] = None,
) -> None:
    """Decide whether quantization cost safety. Exit code 1: it did; 3: too little to tell."""
    from ..core import artifact
    from ..eval import report, run
    from ..eval.gate import gate

    kinds = [artifact.load(folder).kind for folder in (before, after)]
    if kinds == ["int4", "checkpoint"]:
        raise UsageError(f"{before} is the quantized model; name the float one first")
    if kinds == ["records", "records"] and (suite or max_new_tokens):
        raise UsageError("records were measured already; --suite and --max-new-tokens say how to measure a model")
    if kinds != ["records", "records"] and out is None:
        raise UsageError("a model has to be measured first; say where its records go with --out")

    def measured(folder: Path, kind: str, name: str) -> Path:
        if kind == "records" or out is None:
            return folder
        return run.measure(folder, suite or (), max_new_tokens or 48, out / f"records-{name}", name).path

    decided = gate(measured(before, kinds[0], "float"), measured(after, kinds[1], "int4"), margin / 100)
    typer.echo(report.gate_markdown(decided))
    if out is not None:
        done(report.write_gate(decided, out / "report"))
    raise typer.Exit({"passed": 0, "failed": 1, "undecided": 3}[decided.outcome])


@app.command("drift")
def eval_drift(
    before: Annotated[Path, typer.Argument(metavar="FLOAT", help="The checkpoint.")],
    after: Annotated[Path, typer.Argument(metavar="INT4", help="Its int4 folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the report, and for the float model's answers.")],
    suite: SuiteNames = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 48,
) -> None:
    """Measure how far an int4 model's predictions lie from the float model's: KL divergence, top-1, perplexity."""
    from ..core import artifact
    from ..core.jsonl import read_jsonl
    from ..eval import run
    from ..eval.torch_engine import TorchEngine
    from ..export import drift
    from ..runtime.engine import Message

    engine, other = TorchEngine(before), drift.int4_logits(after)
    answers = run.measure(before, suite or (), max_new_tokens, out / "records-float", "float")
    texts = [
        drift.Text(
            "safety" if row["expect"] == "refuse" else "general",
            engine.template.encode([Message("user", row["prompt"])]),
            engine.template.encode_answer(row["answer"])[:max_new_tokens],
        )
        for row in read_jsonl(answers.path / run.RECORDS)
    ]
    inputs = {"float": engine.id, "int4": artifact.load(after, "int4").id, "records": answers.id}
    made = drift.drift(engine.logits, other, texts, inputs, out / "report")
    typer.echo((made.path / drift.MARKDOWN).read_text(encoding="utf-8"))
    done(made)


@app.command("guard")
def eval_guard(
    suite: Annotated[list[str] | None, typer.Argument(help="Suites, NAME or NAME=PATH.")] = None,
    answers: Annotated[
        list[Path] | None, typer.Option("--answers", help="Records folder whose answers the output rail judges; repeatable.")
    ] = None,
    guard_folder: GuardFolder = None,
    policy: PolicyName = "default",
    by_group: Annotated[bool, typer.Option("--by-group", help="Also tell the groups of each suite apart.")] = False,
) -> None:
    """Measure the guard on suites and on recorded answers: recall, false positives, separation, leak, time and size."""
    from ..core import artifact
    from ..eval import guard_card, suites
    from ..eval.report import guard_table
    from ..guardrails.guard import SHIPPED, Guard

    if not suite and not answers:
        raise UsageError("there is nothing to measure; name a suite, or records with --answers")
    folder = guard_folder or SHIPPED
    chosen = [suites.load(text) for text in suite or ()]
    records = [artifact.load(path, "records") for path in answers or ()]
    card = guard_card.measure(Guard.open(folder, policy), folder, chosen, records)
    typer.echo(guard_table(card, by_group=by_group))


@app.command("suites")
def eval_suites() -> None:
    """List the suites."""
    from ..eval.suites import SUITES

    for key, card in SUITES.items():
        typer.echo(f"{key}: {card.what} ({card.licence}){'' if card.source else f'; give its file: --suite {key}=PATH'}")
