"""What a million photos would cost, from what a photo costs: machine-hours and disk by stage.

    python benchmarks/scale.py --dump ../shared/market [--few 0.1] [--json OUT] [-S KEY=VALUE ...]

The stages run on a part of a dump's products, and on all of it. The difference, by photo, is what is multiplied: what
a run costs before its first photo is left out. growth.py says which stages cost more by photo the more there are.
"""

import shutil
from pathlib import Path

import pandas as pd
from growth import cost_of
from increment import STAGES, set_dump, write_dump
from workspace import Workspace, parser, report, table, workspace

MILLIONS = (1, 10, 100)
OUTPUTS = {
    "fetch": ["data/raw"],
    "clean": ["data/clean"],
    "resize_images": ["data/resized"],
    "train_small": ["../cache"],  # the features of both sizes, and the network's outputs
    "extract": ["data/embeddings.parquet", "data/text_embeddings.parquet"],
    "recommend": ["data/recommendations.parquet", "models/similar.index", "models/identity.index"],
}


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument(
        "--dump", type=Path, required=True, metavar="DIR", help="a folder with products.csv and images.csv"
    )
    command.add_argument("--few", type=float, default=0.1, help="share of the products in the small run (default: 0.1)")
    options = command.parse_args()
    with workspace(["fetch.source=local", *options.set]) as space:
        dump = space.folder.parent / "dump"
        write_dump(options.dump, dump, 1 - options.few)
        set_dump(space, dump)
        few = run(space)
        write_dump(options.dump, dump, 0)
        shutil.rmtree(space.folder.parent / "cache")
        every = run(space)
    photos = every["photos"] - few["photos"]
    seconds = {stage: max(0.0, every[stage] - few[stage]) / photos for stage in STAGES}
    nbytes = {stage: (every[f"{stage}, bytes"] - few[f"{stage}, bytes"]) / photos for stage in OUTPUTS}
    rows = [row(stage, seconds[stage], nbytes.get(stage)) for stage in STAGES if stage != "pretrained"]
    rows.append(row("**all**", sum(seconds.values()), sum(nbytes.values())))
    columns = ["1,000 photos", *(f"{n} million" for n in MILLIONS)]
    report({"few": few, "every": every}, table(["stage", *columns], rows), options.json)


def run(space: Workspace) -> dict[str, float]:
    """Run all stages; the seconds and bytes of each, and the number of photos."""
    found: dict[str, float] = {}
    for stage in STAGES:
        found[stage] = cost_of(space, stage)[0]
        print(f"{stage}: {found[stage]:.1f} s", flush=True)
    for stage, paths in OUTPUTS.items():
        found[f"{stage}, bytes"] = sum(size_of(space.path(path)) for path in paths)
    found["photos"] = len(pd.read_parquet(space.path("data/clean/training_data.parquet")))
    return found


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def row(stage: str, seconds: float, nbytes: float | None) -> list[str]:
    """A row of the table: time for a thousand photos, then hours and disk for millions."""
    cells = []
    for millions in MILLIONS:
        disk = f", {in_bytes(nbytes * millions * 1e6)}" if nbytes else ""
        cells.append(f"{seconds * millions * 1e6 / 3600:,.1f} h{disk}")
    return [stage, f"{1000 * seconds:.2f} s", *cells]


def in_bytes(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / 1e12:,.1f} TB" if count >= 1e12 else f"{count / 1e9:,.1f} GB"


if __name__ == "__main__":
    main()
