"""Dumps laid out as files."""

import shutil
from pathlib import Path

from marketplace.raw.shards import read_shard, shard_paths


def unpack(raw: Path, folder: Path) -> Path:
    """Lay a fetched dump out as marketplaces do: loose files in images/."""
    (folder / "images").mkdir(parents=True)
    for table in ("products.csv", "images.csv"):
        shutil.copy(raw / table, folder / table)
    for shard in shard_paths(raw / "images"):
        for name, content in read_shard(shard):
            (folder / "images" / name).write_bytes(content)
    return folder


def content_of(target: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
