"""The ids of products as people type them: complete, the beginning only, or with a typo."""

import itertools
from bisect import bisect_left

from marketplace.raw.tables import tidy_id
from marketplace.recommendation.products import matching_ids
from marketplace.serving.answers import UnknownProductError

MIN_SUGGESTION_LIKENESS = 40  # out of 100
MAX_MISTYPED_LENGTH = 100  # characters; nobody types a longer id, and comparing takes time for each
MAX_COMPARED_IDS = 20_000  # which takes 7 ms
MIN_SHORT_LENGTH = 8  # characters of an id where space is short


class Ids:
    """The ids of all products, sorted, and the number of each; see `Products.number_of`."""

    def __init__(self, number_of: dict[str, int]) -> None:
        self._number_of = number_of
        self._ids = list(number_of)

    def __contains__(self, product_id: str) -> bool:
        return tidy_id(product_id) in self._number_of

    def number(self, product_id: str) -> int:
        """Return the number of the product with an id. Raises UnknownProductError."""
        if product_id not in self:
            raise UnknownProductError(product_id, self.suggest(product_id))
        return self._number_of[tidy_id(product_id)]

    def suggest(self, product_id: str) -> list[str]:
        """Return up to three ids that resemble an unknown one, of those that come next to it in alphabetical order."""
        from rapidfuzz.process import extract

        text = tidy_id(product_id)
        if len(text) > MAX_MISTYPED_LENGTH:
            return []
        start = max(0, bisect_left(self._ids, text) - MAX_COMPARED_IDS // 2)
        neighbours = self._ids[start : start + MAX_COMPARED_IDS]
        matches = extract(text, neighbours, limit=3, score_cutoff=MIN_SUGGESTION_LIKENESS)
        return [match for match, _, _ in matches]

    def matching(self, text: str) -> list[str]:
        """Return the ids that a text may mean, see `matching_ids`."""
        return matching_ids(self._ids, tidy_id(text))

    def shorten(self, product_id: str) -> str:
        """Return the beginning of an id that no other id shares, at least MIN_SHORT_LENGTH characters."""
        number = self.number(product_id)
        neighbours = [*self._ids[max(0, number - 1) : number], *self._ids[number + 1 : number + 2]]
        shared = max((_common_length(product_id, neighbour) for neighbour in neighbours), default=0)
        return product_id[: max(MIN_SHORT_LENGTH, shared + 1)]


def _common_length(text: str, other: str) -> int:
    """Return the number of characters that two texts share at their beginnings."""
    pairs = zip(text, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
