"""The output head, computed only where an answer stands.

Off a GPU, trl 1.16 scores every position of a row in tiles of the vocabulary, which on a CPU takes longer than the whole rest
of the model. An answer's opening is a tenth of its row, so here its positions are picked before the head, not masked after it.
"""

from typing import Any

import torch
from trl.trainer.utils import FusedCausalLMOutput

IGNORED = -100


def score_answers_only(trainer: Any) -> None:
    """Let a trl trainer's peft model compute its head at labelled positions only; on a GPU trl does so by itself."""
    model = trainer.model.get_base_model()
    if torch.cuda.is_available() or hasattr(model.forward, "scores_answers_only"):
        return
    native = model.forward

    def forward(*args: Any, fused_lm_head: bool = False, **inputs: Any) -> Any:
        if not fused_lm_head:
            return native(*args, **inputs)
        labels, count = inputs.pop("labels")[:, 1:], inputs.pop("num_items_in_batch", None)
        states = model.base_model(*args, **inputs).last_hidden_state[:, :-1]
        return _score(model.get_output_embeddings()(states[labels != IGNORED]).float(), labels, count)

    forward.scores_answers_only = True  # type: ignore[attr-defined]
    model.forward = forward


def _score(logits: torch.Tensor, labels: torch.Tensor, count: Any) -> FusedCausalLMOutput:
    """Return what trl's losses read: per-position values, zero where no label stands. `logits` is (labelled, vocabulary)."""
    mask = labels != IGNORED
    targets = labels[mask]
    log_p = logits.log_softmax(-1)
    chosen = log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(mask.shape).masked_scatter(mask, values)

    with torch.no_grad():
        entropy = -(log_p.exp() * log_p).sum(-1)
    return FusedCausalLMOutput(
        loss=-chosen.sum() / (mask.sum().clamp(min=1) if count is None else count),
        log_probs=spread(chosen),
        entropy=spread(entropy),
        log_sum_sq_probs=spread((2 * log_p.detach()).logsumexp(-1)),
        mean_logits=spread(logits.detach().mean(-1)),
        is_top1=spread(logits.argmax(-1) == targets),
        label_mask=mask,
        aux_loss=None,
    )
