"""The gallery: recommendations for the best and the worst test product of every category, on one page."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from marketplace.compute.arrays import Images
from marketplace.photos.codec import thumbnail
from marketplace.recommendation.products import Products, price_text
from marketplace.reports.pages import CARD_PIXELS, Card, caption, data_url, write_page

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).parent / "templates" / "gallery.html"


@dataclass(frozen=True)
class Case:
    """A product and its recommendations."""

    kind: str  # best or worst
    right: int  # how many recommendations share its root category
    right_leaf: int  # … and its whole category path
    query: Card
    similar: list[Card]


def write_gallery(
    path: Path, products: Products, recommended: pd.DataFrame, images: Images, metrics: dict[str, Any]
) -> None:
    """Write the page: for every category, the test product with the best recommendations and the one with the worst.

    `images` `(N, S, S, 3) uint8` in the order of the training data; `metrics` are those of the evaluation, with those
    of the recommendations under `recommend`.
    """
    sections = [
        (category, [_case(kind, number, products, rows, images) for kind, number, rows in cases])
        for category, cases in _extremes(products, recommended)
    ]
    write_page(path, TEMPLATE, sections=sections, metrics=metrics, n=len(products.table))
    log.info("%s recommendations; %s shows some of them", f"{len(recommended):,}", path)


def _extremes(
    products: Products, recommended: pd.DataFrame
) -> Iterator[tuple[str, list[tuple[str, int, pd.DataFrame]]]]:
    """Category by category, its best and its worst test product and the rows of their recommendations.

    The best have the most recommended products of their own leaf, then of their root category, then the highest scores;
    the worst have the fewest, and the highest scores: they are wrong, and confident.
    """
    table = products.table
    query, similar = (recommended[name].map(products.number_of) for name in ("product_id", "similar_product_id"))
    judged = pd.DataFrame(
        {
            "query": query,
            "root": _same(table["category"], query, similar),
            "leaf": _same(table["category_path"], query, similar),
            "score": recommended["score"],
        }
    )
    judged = judged[table["split"].to_numpy()[query] == "test"].groupby("query").mean()
    judged["category"] = table["category"].to_numpy()[judged.index]
    for category, group in judged.groupby("category"):
        best = group.sort_values(["leaf", "root", "score"], ascending=False, kind="stable").index[0]
        worst = group.sort_values(["root", "leaf", "score"], ascending=[True, True, False], kind="stable").index[0]
        cases = [("best", best)] if best == worst else [("best", best), ("worst", worst)]
        yield str(category), [(kind, int(number), recommended[query == number]) for kind, number in cases]


def _same(column: "pd.Series[str]", query: "pd.Series[int]", similar: "pd.Series[int]") -> np.ndarray:
    values = column.to_numpy()
    same: np.ndarray = values[query] == values[similar]
    return same


def _case(kind: str, number: int, products: Products, rows: pd.DataFrame, images: Images) -> Case:
    asked = products.table.iloc[number]
    similar = []
    for row in rows.itertuples():
        other = products.number_of[str(row.similar_product_id)]
        found = products.table.iloc[other]
        agrees = "leaf" if found["category_path"] == asked["category_path"] else "root"
        agrees = agrees if found["category"] == asked["category"] else "none"
        similar.append(_card(other, products, images, caption(row.score, row.same_photo, row.same_text), agrees))
    right = sum(card.agrees in {"leaf", "root"} for card in similar)
    right_leaf = sum(card.agrees == "leaf" for card in similar)
    query = _card(number, products, images, price_text(asked["price"], asked["currency"]), "query")
    return Case(kind, right, right_leaf, query, similar)


def _card(number: int, products: Products, images: Images, text: str, agrees: str) -> Card:
    product = products.table.iloc[number]
    url = data_url(thumbnail(images[products.photos_of(number)[0]], CARD_PIXELS))
    path = product["category_path"]
    leaf = path.removeprefix(product["category"]).removeprefix(" / ") or path
    return Card(url, product["product_name"], path if agrees == "none" else leaf, text, agrees)
