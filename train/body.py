"""Makes the guard's body from a published encoder: its first layers, and the part of its vocabulary that earns its bytes.

An encoder of this size is half embedding, and most of that stands for words a chat never uses. WordPiece spells a word it lost
with the pieces it kept, so a smaller vocabulary costs tokens and no text. Kept are the words that the training texts use most:
of the 11,000 commonest English ones, a twelfth of the words in these texts would be in pieces.

A script that the encoder was never taught is unread by it. Of Chinese it is taught a pidgin: each character begins as the
English word that stands for it, and training does the rest.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel

from ..core.errors import UsageError

_LONGEST_PIECE = 5
"""Characters, "##" included, up to which word endings are kept: with them and single letters any word can be spelled."""


def shrink(
    encoder: Path, layers: int, words: int, texts: Iterable[str] = (), glosses: Mapping[str, str] | None = None
) -> tuple[nn.Module, Tokenizer]:
    """Return the encoder with its first `layers` layers and the `words` entries that `texts` use most, and its tokenizer.

    Entries that they use alike rank as in the published vocabulary. Also kept are the special tokens, single characters of
    every script, and short word pieces. 0 keeps everything. Each character of `glosses` gets an entry, and begins as the mean
    of its English word's tokens. Raises UsageError for more layers than there are.
    """
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model: Any = AutoModel.from_pretrained(encoder)
    if layers > len(model.encoder.layer):
        raise UsageError(f"{encoder} has {len(model.encoder.layer)} layers; set guard.layers to no more")
    if layers:
        model.encoder.layer = model.encoder.layer[:layers]
        model.config.num_hidden_layers = layers
    meanings = _meanings(model, tokenizer, glosses or {})
    if words:
        parts = json.loads(tokenizer.to_str())
        used = Counter(token for text in texts for token in tokenizer.encode(text, add_special_tokens=False).ids)
        # A BERT vocabulary stands in the order of its words' frequency.
        ordered = sorted(parts["model"]["vocab"].items(), key=lambda item: (-used[item[1]], item[1]))
        kept = [(token, old) for rank, (token, old) in enumerate(ordered) if _is_kept(token, rank, words)]
        kept.sort(key=lambda item: item[1])
        vocabulary = {token: new for new, (token, _) in enumerate(kept)}
        tokenizer = _with_vocabulary(parts, vocabulary)
        old = model.embeddings.word_embeddings
        smaller = nn.Embedding(len(kept), old.embedding_dim, padding_idx=vocabulary["[PAD]"])
        smaller.weight.data.copy_(old.weight.data[[at for _, at in kept]])
        model.embeddings.word_embeddings = smaller
        model.config.vocab_size, model.config.pad_token_id = len(kept), vocabulary["[PAD]"]
    return model, _learn(model, tokenizer, meanings)


def _meanings(model: Any, tokenizer: Tokenizer, glosses: Mapping[str, str]) -> dict[str, torch.Tensor]:
    published = model.embeddings.word_embeddings.weight.data
    ids = {character: tokenizer.encode(gloss, add_special_tokens=False).ids for character, gloss in glosses.items()}
    return {character: published[tokens].mean(0) for character, tokens in ids.items()}


def _learn(model: Any, tokenizer: Tokenizer, meanings: Mapping[str, torch.Tensor]) -> Tokenizer:
    """Give each character an entry that begins as what it means; returns the tokenizer that knows them all."""
    if not meanings:
        return tokenizer
    parts = json.loads(tokenizer.to_str())
    vocabulary = parts["model"]["vocab"]
    for character in meanings:
        vocabulary.setdefault(character, len(vocabulary))
    model.resize_token_embeddings(len(vocabulary), mean_resizing=False)
    weights = model.embeddings.word_embeddings.weight.data
    for character, meaning in meanings.items():
        weights[vocabulary[character]] = meaning
    return _with_vocabulary(parts, vocabulary)


def _is_kept(token: str, rank: int, words: int) -> bool:
    if token.startswith("["):
        return token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[", "[MASK]")
    return rank < words or len(token.removeprefix("##")) == 1 or (token.startswith("##") and len(token) <= _LONGEST_PIECE)


def _with_vocabulary(parts: dict[str, Any], vocabulary: dict[str, int]) -> Tokenizer:
    parts["model"]["vocab"] = vocabulary
    for added in parts["added_tokens"]:
        added["id"] = vocabulary[added["content"]]
    special = (parts["post_processor"] or {}).get("special_tokens", {})
    for name, entry in special.items():
        entry["ids"] = [vocabulary[name]]
    return Tokenizer.from_str(json.dumps(parts))
