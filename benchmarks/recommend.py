"""Time, peak memory and loss of the table of recommendations for many products with two photos each.

    python benchmarks/recommend.py [--products 100000] [--dimensions 256] [--exact] [--json OUT]

The vectors come from this repository's own (`dvc repro` makes them): a PCA reduces them to --dimensions, and search.py
multiplies them. Above 50,000 products an index proposes candidates, and the log reports the loss. With --exact, every
product is compared with all others, as up to 50,000.
"""

import tempfile
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from large_catalogue import multiply_vectors
from sklearn.decomposition import PCA
from workspace import ROOT, make_parser, peak_gib, report, table

from marketplace.common.console import start_logging
from marketplace.recommendation import rankers
from marketplace.recommendation.catalogue import read_catalogue
from marketplace.recommendation.origin import Origin
from marketplace.recommendation.products import products_of
from marketplace.recommendation.table import recommendations, write_recommendations
from marketplace.settings import load_settings
from marketplace.vectors.unit_length import to_unit_length

N_CATEGORIES = 13


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    parser.add_argument("--products", type=int, default=100_000, help="number of products (default: 100000)")
    parser.add_argument("--dimensions", type=int, default=256, help="values of a vector (default: 256)")
    parser.add_argument("--exact", action="store_true", help="compare all with all")
    options = parser.parse_args()
    start_logging()
    if options.exact:
        vars(rankers)["EXHAUSTIVE_UP_TO_PRODUCTS"] = options.products
    photos = make_photos(options.products)
    vectors = make_vectors(options.products, options.dimensions)
    settings = load_settings(ROOT / "params.yaml").recommend
    peak_before = peak_gib()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recommendations.parquet"
        products = products_of(photos)
        ranker = rankers.create_ranker(products, vectors, settings)
        origin = Origin(made_with={}, settings=settings, calibrations={}, same_item_cosine=1.0, dimensions={})
        write_recommendations(path, recommendations(products, ranker), origin)
        table_mib = path.stat().st_size / 2**20
    seconds = time.perf_counter() - started
    results = {
        "products": options.products,
        "dimensions": options.dimensions,
        "seconds": seconds,
        "before_gib": peak_before,
        "peak_gib": peak_gib(),
        "table_mib": table_mib,
    }
    columns = ["products", "photos", "dimensions", "time", "peak before", "peak", "the table"]
    row = [
        f"{options.products:,}",
        f"{len(photos):,}",
        str(options.dimensions),
        f"{seconds:.0f} s",
        f"{peak_before:.2f} GiB",
        f"**{results['peak_gib']:.2f} GiB**",
        f"{table_mib:.0f} MiB",
    ]
    report(results, table(columns, [row]), options.json)


def make_photos(n_products: int) -> pd.DataFrame:
    """Make training data of products with two photos each."""
    number = np.repeat(np.arange(n_products), 2)
    category = [f"category {index}" for index in number % N_CATEGORIES]
    return pd.DataFrame(
        {
            "product_id": [f"{index:036d}" for index in number],
            "image_id": "",
            "product_name": [f"thing {index}" for index in number],
            "product_description": "",
            "group": number,
            "category": category,
            "category_path": category,
            "price": Decimal(1),
            "currency": "£",
            "location": "here",
            "split": "train",
            "sha256": np.arange(2 * n_products).astype(str),
        }
    )


def make_vectors(n_products: int, dimensions: int) -> np.ndarray:
    """Make vectors `(n_products, dimensions)` like this repository's own."""
    parts = read_catalogue(ROOT).parts
    weights = load_settings(ROOT / "params.yaml").recommend.weights.product
    real = parts.weigh_symmetrically(weights)
    reduced = PCA(dimensions, random_state=0).fit_transform(real).astype(np.float32)
    return multiply_vectors(to_unit_length(reduced), n_products, seed=0, lengths=[dimensions])


if __name__ == "__main__":
    main()
