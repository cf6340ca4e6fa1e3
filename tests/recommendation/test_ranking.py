"""The ranking for single questions, and its parts."""

import numpy as np
import pytest
from helpers.shop import shop
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.recommendation import ranking
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.index import build_index
from marketplace.recommendation.products import Products, products_of
from marketplace.recommendation.ranking import IndexSearch, Restriction, nearest_products, segment_max, with_words

INDEXES = [
    ("Flat", None),
    ("HNSW16", "efSearch=8"),
    ("IVF32,SQ8", "nprobe=1"),
    ("IVF32,SQ8", "nprobe=4"),
    ("IVF16,PQ3x4fs,Refine(SQ8)", "nprobe=1"),
    ("SQ8", None),
]


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=8), seed=st.integers(0, 2**32 - 1))
def test_segment_max_is_numpys_reduceat(counts: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(sum(counts), 3)).astype(np.float32)
    starts = np.cumsum([0, *counts[:-1]])
    np.testing.assert_array_equal(segment_max(values, starts), np.maximum.reduceat(values, starts, axis=0))


@given(words=st.floats(0, 1), seed=st.integers(0, 100))
def test_one_inner_product_compares_photos_and_words(words: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(4, 3)).astype(np.float32)
    texts = rng.normal(size=(4, 2)).astype(np.float32)
    both = with_words(kinds, texts, words)
    np.testing.assert_allclose(
        both @ both.T, (1 - words) * kinds @ kinds.T + words * texts @ texts.T, rtol=1e-4, atol=1e-4
    )


@pytest.fixture(scope="module")
def large_shop() -> tuple[Products, np.ndarray]:
    table, vectors = shop(seed=5, n_products=400)
    return products_of(table), vectors


@pytest.mark.parametrize(("factory", "parameters"), INDEXES)
@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]), k=st.integers(1, 40))
@hypothesis_settings(max_examples=30, deadline=None)
def test_every_index_gives_as_many_products_as_pass_the_filters(
    large_shop: tuple[Products, np.ndarray], factory: str, parameters: str | None, seed: int, share: float, k: int
) -> None:
    """Also where the passing rows are in lists that an approximate index does not search."""
    products, vectors = large_shop
    n_products = len(products.table)
    index = build_index(vectors, factory, parameters)
    rng = np.random.default_rng(seed)
    question = vectors[products.photos_of(int(rng.integers(n_products)))]
    similarity = np.full(n_products, -np.inf)
    np.maximum.at(similarity, products.product_of_row, (question @ vectors.T).max(axis=0))
    # The products least similar to the question pass: no filter is harder for an index.
    passing = similarity <= np.quantile(similarity, share) if share else np.zeros(n_products, dtype=bool)
    search = IndexSearch(lambda: index, vectors, products)
    restriction = Restriction(passing=passing, filters=Filters())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "INDEX_ABOVE", 20)
        nearest = nearest_products(products, search, question, k, restriction, query_products=np.array([], dtype=int))
    numbers = [product.number for product in nearest]
    assert len(nearest) == min(k, len(set(products.groups[passing])))
    assert passing[numbers].all()
    assert len(set(products.groups[numbers])) == len(nearest)
    if factory == "Flat" and nearest:
        assert nearest[0].score == pytest.approx(similarity[passing].max(), abs=1e-5)
