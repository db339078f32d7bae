"""The float reference: a checkpoint in PyTorch, answering in batches. It does not run on phones, and need not."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache

from ..core import artifact
from ..runtime.engine import Conversation, Sampling
from ..runtime.template import ChatTemplate

_BATCH_TOKENS = 8192
"""Prompt and answer tokens of one batch, padding included: what 16 GiB carry with room to spare."""


class TorchEngine:
    """A float checkpoint artifact, on a GPU if there is one; float32 everywhere, so that one id means one reference."""

    def __init__(self, folder: Path | str) -> None:
        """Open a checkpoint artifact, its hashes verified."""
        self.artifact = artifact.load(folder, "checkpoint")
        self.template = ChatTemplate(self.artifact.path)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model: Any = AutoModelForCausalLM.from_pretrained(self.artifact.path, dtype=torch.float32)
        self.model.to(self.device).eval()
        ends = self.model.generation_config.eos_token_id
        self._ends = list(ends) if isinstance(ends, list) else [ends]

    @property
    def id(self) -> str:
        """Return the content id of the checkpoint."""
        return self.artifact.id

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Yield the whole answer at once: this engine is for measuring."""
        yield self.generate([conversation], sampling)[0]

    def length(self, conversation: Conversation) -> int:
        """Return the tokens of the prompt."""
        return len(self.template.encode(conversation))

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling, not_first: Sequence[int] = ()) -> list[str]:
        """Return one answer for each conversation, in batches of similar length; none begins with a token of `not_first`."""
        return self.continue_texts([self.template.encode(c) for c in conversations], sampling, not_first)

    def continue_texts(self, prompts: Sequence[list[int]], sampling: Sampling, not_first: Sequence[int] = ()) -> list[str]:
        """Return what the model writes after each list of token ids."""
        answers = [""] * len(prompts)
        if sampling.temperature > 0:
            torch.manual_seed(sampling.seed)
        for chosen in _batches([len(p) + sampling.max_new_tokens for p in prompts]):
            for index, answer in zip(chosen, self._batch([prompts[i] for i in chosen], sampling, not_first), strict=True):
                answers[index] = answer
        return answers

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Return the raw outputs at each of these tokens, shape (tokens, vocabulary)."""
        return self.model(torch.tensor([list(ids)], device=self.device)).logits[0].cpu().numpy()

    @torch.inference_mode()
    def _batch(self, prompts: list[list[int]], sampling: Sampling, not_first: Sequence[int]) -> list[str]:
        # What all prompts begin with, the system message mostly, is read once.
        shared = _shared_prefix(prompts)
        width, pad = max(map(len, prompts)), self._ends[0]
        ids = torch.tensor([[*p[:shared], *[pad] * (width - len(p)), *p[shared:]] for p in prompts], device=self.device)
        mask = torch.ones_like(ids)
        for row, prompt in zip(mask, prompts, strict=True):
            row[shared : shared + width - len(prompt)] = 0
        options = {"max_new_tokens": sampling.max_new_tokens, "pad_token_id": pad, "eos_token_id": self._ends}
        if sampling.temperature > 0:
            options |= {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        else:
            options |= {"do_sample": False}
        if not_first:
            options |= {"begin_suppress_tokens": list(not_first)}
        if shared:
            cache = DynamicCache(config=self.model.config)
            self.model(ids[:1, :shared], past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache.batch_repeat_interleave(len(prompts))
            options |= {"past_key_values": cache}
        out = self.model.generate(ids, attention_mask=mask, **options)
        return [self.template.decode(_until_end(row[width:].tolist(), self._ends)) for row in out]


def _shared_prefix(prompts: Sequence[list[int]]) -> int:
    """Return how many tokens all prompts begin with, leaving each at least one of its own."""
    first, last = min(prompts), max(prompts)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return max(min(same, min(map(len, prompts)) - 1), 0)


def _until_end(ids: list[int], ends: list[int]) -> list[int]:
    return ids[: next((i for i, token in enumerate(ids) if token in ends), len(ids))]


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Yield indices in batches of similar length that stay within the token budget."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[index] > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
