"""The shrunk encoder: fewer layers, fewer words, and a tokenizer that still reads everything."""

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from breakfix.core.errors import UsageError
from breakfix.train.body import shrink

SPECIALS = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
COMMON, RARE = ["the", "bread"], ["##ing", "baker", "##eryish", "zymurgy"]
VOCABULARY = {token: at for at, token in enumerate([*SPECIALS, *LETTERS, *COMMON, *RARE])}
WORDS = len(SPECIALS) + len(LETTERS) + len(COMMON)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", VOCABULARY["[CLS]"]), ("[SEP]", VOCABULARY["[SEP]"])]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $0 [SEP]", special_tokens=ends)
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(folder / "tokenizer.json"))
    size = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(VOCABULARY), **size)).save_pretrained(folder)
    return folder


def test_nothing_is_lost_where_everything_is_kept(encoder):
    model, tokenizer = shrink(encoder, layers=0, words=0)
    assert (model.config.num_hidden_layers, model.config.vocab_size) == (4, len(VOCABULARY))
    assert tokenizer.get_vocab() == VOCABULARY
    assert len(tokenizer.encode("bread").ids) == 3  # neither padded nor cut


def test_a_shrunk_body_keeps_what_it_keeps(encoder):
    whole, before = shrink(encoder, layers=0, words=0)
    model, after = shrink(encoder, layers=2, words=WORDS)
    assert model.config.num_hidden_layers == len(model.encoder.layer) == 2
    kept = after.get_vocab()
    assert set(VOCABULARY) - set(kept) == {"[unused0]", "baker", "##eryish", "zymurgy"}
    assert model.config.vocab_size == model.embeddings.word_embeddings.num_embeddings == len(kept)
    old, new = whole.embeddings.word_embeddings.weight, model.embeddings.word_embeddings.weight
    assert all(torch.equal(old[VOCABULARY[token]], new[at]) for token, at in kept.items())
    assert after.encode("the bread").tokens == before.encode("the bread").tokens == ["[CLS]", "the", "bread", "[SEP]"]


def test_a_lost_word_is_spelled(encoder):
    model, tokenizer = shrink(encoder, layers=1, words=WORDS)
    said = tokenizer.encode("zymurgy baking", add_special_tokens=False)
    assert "".join(token.removeprefix("##") for token in said.tokens) == "zymurgybaking"
    assert "[UNK]" not in said.tokens
    assert model(torch.tensor([said.ids]))[0].shape == (1, len(said.ids), 16)


def test_the_words_of_the_texts_are_kept_first(encoder):
    _, tokenizer = shrink(encoder, layers=1, words=3, texts=["zymurgy bread zymurgy", "bread zymurgy the"])
    kept = set(tokenizer.get_vocab())
    assert {"zymurgy", "bread", "the"} <= kept and "baker" not in kept


def test_more_layers_than_there_are_are_refused(encoder):
    with pytest.raises(UsageError, match=r"has 4 layers; set guard.layers to no more"):
        shrink(encoder, layers=5, words=0)


@pytest.mark.parametrize("words", [0, WORDS])
def test_a_character_begins_as_the_word_that_stands_for_it(encoder, words):
    whole, before = shrink(encoder, layers=0, words=0)
    model, after = shrink(encoder, layers=1, words=words, glosses={"面": "bread", "師": "baker ing"})
    table, published = model.embeddings.word_embeddings.weight, whole.embeddings.word_embeddings.weight
    said = after.encode("the面師bread", add_special_tokens=False)
    assert said.tokens == ["the", "面", "師", "bread"] and len(table) == model.config.vocab_size == after.get_vocab_size()
    assert torch.equal(table[said.ids[1]], table[said.ids[3]])
    meant = before.encode("baker ing", add_special_tokens=False).ids
    assert torch.allclose(table[said.ids[2]], published[meant].mean(0))
    assert model(torch.tensor([said.ids]))[0].shape == (1, 4, 16)


def test_a_word_of_another_language_begins_as_its_english_word_however_it_is_spelled(encoder):
    whole, before = shrink(encoder, layers=0, words=0)
    glosses = {"Brötchen": "bread", "##들": "baker ing", "빵": "bread"}
    model, after = shrink(encoder, layers=1, words=WORDS, glosses=glosses)
    table, published = model.embeddings.word_embeddings.weight, whole.embeddings.word_embeddings.weight
    said = after.encode("BRÖTCHEN brotchen 빵들", add_special_tokens=False)
    assert len(said.ids) == 4 and said.ids[0] == said.ids[1] and said.tokens[3].startswith("##")
    bread, baker = (before.encode(text, add_special_tokens=False).ids for text in ("bread", "baker ing"))
    assert torch.equal(table[said.ids[0]], published[bread[0]]) and torch.equal(table[said.ids[2]], published[bread[0]])
    assert torch.allclose(table[said.ids[3]], published[baker].mean(0))


def test_an_english_word_keeps_its_meaning_whatever_it_means_elsewhere(encoder):
    whole, _ = shrink(encoder, layers=0, words=0)
    model, after = shrink(encoder, layers=1, words=0, glosses={"bread": "baker"})
    at = after.token_to_id("bread")
    assert torch.equal(model.embeddings.word_embeddings.weight[at], whole.embeddings.word_embeddings.weight[at])


def test_a_gloss_for_what_the_tokenizer_cuts_is_refused(encoder):
    with pytest.raises(UsageError, match="reads 殺す as 2 words; gloss each by itself"):
        shrink(encoder, layers=1, words=0, glosses={"殺す": "kill"})
