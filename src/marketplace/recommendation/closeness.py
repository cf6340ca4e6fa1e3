"""The score from which on a similar product is a close match, calibrated on the validation split."""

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

from marketplace.recommendation.products import Products

LEAST_PAIRS = 50  # fewer say nothing
CLOSE = 0.5  # the share of products of the very leaf category, from which on matches are close


def close_score(products: Products, recommended: pd.DataFrame) -> float | None:
    """The lowest score at which at least half of the recommendations are of the product's own leaf category.

    The share of these, as a function that rises with the score, is fitted by isotonic regression to the recommendations
    for products of the validation split (https://scikit-learn.org/stable/modules/isotonic.html). Listings that share a
    photo or a title do not count. None if there are too few, or no score is that good.
    """
    by_id = products.table.set_index("product_id")
    counted = ~recommended["same_photo"] & ~recommended["same_text"]
    rows = recommended[recommended["product_id"].map(by_id["split"]).eq("val") & counted]
    if len(rows) < LEAST_PAIRS:
        return None
    leaf = by_id["category_path"]
    same = (rows["product_id"].map(leaf) == rows["similar_product_id"].map(leaf)).to_numpy(float)
    scores = rows["score"].to_numpy(float)
    fitted = IsotonicRegression().fit(scores, same)
    good = scores[fitted.predict(scores) >= CLOSE]
    return float(np.min(good)) if len(good) else None
