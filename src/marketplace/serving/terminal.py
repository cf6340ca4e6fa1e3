"""Answers in the terminal: a table that adapts to its width, or JSON."""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence

from rich.table import Table

from marketplace.common.console import CONTROL_CHARACTERS, table_console
from marketplace.recommendation.products import price_text, shared_label
from marketplace.serving.answers import SimilarProduct

WIDE = 140  # columns, from which on ids and categories are shown in full
MEDIUM = 100  # columns, from which on locations are shown


def print_json(products: Sequence[SimilarProduct]) -> None:
    """Print similar products like the API: a list of objects, prices as texts."""
    rows = [dataclasses.asdict(similar) for similar in products]
    text = json.dumps(rows, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write(CONTROL_CHARACTERS.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")


def print_table(
    heading: str, details: str, products: Sequence[SimilarProduct], shorten_id: Callable[[str], str]
) -> None:
    """Print similar products; a narrow terminal shows no locations, and shortened ids."""
    console = table_console()
    wide = console.width >= WIDE
    medium = console.width >= MEDIUM
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "score", "price"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("name", "category", *(["location"] if medium else [])):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    ids = [similar.product.product_id if wide else shorten_id(similar.product.product_id) for similar in products]
    table.add_column("id", no_wrap=True, min_width=max(map(len, ids), default=0))
    for similar, product_id in zip(products, ids, strict=True):
        product = similar.product
        score = f"{similar.score:.3f} {shared_label(similar.same_photo, similar.same_text)}".rstrip()
        price = price_text(product.price, product.currency)
        category = product.category if wide else product.category.rpartition(" / ")[2]
        location = [product.location] if medium else []
        table.add_row(str(similar.rank), score, price, product.name, category, *location, product_id)
    console.print(f"{heading}\n{details}".strip() + "\n")
    console.print(table if products else "No products pass these filters.")
