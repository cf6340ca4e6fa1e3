"""The gallery: one page with recommendations for each category's best and worst test product."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from marketplace.compute.arrays import Images
from marketplace.photos.codec import thumbnail
from marketplace.recommendation.agreement import compare_categories
from marketplace.recommendation.products import Products, price_text, shared_label
from marketplace.reports.pages import CARD_PIXELS, Card, caption, data_url, write_page

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).parent / "templates" / "gallery.html"


@dataclass(frozen=True)
class Extreme:
    """A category's best or worst test product, and its recommendations."""

    category: str
    kind: str  # best or worst
    number: int  # the row in the table of products
    recommended: pd.DataFrame  # its rows in the table of recommendations, with the `agreement` of their categories


@dataclass(frozen=True)
class Case:
    """A product and its recommendations, as the page shows them."""

    kind: str  # best or worst
    right: int  # recommendations in its root category
    right_leaf: int  # recommendations with its whole category path
    query: Card
    similar: list[Card]


def write_gallery(
    path: Path, products: Products, recommended: pd.DataFrame, images: Images, metrics: dict[str, Any]
) -> None:
    """Write the page: for every category, the test product with the best recommendations and the one with the worst.

    `images` `(N, S, S, 3) uint8` are in the order of the training data. `metrics` is the content of
    metrics/evaluate.json, with the metrics of the recommendations under `recommend`.
    """
    recommended = recommended.assign(agreement=_agreements(products, recommended))
    sections: dict[str, list[Case]] = {}
    for extreme in _extremes(products, recommended):
        sections.setdefault(extreme.category, []).append(_case(extreme, products, images))
    write_page(path, TEMPLATE, sections=list(sections.items()), metrics=metrics, n=len(products.table))
    log.info("%s recommendations; %s shows some of them", f"{len(recommended):,}", path)


def _agreements(products: Products, recommended: pd.DataFrame) -> np.ndarray:
    """Return `(n,) str`: the level on which products and their recommendations agree: leaf, root or none."""
    same_leaf = compare_categories(products, recommended, "category_path")
    same_root = compare_categories(products, recommended, "category")
    return np.select([~same_root, same_leaf], ["none", "leaf"], "root")


def _extremes(products: Products, recommended: pd.DataFrame) -> Iterator[Extreme]:
    """Yield each category's best and worst test product; once, if they are the same.

    The best has the most recommendations in its leaf category, then in its root category, then the highest scores. The
    worst has the fewest, and the highest scores: it is wrong, and confident.
    """
    table = products.table
    query = recommended["product_id"].map(products.number_of)
    judged = pd.DataFrame(
        {
            "query": query,
            "root": recommended["agreement"] != "none",
            "leaf": recommended["agreement"] == "leaf",
            "score": recommended["score"],
        }
    )
    judged = judged[table["split"].to_numpy()[query] == "test"].groupby("query").mean()
    judged["category"] = table["category"].to_numpy()[judged.index]
    for category, group in judged.groupby("category"):
        best = group.sort_values(["leaf", "root", "score"], ascending=False, kind="stable").index[0]
        worst = group.sort_values(["root", "leaf", "score"], ascending=[True, True, False], kind="stable").index[0]
        extremes = {"best": best} if best == worst else {"best": best, "worst": worst}
        for kind, number in extremes.items():
            yield Extreme(
                category=str(category), kind=kind, number=int(number), recommended=recommended[query == number]
            )


def _case(extreme: Extreme, products: Products, images: Images) -> Case:
    product = products.table.iloc[extreme.number]
    query = _card(extreme.number, products, images, price_text(product["price"], product["currency"]), "query")
    similar = []
    for row in extreme.recommended.itertuples():
        number = products.number_of[str(row.similar_product_id)]
        text = caption(row.score, shared_label(row.same_photo, row.same_text))
        similar.append(_card(number, products, images, text, str(row.agreement)))
    return Case(
        kind=extreme.kind,
        right=sum(card.agrees in {"leaf", "root"} for card in similar),
        right_leaf=sum(card.agrees == "leaf" for card in similar),
        query=query,
        similar=similar,
    )


def _card(number: int, products: Products, images: Images, text: str, agrees: str) -> Card:
    product = products.table.iloc[number]
    path = product["category_path"]
    leaf = path.removeprefix(product["category"]).removeprefix(" / ") or path
    return Card(
        photo=data_url(thumbnail(images[products.photos_of(number)[0]], CARD_PIXELS)),
        name=product["product_name"],
        details=path if agrees == "none" else leaf,
        caption=text,
        agrees=agrees,
    )
