"""Every photo opened once, to find those that cannot be used and to hash the others."""

import hashlib
from pathlib import Path

import imagehash
import pandas as pd

from marketplace.photos.codec import UnreadableImageError, decode
from marketplace.raw.parallel import each_shard
from marketplace.raw.shards import read_shard, shard_paths

HASH_SIDE = 16  # 256 bits: 64 would confuse 8 of 15 pairs of different photos (see near_duplicates)
DECODED_SIDE = 4 * HASH_SIDE  # pixels that the hash is computed from


def check_shards(folder: Path) -> pd.DataFrame:
    """Open every file of every shard: name, shard, sha256, reason (empty for a sound image) and phash, by name.

    `phash` is the perceptual hash of a sound image in hex (https://www.hackerfactor.com/blog/index.php?/archives/432).
    """
    rows: list[tuple[str, int, str, str, str]] = []
    tasks = [(path,) for path in shard_paths(folder)]
    for shard, checked in enumerate(each_shard(_check_shard, tasks, "checking photos")):
        rows += [(name, shard, sha256, reason, phash) for name, sha256, reason, phash in checked]
    columns = {"name": str, "shard": int, "sha256": str, "reason": str, "phash": str}
    return pd.DataFrame(sorted(rows), columns=list(columns)).astype(columns)


def _check_shard(path: Path) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, content in read_shard(path):
        reason = phash = ""
        try:
            image = decode(content, at_least=DECODED_SIDE)  # reads every byte, at the fewest pixels
            phash = str(imagehash.phash(image, hash_size=HASH_SIDE))
        except UnreadableImageError as error:
            reason = error.reason
        rows.append((name, hashlib.sha256(content).hexdigest(), reason, phash))
    return rows
