"""Copy a dump byte for byte: the two tables as they are, the photos packed into shards."""

import io
import logging
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing
from marketplace.common.progress import progress_bar
from marketplace.raw.ids import ids_of_files, match_product_ids
from marketplace.raw.shards import write_shards
from marketplace.raw.tables import read_table
from marketplace.sources.dump import Dump
from marketplace.sources.listing import is_safe

log = logging.getLogger(__name__)


def fetch(dump: Dump, target: Path, n_shards: int, limit: int | None) -> None:
    """Write `target`/products.csv, images.csv and images/NNN.tar.

    With a `limit`, only that many products are fetched, with their rows of images.csv and those rows' files.

    Raises MarketplaceError if the dump has no photos.
    """
    products_csv = dump.table("products.csv")
    images_csv = dump.table("images.csv")
    listing = dump.photo_names()
    names = sorted(name for name in listing if is_safe(name))
    if len(names) < len(listing):
        log.warning("%d files are left behind: their names are not printable text", len(listing) - len(names))
    if not names:
        raise MarketplaceError("the dump's folder of photos is empty: it and its subfolders hold no file to fetch.")
    if limit is not None:
        first = _first_products(products_csv, images_csv, names, limit)
        names = first.names
        products_csv = _to_csv(first.products)
        images_csv = _to_csv(first.images)
    photos = progress_bar(dump.read_photos(names), total=len(names), description="photos", unit="photo")
    with replacing(target / "images") as folder:
        write_shards(photos, folder, n_shards)
    for name, content in (("products.csv", products_csv), ("images.csv", images_csv)):
        with replacing(target / name) as part:
            part.write_bytes(content)
    log.info("fetched %d photos into %d shards", len(names), n_shards)


class _Part(NamedTuple):
    """The first products of a dump, with their rows of images.csv and the names of their photos."""

    products: pd.DataFrame
    images: pd.DataFrame
    names: list[str]


def _first_products(products_csv: bytes, images_csv: bytes, names: list[str], limit: int) -> _Part:
    products = read_table(products_csv, "products.csv")
    images = read_table(images_csv, "images.csv")
    n_malformed = len(products.malformed) + len(images.malformed)
    if n_malformed:
        log.warning("%d malformed rows are left out of the first products", n_malformed)
    product_ids = products.rows["id"].drop_duplicates().head(limit)
    products_of_images = pd.Series(match_product_ids(images.rows, products.rows), images.rows.index)
    first_images = images.rows[products_of_images.isin(product_ids)]
    image_ids = ids_of_files(names, images.rows["id"].tolist())
    wanted = set(first_images["id"])
    return _Part(
        products=products.rows[products.rows["id"].isin(product_ids)],
        images=first_images,
        names=[name for name, image_id in zip(names, image_ids, strict=True) if image_id in wanted],
    )


def _to_csv(table: pd.DataFrame) -> bytes:
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue().encode()
