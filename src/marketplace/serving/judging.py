"""Products to judge one after another, each with candidates from several rankings."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from marketplace.recommendation.filters import Filters
from marketplace.recommendation.products import Product, Products
from marketplace.recommendation.similarity import Weights
from marketplace.relevance.judgements import Grades, read_grades
from marketplace.serving.answers import SimilarProduct
from marketplace.serving.feedback import Feedback

DEPTH = 8  # candidates from each ranking
RANKINGS = (
    None,  # the weights in params.yaml
    Weights(kind=1, text=0, title=0, path=0),
    Weights(kind=0, text=1, title=0, path=0),
    Weights(kind=0, text=0, title=1, path=1),
)
Recommend = Callable[[str, int, Filters, Weights | None], list[SimilarProduct]]


@dataclass(frozen=True)
class Candidate:
    """A product to grade by its similarity to another, and its grade; None: not yet graded."""

    product: Product
    grade: int | None


@dataclass(frozen=True)
class JudgingTask:
    """A product to judge; `place` counts the products, from 1."""

    place: int
    product: Product
    candidates: list[Candidate]  # in an order that tells nothing about them


class Judging:
    """The products of a catalogue in a fixed order, for people to judge.

    Products of the validation and test splits come first, since their judgements choose weights and measure quality.
    `recommend` ranks the candidates. A pair counts as judged if it has a grade in `feedback`, or in the file of
    judgements at `path` when it is first read. Raises MarketplaceError if that file is malformed.
    """

    def __init__(self, products: Products, recommend: Recommend, feedback: Feedback, path: Path) -> None:
        self._products = products
        self._recommend = recommend
        self._feedback = feedback
        self._path = path
        self._pools: dict[str, list[str]] = {}

    def next_task(self) -> JudgingTask | None:
        """Return the first product with a candidate that has no grade; None if there is none."""
        grades = self.earlier_grades | self._feedback.grades()
        for place, product_id in enumerate(self._order, start=1):
            pool = self._pool(product_id)
            if all((product_id, similar_id) in grades for similar_id in pool):
                continue
            return JudgingTask(
                place=place,
                product=self._product(product_id),
                candidates=[
                    Candidate(product=self._product(similar_id), grade=grades.get((product_id, similar_id)))
                    for similar_id in pool
                ],
            )
        return None

    @cached_property
    def earlier_grades(self) -> Grades:
        """The grades in the file of judgements; none without a file."""
        return read_grades(self._path) if self._path.exists() else {}

    @cached_property
    def _order(self) -> list[str]:
        splits = self._products.table.set_index("product_id")["split"].to_dict()
        return sorted(splits, key=lambda product_id: (splits[product_id] == "train", hash_text(product_id)))

    def _pool(self, product_id: str) -> list[str]:
        """Return the ids of a product's candidates, sorted by a hash that the product determines.

        A part that the product lacks ranks nothing: all its similarities are 0.
        """
        if product_id not in self._pools:
            rankings = [self._recommend(product_id, DEPTH, Filters(), weights) for weights in RANKINGS]
            pool = {similar.product.product_id for ranking in rankings for similar in ranking if similar.score > 0}
            self._pools[product_id] = sorted(pool, key=lambda similar_id: hash_text(f"{product_id} {similar_id}"))
        return self._pools[product_id]

    def _product(self, product_id: str) -> Product:
        return self._products.product(self._products.number_of[product_id])


def hash_text(text: str) -> bytes:
    """Return a hash: sorted by it, things to judge are in an order that tells nothing and is always the same."""
    return hashlib.sha256(text.encode()).digest()
