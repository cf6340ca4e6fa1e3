"""The contact sheets: which photos they show, and where."""

import numpy as np
import pandas as pd

from marketplace.evaluation.contact_sheets import (
    GAP,
    HEADING,
    MISTAKE_WIDTH,
    RED,
    THUMBNAIL,
    first_test_images,
    mistakes_sheet,
    similar_sheet,
    worst_mistakes,
)


def test_a_row_shows_the_nearest_photos_of_other_products_and_marks_another_category() -> None:
    # Product 0 has images 0 and 1. The other products have one each, farther and farther away, the last in another
    # category.
    angles = np.array([0, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    table = pd.DataFrame(
        {
            "product_id": ["p0", "p0", "p2", "p3", "p4", "p5", "p6", "p7"],
            "category": ["a very long name of a category, too long & wide"] * 7 + ["b"],
            "sha256": [str(i) for i in range(8)],
        }
    )
    images = np.stack([np.full((32, 32, 3), 25 * i, np.uint8) for i in range(8)])
    sheet = similar_sheet(images, table, embeddings, np.array([0]))
    row = HEADING + GAP + THUMBNAIL // 2
    pitch = THUMBNAIL + GAP
    similar_left = GAP + pitch + 2 * GAP
    columns = [GAP, *(similar_left + place * pitch for place in range(6))]
    shown = [np.asarray(sheet)[row, column + THUMBNAIL // 2, 0] // 25 for column in columns]
    assert shown == [0, 2, 3, 4, 5, 6, 7]
    captions = np.asarray(sheet)[HEADING + GAP + THUMBNAIL :].astype(int)
    red = (np.abs(captions - RED).sum(axis=2) < 40).any(axis=0)
    assert red[columns[-1] :].any()
    assert not red[: columns[-1]].any()


def test_the_first_images_are_taken_from_evenly_spread_categories() -> None:
    table = pd.DataFrame({"category": list("aabbccdd"), "split": ["train", "test", "test", "test"] * 2})
    assert first_test_images(table, n=2).tolist() == [1, 6]
    assert first_test_images(table, n=9).tolist() == [1, 2, 5, 6]


def test_the_most_confident_mistakes_come_first_one_per_product_and_are_shown_in_that_order() -> None:
    table = pd.DataFrame({"product_id": ["a", "b", "c", "c", "d"], "label": [0, 0, 1, 1, 1]})
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.7, 0.3]])  # for rows 0 to 3
    mistakes = worst_mistakes(table, np.arange(4), probabilities)
    assert mistakes["row"].tolist() == [2, 1]
    assert mistakes["assigned"].tolist() == [0, 1]
    assert mistakes["probability"].tolist() == [0.8, 0.6]
    images = np.stack([np.full((32, 32, 3), 50 * i, np.uint8) for i in range(5)])
    sheet = np.asarray(mistakes_sheet(images, table, mistakes, ["hats", "shoes"]))
    top = HEADING + GAP + THUMBNAIL // 2
    shown = [sheet[top, GAP + place * MISTAKE_WIDTH + THUMBNAIL // 2, 0] // 50 for place in range(2)]
    assert shown == [2, 1]
    none = worst_mistakes(table, np.arange(1), probabilities[:1])
    assert len(none) == 0
    assert mistakes_sheet(images, table, none, ["hats", "shoes"]).size[1] > 0
