"""The vectors of the catalogue's products, part by part, read from the index that holds them."""

import numpy as np

from marketplace.recommendation.questions import mean_path, n_titles
from marketplace.recommendation.ranking import IndexSearch, allow_all
from marketplace.recommendation.similarity import Parts, columns_of, split


class ProductParts:
    """The parts of all products: `index` holds them side by side, with the `dimensions` of each."""

    def __init__(self, index: IndexSearch, dimensions: dict[str, int]) -> None:
        self.index = index
        self.dimensions = dimensions
        self._columns = columns_of(dimensions)

    def join(self, numbers: np.ndarray) -> np.ndarray:
        """Return the parts of some products side by side, `(n, d)`."""
        return self.index.vectors_of(numbers)

    def of(self, numbers: np.ndarray) -> Parts:
        """Return the parts of some products."""
        return split(self.join(numbers), self.dimensions)

    def part(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """Return one part of some products, `(n, d)`."""
        return self.index.vectors_of(numbers, self._columns[name])

    def expect_path(self, meaning: np.ndarray) -> np.ndarray:
        """Return the path `(p,)` that words with a meaning `(m,)` let one expect: see `questions.expect_path`."""
        question = np.zeros(sum(self.dimensions.values()), np.float32)
        question[self._columns["title"]] = meaning
        n_products = self.index.n_products
        nearest = self.index.nearest(question, allow_all(n_products), n_titles(n_products))
        return mean_path(nearest.scores, self.part("path", nearest.numbers))
