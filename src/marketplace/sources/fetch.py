"""A dump copied here byte for byte: the two tables as they are, the photos packed into shards."""

import io
import logging
from pathlib import Path

import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing
from marketplace.common.progress import progress_bar
from marketplace.raw.shards import image_id_of, write_shards
from marketplace.raw.tables import read_table, tidy_id
from marketplace.sources.dump import Dump
from marketplace.sources.mirror import is_safe

log = logging.getLogger(__name__)


def fetch(dump: Dump, target: Path, n_shards: int, limit: int | None) -> None:
    """Write `target`/products.csv, images.csv and images/NNN.tar.

    With a `limit`, only that many products are fetched, with their rows in images.csv and those rows' files.
    """
    products, images = dump.table("products.csv"), dump.table("images.csv")
    listed = dump.photo_names()
    names = sorted(name for name in listed if is_safe(name))
    if len(names) < len(listed):
        log.warning("%d files are left behind: their names are not printable text", len(listed) - len(names))
    if not names:
        raise MarketplaceError("the dump's folder of photos is empty.")
    if limit is not None:
        products, images, names = _first_products(products, images, names, limit)
    photos = progress_bar(dump.read_photos(names), total=len(names), what="photos", unit="photo")
    with replacing(target / "images") as folder:
        write_shards(photos, folder, n_shards)
    for name, content in (("products.csv", products), ("images.csv", images)):
        with replacing(target / name) as part:
            part.write_bytes(content)
    log.info("fetched %d photos into %d shards", len(names), n_shards)


def _first_products(
    products_csv: bytes, images_csv: bytes, names: list[str], limit: int
) -> tuple[bytes, bytes, list[str]]:
    (products, bad), (images, also_bad) = (
        read_table(content, name) for content, name in ((products_csv, "products.csv"), (images_csv, "images.csv"))
    )
    if bad or also_bad:
        log.warning("%d malformed rows are left out of the first products", len(bad) + len(also_bad))
    kept = set(products["id"].drop_duplicates().head(limit))
    products = products[products["id"].isin(kept)]
    images = images[images["product_id"].isin(kept)]
    ids = set(images["id"])
    photos = [name for name in names if image_id_of(name) in ids or tidy_id(name) in ids]
    return _csv(products), _csv(images), photos


def _csv(table: pd.DataFrame) -> bytes:
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue().encode()
