"""Merges adapters into a checkpoint: the result is a checkpoint like any other, and needs no peft."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from ..core import artifact
from ..core.artifact import Artifact
from .checkpoint import copy_tokenizer, quiet


def merge(base: Path, adapters: Sequence[Path], out: Path) -> Artifact:
    """Write a `checkpoint` artifact: the base with each adapter merged in, in order, in float32."""
    checkpoint = artifact.load(base, "checkpoint")
    parts = [artifact.load(path, "adapter") for path in adapters]

    def make(work: Path) -> dict[str, Any]:
        with quiet():
            model: Any = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32)
            for part in parts:
                model = PeftModel.from_pretrained(model, str(part.path)).merge_and_unload()
            model.save_pretrained(work)
        copy_tokenizer(checkpoint.path, work)
        return {"adapters": [part.id for part in parts]}

    inputs = {"base": checkpoint.id, **{f"adapter{n}": part.id for n, part in enumerate(parts)}}
    return artifact.produce(out, "checkpoint", {}, inputs, make)
