"""The page of recommendations."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.shop import recommend, shop

from marketplace.recommendation.gallery import CaseMaker, draw_typical, find_least_sure, write_gallery
from marketplace.recommendation.products import Products, price_text, products_of
from marketplace.relevance.judgements import Judgements

PHOTO_METRICS = {"accuracy": 0.5, "leaf_precision_at_10": 0.5}
METRICS = {
    **PHOTO_METRICS,
    "untouched_projected": PHOTO_METRICS,
    "recommend": {"coverage": 1.0, "category_agreement": 0.5, "leaf_agreement": 0.5},
}
NO_JUDGEMENTS = Judgements(questions=np.array([], str), candidates=np.array([], str), grades=np.array([], int))


def make_shop(**facts: object) -> tuple[Products, pd.DataFrame, np.ndarray]:
    """Return products, their recommendations and black photos."""
    table, vectors = shop(n_products=30)
    products = products_of(table.assign(**facts))
    return products, recommend(products, vectors), np.zeros((len(table), 8, 8, 3), np.uint8)


def test_texts_of_products_stay_text_in_a_gallery(tmp_path: Path) -> None:
    products, recommended, images = make_shop(product_name="<script>alert(1)</script>")
    write_gallery(tmp_path / "gallery.html", products, recommended, NO_JUDGEMENTS, images, METRICS)
    page = (tmp_path / "gallery.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_judged_pairs_carry_their_grades(tmp_path: Path) -> None:
    products, recommended, images = make_shop()
    in_test = products.table["product_id"][products.table["split"] == "test"]
    pairs = recommended[recommended["product_id"] == in_test.iloc[0]].iloc[:3]
    judgements = Judgements(
        questions=pairs["product_id"].to_numpy(str),
        candidates=pairs["similar_product_id"].to_numpy(str),
        grades=np.array([2, 0, 1]),
    )
    case = CaseMaker(products, recommended, judgements, images).make(in_test.iloc[0])
    assert [card.grade for card in case.similar] == [2, 0, 1, None, None]
    first = products.table.set_index("product_id").loc[pairs["similar_product_id"].iloc[0]]
    assert case.similar[0].caption == price_text(first["price"], first["currency"])
    assert (case.close, case.count, case.probability) == (None, 5, None)

    write_gallery(tmp_path / "gallery.html", products, recommended, judgements, images, METRICS)
    page = (tmp_path / "gallery.html").read_text()
    assert re.findall("<h2>(.*)</h2>", page) == ["Typical products", "The least sure", "Judged products"]
    judged = page.partition("<h2>Judged products</h2>")[2]
    assert judged.count("<section") == 1
    assert re.findall(r'<i class="grade g(\d)" role="img" aria-label="judged: ([\w ]+)"', judged) == [
        ("2", "a real alternative"),
        ("0", "not similar"),
        ("1", "related and tolerable"),
    ]


def test_typical_products_stay_while_others_come_and_go() -> None:
    ids = [f"p{number}" for number in range(100)]
    drawn = draw_typical(ids, 10)
    assert drawn == draw_typical(ids[::-1], 10)
    assert len(set(drawn)) == 10
    gone = drawn[3]
    assert [own for own in draw_typical([own for own in ids if own != gone], 10) if own in drawn] == [
        own for own in drawn if own != gone
    ]


@pytest.mark.parametrize(
    ("probability", "expected"),
    [([0.9, 0.2, 0.1, 0.2], ["b", "d"]), ([None] * 4, ["d", "b"])],
    ids=["known", "unknown"],
)
def test_the_least_sure_have_the_lowest_probability_or_else_the_lowest_score(
    probability: list[float | None], expected: list[str]
) -> None:
    recommended = pd.DataFrame(
        {
            "product_id": ["a", "b", "c", "d", "a"],
            "rank": [1, 1, 1, 1, 2],
            "score": [0.9, 0.5, 0.1, 0.5 if probability[0] else 0.4, 0.0],
            "probability": pd.array([*probability, 0.0], dtype="Float32"),
            "same_photo": [False, False, True, False, False],
            "same_text": False,
        }
    )
    assert find_least_sure(recommended, 2) == expected
