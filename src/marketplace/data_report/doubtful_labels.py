"""Products whose category is contradicted by a classifier that was trained without them."""

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.preprocessing import normalize

from marketplace.compute.scratch import compute_in_blocks

FOLDS = 5
PHOTO_DIMENSIONS = 128
PENALTY = 3.0  # scikit-learn's C: of 1 to 30, the one with the lowest log loss out of sample on a real marketplace


def find_doubtful_labels(table: pd.DataFrame, outputs: np.ndarray, texts: np.ndarray) -> pd.DataFrame:
    """Return the products whose category is doubtful, the most doubtful first.

    `table` is the training data, `outputs` `(N, D)` are the untouched network's for its photos, and `texts` `(P, t)`
    are the text vectors of its products, in the order of their ids. The columns are product_id, category, suggested,
    probability (of the category) and suggested_probability. cleanlab decides which labels are doubtful (Northcutt et
    al., arXiv:1911.00068).
    """
    from cleanlab.filter import find_label_issues

    products = table.groupby("product_id", sort=True).agg(
        category=("category", "first"), label=("label", "first"), group=("group", "first")
    )
    labels = products["label"].to_numpy()
    vectors = _product_vectors(table, outputs, texts)
    probabilities = predict_out_of_sample(vectors, labels, products["group"].to_numpy())
    doubtful = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    names = table.groupby("label")["category"].first().to_numpy()
    suggested = probabilities[doubtful].argmax(axis=1)
    return pd.DataFrame(
        {
            "product_id": products.index[doubtful],
            "category": products["category"].to_numpy()[doubtful],
            "suggested": names[suggested],
            "probability": probabilities[doubtful, labels[doubtful]],
            "suggested_probability": probabilities[doubtful, suggested],
        }
    )


def predict_out_of_sample(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return probabilities `(N, n_categories)` of vectors `(N, d)` from classifiers trained without their groups."""
    folds = min(FOLDS, int(np.bincount(labels).min()))
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    classifier = LogisticRegression(C=PENALTY, max_iter=1000)
    return cross_val_predict(classifier, vectors, labels, groups=groups, cv=splits, method="predict_proba")


def _product_vectors(table: pd.DataFrame, outputs: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return the mean of each product's photos and its text vector side by side, each of length 1.

    The vectors `(P, d)` are in the order of product ids.
    """

    def take_roots(rows: np.ndarray) -> np.ndarray:
        block = outputs[rows]
        return np.sign(block) * np.sqrt(np.abs(block))

    roots = compute_in_blocks(take_roots, len(outputs), outputs)
    dimensions = min(PHOTO_DIMENSIONS, *roots.shape)
    photos = PCA(dimensions, random_state=0).fit_transform(roots)
    means = pd.DataFrame(normalize(photos)).groupby(table["product_id"].to_numpy(), sort=True).mean()
    return np.hstack([normalize(means.to_numpy()), texts])
