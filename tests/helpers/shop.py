"""Small catalogues with known vectors."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa

from helpers.paths import ROOT
from marketplace.catalogue.groups import photo_groups
from marketplace.common.params import load_section
from marketplace.recommendation.products import Products
from marketplace.recommendation.rankers import create_ranker
from marketplace.recommendation.rules import RecommendSettings
from marketplace.recommendation.table import SCHEMA, recommendations

# The project's own settings, which let every product be recommended.
ALL = load_section("recommend", RecommendSettings, ROOT / "params.yaml").model_copy(update={"k": 5})
CATEGORIES = ["Hats", "Shoes", "Tops"]
LOCATIONS = ["Leeds", "York"]


def shop(seed: int = 0, n_products: int = 12) -> tuple[pd.DataFrame, np.ndarray]:
    """Make training data with one to three photos per product, and the vectors `(n_products, 6)` of products by id.

    Some products share a file, and then have one vector.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in rng.permutation(n_products):
        facts = {
            "product_id": f"p{number:02}",
            "product_name": f"thing {number if number % 5 else 0}",  # some titles repeat
            "product_description": "",
            "category": CATEGORIES[number % 3],
            "category_path": f"{CATEGORIES[number % 3]} / {number % 2}",
            "location": LOCATIONS[number % 2],
            "price": Decimal(int(rng.integers(1, 100))),
            "currency": "£",
            "split": ["train", "val", "test"][number % 3],
        }
        rows += [facts] * int(rng.integers(1, 4))
    table = pd.DataFrame(rows)
    table["sha256"] = np.arange(len(table)).astype(str)
    vectors = rng.normal(size=(n_products, 6)).astype(np.float32)
    number_of = {product_id: number for number, product_id in enumerate(sorted(table["product_id"].unique()))}
    for _ in range(n_products // 6):
        copy, original = rng.integers(0, len(table), 2)
        table.loc[copy, "sha256"] = table.loc[original, "sha256"]
        ids = table["product_id"]
        vectors[number_of[ids[copy]]] = vectors[number_of[ids[original]]]
    table = table.iloc[rng.permutation(len(table))].reset_index(drop=True)
    table["image_id"] = [f"i{row:03}" for row in range(len(table))]
    table["group"] = photo_groups(table["product_id"], table["sha256"])
    return table, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def recommend(products: Products, vectors: np.ndarray, settings: RecommendSettings = ALL) -> pd.DataFrame:
    """Return the table of recommendations; inner products of `vectors` `(P, d)` are similarities."""
    batches = recommendations(products, create_ranker(products, vectors, settings))
    return pa.Table.from_batches(batches, SCHEMA).to_pandas()
