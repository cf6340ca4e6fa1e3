"""Photos that are the same picture though their files differ: re-encoded, resized or slightly cropped."""

import logging
import math
from typing import Any

import faiss
import numpy as np
import pandas as pd

log = logging.getLogger(__name__)
EXACT_UP_TO = 200_000  # photos; comparing twice as many with all takes four times as long
LOSS_PHOTOS = 1000
# Of the 256 bits of a hash. Re-encoding and resizing change up to 10 bits of a photo (more of a flat drawing), cropping
# 1 % off every side up to 48, 2 % up to 66; hashes of different photos differ by 80 or more (measured on a real
# marketplace, by looking at the pairs).
MAX_DISTANCE = 64
RE_ENCODED = 32
# A photo on this many products shows none of them: it says "no photo". On a real marketplace of 3,500 products, sellers
# put one photo on at most six.
PLACEHOLDER_PRODUCTS = 8


def near_duplicates(hashes: "pd.Series[str]") -> pd.DataFrame:
    """The pairs of photos whose perceptual hashes (64 hex digits each) differ by at most MAX_DISTANCE bits.

    Gives first, second (positions in `hashes`, first < second) and distance, ordered by position. Equal hashes have
    distance 0; whether the files are byte-identical makes no difference. Up to EXACT_UP_TO photos, all are compared
    with all. Beyond, only those that agree in a part of their bits, but for one: how many pairs that loses is logged.
    """
    bits = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), -1)
    flat = faiss.IndexBinaryFlat(8 * bits.shape[1])
    flat.add(bits)
    if len(bits) <= EXACT_UP_TO:
        return _pairs(flat, bits)
    # As many parts of the hash as fit, each with about as many values as there are photos (Norouzi et al., 2012,
    # https://www.cs.toronto.edu/~norouzi/research/papers/multi_index_hashing.pdf): a question looks at a few photos.
    length = round(math.log2(len(bits)))
    parts = faiss.IndexBinaryMultiHash(8 * bits.shape[1], 8 * bits.shape[1] // length, length)
    parts.nflip = 1
    parts.add(bits)
    _log_loss(flat, parts, bits)
    return _pairs(parts, bits)


def _pairs(index: Any, bits: np.ndarray) -> pd.DataFrame:
    limits, distances, found = index.range_search(bits, MAX_DISTANCE + 1)  # FAISS leaves the bound itself out
    first = np.repeat(np.arange(len(bits)), np.diff(limits.astype(np.int64)))
    pairs = pd.DataFrame({"first": first, "second": found, "distance": distances.astype(np.int64)})
    pairs = pairs[pairs["first"] < pairs["second"]]
    return pairs.sort_values(["first", "second"], ignore_index=True)


def _log_loss(exact: Any, approximate: Any, bits: np.ndarray) -> None:
    """Say how many near-identical photos are found, by comparing some photos with all others."""
    some = bits[np.random.default_rng(0).permutation(len(bits))[:LOSS_PHOTOS]]
    wanted, found = (
        len(index.range_search(some, MAX_DISTANCE + 1)[1]) - len(some)  # each finds itself
        for index in (exact, approximate)
    )
    log.info(
        "%s photos: parts of their hashes are compared, which finds %d of %d near-identical ones of %d photos",
        *(f"{len(bits):,}", found, wanted, len(some)),
    )


def placeholders(product_ids: "pd.Series[str]", hashes: "pd.Series[str]") -> np.ndarray:
    """`(N,) bool`: photos that stand, identical but for their encoding, on PLACEHOLDER_PRODUCTS products or more."""
    codes, distinct = pd.factorize(hashes)  # a third of a catalogue may be one photo: its pairs would fill the memory
    pairs = near_duplicates(pd.Series(distinct))
    close = pairs[pairs["distance"] <= RE_ENCODED]
    every = np.arange(len(distinct))
    near = pd.DataFrame(
        {
            "code": np.concatenate([close["first"], close["second"], every]),
            "near": np.concatenate([close["second"], close["first"], every]),
        }
    )
    shown = near.merge(pd.DataFrame({"near": codes, "product_id": product_ids.to_numpy()}), on="near")
    products = shown.groupby("code")["product_id"].nunique().to_numpy()
    many: np.ndarray = products[codes] >= PLACEHOLDER_PRODUCTS
    return many
