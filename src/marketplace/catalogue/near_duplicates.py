"""Photos that are the same picture though their files differ: re-encoded, resized or slightly cropped."""

import faiss
import numpy as np
import pandas as pd

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
    distance 0; whether the files are byte-identical makes no difference.
    """
    bits = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), -1)
    index = faiss.IndexBinaryFlat(8 * bits.shape[1])
    index.add(bits)
    limits, distances, found = index.range_search(bits, MAX_DISTANCE + 1)  # FAISS leaves the bound itself out
    first = np.repeat(np.arange(len(bits)), np.diff(limits.astype(np.int64)))
    pairs = pd.DataFrame({"first": first, "second": found, "distance": distances.astype(np.int64)})
    pairs = pairs[pairs["first"] < pairs["second"]]
    return pairs.sort_values(["first", "second"], ignore_index=True)


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
