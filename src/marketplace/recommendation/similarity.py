"""The similarity of products: a weighted sum of four inner products, computed as one.

    similarity(a, b) = sum over parts p of weight_p * <a_p, b_p>

The index holds the parts side by side, unweighted. The weights are multiplied into the question, so each question may
bring its own. A question that lacks a part has zeros there.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import release_pages
from marketplace.common.params import Section
from marketplace.compute.scratch import compute_in_blocks

Weight = Annotated[float, Field(ge=0)]


class Weights(Section):
    """The weights of the parts of a similarity, relative to each other."""

    kind: Weight
    text: Weight
    title: Weight
    path: Weight

    def normalised(self) -> "Weights":
        """Return the same weights with a sum of 1. Raises MarketplaceError if all are zero."""
        values = self.model_dump()
        total = sum(values.values())
        if not total:
            raise MarketplaceError(f"the weights {', '.join(values)} are all 0: at least one must be greater.")
        return Weights(**{name: value / total for name, value in values.items()})

    def shares(self) -> np.ndarray:
        """Return the normalised weights `(4,) float`, in the order of PARTS."""
        return np.array(list(self.normalised().model_dump().values()))

    def format(self) -> str:
        """Return the weights as `parse_weights` reads them."""
        return ",".join(f"{name}={value:g}" for name, value in self.model_dump().items())


PARTS = tuple(Weights.model_fields)


def parse_weights(text: str, default: Weights) -> Weights:
    """Parse weights such as "kind=0.5,text=1"; parts that are not named keep their `default`.

    Raises MarketplaceError if a name or a number is wrong, or all weights are 0.
    """
    values = default.model_dump()
    for entry in text.split(","):
        name, _, number = entry.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if name.strip() not in PARTS or not 0 <= value < np.inf:
            raise MarketplaceError(
                f"{entry.strip()!r} is not a weight: write for example {default.format()}, with numbers from 0 up."
            )
        values[name.strip()] = value
    return Weights(**values).normalised()


@dataclass(frozen=True)
class Parts:
    """The parts of `n` products or questions."""

    kind: np.ndarray  # (n, k) float32
    text: np.ndarray  # (n, t) float32
    title: np.ndarray  # (n, m) float32
    path: np.ndarray  # (n, p) float32

    @property
    def dimensions(self) -> dict[str, int]:
        """The number of dimensions of each part."""
        return {name: getattr(self, name).shape[1] for name in PARTS}

    @property
    def shape(self) -> tuple[int, int]:
        """The number of products or questions, and of dimensions of all parts together."""
        return len(self.kind), sum(self.dimensions.values())

    def join(self) -> np.ndarray:
        """Return the parts side by side, `(n, k + t + m + p) float32`, as the index holds them."""
        return np.hstack([getattr(self, name) for name in PARTS]).astype(np.float32, copy=False)

    def select(self, numbers: np.ndarray) -> "Parts":
        """Return the parts of some of the products or questions."""
        return Parts(**{name: getattr(self, name)[numbers] for name in PARTS})

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        """Join the parts of some of the products or questions; see index.Rows."""
        joined = self.select(numbers).join()
        for name in PARTS:
            release_pages(getattr(self, name))
        return joined

    def compare(self, vector: np.ndarray) -> np.ndarray:
        """Return the inner products `(n,)` of the joined parts with a vector `(d,)`, without joining them."""
        own = split(vector[None], self.dimensions)
        return np.sum([getattr(self, name) @ getattr(own, name)[0] for name in PARTS], axis=0)

    def weigh_symmetrically(self, weights: Weights) -> np.ndarray:
        """Return the joined parts `(n, d)`, multiplied as by the function of this name; mapped."""
        return compute_in_blocks(
            lambda numbers: weigh_symmetrically(self[numbers], self.dimensions, weights), len(self.kind)
        )


def columns_of(dimensions: dict[str, int]) -> dict[str, slice]:
    """Return the columns of each part in joined vectors, see `Parts.join`, from the length of each part."""
    ends = np.cumsum([0, *(dimensions[name] for name in PARTS)]).tolist()
    return {name: slice(start, end) for name, start, end in zip(PARTS, ends, ends[1:], strict=False)}


def split(vectors: np.ndarray, dimensions: dict[str, int]) -> Parts:
    """Return the parts of joined vectors `(n, d)`."""
    return Parts(**{name: vectors[:, columns] for name, columns in columns_of(dimensions).items()})


def weigh(vectors: np.ndarray, dimensions: dict[str, int], weights: Weights) -> np.ndarray:
    """Multiply joined parts `(n, d)` by their normalised weights: the vectors of questions `(n, d) float32`."""
    return vectors * _repeat(weights.shares(), dimensions)


def weigh_symmetrically(vectors: np.ndarray, dimensions: dict[str, int], weights: Weights) -> np.ndarray:
    """Multiply joined parts `(n, d)` by the roots of their weights: inner products of the results are similarities."""
    return vectors * _repeat(weights.shares() ** 0.5, dimensions)


def _repeat(factors: np.ndarray, dimensions: dict[str, int]) -> np.ndarray:
    """Return the factor `(4,)` of each part once for each of its dimensions, `(d,) float32`."""
    return np.repeat(factors, [dimensions[name] for name in PARTS]).astype(np.float32)
