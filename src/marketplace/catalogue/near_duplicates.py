"""Photos that are the same picture though their files differ: re-encoded, resized or slightly cropped."""

import faiss
import numpy as np
import pandas as pd

# Of the 256 bits of a hash. Re-encoding and resizing change up to 10 bits, cropping 1 % off every side up to 48, 2 % up
# to 66; hashes of different photos differ by 80 or more (measured on a real marketplace, by looking at the pairs).
MAX_DISTANCE = 64


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
