"""What new listings cost: seconds by stage for a catalogue, and again after one product in a hundred is new.

    python benchmarks/increment.py --dump ../shared/market [--new 0.01] [--frozen] [--json OUT]

The dump is a folder with products.csv, images.csv and images/. The first run has none of the new products' rows and
photos. With --frozen, the training stages are frozen in the second run (`dvc freeze`), as for listings of every day.
"""

import csv
import hashlib
import shutil
import subprocess
import time
from pathlib import Path

from workspace import Workspace, parser, report, table, workspace

STAGES = (
    *("fetch", "clean", "resize_images", "pretrained", "train_small", "train_full"),
    *("extract", "data_report", "evaluate", "recommend"),
)
TRAINING = ("train_small", "train_full")


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument("--dump", type=Path, required=True, metavar="DIR")
    command.add_argument("--new", type=float, default=0.01, help="share of the products that are new (default: 0.01)")
    command.add_argument("--frozen", action="store_true", help="do not train again")
    options = command.parse_args()
    with workspace([*options.set, "fetch.source=local"]) as space:
        dump = space.folder.parent / "dump"
        n_new = write_dump(options.dump, dump, options.new)
        set_dump(space, dump)
        first = {stage: seconds_of(space, stage) for stage in STAGES}
        write_dump(options.dump, dump, 0)
        skipped = TRAINING if options.frozen else ()
        second = {stage: 0.0 if stage in skipped else seconds_of(space, stage) for stage in STAGES}
    rows = [row(stage, first[stage], second[stage]) for stage in STAGES]
    sums = [sum(seconds[stage] for stage in STAGES if stage not in TRAINING) for seconds in (first, second)]
    rows.append(row("**all but training**", *sums))
    report(
        {"new_products": n_new, "first": first, "second": second},
        table(["stage", "first run", f"{n_new} new products", "times cheaper"], rows),
        options.json,
    )


def row(name: str, first: float, second: float) -> list[str]:
    """A row of the table."""
    return [name, f"{first:.1f} s", f"{second:.1f} s", f"{first / second:.1f}" if second else ""]


def set_dump(space: Workspace, dump: Path) -> None:
    """Have the workspace fetch from that folder."""
    params = space.path("params.yaml")
    lines = params.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip().startswith("local:"))
    lines[at + 1] = f"    path: {dump}"
    params.write_text("\n".join(lines) + "\n")


def seconds_of(space: Workspace, stage: str) -> float:
    """Run a stage, and the seconds that it took."""
    started = time.perf_counter()
    subprocess.run(["python", *command_of(stage)], cwd=space.folder, env=environment(space), check=True)
    return time.perf_counter() - started


def command_of(stage: str) -> list[str]:
    """The stage's command in dvc.yaml."""
    if stage in TRAINING:
        return ["stages/train.py", stage.removeprefix("train_")]
    return [f"stages/{stage}.py"]


def environment(space: Workspace) -> dict[str, str]:
    """The workspace's environment, with its own code first."""
    return {**space.environment, "PYTHONPATH": "src"}


def write_dump(source: Path, target: Path, new: float) -> int:
    """Copy a dump without the share `new` of its products; the number of those left out."""
    (target / "images").mkdir(parents=True, exist_ok=True)
    left_out = {product_id for product_id in ids(source / "products.csv") if is_new(product_id, new)}
    copy_rows(source / "products.csv", target / "products.csv", "id", left_out)
    images = copy_rows(source / "images.csv", target / "images.csv", "product_id", left_out)
    for path in (source / "images").iterdir():
        copy = target / "images" / path.name
        if path.stem not in images and not copy.exists():
            shutil.copyfile(path, copy)
    return len(left_out)


def is_new(product_id: str, share: float) -> bool:
    """True for that share of the products, by their ids' hashes."""
    return int.from_bytes(hashlib.sha256(product_id.encode()).digest()[:4]) < share * 2**32


def ids(path: Path) -> list[str]:
    """The ids of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return [record["id"] for record in csv.DictReader(file)]


def copy_rows(source: Path, target: Path, column: str, left_out: set[str]) -> set[str]:
    """Copy a table without some rows; the ids of those rows."""
    dropped = set()
    with source.open(newline="", encoding="utf-8") as read, target.open("w", newline="", encoding="utf-8") as written:
        reader = csv.DictReader(read)
        writer = csv.DictWriter(written, reader.fieldnames or [])
        writer.writeheader()
        for record in reader:
            if record[column] in left_out:
                dropped.add(record["id"])
            else:
                writer.writerow(record)
    return dropped


if __name__ == "__main__":
    main()
