"""Open every photo once, to find the unusable ones and to hash the others."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
import pandas as pd

from marketplace.catalogue import pictures
from marketplace.catalogue.pictures import PICTURE_SIDE, shrink
from marketplace.cluster.placement import map_shards
from marketplace.compute.packs import Packs, keys_of_files
from marketplace.compute.recipe import recipe
from marketplace.photos import codec
from marketplace.photos.codec import UnreadableImageError, decode, is_flat
from marketplace.raw.shards import read_shard, shard_paths

HASH_SIDE = 16  # 256 bits: 64 would confuse 8 of 15 pairs of different photos (see near_duplicates)
MIN_DECODED_SIDE = 4 * HASH_SIDE  # the hash is computed from that many pixels a side
CHECK_DTYPE = np.dtype(
    [("reason", "S16"), ("phash", f"S{HASH_SIDE**2 // 4}"), ("picture", "u1", (PICTURE_SIDE, PICTURE_SIDE, 3))]
)


class CheckedFile(NamedTuple):
    """A file of a shard."""

    name: str
    sha256: str
    reason: str  # for which it cannot be used; empty for a sound image
    phash: str  # perceptual hash of a sound image, in hex; empty if it is of a single colour, whose hash is noise
    picture: bytes  # the image scaled down by `shrink`, which tells colours and details; zeros if it is not sound


def check_shards(folder: Path) -> pd.DataFrame:
    """Open every file of every shard; return its shard and the fields of CheckedFile, ordered by name.

    The perceptual hash is https://www.hackerfactor.com/blog/index.php?/archives/432.
    """
    rows: list[tuple[str, int, str, str, str, bytes]] = []
    tasks = [(path,) for path in shard_paths(folder)]
    for shard, files in enumerate(map_shards(_check_shard, tasks, "checking photos")):
        rows += [(file.name, shard, file.sha256, file.reason, file.phash, file.picture) for file in files]
    columns = {"name": str, "shard": int, "sha256": str, "reason": str, "phash": str, "picture": object}
    return pd.DataFrame(sorted(rows), columns=list(columns)).astype(columns)


def _check_shard(path: Path) -> list[CheckedFile]:
    """Check every file of a shard; a file whose check is in the cache is not opened again."""
    names = []
    hashes = []
    for name, content in read_shard(path):
        names.append(name)
        hashes.append(hashlib.sha256(content).hexdigest())

    def check(rows: np.ndarray) -> Iterator[np.ndarray]:
        new_rows = set(rows.tolist())
        for row, (_, content) in enumerate(read_shard(path)):
            if row in new_rows:
                yield _check_photo(content)

    packs = Packs(recipe((__file__, pictures.__file__, *codec.CODE), (*codec.PACKAGES, "imagehash")))
    checks = packs.fill(packs.find(keys_of_files(hashes)), check)
    return [
        CheckedFile(name=name, sha256=sha256, reason=reason.decode(), phash=phash.decode(), picture=picture.tobytes())
        for name, sha256, (reason, phash, picture) in zip(names, hashes, checks, strict=True)
    ]


def _check_photo(content: bytes) -> np.ndarray:
    """Return the reason, the perceptual hash and the picture of a photo, of CHECK_DTYPE."""
    check = np.zeros((), CHECK_DTYPE)
    try:
        image = decode(content, min_side=MIN_DECODED_SIDE)  # reads every byte, but few pixels
    except UnreadableImageError as error:
        check["reason"] = error.reason
        return check
    picture = shrink(image)
    check["picture"] = picture
    check["phash"] = "" if is_flat(picture) else str(imagehash.phash(image, hash_size=HASH_SIDE))
    return check
