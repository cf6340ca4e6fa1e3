"""Lists whose products differ from each other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marketplace.recommendation.diversity import diversify
from marketplace.vectors.unit_length import to_unit_length


@given(st.integers(0, 100), st.integers(0, 12), st.sampled_from([0.1, 0.5, 0.9]))
def test_each_next_product_has_the_highest_marginal_relevance(seed: int, n: int, diversity: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random(n)
    vectors = to_unit_length(rng.normal(size=(n, 3)))
    order = diversify(scores, vectors, diversity).tolist()
    assert sorted(order) == list(range(n))

    def marginal(place: int, before: list[int]) -> float:
        nearest = max((float(vectors[place] @ vectors[other]) for other in before), default=0.0)
        return (1 - diversity) * float(scores[place]) - diversity * nearest

    for rank, place in enumerate(order):
        best = max(marginal(other, order[:rank]) for other in order[rank:])
        assert marginal(place, order[:rank]) >= best - 1e-9


def test_a_copy_comes_after_something_else() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    assert diversify(np.array([0.9, 0.89, 0.5]), vectors, 0.5).tolist() == [0, 2, 1]
