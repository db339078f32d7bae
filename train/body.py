"""Makes the guard's body from a published encoder: its first layers, and the part of its vocabulary that earns its bytes.

An encoder of this size is half embedding, and most of that stands for words a chat never uses. WordPiece spells a word it lost
with the pieces it kept, so a smaller vocabulary costs tokens and no text. Kept are the words that the training texts use most:
of the 11,000 commonest English ones, a twelfth of the words in these texts would be in pieces.

A language that the encoder was never taught is unread by it. It is taught a pidgin of some: each word, each Chinese character
and each ending begins as the English word that stands for it, and training does the rest. Where the embedding stays as it is,
what begins alike is stored once (`export.guard_graph`), so that such a word costs its letters and no weights.
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
_FAMILIAR = 12_000
"""Entries from the published vocabulary's start, its most frequent, that mean what they mean in English."""


def shrink(
    encoder: Path, layers: int, words: int, texts: Iterable[str] = (), glosses: Mapping[str, str] | None = None
) -> tuple[nn.Module, Tokenizer]:
    """Return the encoder with its first `layers` layers and the `words` entries that `texts` use most, and its tokenizer.

    Entries that they use alike rank as in the published vocabulary. Also kept are the special tokens, single characters of
    every script, and short word pieces. 0 keeps everything. Each piece of `glosses` (a character, a word, or `##` and a word's
    ending) gets an entry that begins as its English word, or as the mean of several, what it means in English among them.
    A word among the encoder's `_FAMILIAR` first keeps its meaning. Raises UsageError for more layers than there are, and for a
    piece that the tokenizer would cut.
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
    meanings = _meanings(tokenizer, glosses or {})
    published = model.embeddings.word_embeddings.weight.data
    if words:
        parts = json.loads(tokenizer.to_str())
        # A word that will have an entry does not use the pieces it would be cut into.
        counting = _with_vocabulary(json.loads(tokenizer.to_str()), {**dict.fromkeys(meanings, 0), **parts["model"]["vocab"]})
        used = Counter(token for text in texts for token in counting.encode(text, add_special_tokens=False).tokens)
        # A BERT vocabulary stands in the order of its words' frequency.
        ordered = sorted(parts["model"]["vocab"].items(), key=lambda item: (-used[item[0]], item[1]))
        kept = [(token, old) for rank, (token, old) in enumerate(ordered) if _is_kept(token, rank, words)]
        kept.sort(key=lambda item: item[1])
        vocabulary = {token: new for new, (token, _) in enumerate(kept)}
        tokenizer = _with_vocabulary(parts, vocabulary)
        smaller = nn.Embedding(len(kept), published.shape[1], padding_idx=vocabulary["[PAD]"])
        smaller.weight.data.copy_(published[[at for _, at in kept]])
        model.embeddings.word_embeddings = smaller
        model.config.vocab_size, model.config.pad_token_id = len(kept), vocabulary["[PAD]"]
    return model, _learn(model, tokenizer, {piece: published[entries].mean(0) for piece, entries in meanings.items()})


def _meanings(tokenizer: Tokenizer, glosses: Mapping[str, str]) -> dict[str, list[int]]:
    """Return the entries that each piece means, by its spelling in the vocabulary: without case and accents."""
    means: dict[str, list[int]] = {}
    for piece, gloss in glosses.items():
        bare = piece.removeprefix("##")
        cut = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(bare))]
        if len(cut) != 1:
            raise UsageError(f"the tokenizer reads {piece} as {len(cut)} words; gloss each by itself")
        spelling = cut[0] if bare == piece else "##" + cut[0]
        own = tokenizer.token_to_id(spelling)
        if own is not None and own < _FAMILIAR and len(cut[0]) > 1:
            continue
        entries = means.setdefault(spelling, [] if own is None or len(cut[0]) == 1 else [own])
        entries += [at for at in tokenizer.encode(gloss, add_special_tokens=False).ids if at not in entries]
    return means


def _learn(model: Any, tokenizer: Tokenizer, meanings: Mapping[str, torch.Tensor]) -> Tokenizer:
    """Give each piece an entry that begins as what it means; returns the tokenizer that knows them all."""
    if not meanings:
        return tokenizer
    parts = json.loads(tokenizer.to_str())
    vocabulary = parts["model"]["vocab"]
    for piece in meanings:
        vocabulary.setdefault(piece, len(vocabulary))
    model.resize_token_embeddings(len(vocabulary), mean_resizing=False)
    weights = model.embeddings.word_embeddings.weight.data
    for piece, meaning in meanings.items():
        weights[vocabulary[piece]] = meaning
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
