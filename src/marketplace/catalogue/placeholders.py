"""Pictures that say "no photo": one picture on products that have nothing else in common."""

import re
from collections import Counter
from itertools import chain

import numpy as np
import pandas as pd

from marketplace.compute.groups import number_groups

# In a real marketplace of 3,500 products, sellers used one photo for six products at most.
MIN_PLACEHOLDER_PRODUCTS = 8
MAX_RE_ENCODED_DISTANCE = 32  # bits by which the hashes of one picture differ (see near_duplicates)
# Titles have a word in common if at least this share of them has it, and at most half that share of all others.
MIN_SHARE_OF_TITLES = 0.5
_WORD = re.compile(r"[^\W\d_]{2,}")


def placeholders(photos: pd.DataFrame, pairs: pd.DataFrame) -> np.ndarray:
    """Return which photos show none of their products: `(N,) bool`.

    One picture, except for its encoding, is on MIN_PLACEHOLDER_PRODUCTS products or more, and their titles have nothing
    in common. Variants of a product may share a photo as well, but also words that other products lack. `photos` has
    product_id and product_name, `pairs` are the near_duplicates of them.
    """
    copies = pairs[pairs["distance"] <= MAX_RE_ENCODED_DISTANCE]
    pictures = number_groups([np.arange(len(photos))], (copies["first"].to_numpy(), copies["second"].to_numpy()))
    owners = photos[["product_id", "product_name"]].assign(picture=pictures)
    words = owners.drop_duplicates("product_id").set_index("product_id")["product_name"].map(_words_of)
    counts = Counter(chain.from_iterable(words))
    owners = owners.drop_duplicates(["picture", "product_id"])
    n_products = owners.groupby("picture")["product_id"].transform("size")
    suspects = owners[n_products >= MIN_PLACEHOLDER_PRODUCTS].groupby("picture")["product_id"]
    found = [picture for picture, ids in suspects if not _have_a_word_in_common(words[ids], counts, len(words))]
    return np.isin(pictures, found)


def _words_of(title: str) -> frozenset[str]:
    return frozenset(_WORD.findall(title.casefold()))


def _have_a_word_in_common(titles: "pd.Series[frozenset[str]]", counts: Counter[str], n_products: int) -> bool:
    """Return whether a word marks these titles; `counts` has the number of all products' titles with each word."""
    n_others = max(1, n_products - len(titles))
    for word, count in Counter(chain.from_iterable(titles)).items():
        share = count / len(titles)
        if share >= MIN_SHARE_OF_TITLES and (counts[word] - count) / n_others <= share / 2:
            return True
    return False
