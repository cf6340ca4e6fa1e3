"""Photos that are drawn, and those of a reproduced pipeline, to ask about."""

import io

import numpy as np
from PIL import Image

from helpers.project import Project
from marketplace.compute.arrays import ShardedArray
from marketplace.raw.shards import read_shard, shard_paths


def scene(width: int = 60, height: int = 40) -> Image.Image:
    """A smooth image whose four corners differ: red, green, blue and grey."""
    corners = np.array([[[200, 30, 30], [30, 180, 40]], [[30, 40, 210], [120, 120, 120]]], dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)


def saved(image: Image.Image, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, **options)  # type: ignore[arg-type]
    return content.getvalue()


def png_of(reproduced: Project, row: int) -> bytes:
    image = Image.fromarray(ShardedArray(reproduced.folder / "data/resized/full")[row])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def photo_files(reproduced: Project) -> dict[str, bytes]:
    shards = shard_paths(reproduced.folder / "data/raw/images")
    return {name: content for shard in shards for name, content in read_shard(shard)}
