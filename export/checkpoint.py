"""Opens a model source as a float checkpoint: an HF folder, a GGUF file, wherever `core.sources` finds it."""

import contextlib
import io
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ..core import artifact, sources
from ..core.artifact import Artifact
from ..core.errors import BreakfixError, ExportError, SourceError

TEMPLATE = "chat_template.jinja"
FAMILIES = {
    "llama": "Llama and SmolLM2",
    "mistral": "Mistral",
    "phi3": "Phi-3 and Phi-4-mini",
    "qwen2": "Qwen2.5",
    "qwen3": "Qwen3",
    "gemma3_text": "Gemma 3 (text)",
    "smollm3": "SmolLM3",
}
"""The model types whose export is tested against the float model, and what people call them."""

_ROPES = {("llama", "llama3"), ("phi3", "longrope")}
"""Ways to stretch the positions, by model type, that are tested; all have the default."""


def open_checkpoint(source: str, out: Path) -> Artifact:
    """Write a `checkpoint` artifact (float32 safetensors, tokenizer, chat template) from a model source.

    Raises SourceError when the source is no causal language model with a chat template, and ExportError, before its weights are
    read, when its family has no export.
    """

    def make(work: Path) -> dict[str, Any]:
        path = sources.fetch(source)
        refuse_unknown(read_config(path), str(path))
        with quiet():
            with _reading(path):
                model, tokenizer = _load(path), _load_tokenizer(path)
            save_checkpoint(model, tokenizer, work)
            _settle_tokenizer(tokenizer, work)
        return {"source": source}

    return artifact.produce(out, "checkpoint", {"source": source}, {"source": sources.content_id(source)}, make)


def save_checkpoint(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    """Write a model, its tokenizer and its chat template as a plain HF folder."""
    if not tokenizer.chat_template:
        raise SourceError("the model has no chat template; Breakfix aligns chat models: take its instruct version")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / TEMPLATE).write_text(tokenizer.chat_template, encoding="utf-8")


def read_config(path: Path | str, revision: str | None = None) -> Any:
    """Return a model's config alone: of an HF folder, a GGUF file, or a repository on the hub by its name.

    Raises SourceError when there is none that transformers can read.
    """
    place = Path(path)
    with quiet(), _reading(place):
        if place.suffix == ".gguf":
            return AutoConfig.from_pretrained(place.parent, gguf_file=place.name)
        return AutoConfig.from_pretrained(path, revision=revision or "main")


def refuse_unknown(config: Any, name: str) -> None:
    """Raise ExportError for a model that Breakfix has no tested export of."""
    kind, known = config.model_type, ", ".join(FAMILIES.values())
    if any(hasattr(config, part) for part in ("vision_config", "audio_config")):
        raise ExportError(f"{name} reads more than text ({kind}), and Breakfix exports text models; take one of {known}")
    if kind not in FAMILIES:
        raise ExportError(f"{name} is of a family that Breakfix cannot export ({kind}); take one of {known}")
    for rope in ropes(config):
        if (way := rope.get("rope_type", "default")) != "default" and (kind, way) not in _ROPES:
            raise ExportError(
                f"{name} stretches its positions in a way that Breakfix cannot export ({way}); take another version"
            )


def ropes(config: Any) -> list[dict[str, Any]]:
    """Return how positions are told to a model: once, or by the type of its layers."""
    given = getattr(config, "rope_parameters", None) or {}
    return list(given.values()) if given and all(isinstance(value, dict) for value in given.values()) else [given]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' bars, advice and logs off the terminal."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a reader of model files raises into a SourceError."""
    try:
        yield
    except (BreakfixError, ModuleNotFoundError, MemoryError):
        raise
    except ImportError as error:
        raise SourceError(f"{path} needs a package that is not installed: {' '.join(str(error).split())}") from error
    except Exception as error:  # safetensors has a type of its own, and tokenizers raises a bare Exception
        raise SourceError(f"{path} is no causal language model that transformers can read; check the file") from error


def _load(path: Path) -> PreTrainedModel:
    """Load the weights in float32; a GGUF file's are dequantized and forget that they ever were quantized."""
    is_gguf = path.suffix == ".gguf"
    place = {"gguf_file": path.name} if is_gguf else {}
    opened: Any = AutoModelForCausalLM.from_pretrained(
        path.parent if is_gguf else path, **place, dtype=torch.float32, output_loading_info=True
    )
    loaded, found = opened
    # Tied weights, such as a head that is the embedding, do not count as missing; transformers would invent the others.
    if lost := sorted(found["missing_keys"]):
        raise SourceError(f"{path} lacks {len(lost)} of its model's weights, such as {lost[0]}; take a whole checkpoint")
    if not is_gguf:
        return loaded
    config = loaded.config
    vars(config).pop("quantization_config", None)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    return model


def _load_tokenizer(path: Path) -> Any:
    if path.suffix == ".gguf":
        return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    return AutoTokenizer.from_pretrained(path)


def _settle_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Have the file of a tokenizer say what is read from it: a family's own class adds what a GGUF file does not say."""
    read = AutoTokenizer.from_pretrained(folder)
    if read.backend_tokenizer.to_str() != tokenizer.backend_tokenizer.to_str():
        read.save_pretrained(folder)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy tokenizer and template files, unchanged, from one model folder to another."""
    for name in ("tokenizer.json", "tokenizer_config.json", TEMPLATE):
        if not (source / name).exists():
            raise ExportError(f"{source} lacks {name}; make the checkpoint again")
        shutil.copyfile(source / name, folder / name)
