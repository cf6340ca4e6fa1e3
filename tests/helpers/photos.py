"""Photos of a reproduced pipeline, to ask about."""

import io

from PIL import Image

from helpers.project import Project
from marketplace.common.arrays import ShardedArray
from marketplace.raw.shards import read_shard, shard_paths


def png_of(reproduced: Project, row: int) -> bytes:
    image = Image.fromarray(ShardedArray(reproduced.folder / "data/resized/full")[row])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def photo_files(reproduced: Project) -> dict[str, bytes]:
    shards = shard_paths(reproduced.folder / "data/raw/images")
    return {name: content for shard in shards for name, content in read_shard(shard)}
