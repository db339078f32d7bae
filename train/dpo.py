"""Direct preference optimisation (Rafailov et al. 2023) on the model's own mistakes.

Both halves of a pair are cut to their opening, where the decision to refuse or to answer falls: a whole answer's
log-probability would be mostly style. Reference log-probabilities are computed once.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer

from ..core import artifact, recipe
from ..core.artifact import Artifact
from ..core.errors import DataError
from ..core.jsonl import read_jsonl
from ..runtime.engine import Message
from ..runtime.template import ChatTemplate
from . import loop
from .head import score_answers_only
from .loop import LoopSettings, LoraSettings
from .preferences import PAIRS


@dataclass(frozen=True)
class DpoSettings:
    """How DPO runs."""

    loop: LoopSettings = field(default_factory=lambda: LoopSettings(learning_rate=2e-4, batch_rows=8))
    lora: LoraSettings = field(default_factory=LoraSettings)
    beta: float = 0.1
    """How strongly the policy is held to the reference."""
    opening_tokens: int = 12
    """Tokens of each half that count."""


class _EncodedDPOTrainer(DPOTrainer):
    """Takes rows that are token ids already: trl would end every cut answer with an end token."""

    def _prepare_dataset(self, dataset, processing_class, args, dataset_name):
        return dataset

    def _precompute_ref_logps(self, dataset, name, batch_size):
        score_answers_only(self)  # called from the constructor, before anybody else could
        # One file for all processes, that outlives a kill; datasets would give each process a temporary one of its own.
        cache = Path(str(self.args.output_dir)).parent
        cache.mkdir(parents=True, exist_ok=True)
        dataset._get_cache_file_path = lambda fingerprint: str(cache / f"reference-{fingerprint}.arrow")
        return super()._precompute_ref_logps(dataset, name, batch_size)


def dpo(settings: DpoSettings, model: Path, pairs: Path, out: Path) -> Artifact:
    """Train an `adapter` on preference pairs, on top of the model that made the mistakes. Goes on after a kill."""
    checkpoint, preferences = artifact.load(model, "checkpoint"), artifact.load(pairs, "pairs")

    def make(work: Path) -> dict[str, Any]:
        with loop.quiet():
            rows = encode(settings, read_jsonl(preferences.path / PAIRS), ChatTemplate(checkpoint.path))
            if not rows:
                raise DataError(f"{pairs} holds no pairs: the model made no mistake; leave DPO out or ask more requests")
            policy = loop.load_model(checkpoint.path)
            trainer = _EncodedDPOTrainer(
                model=policy,
                args=DPOConfig(**loop.arguments(settings.loop, work), beta=settings.beta, precompute_ref_log_probs=True),
                train_dataset=Dataset.from_list(rows),
                processing_class=AutoTokenizer.from_pretrained(checkpoint.path),
                peft_config=loop.lora(settings.lora, policy),
            )
            return {"pairs": len(rows), **loop.train_adapter(trainer, work, "DPO")}

    inputs = {"model": checkpoint.id, "pairs": preferences.id}
    return artifact.produce(out, "adapter", recipe.plain(settings), inputs, make, collective=True)


def encode(settings: DpoSettings, pairs: list[dict[str, str]], template: ChatTemplate) -> list[dict[str, Any]]:
    """Return prompt_ids, chosen_ids and rejected_ids of each pair, under the template's default system message."""
    cut = settings.opening_tokens
    rows = [
        {
            "prompt_ids": template.encode([Message("user", pair["prompt"])]),
            "chosen_ids": template.encode_answer(pair["chosen"])[:cut],
            "rejected_ids": template.encode_answer(pair["rejected"])[:cut],
        }
        for pair in pairs
    ]
    return loop.in_batches([[row] for row in rows], lambda row: len(row["prompt_ids"]), settings.loop)
