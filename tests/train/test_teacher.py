"""The guard's teacher: its word on a request is what can be inferred without having seen its family."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel

from breakfix.core.errors import UsageError
from breakfix.train import teacher
from breakfix.train.teacher import TeacherSettings, is_english

FAMILIES, EACH = 20, 100


@pytest.fixture(scope="module")
def texts():
    """Features of texts in families: one says harm, in every family; another only who wrote the family."""
    dice = np.random.default_rng(0)
    truth = dice.integers(0, 2, EACH * FAMILIES)
    families = np.repeat(np.arange(FAMILIES), EACH)
    noise = dice.normal(size=(len(truth), FAMILIES + 2))
    features = noise + np.c_[4 * truth, np.eye(FAMILIES)[families] * 3, np.zeros(len(truth))]
    return features.astype(np.float16), torch.tensor(truth, dtype=torch.float), [f"family-{n}" for n in families]


def test_what_holds_in_every_family_is_learned(texts):
    read, truth, families = texts
    own, others = teacher._said(TeacherSettings("x", epochs=8), np.concatenate([read, read[:50]]), truth, families)
    assert ((own > 0.5) == (truth.numpy() > 0.5)).mean() > 0.9
    assert others.shape == (50,) and ((others > 0.5) == (truth[:50].numpy() > 0.5)).mean() > 0.9


def test_the_label_of_a_family_is_not_remembered(texts):
    read, _, families = texts
    by_family = torch.tensor([hash_ % 2 for hash_ in np.repeat(np.arange(FAMILIES), EACH)], dtype=torch.float)
    own, _ = teacher._said(TeacherSettings("x", epochs=8), read[:, 1:], by_family, families)
    assert ((own > 0.5) == (by_family.numpy() > 0.5)).mean() < 0.65, "a head judged what it had seen"


def test_the_same_word_each_time(texts):
    read, truth, families = texts
    first, second = (teacher._said(TeacherSettings("x", epochs=1), read, truth, families)[0] for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("How do I bake bread?", True),
        ("a naïve man in a café in town", True),
        ("怎么烤面包？", False),
        ("Как испечь хлеб?", False),
        ("1234 !?", False),
    ],
)
def test_only_english_letters_are_read(text, english):
    assert is_english(text) == english


def test_wrong_settings_are_told():
    wrong = TeacherSettings(layers=(0, 2), unlabelled=("hh-rlhf=x", "authored", "hatechek=y"), parts=1, width=0)
    *others, first, second = wrong.problems()
    assert first.startswith("unlabelled authored must be READER=SOURCE, with one of pairs, ")
    assert second.startswith("unlabelled hatechek=y must be READER=SOURCE")
    assert others == [
        "parts must be at least 2: a head judges what it did not learn from",
        "layers must name at least one layer, counted from 1",
        "width and epochs must be at least 1",
        "unlabelled texts need an encoder: nobody else says what they are",
    ]


def test_each_text_is_read_as_itself_in_whatever_order_and_once(tmp_path, monkeypatch):
    words = [f"w{number}" for number in range(40)]
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(vocabulary), **size)).save_pretrained(tmp_path)
    texts = [" ".join(words[n : n + 1 + n % 7]) for n in range(30)]
    settings, scratch = TeacherSettings(str(tmp_path), layers=(1, 2)), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(teacher, "_PIECE", 8)
    read = teacher._read(settings, texts, scratch)
    assert read.shape == (30, 32)
    for number in (0, 6, 13, 29):
        alone = teacher._read(settings, [texts[number]], scratch)
        assert read[number] == pytest.approx(alone[0], abs=2e-3)
    monkeypatch.setattr(teacher, "_means", lambda *_: pytest.fail("it was read before"))
    assert (teacher._read(settings, texts, scratch) == read).all()
    with pytest.raises(UsageError, match=r"has 2 layers; set guard.teacher.layers to no more"):
        teacher._read(TeacherSettings(str(tmp_path), layers=(1, 3)), texts, scratch)
