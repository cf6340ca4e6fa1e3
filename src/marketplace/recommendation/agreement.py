"""How recommendations agree with the categories of their products."""

import pandas as pd

from marketplace.recommendation.products import Products


def compare_categories(products: Products, recommended: pd.DataFrame, column: str) -> "pd.Series[bool]":
    """Return for each recommendation whether it has its product's `category` or `category_path`."""
    values = products.table.set_index("product_id")[column]
    return recommended["product_id"].map(values) == recommended["similar_product_id"].map(values)


def drop_shared_listings(recommended: pd.DataFrame) -> pd.DataFrame:
    """Drop recommendations that share a photo or the title with their product: their category proves nothing."""
    return recommended[~recommended["same_photo"] & ~recommended["same_text"]]
