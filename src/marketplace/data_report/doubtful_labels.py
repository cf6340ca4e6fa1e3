"""Products whose category a model contradicts that never saw them."""

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.preprocessing import normalize

FOLDS = 5
PHOTO_DIMENSIONS = 128
PENALTY = 3.0  # scikit-learn's C: the lowest log loss out of sample of 1 to 30, on a real marketplace


def doubtful_labels(table: pd.DataFrame, outputs: np.ndarray, texts: np.ndarray) -> pd.DataFrame:
    """The products whose category is doubtful, the most doubtful first.

    `table` is the training data, `outputs` `(N, D)` are the untouched network's for its photos, `texts` `(P, t)` the
    vectors of its products' words, in the order of their ids. Gives product_id, category, suggested, probability (of
    the category) and suggested_probability. cleanlab decides which are doubtful (Northcutt et al., arXiv:1911.00068).
    """
    from cleanlab.filter import find_label_issues

    rows = table.groupby("product_id", sort=True).agg(
        category=("category", "first"), label=("label", "first"), group=("group", "first")
    )
    labels = rows["label"].to_numpy()
    probabilities = out_of_sample(_product_vectors(table, outputs, texts), labels, rows["group"].to_numpy())
    doubtful = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    names = table.groupby("label")["category"].first().to_numpy()
    suggested = probabilities[doubtful].argmax(axis=1)
    return pd.DataFrame(
        {
            "product_id": rows.index[doubtful],
            "category": rows["category"].to_numpy()[doubtful],
            "suggested": names[suggested],
            "probability": probabilities[doubtful, labels[doubtful]],
            "suggested_probability": probabilities[doubtful, suggested],
        }
    )


def out_of_sample(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Probabilities `(N, n_categories)` of vectors `(N, d)` from a classifier that saw none of their group."""
    folds = min(FOLDS, int(np.bincount(labels).min()))
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    classifier = LogisticRegression(C=PENALTY, max_iter=1000)
    probabilities: np.ndarray = cross_val_predict(
        classifier, vectors, labels, groups=groups, cv=splits, method="predict_proba"
    )
    return probabilities


def _product_vectors(table: pd.DataFrame, outputs: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """The mean of a product's photos beside its words, each of length 1: `(P, d)`, in the order of product ids."""
    power = np.sign(outputs) * np.sqrt(np.abs(outputs))
    dimensions = min(PHOTO_DIMENSIONS, *power.shape)
    photos = PCA(dimensions, random_state=0).fit_transform(power)
    means = pd.DataFrame(normalize(photos)).groupby(table["product_id"].to_numpy(), sort=True).mean()
    return np.hstack([normalize(means.to_numpy()), texts])
