"""The gallery: one page with recommendations of typical products, of the least sure, and of some that are judged."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from marketplace.compute.arrays import Images
from marketplace.photos.codec import thumbnail
from marketplace.recommendation.agreement import compare_categories, drop_shared_listings
from marketplace.recommendation.products import SEPARATOR, Products, price_text, shared_label
from marketplace.relevance.judgements import Judgements
from marketplace.relevance.metrics import GOOD_DEPTH
from marketplace.reports.pages import CARD_PIXELS, Card, caption, data_url, write_page

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).parent / "templates" / "gallery.html"
SEED = "gallery"  # another one shows other typical products
N_TYPICAL = 12
N_LEAST_SURE = 6
N_JUDGED = 6
SHOWN = GOOD_DEPTH  # recommendations of a product


@dataclass(frozen=True)
class Case:
    """A product and its first recommendations, as a page shows them."""

    close: int | None  # of all its recommendations; None: unknown
    count: int  # all its recommendations
    probability: float | None  # that a shopper calls the first one good; None: unknown
    query: Card
    similar: list[Card]


@dataclass(frozen=True)
class Section:
    """Some cases, and how they were chosen."""

    title: str
    choice: str
    cases: list[Case]


class CaseMaker:
    """Makes cases of products, from their recommendations and the grades that people gave these.

    `images` `(N, S, S, 3) uint8` are in the order of the training data.
    """

    def __init__(self, products: Products, recommended: pd.DataFrame, judgements: Judgements, images: Images) -> None:
        self._products = products
        agreements = _agreements(products, recommended)
        self._recommended = dict(iter(recommended.assign(agreement=agreements).groupby("product_id")))
        pairs = zip(judgements.questions.tolist(), judgements.candidates.tolist(), strict=True)
        self._grades = dict(zip(pairs, judgements.grades.tolist(), strict=True))
        self._images = images

    def make(self, product_id: str) -> Case:
        """Return the case of a product that has recommendations."""
        rows = self._recommended[product_id].sort_values("rank")
        first_probability = rows["probability"].iloc[0]
        return Case(
            close=None if rows["close"].isna().any() else int(rows["close"].astype(bool).sum()),
            count=len(rows),
            probability=None if pd.isna(first_probability) else float(first_probability),
            query=self._card(product_id, similarity="", agrees="query"),
            similar=[
                self._card(
                    row.similar_product_id,
                    similarity=caption(row.score, shared_label(row.same_photo, row.same_text)),
                    agrees=row.agreement,
                    grade=self._grades.get((product_id, row.similar_product_id)),
                )
                for row in rows.head(SHOWN).itertuples()
            ],
        )

    def _card(self, product_id: str, similarity: str, agrees: str, grade: int | None = None) -> Card:
        number = self._products.number_of[product_id]
        product = self._products.table.iloc[number]
        path = product["category_path"]
        leaf = path.removeprefix(product["category"]).removeprefix(SEPARATOR) or path
        category = leaf if agrees in ("leaf", "root") else path
        return Card(
            photo=data_url(thumbnail(self._images[self._products.photos_of(number)[0]], CARD_PIXELS)),
            name=product["product_name"],
            details=f"{similarity} · {category}" if similarity else category,
            caption=price_text(product["price"], product["currency"]),
            agrees=agrees,
            grade=grade,
        )


def write_gallery(
    path: Path,
    products: Products,
    recommended: pd.DataFrame,
    judgements: Judgements,
    images: Images,
    metrics: dict[str, Any],
) -> None:
    """Write the page about products of the test split, which the model was not trained on.

    `images` `(N, S, S, 3) uint8` are in the order of the training data. `metrics` is the content of
    metrics/evaluate.json, with the metrics of the recommendations under `recommend`.
    """
    maker = CaseMaker(products, recommended, judgements, images)
    in_test = set(products.table["product_id"][products.table["split"] == "test"])
    rows = recommended[recommended["product_id"].isin(in_test)]
    ids = rows["product_id"].unique().tolist()
    judged = set(judgements.questions.tolist())
    choices = [
        ("Typical products", f"{N_TYPICAL} at random.", draw_typical(ids, N_TYPICAL)),
        (
            "The least sure",
            "Those whose first recommendation is the least likely to be called good, or the least similar one.",
            find_least_sure(rows, N_LEAST_SURE),
        ),
        ("Judged products", f"{N_JUDGED} at random.", draw_typical([own for own in ids if own in judged], N_JUDGED)),
    ]
    sections = [
        Section(title=title, choice=choice, cases=[maker.make(product_id) for product_id in chosen])
        for title, choice, chosen in choices
        if chosen
    ]
    write_page(path, TEMPLATE, sections=sections, metrics=metrics, n=len(products.table), shown=SHOWN)
    log.info("%s recommendations; %s shows some of them", f"{len(recommended):,}", path)


def draw_typical(product_ids: Sequence[str], n: int) -> list[str]:
    """Draw `n` products at random: by a hash of their ids, so they stay the same while others come and go."""
    return sorted(product_ids, key=lambda own: hashlib.sha256(f"{SEED}:{own}".encode()).digest())[:n]


def find_least_sure(recommended: pd.DataFrame, n: int) -> list[str]:
    """Return the `n` products whose first recommendation is the least probable, or else has the lowest score.

    Products whose first recommendation shares a photo or the title are left out.
    """
    first = drop_shared_listings(recommended[recommended["rank"] == 1])
    ordered = first.sort_values(["probability", "score", "product_id"])
    return ordered["product_id"].head(n).tolist()


def _agreements(products: Products, recommended: pd.DataFrame) -> np.ndarray:
    """Return `(n,) str`: the level on which products and their recommendations agree: leaf, root or none."""
    same_leaf = compare_categories(products, recommended, "category_path")
    same_root = compare_categories(products, recommended, "category")
    return np.select([~same_root, same_leaf], ["none", "leaf"], "root")
