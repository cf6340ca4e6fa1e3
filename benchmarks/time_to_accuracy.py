"""The time until the reference loop's best validation accuracy is reached, by that loop and by this project.

    python benchmarks/time_to_accuracy.py -S fetch.source=local -S fetch.local.path=../shared/listings
        [--sizes 64 160] [--epochs 10] [--seeds 1] [--json OUT]

Both start from the same cleaned photos on disk (JPEGs, one file each for the loop, in shards for us), with the same
split, weights and threads, in one process, one after the other. Our seconds include decoding, resizing, the frozen
layers and everything that training records; nothing was computed before. The loop is reference_loop.py.
"""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import pandas as pd
from reference_loop import reference_loop
from workspace import Workspace, parser, report, table, workspace

from marketplace.models import checkpoints
from marketplace.photos.codec import decode
from marketplace.photos.squares import resize_shards
from marketplace.raw.shards import image_id_of, read_shard, shard_paths, write_shards
from marketplace.settings import load_settings
from marketplace.training.data import training_data
from marketplace.training.recorder import Recorder
from marketplace.training.settings import TrainSettings
from marketplace.training.trainer import train


class Epoch(NamedTuple):
    """When an epoch was over, and how good the network was then."""

    seconds: float
    val_accuracy: float


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument("--sizes", type=int, nargs="+", default=[64, 160], help="pixels a side (default: 64 160)")
    command.add_argument("--epochs", type=int, default=10, help="of the reference loop (default: 10)")
    command.add_argument("--seeds", type=int, default=1, help="repeat with so many seeds (default: 1)")
    options = command.parse_args()
    runs = []
    with workspace(options.set) as space:
        for stage in ("fetch", "clean", "pretrained"):
            space.run(stage)
        photos = cleaned(space)
        settings = load_settings(space.path("params.yaml"))
        for size in options.sizes:
            for seed in range(options.seeds):
                loop = reference(space, photos, size, options.epochs, seed)
                own = settings.train.model_copy(update={"seed": seed})
                steps, epochs = ours(space, photos, size, own, settings.train_full.epochs)
                runs.append(compare(size, seed, loop, steps, epochs))
                print(json.dumps(runs[-1]), flush=True)
    report({"set": options.set, "runs": runs}, markdown(runs), options.json)


def cleaned(space: Workspace) -> pd.DataFrame:
    """Write the photos that train and validate as upright RGB JPEGs to photos/ and to shards/; their table."""
    rows = pd.read_parquet(space.path("data/clean/training_data.parquet"))
    rows = rows[rows["split"] != "test"].reset_index(drop=True)
    wanted = set(rows["image_id"])
    raw = shard_paths(space.path("data/raw/images"))
    files = sorted(
        (name, jpeg(content)) for shard in raw for name, content in read_shard(shard) if image_id_of(name) in wanted
    )
    space.path("photos").mkdir()
    for name, content in files:
        (space.path("photos") / name).write_bytes(content)
    write_shards(files, space.path("shards"), len(raw))
    rows.to_parquet(space.path("photos.parquet"))
    return rows


def jpeg(content: bytes) -> bytes:
    """A photo as it would be in a folder of cleaned images."""
    out = io.BytesIO()
    decode(content).save(out, format="JPEG", quality=95)
    return out.getvalue()


def reference(space: Workspace, photos: pd.DataFrame, size: int, epochs: int, seed: int) -> list[Epoch]:
    """The reference loop."""
    started = time.perf_counter()
    figures: Iterator[dict[str, float]] = reference_loop(
        space.path("photos"), photos, space.path("models/pretrained.pt"), size=size, epochs=epochs, seed=seed
    )
    return [Epoch(time.perf_counter() - started, of_epoch["val_accuracy"]) for of_epoch in figures]


class Clock(Recorder):
    """A recorder that also notes the time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "metrics", folder / "logs", folder / "epochs")
        self.epochs: list[Epoch] = []

    def epoch(self, epoch: int, figures: dict[str, float]) -> None:
        """Record an epoch."""
        super().epoch(epoch, figures)
        self.epochs.append(Epoch(time.perf_counter(), figures["val_accuracy"]))


def ours(
    space: Workspace, photos: pd.DataFrame, size: int, settings: TrainSettings, epochs: int
) -> tuple[dict[str, float], list[Epoch]]:
    """This project's way: resize once, the frozen layers once, then the tail and the head."""
    folder = space.path(f"ours-{size}-{settings.seed}")
    folder.mkdir()
    categories = json.loads(space.path("data/clean/categories.json").read_text())["decode"]
    started = time.perf_counter()
    resize_shards(space.path("shards"), photos, {folder / "images": size})
    resized = time.perf_counter()
    data = training_data(folder / "images", space.path("photos.parquet"), categories)
    start = checkpoints.load(space.path("models/pretrained.pt"))
    with Clock(folder) as clock:
        train(start, data, settings, epochs, clock)
    for stored in Path(space.environment["MARKETPLACE_CACHE"]).rglob("*.npy"):
        stored.unlink()  # the next seed computes its features, too
    return {"resize": resized - started}, [Epoch(at - started, accuracy) for at, accuracy in clock.epochs]


def compare(size: int, seed: int, loop: list[Epoch], steps: dict[str, float], epochs: list[Epoch]) -> dict[str, Any]:
    """When each reached the loop's best accuracy, and the best of each."""
    target = max(epoch.val_accuracy for epoch in loop)
    return {
        "size": size,
        "seed": seed,
        "loop_seconds": reached(loop, target),
        "our_seconds": reached(epochs, target),
        "loop_best": target,
        "our_best": max(epoch.val_accuracy for epoch in epochs),
        "of_which": steps,
        "loop_epochs": loop,
        "our_epochs": epochs,
    }


def reached(epochs: list[Epoch], target: float) -> float | None:
    """Seconds until the accuracy was first reached, or None."""
    return next((round(epoch.seconds, 2) for epoch in epochs if epoch.val_accuracy >= target), None)


def markdown(runs: list[dict[str, Any]]) -> str:
    """A row per run, and the mean ratio of each size."""
    rows: list[list[str]] = []
    ratios: dict[int, list[float | None]] = {}
    for run in runs:
        ratio = run["loop_seconds"] / run["our_seconds"] if run["our_seconds"] else None
        ratios.setdefault(run["size"], []).append(ratio)
        rows.append(
            [
                f"{run['size']} px, seed {run['seed']}",
                f"{run['loop_seconds']:.1f} s",
                f"{run['our_seconds']:.1f} s" if ratio else "never",
                f"**{ratio:.1f}**" if ratio else "",
                f"{run['loop_best']:.3f}",
                f"{run['our_best']:.3f}",
                f"{run['of_which']['resize']:.1f} s",
            ]
        )
    columns = ["", "the loop", "ours", "times as fast", "best of the loop", "our best", "of ours: resizing"]
    means = [
        f"{size} px: " + ("not always reached" if None in values else f"{mean(filter(None, values)):.1f} times as fast")
        for size, values in ratios.items()
    ]
    return "\n".join([table(columns, rows), "", *means])


if __name__ == "__main__":
    main()
