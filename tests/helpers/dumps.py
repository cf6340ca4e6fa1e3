"""Dumps laid out as files."""

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from marketplace.catalogue.clean import CleanDump, CleanSettings, clean
from marketplace.raw.shards import read_shard, shard_paths
from marketplace.sources.dump import FetchSettings, open_dump
from marketplace.sources.fetch import fetch
from marketplace.sources.local import LocalDump, LocalSettings

Configure = Callable[..., FetchSettings]  # settings with changes, given by name

ROOTS = ("Bags", "Lamps", "Tops", "Toys")


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


@dataclass
class SmallDump:
    """A dump of 48 products in four categories, with a photo each, to be changed and then written."""

    products: pd.DataFrame
    images: pd.DataFrame
    photos: dict[str, bytes]  # by file name

    def write(self, folder: Path) -> Path:
        """Lay it out as files; returns the folder."""
        (folder / "images").mkdir(parents=True)
        self.products.to_csv(folder / "products.csv")
        self.images.to_csv(folder / "images.csv")
        for name, content in self.photos.items():
            (folder / "images" / name).write_bytes(content)
        return folder


def small_dump(n: int = 48) -> SmallDump:
    """A SmallDump without any defect; every photo is other noise."""
    numbers = range(n)
    products = pd.DataFrame(
        {
            "id": [f"product{number:03}" for number in numbers],
            "product_name": [f"Thing {number}" for number in numbers],
            "category": [f"{ROOTS[number % len(ROOTS)]} / Leaf {number % 8}" for number in numbers],
            "product_description": "Second-hand.",
            "price": [f"£{5 + number}.50" for number in numbers],
            "location": "Leeds, Yorkshire",
        }
    )
    images = pd.DataFrame({"id": [f"image{number:03}" for number in numbers], "product_id": products["id"]})
    return SmallDump(products, images, {f"image{number:03}.jpg": noise_photo(number) for number in numbers})


ODD_IDS = (
    "a/similar",
    "a",
    "#1 50%",
    "what?",
    "Ünïcode",
    "Cafe\u0301",  # decomposed
    "v1.2.jpg",
    "UPPER case",
    "%2F",
    "a&b=c;d+e",
    "-x",
    "photo.png",
)


def odd_dump() -> SmallDump:
    """Products with odd ids, and without a price; prices are in euros."""
    dump = small_dump(64)
    dump.products["price"] = [f"{number},50 €" for number in range(64)]
    dump.products.loc[:2, "price"] = ["Free", "", "ono"]
    dump.products.loc[: len(ODD_IDS) - 1, "id"] = ODD_IDS
    dump.images["product_id"] = dump.products["id"]
    odd_images = [name for name in ODD_IDS if "/" not in name]  # no file can be called so
    dump.images.loc[: len(odd_images) - 1, "id"] = odd_images
    dump.photos = {f"{image_id}.jpg": noise_photo(number) for number, image_id in enumerate(dump.images["id"])}
    return dump


def noise_photo(seed: int, quality: int = 90, suffix: str = "JPEG") -> bytes:
    """A photo of coloured blocks: the same for the same seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(blocks).resize((96, 96), Image.Resampling.NEAREST).save(content, suffix, quality=quality)
    return content.getvalue()


def cleaned(folder: Path, tmp_path: Path) -> CleanDump:
    """What `fetch` and `clean` make of the dump in a folder."""
    fetch(LocalDump(LocalSettings(path=str(folder))), tmp_path / "raw", n_shards=2, limit=None)
    return clean(tmp_path / "raw", CleanSettings(test=0.2, val=0.15, seed=42))


def bring(settings: FetchSettings, target: Path, limit: int | None = None) -> dict[str, bytes]:
    """Fetch, and give all files by name."""
    fetch(open_dump(settings), target, n_shards=4, limit=limit)
    return content_of(target)


def photos_of(target: Path) -> dict[str, bytes]:
    return {name: content for shard in shard_paths(target / "images") for name, content in read_shard(shard)}
