"""Every photo opened once, to find those that cannot be used and to hash the others."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd

from marketplace.cluster.placement import map_shards
from marketplace.compute.packs import Packs, keys_of_files
from marketplace.compute.recipe import recipe
from marketplace.photos import codec, metadata
from marketplace.photos.codec import UnreadableImageError, decode
from marketplace.raw.shards import read_shard, shard_paths

HASH_SIDE = 16  # 256 bits: 64 would confuse 8 of 15 pairs of different photos (see near_duplicates)
CHECKED = np.dtype([("reason", "S16"), ("phash", f"S{HASH_SIDE**2 // 4}")])
DECODED_SIDE = 4 * HASH_SIDE  # pixels that the hash is computed from


def check_shards(folder: Path) -> pd.DataFrame:
    """Open every file of every shard: name, shard, sha256, reason (empty for a sound image) and phash, by name.

    `phash` is the perceptual hash of a sound image in hex (https://www.hackerfactor.com/blog/index.php?/archives/432).
    """
    rows: list[tuple[str, int, str, str, str]] = []
    tasks = [(path,) for path in shard_paths(folder)]
    for shard, checked in enumerate(map_shards(_check_shard, tasks, "checking photos")):
        rows += [(name, shard, sha256, reason, phash) for name, sha256, reason, phash in checked]
    columns = {"name": str, "shard": int, "sha256": str, "reason": str, "phash": str}
    return pd.DataFrame(sorted(rows), columns=list(columns)).astype(columns)


def _check_shard(path: Path) -> list[tuple[str, str, str, str]]:
    """Name, sha256, reason and phash of every file of a shard; a file that the cache knows is not opened again."""
    names = []
    hashes = []
    for name, content in read_shard(path):
        names.append(name)
        hashes.append(hashlib.sha256(content).hexdigest())

    def check(rows: np.ndarray) -> Iterator[np.ndarray]:
        new = set(rows.tolist())
        for row, (_, content) in enumerate(read_shard(path)):
            if row in new:
                yield np.array(_checked(content), CHECKED)

    packs = Packs(recipe((__file__, codec.__file__, metadata.__file__), ("pillow", "simplejpeg", "imagehash")))
    checks = packs.fill(packs.find(keys_of_files(hashes)), check)
    return [
        (name, sha256, reason.decode(), phash.decode())
        for name, sha256, (reason, phash) in zip(names, hashes, checks, strict=True)
    ]


def _checked(content: bytes) -> tuple[str, str]:
    try:
        image = decode(content, min_side=DECODED_SIDE)  # reads every byte, at the fewest pixels
        return "", str(imagehash.phash(image, hash_size=HASH_SIDE))
    except UnreadableImageError as error:
        return error.reason, ""
