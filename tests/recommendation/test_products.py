"""The products of training data."""

import numpy as np
import pyarrow as pa
from helpers.shop import shop

from marketplace.recommendation.products import products_of


def test_products_know_their_photos() -> None:
    table, _ = shop()
    products = products_of(table)
    assert products.table["product_id"].tolist() == sorted(set(table["product_id"]))
    for number, product_id in enumerate(products.table["product_id"]):
        rows = np.flatnonzero(table["product_id"] == product_id)
        assert products.photos_of(number).tolist() == rows.tolist()
        assert (products.product_of_row[rows] == number).all()


def test_photos_of_a_large_catalogue_are_looked_up_in_one_piece() -> None:
    """A table of a million rows comes in pieces, and whenever Arrow takes some rows, it puts all pieces together."""
    table, _ = shop()
    pieces = np.array_split(table["image_id"].to_numpy(dtype=object), 3)
    ids = pa.chunked_array([pa.array(piece, pa.large_string()) for piece in pieces])
    in_pieces = table.assign(image_id=pa.table({"image_id": ids}).to_pandas()["image_id"])
    assert isinstance(pa.array(in_pieces["image_id"]), pa.ChunkedArray)
    products = products_of(in_pieces)
    assert not isinstance(pa.array(products.image_ids), pa.ChunkedArray)
    assert list(products.image_ids) == table["image_id"].tolist()


def test_a_title_in_other_letters_is_the_same_title() -> None:
    table, _ = shop()
    ids = sorted(set(table["product_id"]))
    titles = dict(
        zip(ids, ["NIKE shoes", "Ｎｉｋｅ 𝓼𝓱𝓸𝓮𝓼", "Nike\u200b  Shoes", "Nike shirt", "", "\u200b"], strict=False)
    )
    table["product_name"] = table["product_id"].map(lambda product_id: titles.get(product_id, product_id))
    groups = products_of(table).text_groups[:6]
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups)) == 4
