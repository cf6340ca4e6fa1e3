"""Words as a catalogue spells them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.recommendation.vocabulary import Vocabulary, fold, split_words

TITLES = ["Leather sofa", "Corner sofa bed", "Soft toy for a child", "iPhone 11", "Washing machine", "PS4", "Good food"]
VOCABULARY = Vocabulary(fold(title) for title in TITLES)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("CRÈME Brûlée", "creme brulee"),
        ("ｆｕｌｌ－ｗｉｄｔｈ", "full-width"),
        ("𝓕𝓪𝓷𝓬𝔂", "fancy"),
        ("cafe\u0301", "cafe"),
        ("Straße", "strasse"),
        ("Øl", "øl"),
        ("抹茶碗", "抹 茶 碗"),
        ("テーブル", "テ ー ブ ル"),
        ("한국어", "한국어"),
        ("Τραπέζι", "τραπεζι"),
        ("", ""),
    ],
)
def test_letters_lose_case_accents_and_forms(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_words_are_distinct_and_stand_in_the_text(text: str) -> None:
    words = split_words(fold(text))
    assert len(words) == len(set(words))
    assert all(word in fold(text) for word in words)


def test_a_beginning_is_completed_by_the_commonest_words() -> None:
    assert VOCABULARY.complete("sof") == ["sofa", "soft"]
    assert VOCABULARY.complete("zz") == []
    assert VOCABULARY.complete("s") == []  # may be anything


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("lether", "leather"),
        ("iphne", "iphone"),
        ("sfa", "sofa"),
        ("mashine", "machine"),
        ("wahsign", None),  # three slips
        ("ford", None),  # another word: neither "for" nor "food"
        ("ps5", None),  # another model than the PS4
        ("telly", None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_a_misspelt_word_is_corrected_and_another_word_is_not(word: str, meant: str | None) -> None:
    assert VOCABULARY.correct(word) == meant


@given(word=st.sampled_from(["leather", "washing", "machine", "corner"]), data=st.data())
def test_one_slip_after_the_first_letter_is_forgiven(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(word) - 1))
    letter = data.draw(st.sampled_from(LETTERS))
    kind = data.draw(st.sampled_from(["missing", "wrong", "added", "swapped"]))
    slips = {
        "missing": word[:place] + word[place + 1 :],
        "wrong": word[:place] + letter + word[place + 1 :],
        "added": word[:place] + letter + word[place:],
        "swapped": word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :] if place > 1 else word,
    }
    assert VOCABULARY.correct(slips[kind]) == word
