"""TF-IDF of words and of parts of words, reduced by an SVD: it knows brands, model numbers and misspelt words."""

import json
from typing import Any

import numpy as np

from marketplace.vectors.unit_length import to_unit_length

SPELLING_DIMENSIONS = 256
ANALYZERS: dict[str, dict[str, Any]] = {
    "words": {"stop_words": "english"},
    "parts": {"analyzer": "char_wb", "ngram_range": (3, 5)},
}


def fit_spelling(texts: list[str]) -> dict[str, np.ndarray]:
    """Return vocabularies, inverse document frequencies and SVD components; no arrays if no text has a word."""
    from scipy.sparse import hstack
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    arrays: dict[str, np.ndarray] = {}
    columns = []
    for name, options in ANALYZERS.items():
        vectorizer = TfidfVectorizer(sublinear_tf=True, **options)
        try:
            columns.append(vectorizer.fit_transform(texts))
        except ValueError:  # no text has a word
            return {}
        arrays[name] = np.array(json.dumps(vectorizer.get_feature_names_out().tolist()))
        arrays[f"{name}_idf"] = vectorizer.idf_.astype(np.float32)
    counts = normalize(hstack(columns).tocsr())
    dimensions = min(SPELLING_DIMENSIONS, min(counts.shape) - 1)
    if dimensions < 1:
        return {}
    components = TruncatedSVD(dimensions, random_state=0).fit(counts).components_
    return arrays | {"components": components.astype(np.float32)}


class Spelling:
    """A function from texts to their spelling vectors, from the arrays of `fit_spelling`."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._components = arrays.get("components")
        self._vectorizers = []
        if self._components is not None:
            from sklearn.feature_extraction.text import TfidfVectorizer

            for name, options in ANALYZERS.items():
                vocabulary = json.loads(str(arrays[name]))
                vectorizer = TfidfVectorizer(sublinear_tf=True, vocabulary=vocabulary, **options)
                vectorizer.idf_ = arrays[f"{name}_idf"].astype(np.float64)
                self._vectorizers.append(vectorizer)

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Return the vectors `(N, d) float32` of texts; d is 0 if the model was fitted to texts without words."""
        if self._components is None:
            return np.zeros((len(texts), 0), np.float32)
        from scipy.sparse import hstack
        from sklearn.preprocessing import normalize

        counts = normalize(hstack([vectorizer.transform(texts) for vectorizer in self._vectorizers]).tocsr())
        return to_unit_length((counts @ self._components.T).astype(np.float32))
