"""The lowest score of a close match, calibrated on the validation split."""

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

from marketplace.recommendation.products import Products

MIN_PAIRS = 50  # too few for a calibration below
CLOSE_PRECISION = 0.5  # the share of recommendations in the same leaf category that makes a score close


def close_score(products: Products, recommended: pd.DataFrame) -> float | None:
    """Return the lowest score at which at least half of the recommendations are in the product's leaf category.

    This share, as a function that rises with the score, is fitted by isotonic regression to the recommendations for
    products of the validation split (https://scikit-learn.org/stable/modules/isotonic.html). Listings that share a
    photo or a title with the product do not count. None if there are too few recommendations, or no score is that good.
    """
    by_id = products.table.set_index("product_id")
    counted = ~recommended["same_photo"] & ~recommended["same_text"]
    rows = recommended[recommended["product_id"].map(by_id["split"]).eq("val") & counted]
    if len(rows) < MIN_PAIRS:
        return None
    leaf = by_id["category_path"]
    same = (rows["product_id"].map(leaf) == rows["similar_product_id"].map(leaf)).to_numpy(float)
    scores = rows["score"].to_numpy(float)
    precision = IsotonicRegression().fit(scores, same).predict(scores)
    close = scores[precision >= CLOSE_PRECISION]
    return float(np.min(close)) if len(close) else None
