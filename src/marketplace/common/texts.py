"""Texts of listings: the name that is shown, and the words that are compared."""

import html
import re

LONGEST = 1000  # characters of a text that are compared; the rest adds time and no meaning
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,200}>")  # "a < b and c > d" has none


def display_name(product_name: str) -> str:
    """A product's name without what marketplaces append to it.

    >>> display_name("Boots | in Leeds | Listings")
    'Boots'
    """
    return product_name.partition(" | ")[0].strip() or product_name


def plain_text(text: str) -> str:
    """A text without HTML, on one line, and cut after LONGEST characters.

    >>> plain_text("<b>Oak&nbsp;table</b> &amp; chairs")
    'Oak table & chairs'
    """
    without_tags = _TAG.sub(" ", text[: 4 * LONGEST])
    return " ".join(html.unescape(without_tags).split())[:LONGEST]
