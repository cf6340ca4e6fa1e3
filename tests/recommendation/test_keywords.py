"""The inverted list finds the words that stand in listings, compared with looking into every listing."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.recommendation import keywords
from marketplace.recommendation.keywords import FIELDS, KeywordIndex, is_latin

# Words that have no other form, so that their stems are themselves.
WORDS = ["bx1", "bx2", "bx3", "bx4", "bx5", "bx6"]


@pytest.fixture(scope="module")
def products() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    columns = {
        column: [" ".join(rng.choice(WORDS, rng.integers(0, 4))) for _ in range(300)] for column, _ in FIELDS.values()
    }
    return pd.DataFrame(columns)


@pytest.fixture(scope="module")
def index(products: pd.DataFrame) -> KeywordIndex:
    return KeywordIndex(products)


def everything(index: KeywordIndex) -> np.ndarray:
    return np.ones(300, dtype=bool)


@given(
    words=st.lists(st.sampled_from([*WORDS, "zz9"]), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 9),
    share=st.sampled_from([1.0, 0.5, 0.02]),
)
def test_hits_are_those_of_looking_into_every_listing(
    index: KeywordIndex, products: pd.DataFrame, words: list[str], seed: int, share: float
) -> None:
    passing = np.random.default_rng(seed).random(len(products)) < share
    hits = index.find(index.terms(" ".join(words)), passing)

    texts = [dict(zip(FIELDS, (text.split() for text in row), strict=True)) for row in products.to_numpy()]
    rarity = {}
    for word in words:
        frequency = max(sum(word in text[field] for text in texts) for field in FIELDS)
        rarity[word] = math.log(1 + (len(texts) - frequency + 0.5) / (frequency + 0.5))
    expected = {}
    for number in np.flatnonzero(passing).tolist():
        worth = {
            word: max((worth for name, (_, worth) in FIELDS.items() if word in texts[number][name]), default=0.0)
            for word in words
        }
        if any(worth.values()):
            expected[number] = sum(worth[word] * rarity[word] for word in words) / sum(rarity.values())
    assert hits.numbers.tolist() == list(expected)
    np.testing.assert_allclose(hits.coverage, list(expected.values()), rtol=1e-4)
    titles = [set(words) <= set(texts[number]["title"]) for number in expected]
    assert hits.in_title.tolist() == titles
    few = sum(titles) <= keywords.FEW_TITLES
    assert hits.exact.tolist() == [title and few for title in titles]


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_beyond_the_limit_the_best_are_kept(index: KeywordIndex, products: pd.DataFrame, share: float) -> None:
    passing = np.random.default_rng(0).random(len(products)) < share
    terms = index.terms("bx1 bx2")
    all_hits = index.find(terms, passing)
    best = index.find(terms, passing, limit=5)
    assert set(all_hits.numbers[all_hits.in_title].tolist()) & set(best.numbers.tolist())
    assert best.coverage.min() >= np.sort(all_hits.coverage)[-len(best.numbers)] - 1e-6


def test_many_filtered_listings_are_skipped_and_few_are_named(
    index: KeywordIndex, products: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    passing = np.random.default_rng(0).random(len(products)) < 0.3
    terms = index.terms("bx1 bx2")
    named = index.find(terms, passing, limit=4)
    monkeypatch.setattr(keywords, "FEW", 0)
    skipped = index.find(terms, passing, limit=4)
    np.testing.assert_allclose(np.sort(named.coverage)[-4:], np.sort(skipped.coverage)[-4:], rtol=1e-5)
    assert passing[skipped.numbers].all()


@pytest.fixture(scope="module")
def shop() -> KeywordIndex:
    rows = [
        ("Silver Cross Buggy", "Baby / Prams", "Hackney, London", "Folds flat"),
        ("Leather sofa", "Home & Garden / Sofas", "Leeds", "Two seats, with buggy oak legs"),
        ("iPhone 11", "Phones", "York", ""),
        ("Ｏａｋ ｔａｂｌｅ", "Home & Garden / Tables", "Leeds", "crème brûlée set"),
        ("抹茶碗", "Kitchen", "York", ""),
        ("Τραπέζι", "Home & Garden / Tables", "York", ""),
    ]
    return KeywordIndex(pd.DataFrame(rows, columns=[column for column, _ in FIELDS.values()]))


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("buggy", 0),
        ("BUGGIES", 0),  # a plural
        ("bug", 0),  # still being typed
        ("lether sfa", 1),
        ("sofas", 1),
        ("iphne", 2),
        ("11", 2),
        ("hackney", 0),
        ("table oak", 3),
        ("creme brulee", 3),
        ("茶碗", 4),
        ("ΤΡΑΠΕΖΙ", 5),
    ],
)
def test_words_are_found_as_people_write_them(shop: KeywordIndex, words: str, first: int) -> None:
    hits = shop.find(shop.terms(words), np.ones(6, dtype=bool))
    assert hits.numbers[np.argmax(hits.bonus(0.2))] == first


def test_few_titles_with_a_word_in_the_same_form_come_first() -> None:
    names = [*["Office chair"] * 20, "Monitors for offices", *["Office desk"] * 20]
    table = pd.DataFrame({column: names if name == "title" else "" for name, (column, _) in FIELDS.items()})
    index = KeywordIndex(table)
    for words, best in (("offices", [20]), ("office", range(41))):
        hits = index.find(index.terms(words), np.ones(41, dtype=bool))
        bonus = hits.bonus(0.2)
        assert hits.numbers[bonus == bonus.max()].tolist() == list(best)


def test_all_words_in_a_title_come_before_some(shop: KeywordIndex) -> None:
    hits = shop.find(shop.terms("leather sofa with oak legs"), np.ones(6, dtype=bool))
    assert not hits.in_title.any()
    hits = shop.find(shop.terms("oak table"), np.ones(6, dtype=bool))
    assert hits.numbers[hits.in_title].tolist() == [3]
    bonus = np.sort(hits.bonus(0.2))[::-1]
    assert all(better >= worse for better, worse in pairwise(bonus.tolist()))
    assert bonus[0] > 1 > bonus[1]


@pytest.mark.parametrize(
    "words", ["", " ", "!?", "zzqx", "\x00\x1b[31m", "🛋️", "a" * 60_000, " ".join(map(str, range(200)))]
)
def test_any_words_are_a_question(shop: KeywordIndex, words: str) -> None:
    hits = shop.find(shop.terms(words), np.ones(6, dtype=bool))
    assert len(hits.numbers) <= 1


def test_a_catalogue_of_one_has_words_too() -> None:
    index = KeywordIndex(pd.DataFrame([("Oak", "", "", "")], columns=[column for column, _ in FIELDS.values()]))
    assert index.find(index.terms("oak"), np.ones(1, dtype=bool)).in_title.tolist() == [True]
    assert not len(index.find(index.terms("oak"), np.zeros(1, dtype=bool)).numbers)


@pytest.mark.parametrize(
    ("words", "latin"), [("sofa", True), ("naïve Øl", True), ("", True), ("11", True), ("стол", False), ("كرسي", False)]
)
def test_the_sentence_model_is_asked_in_latin_letters_alone(words: str, latin: bool) -> None:
    assert is_latin(words) is latin


def test_a_word_that_many_listings_have_is_not_looked_up_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keywords, "MANY", 10)
    names = ["Blue new hat", *["Old coat"] * 30, *["Hat"] * 5]
    descriptions = ["", *["new"] * 30, *["new"] * 5]
    columns = {column: [""] * 36 for column, _ in FIELDS.values()}
    table = pd.DataFrame({**columns, "product_name": names, "product_description": descriptions})
    index = KeywordIndex(table)
    everything = np.ones(36, dtype=bool)
    assert index.find(index.terms("new hat"), everything).numbers.tolist() == [0, *range(31, 36)]
    assert index.find(index.terms("old coat"), everything).numbers.tolist() == list(range(1, 31))  # none is rare
