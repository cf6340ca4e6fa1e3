"""The words of a listing that are compared."""

import html
import re

import pandas as pd

LONGEST = 1000  # characters of a text that are compared; the rest adds time and no meaning
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,200}>")  # "a < b and c > d" has none


def plain_text(text: str) -> str:
    """A text without HTML, on one line, and cut after LONGEST characters.

    >>> plain_text("<b>Oak&nbsp;table</b> &amp; chairs")
    'Oak table & chairs'
    """
    without_tags = _TAG.sub(" ", text[: 4 * LONGEST])
    return " ".join(html.unescape(without_tags).split())[:LONGEST]


def product_texts(products: pd.DataFrame) -> "pd.Series[str]":
    """Title and description of each product; a description that many products share is left out."""
    descriptions = products["product_description"]
    shared = descriptions.map(descriptions.value_counts()) > max(1, len(products) // 100)
    return (products["product_name"] + " " + descriptions.where(~shared, "")).str.strip()
