"""The cosine from which on two photos show the same item."""

import numpy as np
import pytest
from helpers.shop import shop
from hypothesis import given
from hypothesis import strategies as st

from marketplace.recommendation.catalogue import Catalogue
from marketplace.recommendation.products import products_of
from marketplace.recommendation.same_item import (
    COPY_COSINE,
    PRECISION,
    NearestPhotos,
    find_nearest_photos,
    fit_same_item_cosine,
    measure_same_item,
)
from marketplace.vectors.tables import PhotoVectors, TextVectors
from marketplace.vectors.unit_length import to_unit_length


def make_catalogue(n_products: int) -> Catalogue:
    table, _ = shop(n_products=n_products)
    n = len(table)
    random = np.random.default_rng(3)
    identity = to_unit_length(random.normal(size=(n, 4))).astype(np.float32)
    identity[5] = np.nan
    vectors = PhotoVectors(identity=identity, kind=identity, hub_bias=np.zeros(n, np.float32))
    empty = np.zeros((n_products, 2), np.float32)
    texts = TextVectors(text=empty, title=empty, path=empty)
    return Catalogue(photos=table, products=products_of(table), vectors=vectors, texts=texts)


@pytest.mark.parametrize("split", ["val", "test"])
def test_nearest_photos_are_found_with_and_without_the_own_product(split: str) -> None:
    catalogue = make_catalogue(60)
    products = catalogue.products
    owners = products.product_of_row
    identity = np.nan_to_num(catalogue.vectors.identity)
    splits = products.table["split"].to_numpy()
    expected_with = []
    expected_without = []
    for row, owner in enumerate(owners.tolist()):
        own = [other for other in products.photos_of(owner).tolist() if other != row]
        if splits[owner] != split or not own:
            continue
        others = np.flatnonzero(products.groups[owners] != products.groups[owner])
        own_best = max(identity[own] @ identity[row])
        other_best = max(identity[others] @ identity[row])
        expected_with.append((max(own_best, other_best), own_best > other_best))
        expected_without.append((other_best, False))
    nearest = find_nearest_photos(catalogue, split)
    assert nearest.n_for_sale == len(expected_with) > 0
    for cosine, same, expected in zip(nearest.cosines, nearest.same, expected_with + expected_without, strict=True):
        assert cosine == pytest.approx(expected[0], abs=1e-6)
        assert same == expected[1]


@given(st.integers(0, 10**6), st.integers(30, 200), st.floats(0.0, 3.0))
def test_a_fitted_cosine_is_the_lowest_that_is_precise_enough(seed: int, n: int, signal: float) -> None:
    random = np.random.default_rng(seed)
    same = np.concatenate([random.random(n) < 0.7, np.zeros(n, dtype=bool)])
    cosines = (random.normal(size=2 * n) + signal * same).astype(np.float32)
    nearest = NearestPhotos(cosines=cosines, same=same)
    fitted = fit_same_item_cosine(nearest)
    precise = [cosine for cosine in cosines.tolist() if same[cosines >= cosine].mean() >= PRECISION]
    assert fitted == min([COPY_COSINE, *precise])
    precision, recall = measure_same_item(nearest, fitted)
    assert fitted == COPY_COSINE or precision >= PRECISION
    assert recall == pytest.approx((same & (cosines >= fitted)).sum() / n)


def test_too_few_photos_tell_nothing() -> None:
    nearest = NearestPhotos(cosines=np.ones(8, np.float32), same=np.ones(8, dtype=bool))
    assert fit_same_item_cosine(nearest) == COPY_COSINE
    nothing = NearestPhotos(cosines=np.zeros(0, np.float32), same=np.zeros(0, dtype=bool))
    assert all(np.isnan(figure) for figure in measure_same_item(nothing, COPY_COSINE))
