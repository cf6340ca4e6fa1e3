"""Photos of the same picture in different files: re-encoded, resized or slightly cropped."""

import logging
import math
from typing import Any

import faiss
import numpy as np
import pandas as pd

log = logging.getLogger(__name__)
MAX_EXHAUSTIVE_PHOTOS = 200_000  # comparing twice as many photos with all others takes four times as long
LOSS_SAMPLE_SIZE = 1000  # photos compared with all others, to see how many near-duplicates the faster search misses
# Of the 256 bits of a hash, re-encoding and resizing change up to 10 (more in a flat drawing), cropping 1 % off every
# side up to 48, and 2 % up to 66. Hashes of different photos differ in 80 or more. Measured on a real marketplace, by
# looking at the pairs.
MAX_DISTANCE = 64
MAX_RE_ENCODED_DISTANCE = 32
# A photo of at least this many products shows none of them: it says "no photo". In a real marketplace of 3,500
# products, sellers used one photo for six products at most.
MIN_PLACEHOLDER_PRODUCTS = 8


def near_duplicates(hashes: "pd.Series[str]") -> pd.DataFrame:
    """Return the pairs of photos whose perceptual hashes (64 hex digits each) differ in at most MAX_DISTANCE bits.

    The columns are first and second (positions in `hashes`, first < second) and distance, ordered by position. Whether
    files are byte-identical makes no difference. Up to MAX_EXHAUSTIVE_PHOTOS, all photos are compared with all. Beyond,
    only photos are compared whose hashes agree in one part, except for one bit; the share of pairs that this finds is
    logged.
    """
    bits = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), -1)
    flat = faiss.IndexBinaryFlat(8 * bits.shape[1])
    flat.add(bits)
    if len(bits) <= MAX_EXHAUSTIVE_PHOTOS:
        return _search_pairs(flat, bits)
    # The hash is cut into parts, each with about as many values as there are photos (Norouzi et al., 2012,
    # https://www.cs.toronto.edu/~norouzi/research/papers/multi_index_hashing.pdf): a query looks at a few photos.
    part_length = round(math.log2(len(bits)))
    parts = faiss.IndexBinaryMultiHash(8 * bits.shape[1], 8 * bits.shape[1] // part_length, part_length)
    parts.nflip = 1
    parts.add(bits)
    _log_loss(flat, parts, bits)
    return _search_pairs(parts, bits)


def _search_pairs(index: Any, bits: np.ndarray) -> pd.DataFrame:
    limits, distances, neighbours = index.range_search(bits, MAX_DISTANCE + 1)  # FAISS excludes the bound itself
    first = np.repeat(np.arange(len(bits)), np.diff(limits.astype(np.int64)))
    pairs = pd.DataFrame({"first": first, "second": neighbours, "distance": distances.astype(np.int64)})
    pairs = pairs[pairs["first"] < pairs["second"]]
    return pairs.sort_values(["first", "second"], ignore_index=True)


def _log_loss(exact: Any, approximate: Any, bits: np.ndarray) -> None:
    """Log how many near-identical photos the approximate index finds, for a sample of photos."""
    sample = bits[np.random.default_rng(0).permutation(len(bits))[:LOSS_SAMPLE_SIZE]]
    log.info(
        "%s photos: only parts of their hashes are compared, which finds %d of %d near-duplicates of %d photos",
        f"{len(bits):,}",
        _count_neighbours(approximate, sample),
        _count_neighbours(exact, sample),
        len(sample),
    )


def _count_neighbours(index: Any, bits: np.ndarray) -> int:
    neighbours = index.range_search(bits, MAX_DISTANCE + 1)[1]
    return len(neighbours) - len(bits)  # each finds itself


def placeholders(product_ids: "pd.Series[str]", hashes: "pd.Series[str]") -> np.ndarray:
    """`(N,) bool`: photos that MIN_PLACEHOLDER_PRODUCTS products or more have, identical except for their encoding."""
    codes, pictures = pd.factorize(hashes)  # a third of a catalogue may be one photo: its pairs would fill the memory
    pairs = near_duplicates(pd.Series(pictures))
    pairs = pairs[pairs["distance"] <= MAX_RE_ENCODED_DISTANCE]
    itself = np.arange(len(pictures))
    copies = pd.DataFrame(
        {
            "picture": np.concatenate([pairs["first"], pairs["second"], itself]),
            "copy": np.concatenate([pairs["second"], pairs["first"], itself]),
        }
    )
    products = copies.merge(pd.DataFrame({"copy": codes, "product_id": product_ids.to_numpy()}), on="copy")
    n_products = products.groupby("picture")["product_id"].nunique().to_numpy()
    return n_products[codes] >= MIN_PLACEHOLDER_PRODUCTS
