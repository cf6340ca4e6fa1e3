"""The similarity of products as one inner product, and its weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.similarity import (
    PARTS,
    Parts,
    Weights,
    parse_weights,
    split,
    weigh,
    weigh_symmetrically,
)

DEFAULT = Weights(kind=1, text=2, title=0, path=1)


@st.composite
def weights(draw: st.DrawFn) -> Weights:
    numbers = draw(st.lists(st.floats(0, 10), min_size=4, max_size=4).filter(lambda values: sum(values) > 0.1))
    return Weights(**dict(zip(PARTS, numbers, strict=True)))


@given(weights(), st.integers(0, 100))
def test_one_inner_product_is_the_weighted_sum_of_four(own_weights: Weights, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = {"kind": 3, "text": 2, "title": 4, "path": 1}
    parts = Parts(**{name: rng.normal(size=(5, size)).astype(np.float32) for name, size in sizes.items()})
    joined = parts.join()
    shares = {name: value / sum(own_weights.model_dump().values()) for name, value in own_weights.model_dump().items()}
    expected = sum(shares[name] * getattr(parts, name) @ getattr(parts, name).T for name in PARTS)
    questions = weigh(joined, parts.dimensions, own_weights)
    np.testing.assert_allclose(questions @ joined.T, expected, atol=1e-4)
    symmetric = weigh_symmetrically(joined, parts.dimensions, own_weights)
    np.testing.assert_allclose(symmetric @ symmetric.T, expected, atol=1e-4)
    assert parts.weigh_symmetrically(own_weights).tolist() == symmetric.tolist()
    assert parts[np.array([4, 1])].tolist() == joined[[4, 1]].tolist()
    np.testing.assert_allclose(parts.compare(questions[2]), joined @ questions[2], atol=1e-4)
    assert split(joined, parts.dimensions).join().tolist() == joined.tolist()


@given(weights())
def test_weights_come_back_from_their_text(own_weights: Weights) -> None:
    parsed = parse_weights(own_weights.format(), DEFAULT)
    np.testing.assert_allclose(
        list(parsed.model_dump().values()), list(own_weights.normalised().model_dump().values()), atol=1e-4
    )


def test_parts_without_a_weight_keep_the_default() -> None:
    assert parse_weights("title=4", DEFAULT) == Weights(kind=0.125, text=0.25, title=0.5, path=0.125)


@pytest.mark.parametrize("text", ["words=1", "kind=-1", "kind", "kind=nan", "kind=inf", "kind=1;text=2", ","])
def test_a_mistake_is_a_sentence_with_an_example(text: str) -> None:
    with pytest.raises(MarketplaceError, match="is not a weight: write for example kind=1,text=2"):
        parse_weights(text, DEFAULT)


def test_weights_that_sum_to_nothing_are_refused() -> None:
    with pytest.raises(MarketplaceError, match="kind, text, title, path are all 0"):
        parse_weights("kind=0,text=0,title=0,path=0", DEFAULT)
