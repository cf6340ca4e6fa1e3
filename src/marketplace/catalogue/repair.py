"""The tables repaired, joined and encoded; every row that is not kept is recorded with its reason."""

import logging
import re
from decimal import Decimal

import ftfy
import numpy as np
import pandas as pd

from marketplace.catalogue.rejects import Rejects, explanation
from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import image_id_of

log = logging.getLogger(__name__)

# A slash with a space on either side separates two levels; a comma before it is rogue. "TV/DVD" stays one name.
_LEVELS = re.compile(r"\s*,?(?:\s+/\s*|/\s+)")
_POUNDS = re.compile(r"£?\s*(\d+|\d{1,3}(?:,\d{3})+)(\.\d{1,2})?")


def repair_text(text: str) -> str:
    """Undo mojibake (`Â£` to `£`) and fold runs of white space; emoji, quotes and letters stay as they are.

    ftfy repairs the encoding only: it knows the ways in which UTF-8 goes wrong and tells them from intended text.
    """
    return " ".join(ftfy.fix_encoding(text).split())


def parse_category(text: str) -> tuple[str, str]:
    """(root, path) of a repaired category path, with its levels joined by ` / `.

    >>> parse_category("Clothes, Footwear & Accessories, / Shoes/ Boots")
    ('Clothes, Footwear & Accessories', 'Clothes, Footwear & Accessories / Shoes / Boots')
    """
    levels = [level.strip(" ,") for level in _LEVELS.split(text.strip(" ,/"))]
    levels = [level for level in levels if level]
    return (levels[0] if levels else ""), " / ".join(levels)


def parse_price(text: str) -> Decimal | None:
    """Pounds, to the penny, of a repaired price; None if the text is not a price.

    >>> parse_price("£1,234.50,")
    Decimal('1234.50')
    """
    match = _POUNDS.fullmatch(text.strip(" ,"))
    return Decimal((match[1] + (match[2] or "")).replace(",", "")).quantize(Decimal("0.01")) if match else None


def clean_products(table: pd.DataFrame, rejects: Rejects) -> pd.DataFrame:
    """Repair the products, each id once: id, names, category (root), category_path, price, location."""
    products = table[["id", "product_name", "product_description", "location"]].map(repair_text)
    paths = {text: parse_category(repair_text(text)) for text in table["category"].unique()}
    products["category"] = [paths[text][0] for text in table["category"]]
    products["category_path"] = [paths[text][1] for text in table["category"]]
    products["price"] = table["price"].map(lambda text: parse_price(repair_text(text))).astype(object)
    without_price = products["price"].isna()
    if without_price.any():
        example = table["price"][without_price].iloc[0]
        log.warning("%d products have no price that could be read, such as %r", without_price.sum(), example)
    products = _with_id(products, "products", rejects)
    products = _each_once(products, "products", rejects)
    return _leave_out(products, products["category"] == "", "products", "without_category", rejects)


def clean_images(
    table: pd.DataFrame, known: "pd.Series[str]", kept: "pd.Series[str]", rejects: Rejects
) -> pd.DataFrame:
    """Repair the image rows: id, product_id; each id once, each of a product that is `known` and was `kept`."""
    images = table[["id", "product_id"]].map(lambda text: text.strip())
    images = _each_once(_with_id(images, "images", rejects), "images", rejects)
    images = _leave_out(images, ~images["product_id"].isin(known), "images", "unknown_product", rejects)
    return _leave_out(images, ~images["product_id"].isin(kept), "images", "product_not_kept", rejects)


def join_files(images: pd.DataFrame, files: pd.DataFrame, known: "pd.Series[str]", rejects: Rejects) -> pd.DataFrame:
    """Join image rows with the files that were opened: adds sha256 and phash, and leaves out whatever has no partner.

    `files` has name, sha256, phash and reason (empty for a sound image); image x is in `x.jpg`. `known` are the image
    ids in the dump's table, kept or not.
    """
    images = images.assign(name=images["id"] + ".jpg")
    files = files.assign(id=files["name"].map(image_id_of))
    images = _leave_out(images, ~images["name"].isin(files["name"]), "images", "without_file", rejects)
    files = _leave_out(files, ~files["name"].isin(known + ".jpg"), "files", "without_row", rejects)
    files = _leave_out(files, ~files["name"].isin(images["name"]), "files", "row_not_kept", rejects)
    joined = images.merge(files.drop(columns="id"), on="name", validate="one_to_one")
    for reason, broken in joined[joined["reason"] != ""].groupby("reason"):
        rejects.add("images", broken["id"], f"file_{reason}")
        rejects.add("files", broken["id"], str(reason))
    return joined[joined["reason"] == ""].drop(columns=["name", "reason"])


def join_products(images: pd.DataFrame, products: pd.DataFrame, rejects: Rejects) -> pd.DataFrame:
    """One row per kept photo with its product's columns, ordered by image_id; products without a photo are left out."""
    products = _leave_out(products, ~products["id"].isin(images["product_id"]), "products", "without_image", rejects)
    images = images.rename(columns={"id": "image_id"})
    joined = images.merge(products.rename(columns={"id": "product_id"}), on="product_id", validate="many_to_one")
    return joined.sort_values("image_id", ignore_index=True)


def leave_out_photos(table: pd.DataFrame, out: np.ndarray, reason: str, rejects: Rejects) -> pd.DataFrame:
    """Leave out the photos `out` `(N,) bool` of the joined table, and products that have no other."""
    if not out.any():
        return table
    products = set(table["product_id"][out]) - set(table["product_id"][~out])
    for name in ("images", "files"):
        rejects.add(name, table["image_id"][out], reason)
    rejects.add("products", pd.Series(sorted(products), dtype=str), reason)
    log.warning("%d photos and %d products are left out: %s", out.sum(), len(products), explanation(reason))
    return table[~out].reset_index(drop=True)


def label_encoder(categories: "pd.Series[str]") -> dict[str, dict[str, int] | list[str]]:
    """`{"encode": {name: label}, "decode": [name, ...]}` of the category names, sorted.

    Raises MarketplaceError if there is only one: there would be nothing to classify.
    """
    names = sorted(categories.unique())
    if len(names) < 2:
        raise MarketplaceError(
            f"the dump has {len(names)} root category ({', '.join(names)}) left after cleaning; telling categories "
            "apart takes two or more."
        )
    return {"encode": {name: label for label, name in enumerate(names)}, "decode": names}


def _leave_out(table: pd.DataFrame, out: "pd.Series[bool]", name: str, reason: str, rejects: Rejects) -> pd.DataFrame:
    rejects.add(name, table["id"][out], reason)
    return table[~out]


def _with_id(table: pd.DataFrame, name: str, rejects: Rejects) -> pd.DataFrame:
    nameless = table["id"] == ""
    rejects.add(name, pd.Series([f"row {index}" for index in table.index[nameless]], dtype=str), "without_id")
    return table[~nameless]


def _each_once(table: pd.DataFrame, name: str, rejects: Rejects) -> pd.DataFrame:
    """Keep each id's first row; a later row with other content is recorded separately from a mere repetition."""
    later = table["id"].duplicated()
    same = table.duplicated()
    rejects.add(name, table["id"][later & same], "repeated_row")
    rejects.add(name, table["id"][later & ~same], "repeated_id_with_other_content")
    return table[~later]
