"""Every photo opened once, to find those that cannot be used."""

import hashlib
from pathlib import Path

import pandas as pd

from marketplace.photos.codec import UnreadableImageError, decode
from marketplace.raw.parallel import each_shard
from marketplace.raw.shards import read_shard, shard_paths


def check_shards(folder: Path) -> pd.DataFrame:
    """Open every file of every shard: name, sha256 and reason (empty for a sound image), ordered by name."""
    rows: list[tuple[str, str, str]] = []
    for checked in each_shard(_check_shard, [(path,) for path in shard_paths(folder)], "checking photos"):
        rows += checked
    return pd.DataFrame(sorted(rows), columns=["name", "sha256", "reason"], dtype=str)


def _check_shard(path: Path) -> list[tuple[str, str, str]]:
    rows = []
    for name, content in read_shard(path):
        reason = ""
        try:
            decode(content, at_least=1)  # reads every byte, at the fewest pixels
        except UnreadableImageError as error:
            reason = error.reason
        rows.append((name, hashlib.sha256(content).hexdigest(), reason))
    return rows
