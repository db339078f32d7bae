"""What the training stages share: the machine's precision, LoRA, checkpoints to resume from, a progress bar.

trl and peft train; this module only says how. It knows no data.
"""

import contextlib
import json
import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, PreTrainedModel, PrinterCallback, TrainerCallback

from ..core import artifact
from ..core.progress import progress

Row = TypeVar("Row")
_POOL = 8
"""Batches among which lengths are sorted; more would make the order of lengths a curriculum."""

CHECKPOINTS = Path(artifact.SCRATCH) / "checkpoints"


@dataclass(frozen=True)
class LoraSettings:
    """The shape of an adapter."""

    rank: int = 16
    alpha: int = 32
    first_layer: int = 0
    """Layers below this one stay as they are, which saves their backward pass."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        fine = self.rank >= 1 and self.alpha >= 1 and self.first_layer >= 0
        return [] if fine else ["rank and alpha must be at least 1, first_layer at least 0"]


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to train."""

    learning_rate: float = 1e-3
    epochs: float = 1.0
    batch_rows: int = 16
    """Rows of one optimizer step on one process."""
    warmup: float = 0.08
    """Share of the steps in which the rate climbs; then it falls as a cosine."""
    save_steps: int = 20
    """Optimizer steps between checkpoints: what a kill costs at most."""
    seed: int = 0

    def problems(self) -> list[str]:
        """Return what is wrong with these values."""
        found = []
        if self.learning_rate <= 0 or self.epochs <= 0:
            found.append("learning_rate and epochs must be above 0")
        if self.batch_rows < 2 or self.batch_rows % 2:
            found.append("batch_rows must be even and at least 2, so that both halves of a pair fit one step")
        if self.save_steps < 1 or not 0 <= self.warmup < 1:
            found.append("save_steps must be at least 1 and warmup a share below 1")
        return found


def lora(settings: LoraSettings, model: PreTrainedModel) -> LoraConfig:
    """Return a LoRA over every linear layer of the blocks from `first_layer` on."""
    names = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)} - {"lm_head"}
    layers = list(range(settings.first_layer, model.config.num_hidden_layers)) if settings.first_layer else None
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=sorted(names),
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
    )


def load_model(folder: Path) -> PreTrainedModel:
    """Load a float checkpoint in this machine's training precision: bf16 where it is native, else float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if has_bf16() else torch.float32)


def has_bf16() -> bool:
    """Tell whether this machine computes in bf16 natively; emulated, it is three times slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def arguments(settings: LoopSettings, work: Path) -> dict[str, Any]:
    """Return the trainer arguments that every stage shares."""
    return {
        "output_dir": str(work / CHECKPOINTS),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_rows,
        "warmup_steps": settings.warmup,
        "lr_scheduler_type": "cosine",
        # The rows come in the order of `in_batches`.
        "train_sampling_strategy": "sequential",
        "save_steps": settings.save_steps,
        "save_total_limit": 1,
        "seed": settings.seed,
        "logging_steps": 10,
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": has_bf16(),
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def in_batches(units: Sequence[list[Row]], length: Callable[[Row], int], settings: LoopSettings) -> list[Row]:
    """Return the rows of all units, of one row or two, in an order in which batches hold whole units of similar length.

    Both halves of a minimal pair in one step leave only their difference to learn; so single rows go two by two, and only the
    last batch may be short.
    """
    batch_rows, dice = settings.batch_rows, random.Random(settings.seed)
    shuffled = list(units)
    dice.shuffle(shuffled)
    longest = lambda unit: max(map(length, unit))  # noqa: E731
    singles = [unit[0] for unit in shuffled if len(unit) == 1]
    twos = [unit for unit in shuffled if len(unit) == 2]
    for pool in _pools(singles, batch_rows * _POOL):
        pool.sort(key=length)
        twos += [pool[at : at + 2] for at in range(0, len(pool), 2)]
    last = [twos.pop()] if len(singles) % 2 else []
    dice.shuffle(twos)
    ordered: list[Row] = []
    for pool in _pools(twos, batch_rows * _POOL // 2):
        rows = [row for unit in sorted(pool, key=longest) for row in unit]
        batches = [rows[at : at + batch_rows] for at in range(0, len(rows), batch_rows)]
        short = [batches.pop()] if len(batches[-1]) < batch_rows else []
        dice.shuffle(batches)
        ordered += [row for batch in batches + short for row in batch]
    return ordered + [row for unit in last for row in unit]


def _pools(units: list[Any], size: int) -> list[list[Any]]:
    return [units[at : at + size] for at in range(0, len(units), size)]


def train(trainer: Any, work: Path, what: str) -> dict[str, Any]:
    """Run a trainer, from its last checkpoint if there is one; returns what to record."""
    trainer.remove_callback(PrinterCallback)
    log = _Log(what)
    trainer.add_callback(log)
    with log.closing():
        trainer.train(resume_from_checkpoint=_last_whole_checkpoint(work / CHECKPOINTS))
    # The last checkpoint is written by every process; nobody may publish before all are done.
    trainer.accelerator.wait_for_everyone()
    return {"steps": trainer.state.global_step, "losses": log.losses(trainer.state.log_history)}


def train_adapter(trainer: Any, work: Path, what: str) -> dict[str, Any]:
    """Run a trainer on a peft model and write the adapter, once, into the work folder."""
    facts = train(trainer, work, what)
    if is_first_process():
        trainer.model.save_pretrained(work)
        _forget_paths(work)
    return facts


def is_first_process() -> bool:
    """Tell whether this process is the one that writes results."""
    return int(os.environ.get("RANK", "0")) == 0


def _forget_paths(work: Path) -> None:
    """Take out where the base model lay, and put in order what has none: the same adapter has the same id everywhere."""
    (work / "README.md").unlink(missing_ok=True)
    path = work / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = None
    config["target_modules"] = sorted(config["target_modules"])  # peft holds a set
    artifact.write_atomic(path, json.dumps(config, indent=1, sort_keys=True))


def _last_whole_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint whose state, which is written last, can be read; a kill can cut any of them short."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(path)
    return None


class _Log(TrainerCallback):
    """Turns the trainer's steps into a progress bar."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._stack = contextlib.ExitStack()
        self._step = lambda units: None

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        if state.is_world_process_zero:
            self._step = self._stack.enter_context(progress(self._what, state.max_steps, state.global_step))

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self._step(1)

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        with self._stack:
            yield

    @staticmethod
    def losses(history: list[dict[str, Any]]) -> list[float]:
        return [round(entry["loss"], 3) for entry in history if "loss" in entry]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own bars and advice off the terminal; errors still show."""
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging as transformers_logging

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
