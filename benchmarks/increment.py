"""Measure the cost of new listings: seconds by stage for a catalogue, and again when one product in a hundred is new.

    python benchmarks/increment.py --dump ../shared/market [--new 0.01] [--frozen] [--json OUT]

The dump is a folder with products.csv, images.csv and images/. The first run has no rows and photos of the new
products. With --frozen, training and `fit` are frozen in the second run (`dvc freeze`), as for daily listings. Both
runs are `dvc repro`; a stage's seconds include DVC's own.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from workspace import ROOT, Workspace, make_parser, report, table, workspace

from marketplace.raw.tables import read_table

TRAINING = ("train_small", "train_full")
FROZEN = (*TRAINING, "fit")
STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--dump", type=Path, required=True, metavar="DIR")
    parser.add_argument("--new", type=float, default=0.01, help="share of the products that are new (default: 0.01)")
    parser.add_argument("--frozen", action="store_true", help="keep the models")
    options = parser.parse_args()
    with workspace([*options.set, "fetch.source=local"]) as space:
        dump = space.folder.parent / "dump"
        n_new = write_dump(options.dump, dump, options.new)
        set_dump(space, dump)
        first = space.time_repro()
        write_dump(options.dump, dump, 0)
        if options.frozen:
            space.dvc("freeze", "--quiet", *FROZEN)
        second = space.time_repro("--force", "--single-item", "fetch") | space.time_repro()
    results = {"new_products": n_new, "first": first, "second": second}
    report(results, format_increment(results), options.json)


def set_dump(space: Workspace, dump: Path) -> None:
    """Have the workspace fetch from a folder."""
    params = space.path("params.yaml")
    lines = params.read_text().splitlines()
    section = next(number for number, line in enumerate(lines) if line.strip().startswith("local:"))
    lines[section + 1] = f"    path: {dump}"
    params.write_text("\n".join(lines) + "\n")


def stage_script(stage: str) -> list[str]:
    """Return a stage's script and its arguments, as in dvc.yaml."""
    if stage in TRAINING:
        return ["stages/train.py", stage.removeprefix("train_")]
    return [f"stages/{stage}.py"]


def stage_environment(space: Workspace) -> dict[str, str]:
    """Return the workspace's environment, with its own code first."""
    return {**space.environment, "PYTHONPATH": "src"}


def write_dump(source: Path, target: Path, new: float) -> int:
    """Copy a dump without the share `new` of its products; return how many products are left out."""
    (target / "images").mkdir(parents=True, exist_ok=True)
    products = read_rows(source / "products.csv")
    images = read_rows(source / "images.csv")
    left_out = set(products["id"][[is_new(product_id, new) for product_id in products["id"]]])
    without_photos = set(images["id"][images["product_id"].isin(left_out)])
    write_rows(target / "products.csv", products[~products["id"].isin(left_out)])
    write_rows(target / "images.csv", images[~images["id"].isin(without_photos)])
    for path in (source / "images").iterdir():
        copy = target / "images" / path.name
        if path.stem not in without_photos and not copy.exists():
            shutil.copyfile(path, copy)
    return len(left_out)


def is_new(product_id: str, share: float) -> bool:
    """Return True for this share of the products, by the hashes of their ids."""
    return int.from_bytes(hashlib.sha256(product_id.encode()).digest()[:4]) < share * 2**32


def read_rows(path: Path) -> pd.DataFrame:
    """Read the rows of a dump's table that can be read."""
    return read_table(path.read_bytes(), path.name).rows


def write_rows(path: Path, rows: pd.DataFrame) -> None:
    """Write rows as a dump's table."""
    rows.to_csv(path, index=False, lineterminator="\n")


def format_increment(results: dict[str, Any]) -> str:
    """Format the results: the stages that ran again, and all that ran."""
    first, second = results["first"], results["second"]
    costs = [(stage, first[stage], second[stage]) for stage in second]
    costs.append(("**all of these**", sum(first[stage] for stage in second), sum(second.values())))
    costs.append(("**the whole pipeline**", sum(first.values()), sum(second.values())))
    rows = [[name, f"{before:.1f} s", f"{after:.1f} s", f"{before / after:.1f}"] for name, before, after in costs]
    return table(["", "first run", f"{results['new_products']} new products", "times cheaper"], rows)


if __name__ == "__main__":
    main()
