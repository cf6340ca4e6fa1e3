"""Comparing all products and comparing the candidates of an index obey the same rules."""

import numpy as np
import pytest
from helpers.shop import ALL, shop

from marketplace.recommendation.lookalikes import LookalikeSettings
from marketplace.recommendation.products import Products, products_of
from marketplace.recommendation.rankers import CandidateRanker, ExhaustiveRanker, Ranker
from marketplace.recommendation.rules import RecommendSettings, SimilarProducts
from marketplace.recommendation.similarity import PARTS, Parts, Weights, weigh_symmetrically
from marketplace.vectors import candidates
from marketplace.vectors.unit_length import to_unit_length

N_PRODUCTS = 90
# Another value for each key of the section. A new key needs one here: its rule must reach both rankers.
OTHER_VALUES = {
    "k": 3,
    "weights": ALL.weights.model_copy(update={"product": Weights(kind=1, text=0.2, title=0, path=0.1)}),
    "lookalikes": LookalikeSettings(share=0.0, count=1, temperature=1.0),
    "keyword_weight": 0.5,
    "diversity": 0.4,
    "least_probability": 0.6,
    "same_category": True,
    "same_location": True,
    "price_factor": 4.0,
    "index": "HNSW16",
    "index_search": "efSearch=8",
}
# The table has an index of its own, and leaves out improbable products after the ranking. Two keys are for photos,
# one is for words.
KEYS_OF_OTHERS = {"index", "index_search", "keyword_weight", "least_probability", "lookalikes"}


@pytest.fixture(scope="module")
def products() -> Products:
    return products_of(shop(n_products=N_PRODUCTS)[0])


@pytest.fixture
def every_product_is_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the index search all of its lists, and return every product: then nothing is lost."""
    monkeypatch.setattr(candidates, "LIST_DIVISOR", 1)
    monkeypatch.setattr("marketplace.recommendation.rankers.CANDIDATE_FACTOR", 10 * N_PRODUCTS)


def vectors_for(products: Products, settings: RecommendSettings) -> np.ndarray:
    rng = np.random.default_rng(1)
    parts = Parts(**{name: to_unit_length(rng.normal(size=(len(products.table), 4))) for name in PARTS})
    return weigh_symmetrically(parts.join(), parts.dimensions, settings.weights.product)


def rank_all(
    ranker: type[ExhaustiveRanker | CandidateRanker], products: Products, settings: RecommendSettings
) -> list[SimilarProducts]:
    rank: Ranker = ranker(products, vectors_for(products, settings), settings)
    return rank(np.arange(N_PRODUCTS))


@pytest.mark.usefixtures("every_product_is_a_candidate")
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


@pytest.mark.parametrize("key", sorted(set(RecommendSettings.model_fields) - KEYS_OF_OTHERS))
def test_the_other_values_make_a_difference(products: Products, key: str) -> None:
    settings = ALL.model_copy(update={key: OTHER_VALUES[key]})
    before = rank_all(ExhaustiveRanker, products, ALL)
    after = rank_all(ExhaustiveRanker, products, settings)
    assert [similar.numbers.tolist() for similar in before] != [similar.numbers.tolist() for similar in after]
