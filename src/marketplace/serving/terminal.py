"""Answers in the terminal: a table as wide as there is room for, or JSON."""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from marketplace.recommendation.products import price_text
from marketplace.serving.answers import SimilarProduct

WIDTH_OF_A_PIPE = 240  # nothing is cut there
ROOMY, MEDIUM = 140, 100  # characters: from there on, whole ids and categories; and locations


def print_json(found: Sequence[SimilarProduct]) -> None:
    """Print what was found as the API gives it: a list of objects, prices as texts."""
    rows = [dataclasses.asdict(similar) for similar in found]
    sys.stdout.write(json.dumps(rows, ensure_ascii=False, indent=2, default=str) + "\n")


def print_table(heading: str, details: str, found: Sequence[SimilarProduct], short_id: Callable[[str], str]) -> None:
    """Print what was found; in a narrow terminal without locations, and with the beginnings of ids."""
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_A_PIPE
    roomy, medium = console.width >= ROOMY, console.width >= MEDIUM
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "score", "price"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("name", "category", *(["location"] if medium else [])):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    ids = [similar.product.product_id if roomy else short_id(similar.product.product_id) for similar in found]
    table.add_column("id", no_wrap=True, min_width=max(map(len, ids), default=0))
    for similar, product_id in zip(found, ids, strict=True):
        product = similar.product
        shared = " same photo" if similar.same_photo else " same title" if similar.same_text else ""
        category = product.category if roomy else product.category.rpartition(" / ")[2]
        place = [product.location] if medium else []
        price = price_text(product.price, product.currency)
        score = f"{similar.score:.3f}{shared}"
        table.add_row(str(similar.rank), score, price, product.name, category, *place, product_id)
    console.print(f"{heading}\n{details}".strip() + "\n")
    console.print(table if found else "Nothing in the catalogue passes these filters.")
