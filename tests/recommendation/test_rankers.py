"""Comparing all products and comparing the candidates of an index obey the same rules."""

import numpy as np
import pytest
from helpers.shop import ALL, shop

from marketplace.recommendation.products import Products, products_of
from marketplace.recommendation.rankers import CandidateRanker, ExhaustiveRanker, Ranker
from marketplace.recommendation.ranking import with_words
from marketplace.recommendation.rules import RecommendSettings, SimilarProducts
from marketplace.vectors import candidates

N_PRODUCTS = 90
# Another value for each key of the section. A new key needs one here: its rule must reach both rankers.
OTHER_VALUES = {
    "k": 3,
    "words": 0.5,
    "same_category": True,
    "same_location": True,
    "price_factor": 4.0,
    "index": "HNSW16",
    "index_search": "efSearch=8",
}
INDEX_KEYS = {"index", "index_search"}  # for questions to the server: the table of recommendations has its own index


@pytest.fixture(scope="module")
def products() -> Products:
    return products_of(shop(n_products=N_PRODUCTS)[0])


@pytest.fixture
def every_photo_is_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the index search all of its lists, and return every photo: then nothing is lost."""
    monkeypatch.setattr(candidates, "LIST_DIVISOR", 1)
    monkeypatch.setattr("marketplace.recommendation.rankers.CANDIDATE_FACTOR", 10 * N_PRODUCTS)


def vectors_for(products: Products, settings: RecommendSettings) -> np.ndarray:
    texts = np.random.default_rng(1).normal(size=(N_PRODUCTS, 3)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    photo_vectors = shop(n_products=N_PRODUCTS)[1]
    return with_words(photo_vectors, texts[products.product_of_row], settings.words)


def rank_all(
    ranker: type[ExhaustiveRanker | CandidateRanker], products: Products, settings: RecommendSettings
) -> list[SimilarProducts]:
    rank: Ranker = ranker(products, vectors_for(products, settings), settings)
    return rank(np.arange(N_PRODUCTS))


@pytest.mark.usefixtures("every_photo_is_a_candidate")
@pytest.mark.parametrize("key", RecommendSettings.model_fields)
def test_both_rankers_obey_every_key_of_the_section(products: Products, key: str) -> None:
    assert key in OTHER_VALUES, f"give recommend.{key} another value in OTHER_VALUES"
    settings = ALL.model_copy(update={key: OTHER_VALUES[key]})
    exhaustive = rank_all(ExhaustiveRanker, products, settings)
    from_candidates = rank_all(CandidateRanker, products, settings)
    for expected, similar in zip(exhaustive, from_candidates, strict=True):
        # With fewer than k, the candidates would not be used.
        assert len(expected.numbers) == settings.k
        # By group: which of two listings with one photo comes first is a matter of rounding.
        np.testing.assert_array_equal(products.groups[similar.numbers], products.groups[expected.numbers])
        np.testing.assert_allclose(similar.scores, expected.scores, atol=1e-6)


@pytest.mark.parametrize("key", sorted(set(RecommendSettings.model_fields) - INDEX_KEYS))
def test_the_other_values_make_a_difference(products: Products, key: str) -> None:
    settings = ALL.model_copy(update={key: OTHER_VALUES[key]})
    before = rank_all(ExhaustiveRanker, products, ALL)
    after = rank_all(ExhaustiveRanker, products, settings)
    assert [similar.numbers.tolist() for similar in before] != [similar.numbers.tolist() for similar in after]
