"""The similarity of products as one inner product, and its weights."""

import numpy as np
import pandas as pd
import pytest
from helpers.shop import shop
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.catalogue import Catalogue
from marketplace.recommendation.products import products_of
from marketplace.recommendation.similarity import (
    PARTS,
    Parts,
    Weights,
    parse_weights,
    split,
    weigh,
    weigh_symmetrically,
)
from marketplace.vectors.tables import PhotoVectors, TextVectors

N_PRODUCTS = 11
DEFAULT = Weights(kind=1, text=2, title=0, path=1)


@st.composite
def weights(draw: st.DrawFn) -> Weights:
    numbers = draw(st.lists(st.floats(0, 10), min_size=4, max_size=4).filter(lambda values: sum(values) > 0.1))
    return Weights(**dict(zip(PARTS, numbers, strict=True)))


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_a_products_kind_is_the_mean_of_its_photos_kinds(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketplace.compute.scratch.ROWS_AT_ONCE", at_once)
    table, _ = shop(n_products=N_PRODUCTS)
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((len(table), 3)).astype(np.float32)
    kinds[5] = np.nan  # it counts as zeros
    photo_vectors = PhotoVectors(identity=kinds, kind=kinds, hub_bias=kinds[:, 0])
    ones = np.ones((N_PRODUCTS, 1), np.float32)
    catalogue = Catalogue(table, products_of(table), photo_vectors, TextVectors(text=ones, title=ones, path=ones))
    frame = pd.DataFrame(np.nan_to_num(kinds)).groupby(table["product_id"].to_numpy()).mean()
    expected = frame.to_numpy() / np.linalg.norm(frame.to_numpy(), axis=1, keepdims=True)
    np.testing.assert_allclose(catalogue.parts.kind, expected, atol=1e-6)


@given(weights(), st.integers(0, 100))
def test_one_inner_product_is_the_weighted_sum_of_four(own_weights: Weights, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = {"kind": 3, "text": 2, "title": 4, "path": 1}
    parts = Parts(**{name: rng.normal(size=(5, size)).astype(np.float32) for name, size in sizes.items()})
    joined = parts.join()
    shares = {name: value / sum(own_weights.model_dump().values()) for name, value in own_weights.model_dump().items()}
    expected = sum(shares[name] * getattr(parts, name) @ getattr(parts, name).T for name in PARTS)
    questions = weigh(joined, parts.dimensions, own_weights)
    np.testing.assert_allclose(questions @ joined.T, expected, atol=1e-4)
    symmetric = weigh_symmetrically(joined, parts.dimensions, own_weights)
    np.testing.assert_allclose(symmetric @ symmetric.T, expected, atol=1e-4)
    assert parts.weigh_symmetrically(own_weights).tolist() == symmetric.tolist()
    assert parts[np.array([4, 1])].tolist() == joined[[4, 1]].tolist()
    np.testing.assert_allclose(parts.compare(questions[2]), joined @ questions[2], atol=1e-4)
    assert split(joined, parts.dimensions).join().tolist() == joined.tolist()


@given(weights())
def test_weights_come_back_from_their_text(own_weights: Weights) -> None:
    parsed = parse_weights(own_weights.format(), DEFAULT)
    np.testing.assert_allclose(
        list(parsed.model_dump().values()), list(own_weights.normalised().model_dump().values()), atol=1e-4
    )


def test_parts_without_a_weight_keep_the_default() -> None:
    assert parse_weights("title=4", DEFAULT) == Weights(kind=0.125, text=0.25, title=0.5, path=0.125)


@pytest.mark.parametrize("text", ["words=1", "kind=-1", "kind", "kind=nan", "kind=inf", "kind=1;text=2", ","])
def test_a_mistake_is_a_sentence_with_an_example(text: str) -> None:
    with pytest.raises(MarketplaceError, match="is not a weight: write for example kind=1,text=2"):
        parse_weights(text, DEFAULT)


def test_weights_that_sum_to_nothing_are_refused() -> None:
    with pytest.raises(MarketplaceError, match="kind, text, title, path are all 0"):
        parse_weights("kind=0,text=0,title=0,path=0", DEFAULT)
