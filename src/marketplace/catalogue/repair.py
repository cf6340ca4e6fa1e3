"""The tables repaired, joined and encoded; every row that is not kept is recorded with its reason."""

import logging
import unicodedata
from typing import Any

import ftfy
import numpy as np
import pandas as pd

from marketplace.catalogue.categories import parse_categories
from marketplace.catalogue.prices import currencies, parse_price
from marketplace.common.errors import MarketplaceError
from marketplace.raw.rejects import Rejects, explanation
from marketplace.raw.shards import image_id_of
from marketplace.raw.tables import tidy_id

log = logging.getLogger(__name__)
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def repair_text(text: str) -> str:
    """Undo mojibake (`Â£` to `£`), fold white space and drop control characters, which a terminal would obey.

    Emoji, quotes and letters stay as they are: ftfy repairs the encoding only. It knows the ways in which UTF-8 goes
    wrong, and tells them from intended text.
    """
    text = ftfy.fix_encoding(text)
    if not text.isprintable():
        text = "".join(letter for letter in text if letter.isspace() or not _is_control(letter))
    return " ".join(text.split())


def _is_control(letter: str) -> bool:
    """True for a control character, or one that turns the direction of a text around."""
    return unicodedata.category(letter) == "Cc" or unicodedata.bidirectional(letter) in _TURNS


def display_name(product_name: str) -> str:
    """A product's name without what marketplaces append to it.

    >>> display_name("Boots | in Leeds | Listings")
    'Boots'
    """
    return product_name.partition(" | ")[0].strip() or product_name


def clean_products(table: pd.DataFrame, rejects: Rejects) -> pd.DataFrame:
    """Repair the products, each id once: id, texts, category (root), category_path, price, currency, location."""
    products = table[["product_name", "product_description", "location"]].map(repair_text)
    products.insert(0, "id", table["id"])
    paths = parse_categories(table["category"])
    products["category"] = [path[0] if path else "" for path in paths]
    products["category_path"] = [" / ".join(path) for path in paths]
    products["price"], products["currency"] = _prices(table["price"])
    products = _with_id(products, "products", rejects)
    products = _each_once(products, "products", rejects)
    products["product_name"] = products["product_name"].map(display_name)
    return _leave_out(products, products["category"] == "", "products", "without_category", rejects)


def _prices(texts: "pd.Series[str]") -> "tuple[pd.Series[Any], pd.Series[str]]":
    """The amounts (None: no price) and the currencies' signs."""
    parsed = [parse_price(repair_text(text)) for text in texts]
    unread = [text for text, price in zip(texts, parsed, strict=True) if price is None]
    if unread:
        examples = ", ".join(repr(text[:40]) for text in sorted(set(unread))[:3])
        which = (
            "none of the products has a price" if len(unread) == len(texts) else f"{len(unread)} products have no price"
        )
        log.warning("%s that could be read: they hold %s", which, examples)
    signs, counts = currencies([price[1] if price else "" for price in parsed])
    if len(counts) > 1:
        log.warning(
            "prices are in %d currencies (%s): filters by price compare numbers", len(counts), ", ".join(counts)
        )
    amounts = pd.Series([price[0] if price else None for price in parsed], index=texts.index, dtype=object)
    return amounts, pd.Series(signs, index=texts.index, dtype=str)


def clean_images(
    table: pd.DataFrame, known: "pd.Series[str]", kept: "pd.Series[str]", rejects: Rejects
) -> pd.DataFrame:
    """Repair the image rows: id, product_id; each id once, each of a product that is `known` and was `kept`."""
    images = _each_once(_with_id(table[["id", "product_id"]], "images", rejects), "images", rejects)
    images = _leave_out(images, ~images["product_id"].isin(known), "images", "unknown_product", rejects)
    return _leave_out(images, ~images["product_id"].isin(kept), "images", "product_not_kept", rejects)


def join_files(images: pd.DataFrame, files: pd.DataFrame, known: "pd.Series[str]", rejects: Rejects) -> pd.DataFrame:
    """Join image rows with the files that were opened: adds file (its name), shard, sha256 and phash.

    Leaves out whatever has no partner. `files` has name, shard, sha256, phash and reason (empty for a sound image); a
    file is named by an image's id, with an extension or without. `known` are the ids in the dump's table, kept or not.

    Raises MarketplaceError if no file has the name of any row.
    """
    files = files.rename(columns={"name": "file"}).assign(id=_ids_of(files["name"], set(known)))
    if not files["id"].isin(known).any():
        raise MarketplaceError(
            f"none of the {len(files)} files belongs to a row of images.csv: files are named like "
            f"{files['file'].iloc[0]!r}, ids are like {known.iloc[0]!r}. A file's name is an id and an extension: "
            f"{known.iloc[0] + '.jpg'!r}."
        )
    preferred = files.assign(other=~files["file"].str.endswith(".jpg")).sort_values(["id", "other", "file"])
    repeated = preferred.index[preferred["id"].duplicated()]
    rejects.add("files", files["file"][repeated], "same_id")
    files = files.drop(index=repeated)
    images = _leave_out(images, ~images["id"].isin(files["id"]), "images", "without_file", rejects)
    files = _leave_out(files, ~files["id"].isin(known), "files", "without_row", rejects)
    files = _leave_out(files, ~files["id"].isin(images["id"]), "files", "row_not_kept", rejects)
    joined = images.merge(files, on="id", validate="one_to_one")
    for reason, broken in joined[joined["reason"] != ""].groupby("reason"):
        rejects.add("images", broken["id"], f"file_{reason}")
        rejects.add("files", broken["id"], str(reason))
    return joined[joined["reason"] == ""].drop(columns="reason")


def _ids_of(names: "pd.Series[str]", known: set[str]) -> list[str]:
    """The image id of each file; some tables have the extension in the id."""
    return [tidy_id(name) if tidy_id(name) in known else image_id_of(name) for name in names]


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
            f"root categories left after cleaning: {', '.join(names) or 'none'}. Telling categories apart takes two or "
            "more, with three products in each."
        )
    return {"encode": {name: label for label, name in enumerate(names)}, "decode": names}


def _leave_out(table: pd.DataFrame, out: "pd.Series[bool]", name: str, reason: str, rejects: Rejects) -> pd.DataFrame:
    rejects.add(name, table["id"][out], reason)
    return table[~out]


def _with_id(table: pd.DataFrame, name: str, rejects: Rejects) -> pd.DataFrame:
    nameless = table["id"].map(lambda text: not text or any(map(_is_control, text)))
    rejects.add(name, pd.Series([f"row {index}" for index in table.index[nameless]], dtype=str), "without_id")
    return table[~nameless]


def _each_once(table: pd.DataFrame, name: str, rejects: Rejects) -> pd.DataFrame:
    """Keep each id's first row; a later row with other content is recorded separately from a mere repetition."""
    later = table["id"].duplicated()
    same = table.duplicated()
    rejects.add(name, table["id"][later & same], "repeated_row")
    rejects.add(name, table["id"][later & ~same], "repeated_id_with_other_content")
    return table[~later]
