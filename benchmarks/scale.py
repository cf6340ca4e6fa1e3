"""Extrapolate the cost of a million photos from the cost of one: machine-hours and disk by stage.

    python benchmarks/scale.py --dump ../shared/market [--few 0.1] [--json OUT] [-S KEY=VALUE ...]

The stages run on a part of a dump's products, and on all of them. The difference per photo is extrapolated, which
leaves out the cost of a run before its first photo. growth.py shows which stages cost more per photo as the catalogue
grows.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from growth import measure_stage
from increment import STAGES, set_dump, write_dump
from workspace import Workspace, make_parser, report, table, workspace

MILLIONS = (1, 10, 100)
OUTPUTS = {
    "fetch": ["data/raw"],
    "clean": ["data/clean"],
    "resize_images": ["data/resized"],
    "train_small": ["../cache"],  # the features of both sizes, and the network's outputs
    "fit": ["models/heads.onnx", "models/image_model.onnx", "models/text_model"],
    "extract": ["data/embeddings.parquet", "data/text_embeddings.parquet"],
    "recommend": ["data/recommendations.parquet", "models/similar.index", "models/identity.index"],
}


@dataclass(frozen=True)
class Run:
    """The cost of all stages for a catalogue."""

    n_photos: int
    seconds: dict[str, float]  # by stage
    nbytes: dict[str, int]  # of the outputs, by stage


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--dump", type=Path, required=True, metavar="DIR", help="a folder with products.csv and images.csv"
    )
    parser.add_argument("--few", type=float, default=0.1, help="share of the products in the small run (default: 0.1)")
    options = parser.parse_args()
    with workspace(["fetch.source=local", *options.set]) as space:
        dump = space.folder.parent / "dump"
        write_dump(options.dump, dump, 1 - options.few)
        set_dump(space, dump)
        small = run_stages(space)
        write_dump(options.dump, dump, 0)
        shutil.rmtree(space.folder.parent / "cache")
        large = run_stages(space)
    n_photos = large.n_photos - small.n_photos
    seconds = {stage: max(0.0, large.seconds[stage] - small.seconds[stage]) / n_photos for stage in STAGES}
    nbytes = {stage: (large.nbytes[stage] - small.nbytes[stage]) / n_photos for stage in OUTPUTS}
    rows = [format_row(stage, seconds[stage], nbytes.get(stage)) for stage in STAGES if stage != "pretrained"]
    rows.append(format_row("**all**", sum(seconds.values()), sum(nbytes.values())))
    columns = ["1,000 photos", *(f"{n} million" for n in MILLIONS)]
    report({"few": asdict(small), "every": asdict(large)}, table(["stage", *columns], rows), options.json)


def run_stages(space: Workspace) -> Run:
    """Run all stages, and measure the time and the outputs of each."""
    seconds = {}
    for stage in STAGES:
        seconds[stage] = measure_stage(space, stage).seconds
        print(f"{stage}: {seconds[stage]:.1f} s", flush=True)
    return Run(
        n_photos=len(pd.read_parquet(space.path("data/clean/training_data.parquet"))),
        seconds=seconds,
        nbytes={stage: sum(measure_size(space.path(path)) for path in paths) for stage, paths in OUTPUTS.items()},
    )


def measure_size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def format_row(stage: str, seconds: float, nbytes: float | None) -> list[str]:
    """Format a row of the table, from the cost of one photo: seconds for 1,000 photos, hours and disk for millions."""
    cells = []
    for millions in MILLIONS:
        disk = f", {format_bytes(nbytes * millions * 1e6)}" if nbytes else ""
        cells.append(f"{seconds * millions * 1e6 / 3600:,.1f} h{disk}")
    return [stage, f"{1000 * seconds:.2f} s", *cells]


def format_bytes(count: float) -> str:
    """Format a number of bytes in gigabytes or terabytes."""
    return f"{count / 1e12:,.1f} TB" if count >= 1e12 else f"{count / 1e9:,.1f} GB"


if __name__ == "__main__":
    main()
