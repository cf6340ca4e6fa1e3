"""The words of a photo's question: expected from the photo, and borrowed from products that look like it.

It is a form of pseudo relevance feedback (Rocchio, 1971; Manning et al., Introduction to Information Retrieval,
chapter 9): sellers of similar things use words that no photo tells.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import Field

from marketplace.common.params import Section
from marketplace.recommendation.similarity import Parts, Weights
from marketplace.vectors.unit_length import to_unit_length

LOOKS = Weights(kind=1, text=0, title=1, path=0)  # by which look-alikes are found


class LookalikeSettings(Section):
    """The look-alikes of a photo, and their share in its words."""

    share: Annotated[float, Field(ge=0, le=1)]
    count: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(gt=0)]


def add_lookalikes(
    question: Parts,
    parts_of: Callable[[np.ndarray], Parts],
    numbers: np.ndarray,
    similarities: np.ndarray,
    settings: LookalikeSettings,
) -> Parts:
    """Return the parts `(1, …)` of a photo's question with the words and paths of its look-alikes.

    `numbers` `(n,)` are the candidates among the products, `similarities` `(n,)` theirs by LOOKS; `parts_of` returns
    the parts of products by their numbers. The words of the `settings.count` best are averaged, weighted by a softmax
    of their similarities.
    """
    if not settings.share or not len(numbers):
        return question
    best = np.argsort(-similarities, kind="stable")[: settings.count]
    weights = np.exp((similarities[best] - similarities[best].max()) / settings.temperature)
    weights /= weights.sum()
    lent = parts_of(numbers[best])
    path = (1 - settings.share) * question.path + settings.share * (weights @ lent.path)
    return Parts(
        kind=question.kind,
        text=_blend_directions(question.text, weights @ lent.text, settings.share),
        title=_blend_directions(question.title, weights @ lent.title, settings.share),
        path=path.astype(np.float32),
    )


def _blend_directions(own: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
    """Return the direction between two vectors `(1, d)` and `(d,)`, of length 1."""
    return to_unit_length((1 - share) * own + share * to_unit_length(others)).astype(np.float32)
