"""The quality of recommendations by group of products: by number of photos, description and category."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from marketplace.recommendation.products import Products
from marketplace.relevance.uncertainty import MIN_SAMPLE, Shares

MANY_PHOTOS = 3


def measure_groups(
    products: Products, agreement: Mapping[str, Shares], good_at_6: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return a row for each group with products in the test split: how far categories agree, and judged quality.

    `agreement` belongs to all products, `good_at_6` to judged ones of the test split by id. A row has the mean of each
    metric with the ends of its 95 % interval (over products), and the number of products. None: not measured, or the
    interval of fewer than MIN_SAMPLE products.
    """
    judged = np.array([good_at_6.get(product_id, np.nan) for product_id in products.table["product_id"]])
    metrics = {**agreement, "good_at_6": Shares.of(judged, np.arange(len(judged)), len(judged))}
    rows = []
    for group, value, members in _list_groups(products):
        row: dict[str, Any] = {"group": group, "value": value}
        for name, shares in metrics.items():
            figures = shares.select(members).summarise()
            has_interval = figures["products"] >= MIN_SAMPLE
            row[name] = figures.get("mean")
            row[f"{name}_low"] = figures["low"] if has_interval else None
            row[f"{name}_high"] = figures["high"] if has_interval else None
            row[f"{name}_products"] = figures["products"]
        if any(row[f"{name}_products"] for name in metrics):
            rows.append(row)
    return rows


def _list_groups(products: Products) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the kind and the name of each group, and which products belong to it, `(P,) bool`."""
    n_photos = products.ends - products.starts
    for number in range(1, MANY_PHOTOS):
        yield "photos", str(number), n_photos == number
    yield "photos", f"{MANY_PHOTOS} or more", n_photos >= MANY_PHOTOS
    has_words = (products.table["product_description"].str.strip() != "").to_numpy(bool)
    yield "description", "with", has_words
    yield "description", "without", ~has_words
    categories = products.table["category"].to_numpy(object)
    for category in np.unique(categories):
        yield "category", str(category), categories == category
