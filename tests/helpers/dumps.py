"""Dumps laid out as files."""

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from marketplace.catalogue.clean import CleanDump, CleanSettings, clean
from marketplace.catalogue.correction_file import Correction
from marketplace.raw.shards import read_shard, shard_paths
from marketplace.sources.dump import FetchSettings, open_dump
from marketplace.sources.fetch import fetch
from marketplace.sources.local import LocalDump, LocalSettings

MakeSettings = Callable[..., FetchSettings]  # takes changes, given by name

ROOT_CATEGORIES = ("Bags", "Lamps", "Tops", "Toys")


def unpack(raw: Path, folder: Path) -> Path:
    """Lay out a fetched dump as marketplaces do, with loose files in images/, and return the folder."""
    (folder / "images").mkdir(parents=True)
    for table in ("products.csv", "images.csv"):
        shutil.copy(raw / table, folder / table)
    for name, content in photos_in(raw).items():
        (folder / "images" / name).write_bytes(content)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file under a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def photos_in(raw: Path) -> dict[str, bytes]:
    """Return the bytes of every photo of a fetched dump, by file name."""
    return {name: content for shard in shard_paths(raw / "images") for name, content in read_shard(shard)}


@dataclass
class SmallDump:
    """A dump of products in four categories, with one photo each, to be changed and then written."""

    products: pd.DataFrame
    images: pd.DataFrame
    photos: dict[str, bytes]  # by file name

    def write(self, folder: Path) -> Path:
        """Lay it out as files, and return the folder."""
        (folder / "images").mkdir(parents=True)
        self.products.to_csv(folder / "products.csv")
        self.images.to_csv(folder / "images.csv")
        for name, content in self.photos.items():
            (folder / "images" / name).write_bytes(content)
        return folder


def small_dump(n_products: int = 48) -> SmallDump:
    """Make a SmallDump without any defect; each photo is different noise."""
    numbers = range(n_products)
    products = pd.DataFrame(
        {
            "id": [f"product{number:03}" for number in numbers],
            "product_name": [f"Thing {number}" for number in numbers],
            "category": [f"{ROOT_CATEGORIES[number % len(ROOT_CATEGORIES)]} / Leaf {number % 8}" for number in numbers],
            "product_description": "Second-hand.",
            "price": [f"£{5 + number}.50" for number in numbers],
            "location": "Leeds, Yorkshire",
        }
    )
    images = pd.DataFrame({"id": [f"image{number:03}" for number in numbers], "product_id": products["id"]})
    photos = {f"image{number:03}.jpg": noise_photo(number) for number in numbers}
    return SmallDump(products=products, images=images, photos=photos)


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
    """Make a dump with odd ids and prices in euros; three products have no price."""
    dump = small_dump(64)
    dump.products["price"] = [f"{number},50 €" for number in range(64)]
    dump.products.loc[:2, "price"] = ["Free", "", "ono"]
    dump.products.loc[: len(ODD_IDS) - 1, "id"] = ODD_IDS
    dump.images["product_id"] = dump.products["id"]
    odd_images = [name for name in ODD_IDS if "/" not in name]  # a slash is in no file's name
    dump.images.loc[: len(odd_images) - 1, "id"] = odd_images
    dump.photos = {f"{image_id}.jpg": noise_photo(number) for number, image_id in enumerate(dump.images["id"])}
    return dump


def noise_photo(seed: int, quality: int = 90) -> bytes:
    """Make a JPEG of coloured blocks, the same for the same seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(blocks).resize((96, 96), Image.Resampling.NEAREST).save(content, "JPEG", quality=quality)
    return content.getvalue()


def fetch_files(settings: FetchSettings, target: Path, limit: int | None = None) -> dict[str, bytes]:
    """Fetch a dump, and return the bytes of all files by path."""
    fetch(open_dump(settings), target, n_shards=4, limit=limit)
    return files_in(target)


def fetch_and_clean(folder: Path, tmp_path: Path, corrections: Sequence[Correction] = ()) -> CleanDump:
    """Run `fetch` and `clean` on the dump in a folder."""
    fetch(LocalDump(LocalSettings(path=str(folder))), tmp_path / "raw", n_shards=2, limit=None)
    return clean(tmp_path / "raw", CleanSettings(test=0.2, val=0.15, seed=42), corrections)
