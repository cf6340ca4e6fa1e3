"""The time until the reference loop's best validation accuracy is reached, by that loop and by this project.

    python benchmarks/time_to_accuracy.py -S fetch.source=local -S fetch.local.path=../shared/listings
        [--sizes 64 160] [--epochs 10] [--timm-epochs 0] [--seeds 0] [--json OUT]

All start from the same cleaned photos on disk (JPEGs, one file each for the loops, in shards for us), with the same
split, weights and threads, in one process, one after the other. Our seconds include decoding, resizing, the frozen
layers and everything that training records; nothing was computed before. The loop is reference_loop.py; timm_loop.py
takes part if it is given epochs.
"""

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pandas as pd
from reference_loop import reference_loop
from timm_loop import timm_loop
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
    val_recall_at_1: float


class Run(NamedTuple):
    """All ways on the same photos, with one seed."""

    size: int  # pixels a side
    seed: int
    loop: list[Epoch]
    timm: list[Epoch]  # empty: it did not take part
    ours: list[Epoch]


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument("--sizes", type=int, nargs="+", default=[64, 160], help="pixels a side (default: 64 160)")
    command.add_argument("--epochs", type=int, default=10, help="of the reference loop (default: 10)")
    command.add_argument("--timm-epochs", type=int, default=0, help="of timm's way (default: 0, leave it out)")
    command.add_argument("--seeds", type=int, nargs="+", default=[0], help="(default: 0)")
    options = command.parse_args()
    runs: list[Run] = []
    with workspace(options.set) as space:
        for stage in ("fetch", "clean", "pretrained"):
            space.run(stage)
        photos = cleaned(space)
        settings = load_settings(space.path("params.yaml"))
        for size in options.sizes:
            for seed in options.seeds:
                loop = timed(reference_loop, space, photos, size, options.epochs, seed)
                timm = timed(timm_loop, space, photos, size, options.timm_epochs, seed)
                own = settings.train.model_copy(update={"seed": seed})
                runs.append(Run(size, seed, loop, timm, ours(space, photos, size, own, settings.train_full.epochs)))
                print(json.dumps(runs[-1]), flush=True)
    report({"set": options.set, "runs": [run._asdict() for run in runs]}, markdown(runs), options.json)


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


def timed(
    way: Callable[..., Iterator[dict[str, float]]],
    space: Workspace,
    photos: pd.DataFrame,
    size: int,
    epochs: int,
    seed: int,
) -> list[Epoch]:
    """Run a loop that yields its figures after each epoch."""
    if not epochs:
        return []
    started = time.perf_counter()
    figures = way(space.path("photos"), photos, space.path("models/pretrained.pt"), size=size, epochs=epochs, seed=seed)
    return [
        Epoch(time.perf_counter() - started, of_epoch["val_accuracy"], of_epoch["val_recall_at_1"])
        for of_epoch in figures
    ]


class Clock(Recorder):
    """A recorder that also notes the time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "metrics", folder / "logs", folder / "epochs")
        self.epochs: list[Epoch] = []

    def epoch(self, epoch: int, figures: dict[str, float]) -> None:
        """Record an epoch."""
        super().epoch(epoch, figures)
        self.epochs.append(Epoch(time.perf_counter(), figures["val_accuracy"], figures["val_recall_at_1"]))


def ours(space: Workspace, photos: pd.DataFrame, size: int, settings: TrainSettings, epochs: int) -> list[Epoch]:
    """This project's way: resize once, the frozen layers once, then the tail and the head."""
    folder = space.path(f"ours-{size}-{settings.seed}")
    folder.mkdir()
    categories = json.loads(space.path("data/clean/categories.json").read_text())["decode"]
    started = time.perf_counter()
    resize_shards(space.path("shards"), photos, {folder / "images": size})
    data = training_data(folder / "images", space.path("photos.parquet"), categories)
    start = checkpoints.load(space.path("models/pretrained.pt"))
    with Clock(folder) as clock:
        train(start, data, settings, epochs, clock)
    for stored in Path(space.environment["MARKETPLACE_CACHE"]).rglob("*.npy"):
        stored.unlink()  # the next seed computes its features, too
    return [epoch._replace(seconds=epoch.seconds - started) for epoch in clock.epochs]


def reached(epochs: list[Epoch], target: float) -> float | None:
    """Seconds until the accuracy was first reached, or None."""
    return next((epoch.seconds for epoch in epochs if epoch.val_accuracy >= target), None)


def best(epochs: list[Epoch]) -> Epoch:
    """The epoch with the highest accuracy."""
    return max(epochs, key=lambda epoch: epoch.val_accuracy)


def markdown(runs: list[Run]) -> str:
    """A row for each way and run; the target of a size is the median over seeds of the loop's best accuracy."""
    rows: list[list[str]] = []
    for size in dict.fromkeys(run.size for run in runs):
        alike = [run for run in runs if run.size == size]
        target = median(best(run.loop).val_accuracy for run in alike)
        for run in alike:
            ways = {"the loop": run.loop, "timm": run.timm, "ours": run.ours}
            loop = reached(run.loop, target)
            for name, epochs in ways.items():
                if not epochs:
                    continue
                needed, top = reached(epochs, target), best(epochs)
                rows.append(
                    [
                        f"{size} px, seed {run.seed}: {name}",
                        f"{target:.3f}",
                        f"{needed:.0f} s" if needed else "never",
                        f"{loop / needed:.1f}" if loop and needed else "",
                        f"{top.val_accuracy:.3f}",
                        f"{top.val_recall_at_1:.3f}",
                        f"{epochs[-1].seconds:.0f} s",
                    ]
                )
    columns = ["", "target", "reached after", "times as fast", "best accuracy", "recall@1 then", "all epochs"]
    return table(columns, rows)


if __name__ == "__main__":
    main()
