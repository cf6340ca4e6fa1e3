"""The products that reviews track, and their pictures."""

from pathlib import Path

import numpy as np
from helpers.shop import recommend, shop
from PIL import Image

from marketplace.recommendation.products import products_of
from marketplace.recommendation.tracked_products import (
    AFTER_PRODUCT,
    GAP,
    PHOTO,
    picture_name,
    select_tracked_products,
    write_pictures,
)


def test_a_picture_shows_a_product_and_its_recommendations_in_order(tmp_path: Path) -> None:
    table, vectors = shop()
    products = products_of(table.replace({"product_id": {"p00": "a/b?"}}))
    tracked = select_tracked_products(products, recommend(products, vectors))
    images = np.zeros((len(table), 8, 8, 3), np.uint8)
    images[:] = (20 * products.product_of_row)[:, None, None, None]  # a shade of grey for each product
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "gone.jpg").write_bytes(b"")
    write_pictures(folder, tracked, products, images)
    assert {path.name for path in folder.iterdir()} == set(map(picture_name, tracked))
    for product_id, entry in tracked.items():
        picture = np.asarray(Image.open(folder / picture_name(product_id)))
        lefts = [0, *(PHOTO + AFTER_PRODUCT + place * (PHOTO + GAP) for place in range(5))]
        shades = [picture[PHOTO // 2, left + PHOTO // 2, 0] for left in lefts]
        shown = [product_id, *entry["similar"]]
        np.testing.assert_allclose(shades, [20 * products.number_of[own] for own in shown], atol=6)
