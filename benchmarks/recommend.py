"""Time, peak memory and loss of the table of recommendations for many products, two photos each.

    python benchmarks/recommend.py [--products 100000] [--dimensions 256] [--exact] [--json OUT]

The vectors are this repository's own (`dvc repro` makes them), by a PCA of so many dimensions, multiplied as
search.py does it. Beyond 50,000 photos an index finds candidates, and the log says what that loses; --exact compares
all with all, as up to there.
"""

import tempfile
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from search import multiplied
from sklearn.decomposition import PCA
from workspace import ROOT, parser, peak_gib, report, table

from marketplace.common.console import start_logging
from marketplace.recommendation import table as recommendation_table
from marketplace.recommendation.catalogue import read_catalogue
from marketplace.recommendation.products import products_of
from marketplace.recommendation.table import recommendations, write_recommendations
from marketplace.settings import load_settings
from marketplace.vectors.unit_length import to_unit_length

N_CATEGORIES = 13


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__, params=False)
    command.add_argument("--products", type=int, default=100_000, help="how many (default: 100000)")
    command.add_argument("--dimensions", type=int, default=256, help="of a vector (default: 256)")
    command.add_argument("--exact", action="store_true", help="compare all with all")
    options = command.parse_args()
    start_logging()
    if options.exact:
        recommendation_table.EXHAUSTIVE_UP_TO_PHOTOS = 2 * options.products  # type: ignore[attr-defined]  # imported there
    photos, vectors = catalogue(options.products, options.dimensions)
    before, started = peak_gib(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recommendations.parquet"
        settings = load_settings(ROOT / "params.yaml").recommend
        products = products_of(photos)
        write_recommendations(path, products, recommendations(products, vectors, settings), settings.words)
        mib = path.stat().st_size / 2**20
    seconds = time.perf_counter() - started
    results = {
        "products": options.products,
        "dimensions": options.dimensions,
        "seconds": seconds,
        "before_gib": before,
        "peak_gib": peak_gib(),
        "table_mib": mib,
    }
    columns = ["products", "photos", "dimensions", "time", "peak before", "peak", "the table"]
    row = [
        f"{options.products:,}",
        f"{len(photos):,}",
        str(options.dimensions),
        f"{seconds:.0f} s",
        f"{before:.2f} GiB",
        f"**{results['peak_gib']:.2f} GiB**",
        f"{mib:.0f} MiB",
    ]
    report(results, table(columns, [row]), options.json)


def catalogue(n: int, dimensions: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Training data of `n` products with two photos each, and their vectors."""
    number = np.repeat(np.arange(n), 2)
    category = [f"category {index}" for index in number % N_CATEGORIES]
    photos = pd.DataFrame(
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
            "sha256": np.arange(2 * n).astype(str),
        }
    )
    real = read_catalogue(ROOT).similar(words=0.5)
    real = to_unit_length(PCA(dimensions, random_state=0).fit_transform(real).astype(np.float32))
    return photos, multiplied(real, 2 * n, seed=0)


if __name__ == "__main__":
    main()
