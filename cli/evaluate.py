"""The commands that measure safety and over-refusal, and compare."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import UsageError
from .options import (
    GuardFolder,
    JudgeName,
    Measured,
    MeasuredGuard,
    MeasuredPolicy,
    Out,
    PolicyName,
    RubricFile,
    SuiteNames,
    SystemName,
    called,
    done,
    engine_of,
    group,
)

app = group("Measure safety and over-refusal, and compare.")

Cpu = Annotated[
    str | None,
    typer.Option(
        "--cpu", help="Run INT4 on an emulated Arm64 CPU: cortex-a53, cortex-a76, neoverse-n1 or max. See arm64-setup."
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="The most prompts of each suite, always the same ones.")]


@app.command("run")
def eval_run(
    model: Measured,
    out: Out,
    suite: SuiteNames = None,
    guard_folder: MeasuredGuard = None,
    policy: MeasuredPolicy = None,
    name: SystemName = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 48,
    judge: JudgeName = "acts",
    rubric: RubricFile = None,
    cpu: Cpu = None,
    limit: Limit = None,
) -> None:
    """Measure a model, with --guard behind both rails, on suites."""
    from ..eval import run
    from ..eval.llm_judge import open_judge
    from ..runtime.engine import Sampling

    judging = open_judge(judge, rubric)
    with _opened(model, cpu, guard_folder, policy) as engine:
        done(run.run(engine, _drawn(suite, limit), judging, Sampling(max_new_tokens), out, name or called(model)))


@app.command("rejudge")
def eval_rejudge(
    records: Annotated[Path, typer.Argument(help="Records folder; nobody is asked its prompts again.")],
    out: Out,
    judge: JudgeName = "acts",
    rubric: RubricFile = None,
) -> None:
    """Judge recorded answers again, by another judge."""
    from ..eval import run
    from ..eval.llm_judge import open_judge

    done(run.rejudge(records, open_judge(judge, rubric), out))


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


@app.command("report")
def eval_report(
    records: Annotated[list[Path], typer.Argument(help="Records folders, in the order to show; or one cycle's folder.")],
    out: Out,
    gate: Annotated[Path | None, typer.Option("--gate", help="What the gate decided: the folder given to it as --out.")] = None,
    attacks: Annotated[
        list[Path] | None, typer.Option("--redteam", help="Attacks folder, from `redteam run`; repeatable.")
    ] = None,
    judge: Annotated[Path | None, typer.Option("--judge", help="The judge's card, from `eval judge`.")] = None,
    before: Annotated[
        list[Path] | None, typer.Option("--before", help="Report or cycle before this one; repeatable, the oldest first.")
    ] = None,
) -> None:
    """Write all that was measured as one page: figures, changes, hazards, guard, red team, cycles, answers to read."""
    from ..core import artifact
    from ..eval import report
    from ..eval.compare import compare

    found = report.gather(
        compare(report.records_in(records)),
        artifact.load(judge, "judge") if judge else None,
        gate,
        attacks or (),
        before or (),
    )
    done(report.write(found, out, page=True))


@app.command("judge")
def eval_judge(
    labels: Annotated[str, typer.Argument(help="CSV of answers labelled by people: a path, or a source such as pypi:….")],
    out: Annotated[Path | None, typer.Option("--out", help="Also write the judge's card, for `eval compare --judge`.")] = None,
    judge: JudgeName = "acts",
    rubric: RubricFile = None,
) -> None:
    """Measure the judge of answers against people: accuracy, sensitivity, specificity, kappa."""
    from ..eval import judge_card
    from ..eval.llm_judge import open_judge
    from ..eval.report import judge_sentence

    judging, labelled = open_judge(judge, rubric), judge_card.read_labels(labels)
    made = judge_card.make(judging, labelled, out) if out is not None else None
    card = judge_card.read(made) if made is not None else judge_card.measure(judging, labelled)
    typer.echo(judge_sentence(card))
    if made is not None:
        done(made)


@app.command("gate")
def eval_gate(
    before: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float model: a checkpoint, or its records.")],
    after: Annotated[Path, typer.Argument(metavar="INT4", help="The quantized model: an int4 folder, or its records.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the report, and for the records of models.")] = None,
    suite: SuiteNames = None,
    margin: Annotated[float, typer.Option("--margin", min=0.1, max=50, help="Points that a share may rise by.")] = 2.0,
    max_new_tokens: Annotated[int | None, typer.Option("--max-new-tokens", min=1, help="The longest answer; 48.")] = None,
    cpu: Cpu = None,
    limit: Limit = None,
) -> None:
    """Decide whether quantization cost safety. Exit code 1: it did; 3: too little to tell."""
    from ..core import artifact
    from ..eval import report, run
    from ..eval.gate import gate
    from ..eval.judge import ActJudge
    from ..runtime.engine import Sampling

    kinds = [artifact.load(folder).kind for folder in (before, after)]
    if kinds == ["int4", "checkpoint"]:
        raise UsageError(f"{before} is the quantized model; name the float one first")
    if (kinds == ["records", "records"] and (suite or max_new_tokens or limit)) or (kinds[1] == "records" and cpu):
        raise UsageError(
            "records were measured already; --suite, --limit, --max-new-tokens and --cpu say how to measure a model"
        )
    if kinds != ["records", "records"] and out is None:
        raise UsageError("a model has to be measured first; say where its records go with --out")

    _check(cpu)

    def measured(folder: Path, kind: str, name: str) -> Path:
        if kind == "records" or out is None:
            return folder
        with _opened(folder, cpu if name == "int4" else None) as engine:
            sampling, place = Sampling(max_new_tokens or 48), out / f"records-{name}"
            return run.run(engine, _drawn(suite, limit), ActJudge(), sampling, place, name).path

    decided = gate(measured(before, kinds[0], "float"), measured(after, kinds[1], "int4"), margin / 100)
    typer.echo(report.gate_markdown(decided))
    if out is not None:
        done(report.write_gate(decided, out / "report"))
    raise typer.Exit({"passed": 0, "failed": 1, "undecided": 3}[decided.outcome])


@app.command("drift")
def eval_drift(
    before: Annotated[Path, typer.Argument(metavar="FLOAT", help="The checkpoint.")],
    after: Annotated[Path, typer.Argument(metavar="INT4", help="Its int4 folder, or a web bundle of it.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the report, and for the float model's answers.")],
    suite: SuiteNames = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 48,
    cpu: Cpu = None,
    limit: Limit = None,
) -> None:
    """Measure how far an int4 model's predictions lie from the float model's: KL divergence, top-1, perplexity."""
    from ..core import artifact
    from ..core.jsonl import read_jsonl
    from ..eval import run
    from ..eval.arm64 import Arm64Graph
    from ..eval.judge import ActJudge
    from ..eval.torch_engine import TorchEngine
    from ..export import drift
    from ..export.mobile import bundle
    from ..export.mobile.web_graph import FOLDER, web_logits
    from ..runtime.engine import Message, Sampling

    _check(cpu)
    shipped = artifact.load(after)
    is_page = shipped.kind == bundle.KIND and (after / FOLDER).is_dir() and not cpu
    if shipped.kind != "int4" and not is_page:
        raise UsageError(f"{after} holds a {shipped.kind}; give an int4 folder or, without --cpu, a web bundle")
    engine, place = TorchEngine(before), out / "records-float"
    answers = run.run(engine, _drawn(suite, limit), ActJudge(), Sampling(max_new_tokens), place, "float")
    texts = [
        drift.Text(
            "safety" if row["expect"] == "refuse" else "general",
            engine.template.encode([Message("user", row["prompt"])]),
            engine.template.encode_answer(row["answer"])[:max_new_tokens],
        )
        for row in read_jsonl(answers.path / run.RECORDS)
    ]
    where = f"@emulated-{cpu}" if cpu else ""
    inputs = {"float": engine.id, "web" if is_page else "int4": f"{shipped.id}{where}", "records": answers.id}
    here = web_logits if is_page else drift.int4_logits
    with Arm64Graph(*drift.prepare(after), cpu) if cpu else nullcontext(here(after)) as other:
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


@app.command("arm64-setup")
def eval_arm64_setup() -> None:
    """Fetch the emulated Arm64 system that --cpu needs, once: about 100 MB, 300 unpacked; from then on no network."""
    from ..eval import arm64_root

    typer.echo(arm64_root.set_up())


def _check(cpu: str | None) -> None:
    """Refuse what cannot be emulated before anything is measured."""
    from ..eval import arm64_root

    if cpu is not None:
        arm64_root.check(cpu)


def _drawn(names: list[str] | None, limit: int | None) -> list[Any]:
    """Load suites, those of a cycle where none are named, and draw so many prompts of each."""
    from ..eval import run, suites

    return [suites.drawn(suites.load(text), limit) for text in names or run.EvalSettings().suites]


@contextmanager
def _opened(model: Path | str, cpu: str | None, guard: Path | None = None, policy: str | None = None) -> Iterator[Any]:
    """Open what is to be measured, on an emulated CPU where one is named."""
    if cpu is None:
        yield engine_of(str(model), guard, policy)
        return
    from ..eval.arm64 import Arm64Engine

    if policy is not None and guard is None:
        raise UsageError("--policy says what a guard does; name one with --guard")
    with Arm64Engine(Path(model), cpu, guard, policy) as engine:
        yield engine
