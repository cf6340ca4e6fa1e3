"""Lists whose products differ from each other."""

import numpy as np

DIVERSITY_POOL = 4  # times the length of a list: the most similar products that it is chosen from


def diversify(scores: np.ndarray, vectors: np.ndarray, diversity: float) -> np.ndarray:
    """Return the places `(n,)` of products in the order of maximal marginal relevance.

    Each next product has the highest (1 - diversity) * score - diversity * (highest similarity with those before it);
    Carbonell & Goldstein, 1998, https://doi.org/10.1145/290941.291025. `scores` `(n,)` are similarities with the
    question, inner products of `vectors` `(n, d)` similarities with each other.
    """
    remaining = np.arange(len(scores))
    nearest = np.zeros(len(scores), dtype=np.float32)  # to those chosen so far
    chosen: list[int] = []
    while len(remaining):
        relevance = (1 - diversity) * scores[remaining] - diversity * nearest[remaining]
        place = int(remaining[relevance.argmax()])
        chosen.append(place)
        remaining = remaining[remaining != place]
        similarities = vectors @ vectors[place]
        nearest = similarities if len(chosen) == 1 else np.maximum(nearest, similarities)
    return np.array(chosen, dtype=np.int64)
