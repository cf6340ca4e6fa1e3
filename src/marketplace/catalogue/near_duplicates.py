"""Photos of the same picture in different files: re-encoded, resized or slightly cropped."""

import logging
import math
from typing import Any

import faiss
import numpy as np
import pandas as pd

from marketplace.catalogue.pictures import PICTURE_SIDE, are_one_picture
from marketplace.compute.groups import number_groups

log = logging.getLogger(__name__)
MAX_EXHAUSTIVE_PHOTOS = 200_000  # comparing twice as many photos with all others takes four times as long
LOSS_SAMPLE_SIZE = 1000  # photos compared with all others, to see how many near-duplicates the faster search misses
# Of the 256 bits of a hash, re-encoding and resizing change up to 10 (more in a flat drawing), cropping 1 % off every
# side up to 48, and 2 % up to 66. Hashes of different photos differ in 80 or more. Measured on a real marketplace, by
# looking at the pairs.
MAX_DISTANCE = 64
MAX_LISTED_COPIES = 8  # of one picture, of which all pairs are listed
_VERIFIED_AT_ONCE = 50_000  # pairs


def near_duplicates(hashes: "pd.Series[str]", pictures: "pd.Series[bytes]") -> pd.DataFrame:
    """Return the pairs of photos that show one picture: their hashes are similar, and so are colours and details.

    `hashes` and `pictures` are CheckedFile's. The columns are first and second (positions, first < second) and
    distance (of the hashes, in bits), ordered by position. Whether files are byte-identical makes no difference. Of
    more than MAX_LISTED_COPIES photos that are equal as pictures, the others are paired with the first alone: a third
    of a catalogue may be one photo, and its pairs would fill the memory.
    """
    numbers, distinct = pd.factorize(pictures)
    first_photos = np.unique(numbers, return_index=True)[1]
    pairs = _pairs_of_pictures(hashes.iloc[first_photos], distinct)
    return _pairs_of_photos(pairs, numbers)


def _pairs_of_pictures(hashes: "pd.Series[str]", pictures: np.ndarray) -> pd.DataFrame:
    """Return the pairs (first, second, distance) of distinct pictures that show the same."""
    comparable = np.flatnonzero(hashes != "")
    candidates = similar_hashes(hashes.iloc[comparable])
    candidates[["first", "second"]] = comparable[candidates[["first", "second"]]]
    pairs = candidates[:0]
    for start in range(0, len(candidates), _VERIFIED_AT_ONCE):
        part = candidates[start : start + _VERIFIED_AT_ONCE]
        if start:
            part = part[~_are_linked(part, pairs, len(pictures))]
        same = are_one_picture(_unpack(pictures[part["first"]]), _unpack(pictures[part["second"]]))
        pairs = pd.concat([pairs, part[same]])
    return pairs


def _are_linked(candidates: pd.DataFrame, pairs: pd.DataFrame, n_pictures: int) -> np.ndarray:
    """Return which candidates are linked by pairs already, and with them many others: `(N,) bool`."""
    groups = number_groups([np.arange(n_pictures)], (pairs["first"].to_numpy(), pairs["second"].to_numpy()))
    first = groups[candidates["first"]]
    return (first == groups[candidates["second"]]) & (np.bincount(groups)[first] > MAX_LISTED_COPIES)


def _unpack(pictures: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, PICTURE_SIDE, PICTURE_SIDE, 3)


def _pairs_of_photos(pairs: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    """Return the pairs of photos, from the pairs of their pictures and the number of each photo's picture `(N,)`."""
    photos = pd.DataFrame({"photo": np.arange(len(numbers)), "picture": numbers})
    copy_number = photos.groupby("picture").cumcount()
    further = photos[copy_number >= MAX_LISTED_COPIES]
    first_photos = np.unique(numbers, return_index=True)[1]
    with_first = pd.DataFrame({"first": first_photos[further["picture"]], "second": further["photo"], "distance": 0})
    all_pairs = pd.concat([_combine(pairs, photos[copy_number < MAX_LISTED_COPIES]), with_first])
    return all_pairs.astype(np.int64).sort_values(["first", "second"], ignore_index=True)


def _combine(pairs: pd.DataFrame, photos: pd.DataFrame) -> pd.DataFrame:
    """Return every pair of photos of one picture, or of a pair of pictures."""
    pictures = photos["picture"].unique()
    itself = pd.DataFrame({"first": pictures, "second": pictures, "distance": 0})
    both = pd.concat([pairs, itself])
    both = both.merge(photos.add_prefix("first_"), left_on="first", right_on="first_picture")
    both = both.merge(photos.add_prefix("second_"), left_on="second", right_on="second_picture")
    both = both[(both["first"] != both["second"]) | (both["first_photo"] < both["second_photo"])]
    positions = np.sort(both[["first_photo", "second_photo"]], axis=1)
    return pd.DataFrame({"first": positions[:, 0], "second": positions[:, 1], "distance": both["distance"]})


def similar_hashes(hashes: "pd.Series[str]") -> pd.DataFrame:
    """Return the pairs of perceptual hashes (64 hex digits each) that differ in at most MAX_DISTANCE bits.

    The columns are first and second (positions, first < second) and distance, ordered by position. Up to
    MAX_EXHAUSTIVE_PHOTOS, all are compared with all. Beyond, only those are compared that agree in one part, except for
    one bit; the share of pairs that this finds is logged.
    """
    if hashes.empty:
        return pd.DataFrame({"first": [], "second": [], "distance": []}, dtype=np.int64)
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
