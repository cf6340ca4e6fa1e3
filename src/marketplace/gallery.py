"""A page that shows what is recommended, best and worst cases both, in one file that needs nothing else."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from marketplace.files import replacing
from marketplace.images import thumbnail
from marketplace.products import Products, display_name

TEMPLATES = Path(__file__).parent / "web"
THUMBNAIL = 120  # pixels a side; shown at half of that or so on a phone


@dataclass(frozen=True)
class Card:
    """A product in a row of the page."""

    photo: str  # a data: URL
    name: str
    details: str  # in a gallery, the category path without its root
    caption: str
    agrees: str  # with the product that was asked about: leaf, root, none or (the product itself) query


@dataclass(frozen=True)
class Case:
    """A product and what is recommended for it."""

    kind: str  # best or worst
    right: int  # how many of the recommended share its root category
    right_leaf: int  # … and the whole category path
    query: Card
    similar: list[Card]


def write_gallery(
    path: Path, products: Products, recommended: pd.DataFrame, images: np.ndarray, metrics: dict[str, Any]
) -> None:
    """Write the page: of every category the test product with the best recommendations, and that with the worst.

    `images` `(N, S, S, 3) uint8` in the order of the training data; `metrics` are those of the evaluation, with those
    of the recommendations under `recommend`.
    """
    sections = [
        (category, [_case(kind, number, products, rows, images) for kind, number, rows in cases])
        for category, cases in _extremes(products, recommended)
    ]
    write_page(path, "gallery.html", sections=sections, metrics=metrics, n=len(products.table))


def write_page(path: Path, template: str, **values: object) -> None:
    """Fill one of the templates and write it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template(template).render(values)
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")


def _extremes(
    products: Products, recommended: pd.DataFrame
) -> Iterator[tuple[str, list[tuple[str, int, pd.DataFrame]]]]:
    """Category by category, its best and its worst test product and the rows that recommend something for it.

    The best have the most recommended products of their own leaf, then of their root category, then the highest scores;
    the worst have the fewest, and the highest scores: they are wrong and sure of it.
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


def _case(kind: str, number: int, products: Products, rows: pd.DataFrame, images: np.ndarray) -> Case:
    asked = products.table.iloc[number]
    similar = []
    for row in rows.itertuples():
        other = products.number_of[str(row.similar_product_id)]
        found = products.table.iloc[other]
        agrees = "leaf" if found["category_path"] == asked["category_path"] else "root"
        agrees = agrees if found["category"] == asked["category"] else "none"
        similar.append(_card(other, products, images, caption(row.score, row.same_photo), agrees))
    right, right_leaf = (sum(card.agrees in kinds for card in similar) for kinds in ({"leaf", "root"}, {"leaf"}))
    query = _card(number, products, images, f"£{asked['price']:,}", "query")
    return Case(kind, right, right_leaf, query, similar)


def _card(number: int, products: Products, images: np.ndarray, text: str, agrees: str) -> Card:
    product = products.table.iloc[number]
    url = data_url(thumbnail(images[products.photos_of(number)[0]], THUMBNAIL))
    path = product["category_path"]
    leaf = path.removeprefix(product["category"]).removeprefix(" / ") or path
    return Card(url, display_name(product["product_name"]), path if agrees == "none" else leaf, text, agrees)


def caption(score: float, same_photo: bool) -> str:
    """What stands below a similar product's photo."""
    return f"{score:.2f}" + (", same photo" if same_photo else "")


def data_url(jpeg: bytes) -> str:
    """A photo in the form in which a page can hold it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
