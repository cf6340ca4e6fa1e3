"""Finding the same product in another photo, with one photo of each product in the catalogue.

If only the question is left out of a catalogue of all photos, hub biases still count photos of the same product as
neighbours, even the question itself. That flatters the hub correction. Here, only the catalogue determines hub biases.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from marketplace.embedding.hubs import hub_bias
from marketplace.relevance.uncertainty import mean
from marketplace.vectors.inner_products import cut_questions, inner_products, usable_unit_vectors

MAX_QUESTIONS = 3_000  # the standard error of a share of 3,000 is at most 0.009


@dataclass(frozen=True)
class PhotoPairs:
    """A catalogue with one photo of each product, and other photos of some of these products as questions."""

    catalogue: np.ndarray  # (P,) int row numbers, one for each product
    questions: np.ndarray  # (Q,) int row numbers
    answers: np.ndarray  # (Q,) int: the place of each question's product in the catalogue


def choose_pairs(table: pd.DataFrame, split: str) -> PhotoPairs:
    """Choose the catalogue from all products of `table` (the training data), and the questions from a split.

    The catalogue has the first photo of each product, by image id. The question is the product's next photo that is not
    a copy of the first by `sha256`. Of more than MAX_QUESTIONS, a fixed random sample is chosen.
    """
    photos = table.reset_index(drop=True).sort_values("image_id")
    first = photos.drop_duplicates("product_id")
    sha256_of_first = photos["product_id"].map(first.set_index("product_id")["sha256"])
    candidates = photos[(photos["sha256"] != sha256_of_first) & (photos["split"] == split)]
    second = candidates.drop_duplicates("product_id")
    if len(second) > MAX_QUESTIONS:
        second = second.sample(MAX_QUESTIONS, random_state=0)
    return PhotoPairs(
        catalogue=first.index.to_numpy(),
        questions=second.index.to_numpy(),
        answers=pd.Index(first["product_id"]).get_indexer(second["product_id"]),
    )


def rank_own_products(
    identity: np.ndarray, sha256: np.ndarray, pairs: PhotoPairs, *, hub_neighbours: int, hub_weight: float
) -> np.ndarray:
    """Return how many products the search lists before the question's own: `(Q,) int`, 0 if it is the first.

    `identity` `(N, d)` and `sha256` `(N,)` belong to all photos. Similarity is the cosine, minus the hub bias among the
    photos of the catalogue. Copies of the question are not listed. Equal products are listed in the catalogue's order.
    """
    catalogue = usable_unit_vectors(identity, pairs.catalogue)
    question_vectors = usable_unit_vectors(identity, pairs.questions)
    bias = hub_bias(catalogue, sha256[pairs.catalogue], neighbours=hub_neighbours, weight=hub_weight)
    places = np.arange(len(catalogue))
    ranks = np.empty(len(pairs.questions), np.int64)
    for block in cut_questions(len(ranks), len(catalogue)):
        questions = pairs.questions[block]
        answers = pairs.answers[block][:, None]
        similarity = inner_products(question_vectors[block], catalogue)
        similarity -= bias
        similarity[sha256[questions][:, None] == sha256[pairs.catalogue]] = -np.inf
        own = np.take_along_axis(similarity, answers, axis=1)
        is_before = (similarity > own) | ((similarity == own) & (places < answers))
        ranks[block] = is_before.sum(axis=1)
    return ranks


def recall_from_ranks(ranks: np.ndarray, k: int) -> float:
    """Return the share of questions whose product is among the first `k`; NaN if there are no questions."""
    return mean((ranks < k).astype(float))


def measure_same_product(ranks: np.ndarray) -> dict[str, np.ndarray]:
    """Return whether each question finds its product at the first place, and at the first ten: `(Q,) float`.

    `ranks` `(Q,)` come from `rank_own_products`. The means are same-product recall@1 and recall@10.
    """
    return {f"same_product_recall_at_{k}": (ranks < k).astype(float) for k in (1, 10)}
