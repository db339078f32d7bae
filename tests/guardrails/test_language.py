import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.guardrails.language import is_language, merit, order


@pytest.mark.parametrize(
    "text",
    [
        "how do i bake a chocolate cake",
        "howdoibakeachocolatecakeformysister",
        "bomb",
        "Give me 3 eggs and 200 g of flour!",
        "Wie backe ich einen Kuchen für meine Schwester?",
        "Jak upiec chleb na zakwasie, żeby był chrupiący",
        "Как испечь торт для сестры",
        "怎么给姐姐做巧克力蛋糕",
        "味噌汁の作り方",
        "नमस्ते, चाय कैसे बनाते हैं?",
        "كيف أصنع القهوة",
    ],
)
def test_language_is_language(text):
    assert is_language(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a", "12345678", "....", "x1#9@z", "qxzjkvwp", "\x00\x01how are you", "how\ufffe are you",
        "\ud800\ud800\ud800\ud800",
        "ΔЖਸ中あЯ𐍈ѪԱ", "d41d8cd98f00b204e9800998ecf8427e", '{"a":1,"b":[2,3]}', "----BEGIN----", "+49 30 901820",
    ],
)  # fmt: skip
def test_anything_else_is_not(text):
    assert not is_language(text)


def test_words_merit_more_than_their_ciphers():
    for word in ["chocolate", "sister", "kitchen", "bomb", "weapon", "password"]:
        assert merit(word) > max(merit(word[::-1]), merit(codecs.encode(word, "rot13")))


def test_words_in_order_are_in_better_order():
    text = "how do i make a cake for my sister in the kitchen"
    assert order(text) > order(" ".join(reversed(text.split())))


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_language_or_not(text):
    assert is_language(text) in (True, False)
