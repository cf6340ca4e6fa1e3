"""The products that reviews track: their recommendations in Git, as ids and as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from marketplace.common.files import replacing
from marketplace.compute.arrays import Images
from marketplace.recommendation.products import Products
from marketplace.relevance.metrics import GOOD_DEPTH
from marketplace.relevance.shares_file import choose_by_hash, hash_id

N_TRACKED = 50  # products
PHOTO = 72  # pixels
GAP = 4  # pixels, between photos
AFTER_PRODUCT = 16  # pixels, between the product and its recommendations, with a line in the middle
RULE = (190, 190, 196)
QUALITY = 70  # of the JPEGs: all of them are in Git, again for each result that is committed


def select_tracked_products(products: Products, recommended: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the recommendations of a fixed sample of products by id, few enough for Git: reviews compare them.

    The sample has the products with the lowest hashes of ids: they stay the same while others come and go.
    """
    table = products.table.set_index("product_id")
    sample = choose_by_hash(table.index, N_TRACKED)
    similar = recommended.groupby("product_id")["similar_product_id"].agg(list)
    return {
        product_id: {
            "name": table["product_name"][product_id],
            "category": table["category"][product_id],
            "similar": similar.get(product_id, []),
        }
        for product_id in sample
    }


def picture_name(product_id: str) -> str:
    """Return the file name of a product's picture; an id may have characters that no file name has."""
    return f"{hash_id(product_id)[:12]}.jpg"


def write_pictures(folder: Path, tracked: Mapping[str, Mapping[str, Any]], products: Products, images: Images) -> None:
    """Write a picture of each product that `select_tracked_products` returned: its photo, then its first six similar.

    `images` `(N, S, S, 3) uint8` are in the order of the training data.
    """
    with replacing(folder) as part:
        part.mkdir()
        for product_id, entry in tracked.items():
            shown = [product_id, *entry["similar"][:GOOD_DEPTH]]
            photos = [images[products.photos_of(products.number_of[shown_id])[0]] for shown_id in shown]
            _draw(photos).save(part / picture_name(product_id), "JPEG", quality=QUALITY)


def _draw(photos: Sequence[np.ndarray]) -> Image.Image:
    width = (GOOD_DEPTH + 1) * (PHOTO + GAP) + AFTER_PRODUCT - 2 * GAP
    picture = Image.new("RGB", (width, PHOTO), "white")
    middle = PHOTO + AFTER_PRODUCT // 2
    picture.paste(RULE, (middle - 1, 0, middle + 1, PHOTO))
    for place, photo in enumerate(photos):
        left = place * (PHOTO + GAP) + (AFTER_PRODUCT - GAP if place else 0)
        picture.paste(Image.fromarray(photo).resize((PHOTO, PHOTO), Image.Resampling.LANCZOS), (left, 0))
    return picture
