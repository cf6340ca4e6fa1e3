"""How time and memory grow with the catalogue: every stage on three sizes, each ten times the one before.

    python benchmarks/growth.py [--smallest 1000] [--only STAGE ...] [--json OUT] [-S KEY=VALUE ...]

The photos are small blocks of colour and the squares are of 32 and 48 px, since pixels cost the same wherever they
stand; one epoch is trained. Products have two photos and a title of random words. The exponent is the p of
cost = fixed + factor * photos^p, which three sizes determine. Memory is the highest of the stage's own process.
"""

import csv
import io
import math
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
from increment import STAGES, command_of, environment, set_dump
from PIL import Image
from workspace import Workspace, parser, report, table, workspace

STEP, SIZES = 10, 3
SMALL = (
    *("fetch.source=local", "resize_images.small=32", "resize_images.full=48"),
    *("train_small.epochs=1", "train_full.epochs=1"),
)
Cost = tuple[float, float]  # seconds, GiB


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument("--smallest", type=int, default=1000, help="photos of the smallest catalogue (default: 1000)")
    command.add_argument(
        "--only",
        nargs="+",
        default=STAGES,
        choices=STAGES,
        metavar="STAGE",
        help="up to the last of these stages, and print these",
    )
    options = command.parse_args()
    sizes = [options.smallest * STEP**number for number in range(SIZES)]
    stages = STAGES[: 1 + max(STAGES.index(stage) for stage in options.only)]
    costs: dict[str, list[Cost]] = {stage: [] for stage in stages}
    with workspace([*SMALL, *options.set]) as space:
        dump = space.folder.parent / "dump"
        for n in sizes:
            shutil.rmtree(dump, ignore_errors=True)
            write_dump(dump, n)
            set_dump(space, dump)
            for stage in stages:
                costs[stage].append(cost_of(space, stage))
                print(f"{n} photos, {stage}: {costs[stage][-1][0]:.1f} s, {costs[stage][-1][1]:.2f} GiB", flush=True)
    rows = [row(stage, costs[stage]) for stage in options.only]
    columns = [*(f"{n:,} photos" for n in sizes), "exponent", *(f"{n:,}: memory" for n in sizes), "exponent of memory"]
    report({"sizes": sizes, "costs": costs}, table(["stage", *columns], rows), options.json)


def row(stage: str, costs: list[Cost]) -> list[str]:
    """A row of the table."""
    seconds, gib = zip(*costs, strict=True)
    times = [f"{value:.1f} s" for value in seconds]
    return [stage, *times, exponent(seconds), *(f"{value:.2f} GiB" for value in gib), exponent(gib)]


def exponent(costs: tuple[float, ...]) -> str:
    """The p of fixed + factor * n^p that goes through the costs of three sizes."""
    first, second, third = costs
    if min(second - first, third - second) < 0.02 * third:
        return "0"  # it hardly grows
    return f"{math.log((third - second) / (second - first), STEP):.2f}"


def cost_of(space: Workspace, stage: str) -> Cost:
    """Run a stage; its seconds, and the most memory that it held."""
    started = time.perf_counter()
    with (space.folder.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            ["python", *command_of(stage)], cwd=space.folder, env=environment(space), stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{stage} failed:\n{Path(log.name).read_text()[-2000:]}")
    return time.perf_counter() - started, usage.ru_maxrss / 2**20


def write_dump(folder: Path, n: int) -> None:
    """Write a dump with `n` photos, two for each product."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(letters) for letters in rng.choice(list("abcdefghiklmnoprstu"), (3000, 7))])
    (folder / "images").mkdir(parents=True)
    with (folder / "products.csv").open("w", newline="") as products, (folder / "images.csv").open("w") as images:
        rows = csv.writer(products)
        rows.writerow(["id", "product_name", "category", "product_description", "price", "location"])
        images.write("id,product_id\n")
        for number in range(n // 2):
            title, text = (" ".join(rng.choice(words, length)) for length in (4, 12))
            category = f"Category {number % 13} / Leaf {number % 8}"
            rows.writerow([f"p{number:07}", title, category, text, f"£{5 + number % 500}.50", "Leeds"])
            blocks = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
            for place, pixels in enumerate(blocks):
                images.write(f"i{number:07}-{place},p{number:07}\n")
                (folder / f"images/i{number:07}-{place}.jpg").write_bytes(jpeg(pixels))


def jpeg(blocks: np.ndarray) -> bytes:
    """A photo of 64 px from blocks of colour `(8, 8, 3) uint8`."""
    content = io.BytesIO()
    Image.fromarray(blocks).resize((64, 64), Image.Resampling.NEAREST).save(content, "JPEG")
    return content.getvalue()


if __name__ == "__main__":
    main()
