"""The products of training data."""

import numpy as np
from helpers.shop import shop

from marketplace.recommendation.products import products_of


def test_products_know_their_photos() -> None:
    table, _ = shop()
    products = products_of(table)
    assert products.table["product_id"].tolist() == sorted(set(table["product_id"]))
    for number, product_id in enumerate(products.table["product_id"]):
        rows = np.flatnonzero(table["product_id"] == product_id)
        assert products.photos_of(number).tolist() == rows.tolist()
        assert (products.product_of_row[rows] == number).all()
