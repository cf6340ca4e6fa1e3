"""Measure how time and memory grow with the catalogue: every stage on three sizes, each ten times the one before.

    python benchmarks/growth.py [--smallest 1000] [--only STAGE ...] [--frozen] [--json OUT] [-S KEY=VALUE ...]

The photos are small blocks of colour, the squares have 32 and 48 px (the cost of a pixel does not depend on the
catalogue), and one epoch is trained; with --frozen only on the smallest catalogue, and the models stay. Products have
two photos and a title of random words. The exponent is p in cost = fixed + factor * photos^p, which three sizes
determine. Memory is the peak of the stage's own process.
"""

import csv
import io
import math
import os
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from increment import FROZEN, STAGES, set_dump, stage_environment, stage_script
from PIL import Image
from workspace import Workspace, make_parser, report, table, workspace

STEP = 10
N_SIZES = 3
LETTERS = list("abcdefghiklmnoprstu")
SMALL_PARAMS = [
    "fetch.source=local",
    "resize_images.small=32",
    "resize_images.full=48",
    "train_small.epochs=1",
    "train_full.epochs=1",
]


@dataclass(frozen=True)
class Cost:
    """The cost of a stage."""

    seconds: float
    peak_gib: float


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--smallest", type=int, default=1000, help="photos of the smallest catalogue (default: 1000)")
    parser.add_argument(
        "--only",
        nargs="+",
        default=STAGES,
        choices=STAGES,
        metavar="STAGE",
        help="run no stage after the last of these, and print only these",
    )
    parser.add_argument("--frozen", action="store_true", help="train on the smallest catalogue only")
    options = parser.parse_args()
    sizes = [options.smallest * STEP**number for number in range(N_SIZES)]
    stages = STAGES[: 1 + max(STAGES.index(stage) for stage in options.only)]
    costs: dict[str, list[Cost]] = {stage: [] for stage in stages}
    with workspace([*SMALL_PARAMS, *options.set]) as space:
        dump = space.folder.parent / "dump"
        for n_photos in sizes:
            shutil.rmtree(dump, ignore_errors=True)
            write_dump(dump, n_photos)
            set_dump(space, dump)
            for stage in stages:
                if options.frozen and stage in FROZEN and costs[stage]:
                    continue
                cost = measure_stage(space, stage)
                costs[stage].append(cost)
                print(f"{n_photos} photos, {stage}: {cost.seconds:.1f} s, {cost.peak_gib:.2f} GiB", flush=True)
    rows = [format_row(stage, costs[stage]) for stage in options.only if len(costs[stage]) == N_SIZES]
    columns = ["stage", *(f"{n:,} photos" for n in sizes), "exponent", f"memory at {sizes[-1]:,}", "exponent of memory"]
    results = {
        "sizes": sizes,
        "costs": {stage: [asdict(cost) for cost in stage_costs] for stage, stage_costs in costs.items()},
    }
    report(results, table(columns, rows), options.json)


def format_row(stage: str, costs: list[Cost]) -> list[str]:
    """Format a row of the table."""
    seconds = [cost.seconds for cost in costs]
    memory = [cost.peak_gib for cost in costs]
    return [
        stage,
        *(f"{value:.1f} s" for value in seconds),
        fit_exponent(seconds),
        f"{memory[-1]:.2f} GiB",
        fit_exponent(memory),
    ]


def fit_exponent(costs: list[float]) -> str:
    """Return p of the curve fixed + factor * n^p through the costs of three sizes."""
    first, second, third = costs
    if min(second - first, third - second) < 0.02 * third:
        return "0"  # it hardly grows
    return f"{math.log((third - second) / (second - first), STEP):.2f}"


def measure_stage(space: Workspace, stage: str) -> Cost:
    """Run a stage; return its seconds, and the most memory that its process held."""
    started = time.perf_counter()
    with (space.folder.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            ["python", *stage_script(stage)], cwd=space.folder, env=stage_environment(space), stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{stage} failed:\n{Path(log.name).read_text()[-2000:]}")
    return Cost(seconds=time.perf_counter() - started, peak_gib=usage.ru_maxrss / 2**20)


def write_dump(folder: Path, n_photos: int) -> None:
    """Write a dump with two photos for each product."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(letters) for letters in rng.choice(LETTERS, (3000, 7))])
    (folder / "images").mkdir(parents=True)
    with (folder / "products.csv").open("w", newline="") as products, (folder / "images.csv").open("w") as images:
        rows = csv.writer(products)
        rows.writerow(["id", "product_name", "category", "product_description", "price", "location"])
        images.write("id,product_id\n")
        for number in range(n_photos // 2):
            title = " ".join(rng.choice(words, 4))
            description = " ".join(rng.choice(words, 12))
            category = f"Category {number % 13} / Leaf {number % 8}"
            rows.writerow([f"p{number:07}", title, category, description, f"£{5 + number % 500}.50", "Leeds"])
            photos = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
            for place, blocks in enumerate(photos):
                images.write(f"i{number:07}-{place},p{number:07}\n")
                (folder / f"images/i{number:07}-{place}.jpg").write_bytes(encode_photo(blocks))


def encode_photo(blocks: np.ndarray) -> bytes:
    """Encode a JPEG of 64 px from blocks of colour `(8, 8, 3) uint8`."""
    content = io.BytesIO()
    Image.fromarray(blocks).resize((64, 64), Image.Resampling.NEAREST).save(content, "JPEG")
    return content.getvalue()


if __name__ == "__main__":
    main()
