"""Measure the cost of new listings: seconds by stage for a catalogue, and again when one product in a hundred is new.

    python benchmarks/increment.py --dump ../shared/market [--new 0.01] [--frozen] [--json OUT]

The dump is a folder with products.csv, images.csv and images/. The first run has no rows and photos of the new
products. With --frozen, training and `fit` are frozen in the second run (`dvc freeze`), as for daily listings.
"""

import csv
import hashlib
import shutil
import subprocess
import time
from pathlib import Path

import yaml
from figures import format_increment
from workspace import ROOT, Workspace, make_parser, report, workspace

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
        first = {stage: time_stage(space, stage) for stage in STAGES}
        write_dump(options.dump, dump, 0)
        frozen = FROZEN if options.frozen else ()
        second = {stage: 0.0 if stage in frozen else time_stage(space, stage) for stage in STAGES}
    results = {"new_products": n_new, "first": first, "second": second}
    report(results, format_increment(results), options.json)


def set_dump(space: Workspace, dump: Path) -> None:
    """Have the workspace fetch from a folder."""
    params = space.path("params.yaml")
    lines = params.read_text().splitlines()
    section = next(number for number, line in enumerate(lines) if line.strip().startswith("local:"))
    lines[section + 1] = f"    path: {dump}"
    params.write_text("\n".join(lines) + "\n")


def time_stage(space: Workspace, stage: str) -> float:
    """Run a stage; return the seconds it took."""
    started = time.perf_counter()
    subprocess.run(["python", *stage_script(stage)], cwd=space.folder, env=stage_environment(space), check=True)
    return time.perf_counter() - started


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
    left_out = {product_id for product_id in read_ids(source / "products.csv") if is_new(product_id, new)}
    copy_rows(source / "products.csv", target / "products.csv", "id", left_out)
    left_out_images = copy_rows(source / "images.csv", target / "images.csv", "product_id", left_out)
    for path in (source / "images").iterdir():
        copy = target / "images" / path.name
        if path.stem not in left_out_images and not copy.exists():
            shutil.copyfile(path, copy)
    return len(left_out)


def is_new(product_id: str, share: float) -> bool:
    """Return True for this share of the products, by the hashes of their ids."""
    return int.from_bytes(hashlib.sha256(product_id.encode()).digest()[:4]) < share * 2**32


def read_ids(path: Path) -> list[str]:
    """Read the ids of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return [record["id"] for record in csv.DictReader(file)]


def copy_rows(source: Path, target: Path, column: str, left_out: set[str]) -> set[str]:
    """Copy a table without the rows whose `column` is in `left_out`; return the ids of these rows."""
    dropped = set()
    with source.open(newline="", encoding="utf-8") as old, target.open("w", newline="", encoding="utf-8") as new:
        reader = csv.DictReader(old)
        writer = csv.DictWriter(new, reader.fieldnames or [])
        writer.writeheader()
        for record in reader:
            if record[column] in left_out:
                dropped.add(record["id"])
            else:
                writer.writerow(record)
    return dropped


if __name__ == "__main__":
    main()
