import numpy as np
import pandas as pd

from marketplace.pictures import GAP, HEADING, MISS, THUMBNAIL, first_of_each, similar_sheet


def test_a_row_shows_the_nearest_photos_of_other_products_and_marks_another_category() -> None:
    # Product 0 (images 0, 1); then products alone, ever farther away, the last in another category.
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
    row, right = HEADING + GAP + THUMBNAIL // 2, GAP + (THUMBNAIL + GAP) + 2 * GAP
    columns = [GAP, *(right + place * (THUMBNAIL + GAP) for place in range(6))]
    shown = [np.asarray(sheet)[row, column + THUMBNAIL // 2, 0] // 25 for column in columns]
    assert shown == [0, 2, 3, 4, 5, 6, 7]
    captions = np.asarray(sheet)[HEADING + GAP + THUMBNAIL :].astype(int)
    red = (np.abs(captions - MISS).sum(axis=2) < 40).any(axis=0)
    assert red[columns[-1] :].any()
    assert not red[: columns[-1]].any()


def test_queries_are_chosen_without_looking() -> None:
    table = pd.DataFrame({"category": list("aabbccdd"), "split": ["train", "test", "test", "test"] * 2})
    assert first_of_each(table, n=2).tolist() == [1, 6]
    assert first_of_each(table, n=9).tolist() == [1, 2, 5, 6]
