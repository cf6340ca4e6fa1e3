"""The words of a listing that are compared."""

import html
import re

import pandas as pd

MAX_CHARACTERS = 1000  # of a text that are compared; more of them add time and no meaning
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,200}>")  # "a < b and c > d" has none


def plain_text(text: str) -> str:
    """Return a text without HTML, on one line, and cut after MAX_CHARACTERS.

    >>> plain_text("<b>Oak&nbsp;table</b> &amp; chairs")
    'Oak table & chairs'
    """
    without_tags = _TAG.sub(" ", text[: 4 * MAX_CHARACTERS])
    return " ".join(html.unescape(without_tags).split())[:MAX_CHARACTERS]


def product_texts(products: pd.DataFrame) -> "pd.Series[str]":
    """Return each product's title and description; a description that many products share is left out."""
    descriptions = products["product_description"]
    is_shared = descriptions.map(descriptions.value_counts()) > max(1, len(products) // 100)
    return (products["product_name"] + " " + descriptions.where(~is_shared, "")).str.strip()
