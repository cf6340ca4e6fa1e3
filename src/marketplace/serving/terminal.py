"""Answers in the terminal: a table that adapts to its width, or JSON."""

import dataclasses
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from marketplace.common.console import printable, table_console
from marketplace.recommendation.products import SEPARATOR, price_text, shared_label
from marketplace.review import terminal
from marketplace.serving.answers import Answer, SimilarProduct

WIDE = 140  # columns, from which on ids and categories are shown in full
MEDIUM = 100  # columns, from which on locations are shown


def print_json(answer: Answer) -> None:
    """Print an answer like the API: an object, prices as texts."""
    terminal.print_json(dataclasses.asdict(answer))


def print_answer(heading: str, details: str, answer: Answer, shorten_id: Callable[[str], str]) -> None:
    """Print an answer; a narrow terminal shows no locations, and shortened ids.

    Similar products that are close say so, unless they share a photo or a title with the question.
    """
    console = table_console()
    lines = [heading, details]
    if answer.corrected is not None:
        lines.append(f"No listing has these words. Showing “{answer.corrected}”.")
    if answer.visible:
        named = [f"{one.category} ({one.probability:.0%})" for one in answer.visible]
        lines.append(f"The photo seems to show: {', '.join(named)}")
    console.print("\n".join(line for line in lines if line) + "\n")
    if answer.same:
        copy = "An exact copy of a listing's photo:" if answer.same[0].same_photo else "The same item:"
        console.print(copy)
        console.print(_table(console, answer.same, shorten_id))
        console.print("\nSimilar items:")
    console.print(_table(console, answer.similar, shorten_id) if answer.similar else "No products match.")


def _table(console: Console, products: Sequence[SimilarProduct], shorten_id: Callable[[str], str]) -> Table:
    wide = console.width >= WIDE
    medium = console.width >= MEDIUM
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "score", "price"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("name", "category", *(["location"] if medium else [])):
        table.add_column(column)
    ids = [similar.product.product_id if wide else shorten_id(similar.product.product_id) for similar in products]
    table.add_column("id", no_wrap=True, min_width=max(map(len, ids), default=0))
    for similar, product_id in zip(products, ids, strict=True):
        product = similar.product
        label = shared_label(similar.same_photo, similar.same_text) or ("close" if similar.close else "")
        score = f"{similar.score:.3f} {label}".rstrip()
        price = price_text(product.price, product.currency)
        category = product.category if wide else product.category.rpartition(SEPARATOR)[2]
        location = [product.location] if medium else []
        texts = [
            Text(printable(text), no_wrap=True, overflow="ellipsis") for text in (product.name, category, *location)
        ]
        table.add_row(str(similar.rank), score, price, *texts, product_id)
    return table
