"""Calibrated int4: a checkpoint whose weights already lie on the int4 grid, so that the builder's rounding changes none.

Layer by layer, each matrix is rounded against what it reads when all before it are rounded (`rounding`), on texts that hold
what must survive: refusals, answers to harmless look-alikes, and ordinary talk, all of the training data. It knows no suite.
"""

import contextlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..core import artifact, recipe
from ..core.artifact import Artifact
from ..core.errors import ExportError, UsageError
from ..core.jsonl import read_jsonl
from ..core.progress import progress
from .checkpoint import copy_tokenizer, quiet
from .rounding import compensated

ROWS = "rows.jsonl"
_KINDS = ("unsafe", "safe", "general")
_AT_ONCE = 8


@dataclass(frozen=True)
class CalibrateSettings:
    """How the weights are calibrated."""

    rows: int = 96
    """Rows of text; a cycle leaves the stage out where there are none."""
    tokens: int = 160
    """Tokens of a row: whole chats one after another, the last one cut."""
    block: Literal[16, 32, 64, 128] = 32
    """Weights that share one scale, as int4.block says."""
    damping: float = 0.01
    """How far the texts are mistrusted: share of the mean square of a matrix' inputs that is added to each."""
    seed: int = 0

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = [f"{name} must be above 0" for name in ("tokens", "damping") if getattr(self, name) <= 0]
        return found if self.rows >= 0 and self.rows % _AT_ONCE == 0 else [*found, f"rows must be a multiple of {_AT_ONCE}"]


def calibrate(settings: CalibrateSettings, model: Path, data: Path, out: Path) -> Artifact:
    """Write a `checkpoint` artifact from a `checkpoint`, its weights on the int4 grid, with texts of a `dataset`.

    Takes the memory of the float model and of one layer's inputs. Raises UsageError where no rows are asked for, ExportError
    for a dataset with too little text.
    """
    if not settings.rows:
        raise UsageError(
            "calibrate.rows is 0, so there is nothing to calibrate with; set it, or export the checkpoint as it is"
        )
    checkpoint, dataset = artifact.load(model, "checkpoint"), artifact.load(data, "dataset")

    def make(work: Path) -> dict[str, Any]:
        scratch = work / artifact.SCRATCH
        scratch.mkdir(exist_ok=True)
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
        _refuse_unknown(settings, loaded, checkpoint.path)
        texts = _texts(settings, checkpoint.path, dataset.path)
        _round(settings, loaded, texts, scratch)
        with quiet():
            loaded.save_pretrained(work)
        copy_tokenizer(checkpoint.path, work)
        return {"tokens": texts.numel(), "float": checkpoint.id}

    inputs = {"model": checkpoint.id, "data": dataset.id}
    return artifact.produce(out, "checkpoint", recipe.plain(settings), inputs, make)


def _refuse_unknown(settings: CalibrateSettings, model: Any, folder: Path) -> None:
    """Raise ExportError for a model that is built in a way this module does not know, before any work."""
    decoder = model.get_decoder()
    if not (hasattr(decoder, "layers") and hasattr(decoder, "norm") and isinstance(model.get_output_embeddings(), nn.Linear)):
        raise ExportError(f"{folder} is built in a way that calibration does not know; set calibrate.rows to 0")
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module.in_features % settings.block:
            raise ExportError(
                f"{name} of {folder} is {module.in_features} wide, no multiple of calibrate.block={settings.block}"
            )


def _texts(settings: CalibrateSettings, folder: Path, data: Path) -> Tensor:
    """Return token ids, shape (rows, tokens): refusals, answers to look-alikes and ordinary talk in turn."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chats: dict[str, list[list[dict[str, str]]]] = {kind: [] for kind in _KINDS}
    for row in read_jsonl(data / ROWS, ("label", "prompt", "answer", "use")):
        said = row["answer"] if row["label"] == "unsafe" else row.get("opening") or row["answer"]
        if said and row["use"] != "guard":
            turns = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": said}]
            chats[row["label"]].append(turns)
    for kind in _KINDS:
        random.Random(settings.seed).shuffle(chats[kind])
    mixed = (turns for together in itertools.zip_longest(*chats.values()) for turns in together if turns)
    rows = [row for _ in range(settings.rows) if len(row := _row(mixed, tokenizer, settings.tokens)) == settings.tokens]
    if len(rows) < settings.rows:
        raise ExportError(f"{data} holds text for {len(rows)} rows of {settings.rows}; ask for fewer calibrate.rows")
    return torch.tensor(rows)


def _row(chats: Iterator[list[dict[str, str]]], tokenizer: Any, tokens: int) -> list[int]:
    """Return one row: chats until it is full, or until there are none."""
    ids: list[int] = []
    while len(ids) < tokens and (chat := next(chats, None)):
        ids += tokenizer.apply_chat_template(chat, return_dict=False)
    return ids[:tokens]


def _round(settings: CalibrateSettings, model: Any, texts: Tensor, scratch: Path) -> None:
    """Round a model's matrices in place, layer by layer, then its output head. A layer that is in `scratch` is done."""
    layers = model.get_decoder().layers
    states, given = _inputs(model, layers, texts)
    with progress("calibrate int4", len(layers) + 1) as step:
        for number, (layer, more) in enumerate(zip(layers, given, strict=True)):
            _once(layer, scratch / f"layer-{number:03}.safetensors", partial(_round_layer, settings, layer, states, more))
            states = _through(layer, states, more)
            step(1)
        head = model.get_output_embeddings()
        _once(head, scratch / "head.safetensors", partial(_round_head, settings, model, head, states))
        step(1)


def _once(module: nn.Module, path: Path, make: Callable[[], None]) -> None:
    """Change a module, or take it from the file if an earlier run got that far."""
    if path.exists():
        module.load_state_dict(load_file(path))
        return
    make()
    temporary = path.with_suffix(".tmp")
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, temporary)
    temporary.replace(path)


class _Reached(Exception):
    """Ends a pass where enough of it was seen."""


def _inputs(model: Any, layers: Sequence[nn.Module], texts: Tensor) -> tuple[Tensor, list[Mapping[str, Any]]]:
    """Return what the first layer gets of the texts, shape (rows, tokens, width), and what else each layer is given."""
    states: list[Tensor] = []
    given: list[Mapping[str, Any]] = []

    def note(_: nn.Module, positional: tuple, named: dict[str, Any]) -> None:
        given.append({name: value for name, value in named.items() if name != "hidden_states"})

    def stop(_: nn.Module, positional: tuple, named: dict[str, Any]) -> None:
        states.append(positional[0] if positional else named["hidden_states"])
        raise _Reached

    batches = texts.split(_AT_ONCE)
    with torch.inference_mode():
        with _watched(layers, note):
            model(input_ids=batches[0], use_cache=False)
        for batch in batches:
            with _watched(layers[:1], stop), contextlib.suppress(_Reached):
                model(input_ids=batch, use_cache=False)
    return torch.cat(states), given


@contextlib.contextmanager
def _watched(modules: Iterable[nn.Module], note: Callable[..., None]) -> Iterator[None]:
    """Have `note` see what each module is called with."""
    watches = [module.register_forward_pre_hook(note, with_kwargs=True) for module in modules]
    try:
        yield
    finally:
        for watch in watches:
            watch.remove()


def _through(layer: nn.Module, states: Tensor, given: Mapping[str, Any]) -> Tensor:
    with torch.inference_mode():
        found = [layer(some, **given) for some in states.split(_AT_ONCE)]
    return torch.cat([each[0] if isinstance(each, tuple) else each for each in found])


def _round_layer(settings: CalibrateSettings, layer: nn.Module, states: Tensor, given: Mapping[str, Any]) -> None:
    matrices = [module for module in layer.modules() if isinstance(module, nn.Linear)]
    seen = {module: torch.zeros(module.in_features, module.in_features) for module in matrices}
    with _watched(matrices, lambda module, inputs, _: _count(seen[module], inputs[0])):
        _through(layer, states, given)
    for module in matrices:
        _set(settings, module, seen[module] / states[..., 0].numel())


def _round_head(settings: CalibrateSettings, model: Any, head: nn.Linear, states: Tensor) -> None:
    """Round the output head, which may be the embedding as well."""
    hessian = torch.zeros(head.in_features, head.in_features)
    with torch.inference_mode():
        for some in states.split(_AT_ONCE):
            _count(hessian, model.get_decoder().norm(some))
    _set(settings, head, hessian / states[..., 0].numel())


def _count(hessian: Tensor, inputs: Tensor) -> None:
    flat = inputs.flatten(0, -2)
    hessian += flat.T @ flat


def _set(settings: CalibrateSettings, module: nn.Linear, hessian: Tensor) -> None:
    with torch.no_grad():
        module.weight.copy_(compensated(module.weight, hessian, settings.block, settings.damping))
