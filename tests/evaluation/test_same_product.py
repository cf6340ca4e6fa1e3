"""Same-product recall with one photo of each product in the catalogue, compared with one question at a time."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.evaluation.same_product import (
    MAX_QUESTIONS,
    choose_pairs,
    measure_same_product,
    rank_own_products,
    recall_from_ranks,
)


def shop(seed: int, n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return `n` photos in no particular order, and their vectors; some are copies, some vectors are equal."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, max(1, n // 2), n)
    files = rng.integers(0, 2 * n, n)
    table = pd.DataFrame(
        {
            "image_id": [f"i{place:03}" for place in rng.permutation(n)],
            "product_id": [f"p{number}" for number in numbers],
            "split": np.where(numbers % 3 == 0, "train", "test"),
            "sha256": [f"s{file}" for file in files],
        }
    )
    directions = rng.integers(-2, 3, (2 * n, 3)).astype(np.float32)
    return table, directions[files]


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    norms = math.sqrt(float(first @ first)) * math.sqrt(float(second @ second))
    return float(first @ second) / norms if norms else 0.0


def search_one_by_one(table: pd.DataFrame, vectors: np.ndarray, k: int, weight: float) -> list[tuple[int, int]]:
    """Return the lowest and highest rank of each question's product: similarities closer than rounding are equal."""
    photos = {row["image_id"]: {**row, "vector": vectors[i]} for i, row in enumerate(table.to_dict("records"))}
    by_product: dict[str, list[str]] = {}
    for image_id in sorted(photos):
        by_product.setdefault(photos[image_id]["product_id"], []).append(image_id)
    catalogue = [photos[image_ids[0]] for image_ids in by_product.values()]
    bias = []
    for photo in catalogue:
        similarities = [
            cosine(photo["vector"], other["vector"]) if photo["sha256"] != other["sha256"] else 0.0
            for other in catalogue
        ]
        n_nearest = min(k, len(catalogue) - 1)
        nearest = sorted(similarities)[-n_nearest:] if n_nearest else [0.0]
        bias.append(weight * sum(nearest) / len(nearest))
    ranks = []
    for image_ids in by_product.values():
        own = photos[image_ids[0]]
        others = [photos[image_id] for image_id in image_ids if photos[image_id]["sha256"] != own["sha256"]]
        if own["split"] != "test" or not others:
            continue
        question = others[0]
        scores = {
            photo["product_id"]: cosine(question["vector"], photo["vector"]) - bias[place]
            for place, photo in enumerate(catalogue)
            if photo["sha256"] != question["sha256"]
        }
        own_score = scores.pop(own["product_id"])
        surely_before = sum(score > own_score + 1e-5 for score in scores.values())
        perhaps_before = sum(score > own_score - 1e-5 for score in scores.values())
        ranks.append((surely_before, perhaps_before))
    return ranks


@given(seed=st.integers(0, 10_000), n=st.integers(1, 40), k=st.integers(1, 6), weight=st.sampled_from([0.0, 0.5, 1.0]))
def test_ranks_agree_with_a_search_for_one_question_at_a_time(seed: int, n: int, k: int, weight: float) -> None:
    table, vectors = shop(seed, n)
    pairs = choose_pairs(table, "test")
    sha256 = table["sha256"].to_numpy()
    ranks = rank_own_products(vectors, sha256, pairs, hub_neighbours=k, hub_weight=weight)
    bounds = search_one_by_one(table, vectors, k, weight)
    # The bounds are in the order of the catalogue, the ranks in the order of the questions.
    in_order = ranks[np.argsort(pairs.answers)]
    assert len(in_order) == len(bounds)
    for rank, (lowest, highest) in zip(in_order.tolist(), bounds, strict=True):
        assert lowest <= rank <= highest


def test_the_first_photo_is_in_the_catalogue_and_the_next_different_one_is_the_question() -> None:
    table = pd.DataFrame(
        {
            "image_id": ["c", "b", "a", "d", "e", "f", "g", "h"],
            "product_id": ["p", "p", "p", "q", "r", "r", "t", "t"],
            "split": ["test", "test", "test", "test", "test", "test", "train", "train"],
            "sha256": ["3", "1", "1", "4", "5", "5", "6", "7"],
        },
        index=np.arange(100, 108),
    )
    pairs = choose_pairs(table, "test")
    assert table["image_id"].to_numpy()[pairs.catalogue].tolist() == ["a", "d", "e", "g"]
    assert table["image_id"].to_numpy()[pairs.questions].tolist() == ["c"]  # b, f are copies; g, h are of another split
    assert pairs.answers.tolist() == [0]


def test_equal_vectors_are_listed_in_the_catalogues_order() -> None:
    table = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "product_id": ["p", "p", "q", "q", "r", "r"],
            "split": ["test"] * 6,
            "sha256": list("123456"),
        }
    )
    pairs = choose_pairs(table, "test")
    vectors = np.ones((6, 2), np.float32)
    ranks = rank_own_products(vectors, table["sha256"].to_numpy(), pairs, hub_neighbours=1, hub_weight=0.5)
    assert ranks.tolist() == [0, 1, 2]
    assert recall_from_ranks(ranks, 2) == pytest.approx(2 / 3)
    assert measure_same_product(ranks)["same_product_recall_at_1"].tolist() == [1, 0, 0]


def test_a_hub_gives_way_to_the_product_itself() -> None:
    # h is close to everything, and a little closer to the question of p than p's own photo.
    table = pd.DataFrame(
        {
            "image_id": list("abcdef"),
            "product_id": ["p", "p", "h", "q", "r", "s"],
            "split": ["test"] * 6,
            "sha256": list("123456"),
        }
    )
    degrees = np.array([0, 32, 60, 70, 80, 90])
    vectors = np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1).astype(np.float32)
    pairs = choose_pairs(table, "test")
    sha256 = table["sha256"].to_numpy()
    assert rank_own_products(vectors, sha256, pairs, hub_neighbours=2, hub_weight=0.0).tolist() == [1]
    assert rank_own_products(vectors, sha256, pairs, hub_neighbours=2, hub_weight=0.5).tolist() == [0]


def test_a_shop_with_one_photo_for_each_product_has_no_recall() -> None:
    table = pd.DataFrame({"image_id": ["a"], "product_id": ["p"], "split": ["test"], "sha256": ["1"]})
    pairs = choose_pairs(table, "test")
    ranks = rank_own_products(np.ones((1, 2)), table["sha256"].to_numpy(), pairs, hub_neighbours=5, hub_weight=0.5)
    assert len(ranks) == 0
    assert math.isnan(recall_from_ranks(ranks, 1))
    assert [len(values) for values in measure_same_product(ranks).values()] == [0, 0]


def test_of_many_questions_a_sample_is_asked() -> None:
    n = MAX_QUESTIONS + 10
    table = pd.DataFrame(
        {
            "image_id": [f"i{i:06}" for i in range(2 * n)],
            "product_id": [f"p{i // 2}" for i in range(2 * n)],
            "split": "test",
            "sha256": [f"s{i}" for i in range(2 * n)],
        }
    )
    pairs = choose_pairs(table, "test")
    assert len(pairs.catalogue) == n
    assert len(set(pairs.questions)) == MAX_QUESTIONS
    assert (pairs.questions == 2 * pairs.answers + 1).all()
    again = choose_pairs(table, "test")
    assert (again.questions == pairs.questions).all()
