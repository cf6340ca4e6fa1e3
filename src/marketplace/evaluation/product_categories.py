"""The categories of products, predicted from all photos of a product and from its words."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

SMALLEST_PROBABILITY = 1e-12  # keeps logarithms finite
INVERSE_PENALTY = 10  # text vectors have length 1: with the default of 1, the penalty is too strong


@dataclass(frozen=True)
class ProductCategories:
    """The categories of the products of the test split, as labels: the true ones, and three predictions."""

    actual: np.ndarray  # (P,) int
    by_photos: np.ndarray  # (P,) int
    by_words: np.ndarray  # (P,) int; by photos for a product without words
    by_both: np.ndarray  # (P,) int
    has_words: np.ndarray  # (P,) bool

    def measure(self) -> dict[str, np.ndarray]:
        """Return whether each product's category is right, `(P,) float`; by words, NaN for a product without words."""
        return {
            "product_accuracy": (self.by_both == self.actual).astype(float),
            "product_accuracy_photos": (self.by_photos == self.actual).astype(float),
            "product_accuracy_words": np.where(self.has_words, self.by_words == self.actual, np.nan),
        }


def predict_product_categories(
    table: pd.DataFrame, probabilities: np.ndarray, texts: np.ndarray, categories: list[str]
) -> ProductCategories:
    """Predict the categories of the products of the test split.

    `table` is the training data, `probabilities` `(T, n_categories)` belong to its test photos, `texts` `(P, t)` to all
    products, sorted by id; they are zero for a product without words. Scores of categories are logarithms of
    probabilities: their mean over a product's photos, plus the logarithm by words.
    """
    products = table.drop_duplicates("product_id").sort_values("product_id")
    labels = products["category"].map(categories.index).to_numpy()
    splits = products["split"].to_numpy()
    is_test = splits == "test"
    is_training = splits == "train"

    test_photos = table[table["split"] == "test"]
    log_probabilities = pd.DataFrame(_log(probabilities))
    photo_scores = log_probabilities.groupby(test_photos["product_id"].to_numpy()).mean().to_numpy()  # sorted by id
    word_scores = _score_words(texts[is_training], labels[is_training], texts[is_test], len(categories))
    has_words = np.any(word_scores, axis=1)
    by_photos = photo_scores.argmax(axis=1)
    return ProductCategories(
        actual=labels[is_test],
        by_photos=by_photos,
        by_words=np.where(has_words, word_scores.argmax(axis=1), by_photos),
        by_both=(photo_scores + word_scores).argmax(axis=1),
        has_words=has_words,
    )


def _score_words(training: np.ndarray, labels: np.ndarray, texts: np.ndarray, n_categories: int) -> np.ndarray:
    """Return the logarithms `(P, n_categories)` of probabilities by text vectors `(P, t)`; 0 for one without words.

    A logistic regression is fitted to the text vectors of the training products, and their `labels`. All scores are 0
    if those with words have fewer than two categories.
    """
    scores = np.zeros((len(texts), n_categories))
    is_known = training.any(axis=1)
    has_words = texts.any(axis=1)
    if not has_words.any() or len(np.unique(labels[is_known])) < 2:
        return scores
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(training[is_known], labels[is_known])
    probabilities = np.zeros((int(has_words.sum()), n_categories))
    probabilities[:, model.classes_] = model.predict_proba(texts[has_words])
    scores[has_words] = _log(probabilities)
    return scores


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY, dtype=np.float64))
