"""The page of recommendations."""

from pathlib import Path

import numpy as np
from helpers.shop import recommend, shop

from marketplace.recommendation.gallery import write_gallery
from marketplace.recommendation.products import products_of


def test_texts_of_products_stay_text_in_a_gallery(tmp_path: Path) -> None:
    table, vectors = shop()
    table["product_name"] = "<script>alert(1)</script>"
    products = products_of(table)
    images = np.zeros((len(table), 8, 8, 3), np.uint8)
    photo_metrics = {"accuracy": 0.5, "leaf_precision_at_10": 0.5}
    metrics = {
        **photo_metrics,
        "untouched_projected": photo_metrics,
        "recommend": {"coverage": 1.0, "category_agreement": 0.5, "leaf_agreement": 0.5},
    }
    write_gallery(tmp_path / "gallery.html", products, recommend(products, vectors), images, metrics)
    page = (tmp_path / "gallery.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
