"""Repair, join and encode the tables; every row that is left out is recorded with its reason."""

import logging
from collections import Counter

import numpy as np
import pandas as pd

from marketplace.catalogue.categories import SEPARATOR, parse_categories
from marketplace.catalogue.places import parse_places
from marketplace.catalogue.prices import fill_in_signs, parse_price
from marketplace.catalogue.seller_texts import is_control, repair_text
from marketplace.common.errors import MarketplaceError
from marketplace.raw.ids import ids_of_files
from marketplace.raw.rejects import Rejects, explanation

log = logging.getLogger(__name__)


def display_name(product_name: str) -> str:
    """Return a product's name without the suffix that marketplaces append.

    >>> display_name("Boots | in Leeds | Listings")
    'Boots'
    """
    return product_name.partition(" | ")[0].strip() or product_name


def clean_products(table: pd.DataFrame, rejects: Rejects) -> pd.DataFrame:
    """Repair the products and keep each id once; adds category (the root), category_path, price and currency."""
    products = table[["product_name", "product_description"]].map(repair_text)
    products.insert(0, "id", table["id"])
    products["location"] = parse_places(table["location"])
    paths = parse_categories(table["category"])
    products["category"] = [path[0] if path else "" for path in paths]
    products["category_path"] = [SEPARATOR.join(path) for path in paths]
    prices = _parse_prices(table["price"])
    products["price"] = prices["price"]
    products["currency"] = prices["currency"]
    products = _drop_without_id(products, "products", rejects)
    products = _drop_repeats(products, "products", rejects)
    products["product_name"] = products["product_name"].map(display_name)
    return products


def leave_out_uncategorized(products: pd.DataFrame, rejects: Rejects) -> pd.DataFrame:
    """Leave out the products that have no category."""
    return _leave_out(products, products["category"] == "", "products", "without_category", rejects)


def _parse_prices(texts: "pd.Series[str]") -> pd.DataFrame:
    """Return price (None if there is none) and currency (a sign) of each text."""
    prices = [parse_price(repair_text(text)) for text in texts]
    _warn_of_unread_prices([text for text, price in zip(texts, prices, strict=True) if price is None], len(texts))
    signs = fill_in_signs([price.sign if price else "" for price in prices])
    counts = Counter(signs)
    if len(counts) > 1:
        log.warning(
            "prices are in %d currencies (%s): filters by price compare numbers", len(counts), ", ".join(counts)
        )
    table = pd.DataFrame(index=texts.index)
    table["price"] = pd.Series([price.amount if price else None for price in prices], texts.index, dtype=object)
    table["currency"] = pd.Series(signs, texts.index, dtype=str)
    return table


def _warn_of_unread_prices(texts: list[str], n_products: int) -> None:
    if not texts:
        return
    examples = ", ".join(repr(text[:40]) for text in sorted(set(texts))[:3])
    if len(texts) == n_products:
        log.warning("none of the products has a readable price: they hold %s", examples)
    else:
        log.warning("%d products have no readable price: they hold %s", len(texts), examples)


def clean_images(
    table: pd.DataFrame, known: "pd.Series[str]", kept: "pd.Series[str]", rejects: Rejects
) -> pd.DataFrame:
    """Keep each image id once, if its product is among the ids `kept`; `known` are the ids in the products' table."""
    images = _drop_without_id(table[["id", "product_id"]], "images", rejects)
    images = _drop_repeats(images, "images", rejects, "photo_of_another_product")
    images = _leave_out(images, ~images["product_id"].isin(known), "images", "unknown_product", rejects)
    return _leave_out(images, ~images["product_id"].isin(kept), "images", "product_not_kept", rejects)


def join_files(images: pd.DataFrame, files: pd.DataFrame, known: "pd.Series[str]", rejects: Rejects) -> pd.DataFrame:
    """Join image rows with the checked files: adds file (its name), shard, sha256, phash and picture.

    Rows and files without a partner are left out. `files` is the table of check_shards; a file's name is an image's id,
    with or without an extension. `known` are the ids in the images' table.

    Raises MarketplaceError if no file has the name of any row.
    """
    files = files.rename(columns={"name": "file"}).assign(id=ids_of_files(files["name"], known.tolist()))
    if not files["id"].isin(known).any():
        raise MarketplaceError(
            f"none of the {len(files)} files belongs to a row of images.csv: files are named like "
            f"{files['file'].iloc[0]!r}, ids are like {known.iloc[0]!r}. A file's name is an id and an extension: "
            f"{known.iloc[0] + '.jpg'!r}."
        )
    order = files.assign(depth=files["file"].str.count("/"), unusual=~files["file"].str.endswith(".jpg"))
    by_preference = order.sort_values(["id", "depth", "unusual", "file"])
    repeats = by_preference.index[by_preference["id"].duplicated()]
    rejects.add("files", files["file"][repeats], "same_id")
    files = files.drop(index=repeats)
    images = _leave_out(images, ~images["id"].isin(files["id"]), "images", "without_file", rejects)
    files = _leave_out(files, ~files["id"].isin(known), "files", "without_row", rejects)
    files = _leave_out(files, ~files["id"].isin(images["id"]), "files", "row_not_kept", rejects)
    joined = images.merge(files, on="id", validate="one_to_one")
    for reason, unusable in joined[joined["reason"] != ""].groupby("reason"):
        rejects.add("images", unusable["id"], f"file_{reason}")
        rejects.add("files", unusable["id"], str(reason))
    return joined[joined["reason"] == ""].drop(columns="reason")


def join_products(
    images: pd.DataFrame, products: pd.DataFrame, named: "pd.Series[str]", rejects: Rejects
) -> pd.DataFrame:
    """Join each photo with its product, ordered by image_id; products without a photo are left out.

    `named` are the products of the rows of images.csv that give a photo to a further product.
    """
    has_photo = products["id"].isin(images["product_id"])
    is_named = products["id"].isin(named)
    if is_named.any():
        log.warning(
            "%d rows of images.csv give a photo to a further product: it stays the first one's, and %d products "
            "have no other photo",
            len(named),
            (~has_photo & is_named).sum(),
        )
    products = _leave_out(products, ~has_photo & is_named, "products", "without_own_photo", rejects)
    products = _leave_out(products, ~products["id"].isin(images["product_id"]), "products", "without_image", rejects)
    images = images.rename(columns={"id": "image_id"})
    joined = images.merge(products.rename(columns={"id": "product_id"}), on="product_id", validate="many_to_one")
    return joined.sort_values("image_id", ignore_index=True)


def leave_out_photos(table: pd.DataFrame, mask: np.ndarray, reason: str, rejects: Rejects) -> pd.DataFrame:
    """Leave out the photos of a mask `(N,) bool` from the joined table, and products that have no other photo."""
    if not mask.any():
        return table
    products = set(table["product_id"][mask]) - set(table["product_id"][~mask])
    for name in ("images", "files"):
        rejects.add(name, table["image_id"][mask], reason)
    rejects.add("products", pd.Series(sorted(products), dtype=str), reason)
    log.warning("%d photos and %d products are left out: %s", mask.sum(), len(products), explanation(reason))
    return table[~mask].reset_index(drop=True)


def label_encoder(categories: "pd.Series[str]") -> dict[str, dict[str, int] | list[str]]:
    """Return `{"encode": {name: label}, "decode": [name, ...]}` of the sorted category names.

    Raises MarketplaceError if there are fewer than two, and so nothing to classify.
    """
    names = sorted(categories.unique())
    if len(names) < 2:
        raise MarketplaceError(
            f"root categories left after cleaning: {', '.join(names) or 'none'}. Training needs two or more, with "
            "three products in each."
        )
    return {"encode": {name: label for label, name in enumerate(names)}, "decode": names}


def _leave_out(table: pd.DataFrame, mask: "pd.Series[bool]", name: str, reason: str, rejects: Rejects) -> pd.DataFrame:
    rejects.add(name, table["id"][mask], reason)
    return table[~mask]


def _drop_without_id(table: pd.DataFrame, name: str, rejects: Rejects) -> pd.DataFrame:
    without_id = table["id"].map(lambda text: not text or any(map(is_control, text)))
    rejects.add(name, pd.Series([f"row {index}" for index in table.index[without_id]], dtype=str), "without_id")
    return table[~without_id]


def further_products(images: pd.DataFrame) -> "pd.Series[str]":
    """Return the products of the rows of images.csv whose photo is another product's by an earlier row."""
    rows = images[["id", "product_id"]].drop_duplicates()
    return rows["product_id"][rows["id"].duplicated()]


def _drop_repeats(
    table: pd.DataFrame, name: str, rejects: Rejects, reason: str = "repeated_id_with_other_content"
) -> pd.DataFrame:
    """Keep the first row of each id; later rows are left out for `reason` if their content differs."""
    repeats_id = table["id"].duplicated()
    repeats_row = table.duplicated()
    rejects.add(name, table["id"][repeats_id & repeats_row], "repeated_row")
    rejects.add(name, table["id"][repeats_id & ~repeats_row], reason)
    return table[~repeats_id]
