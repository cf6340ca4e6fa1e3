"""Plant wrong categories in a dump, correct those that the data report lists, and measure what this is worth.

    python benchmarks/corrections.py --dump ../shared/market [-S KEY=VALUE] [--json OUT]

The dump is a folder with products.csv, images.csv and images/. A share of its products get the category of a product in
another root. The pipeline runs. Planted categories among the doubtful labels of reports/data.csv are corrected in
data/corrections.csv, and the pipeline runs again. Sellers' own mistakes are unknown, so they count as false alarms.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from increment import is_new, read_rows, set_dump, write_rows
from workspace import Workspace, make_parser, report, table, workspace

from marketplace.catalogue.categories import SEPARATOR
from marketplace.catalogue.correction_file import COLUMNS, CORRECTIONS
from marketplace.vectors.tables import read_predictions

PLANTED = 0.03  # share of the products


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--dump", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    with workspace([*options.set, "fetch.source=local"]) as space:
        set_dump(space, options.dump.absolute())
        space.run("fetch", "clean")
        truth = read_products(space)
        dump = space.folder.parent / "dump"
        plant(options.dump, dump, truth)
        set_dump(space, dump)
        space.dvc("repro", "--quiet")
        products = read_products(space)
        is_planted = products["category_path"] != truth["category_path"].reindex(products.index)
        doubtful = read_doubtful(space)
        before = read_hits(space, truth)
        found = products.index[is_planted & products.index.isin(doubtful)]
        corrections = [known_levels(path, products["category_path"]) for path in truth["category_path"][found]]
        lines = pd.DataFrame({COLUMNS[0]: found, COLUMNS[1]: corrections})
        lines.to_csv(space.path(CORRECTIONS), index=False)
        space.dvc("repro", "--quiet")
        after = read_hits(space, truth)
    results = {
        "products": len(products),
        "planted": int(is_planted.sum()),
        "doubtful": len(doubtful),
        "corrected": len(found),
        "before": accuracies(before, after, found),
        "after": accuracies(after, before, found),
    }
    report({"set": options.set, **results}, format_results(results), options.json)


def plant(source: Path, target: Path, truth: pd.DataFrame) -> None:
    """Copy a dump; a share of its products get the category of a product in another root."""
    shutil.copytree(source / "images", target / "images")
    shutil.copyfile(source / "images.csv", target / "images.csv")
    rows = read_rows(source / "products.csv")
    roots = rows["id"].map(truth["category"]).to_numpy(object)
    known = np.flatnonzero(pd.notna(roots))
    random = np.random.default_rng(0)
    categories = rows["category"].to_numpy(object)
    planted = categories.copy()
    for place in known:
        if is_new(rows["id"].iloc[place], PLANTED):
            planted[place] = categories[random.choice(known[roots[known] != roots[place]])]
    write_rows(target / "products.csv", rows.assign(category=planted))


def read_products(space: Workspace) -> pd.DataFrame:
    """Read the products of the training data, by id."""
    data = pd.read_parquet(space.path("data/clean/training_data.parquet"))
    return data.drop_duplicates("product_id").set_index("product_id")


def known_levels(path: str, paths: "pd.Series[str]") -> str:
    """Return the first levels of a category path, as many as a listing still has."""
    levels = path.split(SEPARATOR)
    known = {tuple(other.split(SEPARATOR)[:depth]) for other in set(paths) for depth in range(1, len(levels) + 1)}
    depth = max(depth for depth in range(1, len(levels) + 1) if tuple(levels[:depth]) in known)
    return SEPARATOR.join(levels[:depth])


def read_doubtful(space: Workspace) -> list[str]:
    """Read the ids of the products with doubtful labels."""
    findings = pd.read_csv(space.path("reports/data.csv"), dtype=str)
    return findings["product_id"][findings["finding"] == "doubtful label"].tolist()


def read_hits(space: Workspace, truth: pd.DataFrame) -> pd.DataFrame:
    """Return for each test photo its product, and whether the network gives it its true category."""
    data = pd.read_parquet(space.path("data/clean/training_data.parquet"))
    predictions = read_predictions(space.path("data/embeddings.parquet"))
    predicted = np.array(predictions.categories, dtype=object)[predictions.category.argmax(axis=1)]
    data["hit"] = predicted == data["product_id"].map(truth["category"]).to_numpy(object)
    return data.loc[data["split"] == "test", ["image_id", "product_id", "hit"]].set_index("image_id")


def accuracies(run: pd.DataFrame, other: pd.DataFrame, found: "pd.Index[str]") -> dict[str, float]:
    """Return the accuracy over the test photos of both runs: of all, and of products that were corrected."""
    common = run[run.index.isin(other.index)]
    corrected = common[common["product_id"].isin(found)]
    return {"all": float(common["hit"].mean()), "corrected": float(corrected["hit"].mean()), "photos": len(common)}


def format_results(results: dict[str, Any]) -> str:
    """Format the results as two tables."""
    found = results["corrected"]
    listed = [
        ["products", f"{results['products']:,}"],
        ["wrong categories planted", str(results["planted"])],
        ["doubtful labels listed", str(results["doubtful"])],
        ["planted ones among them", f"{found} ({found / results['planted']:.0%} of the planted ones)"],
    ]
    rows = [
        [name, f"{results['before'][key]:.3f}", f"{results['after'][key]:.3f}"]
        for name, key in (("all test photos", "all"), ("test photos of corrected products", "corrected"))
    ]
    lists = table(["", "number"], listed)
    return f"{lists}\n\n{table(['share with their true category', 'before', 'after correcting'], rows)}"


if __name__ == "__main__":
    main()
