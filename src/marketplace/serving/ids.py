"""The ids of products as people type them: whole, their beginning, or nearly right."""

import itertools

from marketplace.raw.tables import tidy_id
from marketplace.recommendation.products import matching_ids
from marketplace.serving.answers import UnknownProductError

LEAST_LIKENESS = 40  # of 100, of an id that is suggested in place of an unknown one
LEAST_OF_ID = 8  # characters of an id where there is no room for all of it


class Ids:
    """The ids of all products, in order, and the number of each; see `Products.number_of`."""

    def __init__(self, number_of: dict[str, int]) -> None:
        self._number_of, self._ids = number_of, list(number_of)

    def __contains__(self, product_id: str) -> bool:
        return tidy_id(product_id) in self._number_of

    def number(self, product_id: str) -> int:
        """The number of the product with an id. Raises UnknownProductError."""
        if product_id not in self:
            raise UnknownProductError(product_id, self.nearest(product_id))
        return self._number_of[tidy_id(product_id)]

    def nearest(self, product_id: str) -> list[str]:
        """The ids that look most like an unknown one, if any do."""
        from rapidfuzz.process import extract

        found = extract(tidy_id(product_id), self._number_of.keys(), limit=3, score_cutoff=LEAST_LIKENESS)
        return [name for name, _, _ in found]

    def beginning_with(self, text: str) -> list[str]:
        """The ids that a text may mean, in order; see `matching_ids`."""
        return matching_ids(self._ids, tidy_id(text))

    def short(self, product_id: str) -> str:
        """As many characters of an id, at least LEAST_OF_ID, as no other id begins with."""
        number = self.number(product_id)
        beside = self._ids[max(0, number - 1) : number + 2]
        alike = max((_n_alike(product_id, other) for other in beside if other != product_id), default=0)
        return product_id[: max(LEAST_OF_ID, alike + 1)]


def _n_alike(text: str, other: str) -> int:
    """How many characters two texts have in common from their beginnings on."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(text, other, strict=False)))
