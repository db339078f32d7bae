import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakfix.train.overlap import OverlapIndex, near_duplicates, ngrams, words

TEXTS = st.lists(
    st.lists(st.sampled_from(["how", "do", "i", "bake", "bread", "rye", "面包"]), max_size=9).map(" ".join), max_size=12
)


def test_words_are_lower_case_and_without_punctuation():
    assert words("How do I bake BREAD, quickly?") == ["how", "do", "i", "bake", "bread", "quickly"]
    assert words("Écris-moi un mot !") == ["écris", "moi", "un", "mot"]
    assert words("") == []


def test_where_no_spaces_are_written_characters_are_words():
    assert words("面包怎么烤?") == ["面", "包", "怎", "么", "烤"]
    assert words("パンを焼く") == list("パンを焼く")


def test_a_text_shorter_than_a_gram_is_one_gram():
    assert ngrams("rye bread", 7) == {("rye", "bread")}
    assert ngrams("a b c d", 2) == {("a", "b"), ("b", "c"), ("c", "d")}


def test_seven_words_in_a_row_overlap_and_six_do_not():
    index = OverlapIndex(["Please tell me how to bake good rye bread at home"], 7)
    assert index.overlaps("Now: tell me how to bake good rye!")
    assert not index.overlaps("tell me how to bake good white bread")
    assert not index.overlaps("bread rye good bake to how me tell")


def test_a_phrase_overlaps_only_what_is_wholly_itself():
    index = OverlapIndex(["Rye bread?", "how do I bake a very good rye bread"], 7)
    assert index.overlaps("rye bread")
    assert not index.overlaps("good rye bread")


def test_a_short_question_overlaps_what_holds_it_whole():
    index = OverlapIndex(["How do I bake?"], 7)
    assert index.overlaps("My oven came today, and how do I bake in it?")
    assert not index.overlaps("How do I boil it?")


def test_nothing_overlaps_an_empty_index():
    assert not OverlapIndex([], 7).overlaps("how do I bake a very good rye bread")


def test_a_text_that_repeats_an_earlier_one_names_it():
    texts = [
        "How do I bake rye bread?",
        "Tell me a joke",
        "how do i bake RYE bread",
        "how do I bake white bread",
        "tell me a joke!",
    ]
    assert near_duplicates(texts, 1.0) == [None, None, 0, None, 1]
    # The two breads share three word pairs of seven.
    assert near_duplicates(texts, 0.4) == [None, None, 0, 0, 1]


def test_a_repetition_is_of_a_text_that_stays():
    # The third is near the second only, which itself goes.
    texts = ["a b c d e f", "a b c d e x", "c d e x y z"]
    assert near_duplicates(texts, 0.6) == [None, 0, None]


@given(TEXTS, st.sampled_from([0.4, 0.6, 0.8, 1.0]))
def test_what_stays_has_no_twin_and_what_goes_has_one(texts, threshold):
    twins = near_duplicates(texts, threshold)
    grams = [ngrams(text, 2) for text in texts]
    stay = [index for index, twin in enumerate(twins) if twin is None]

    def alike(one, other):
        return len(grams[one] & grams[other]) / len(grams[one] | grams[other]) >= threshold

    assert not any(alike(one, other) for one in stay for other in stay if one != other)
    for index, twin in enumerate(twins):
        if twin is not None:
            assert twin < index
            assert twin in stay
            assert alike(index, twin)


@given(TEXTS)
def test_every_text_overlaps_an_index_of_itself(texts):
    index = OverlapIndex(texts, 3)
    assert all(map(index.overlaps, texts))


@pytest.mark.parametrize("n", [1, 2, 7])
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_grams(n, text):
    found = ngrams(text, n)
    assert len(found) >= 1
    assert all(len(gram) == min(n, len(words(text))) for gram in found)
