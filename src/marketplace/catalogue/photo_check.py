"""Every photo opened once, to find those that cannot be used and to hash the others."""

import functools
import hashlib
import itertools
from importlib.metadata import version
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd

from marketplace.cluster.placement import each_shard
from marketplace.common.files import sha256_of
from marketplace.compute.packs import PACK, Packs, keys_of_files
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
    for shard, checked in enumerate(each_shard(_check_shard, tasks, "checking photos")):
        rows += [(name, shard, sha256, reason, phash) for name, sha256, reason, phash in checked]
    columns = {"name": str, "shard": int, "sha256": str, "reason": str, "phash": str}
    return pd.DataFrame(sorted(rows), columns=list(columns)).astype(columns)


def _check_shard(path: Path) -> list[tuple[str, str, str, str]]:
    """Name, sha256, reason and phash of every file of a shard; a file that the cache knows is not opened again."""
    packs = Packs(_origin())
    rows: list[tuple[str, str, str, str]] = []
    new: dict[str, tuple[str, str]] = {}
    photos = read_shard(path)
    while some := list(itertools.islice(photos, PACK)):
        hashes = [hashlib.sha256(content).hexdigest() for _, content in some]
        found = packs.find(keys_of_files(hashes))
        for place, ((name, content), sha256) in enumerate(zip(some, hashes, strict=True)):
            if found.missing[place]:
                new[sha256] = reason, phash = _checked(content)
            else:
                reason, phash = (text.decode() for text in found.read(np.array([place]))[0])
            rows.append((name, sha256, reason, phash))
    keys = keys_of_files(list(new))
    values = np.array(list(new.values()), dtype=CHECKED)
    if len(new) and packs.make_room(values.nbytes, keys):
        packs.write(keys, values)
    return rows


def _checked(content: bytes) -> tuple[str, str]:
    try:
        image = decode(content, at_least=DECODED_SIDE)  # reads every byte, at the fewest pixels
        return "", str(imagehash.phash(image, hash_size=HASH_SIDE))
    except UnreadableImageError as error:
        return error.reason, ""


@functools.cache
def _origin() -> dict[str, object]:
    """What determines the result for a file, besides its bytes."""
    code = [sha256_of(Path(file)) for file in (__file__, codec.__file__, metadata.__file__)]
    return {"check": code, "versions": [version("pillow"), version("simplejpeg"), version("imagehash")]}
