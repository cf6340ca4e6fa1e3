"""The words of a listing that are compared."""

import pandas as pd

from marketplace.texts.comparison import comparable
from marketplace.texts.markup import strip_markup

MAX_CHARACTERS = 1000  # of a text that are compared; more of them add time and no meaning


def plain_text(text: str) -> str:
    """Return a text as texts are compared: without markup, in the comparable form, and cut after MAX_CHARACTERS.

    >>> plain_text("<b>Oak&nbsp;table</b> &amp; chairs")
    'Oak table & chairs'
    """
    return comparable(strip_markup(text[: 4 * MAX_CHARACTERS]))[:MAX_CHARACTERS]


def product_texts(products: pd.DataFrame) -> "pd.Series[str]":
    """Return each product's title and description; a description that many products share is left out."""
    descriptions = products["product_description"]
    is_shared = descriptions.map(descriptions.value_counts()) > max(1, len(products) // 100)
    return (products["product_name"] + " " + descriptions.where(~is_shared, "")).str.strip()
