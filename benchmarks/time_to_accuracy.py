"""The time to reach the reference loop's best validation accuracy, by the loop and by this project.

    python benchmarks/time_to_accuracy.py -S fetch.source=local -S fetch.local.path=../shared/listings
        [--sizes 64 160] [--epochs 10] [--timm-epochs 0] [--seeds 0] [--json OUT]

All ways start from the same cleaned photos on disk (JPEGs, one file each for the loops, in shards for us), with the
same split, weights and threads, in one process, one after another. Our seconds include decoding, resizing, the frozen
layers and everything that training records; no earlier results are reused. The loop is reference_loop.py; timm_loop.py
takes part if it is given epochs.
"""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import pandas as pd
from networks import open_trunk
from reference_loop import reference_loop
from timm_loop import timm_loop
from workspace import Workspace, make_parser, report, table, workspace

from marketplace.models import checkpoints
from marketplace.photos.codec import decode
from marketplace.photos.squares import resize_shards
from marketplace.raw.shards import image_id_of, read_shard, shard_paths, write_shards
from marketplace.settings import load_settings
from marketplace.training.data import read_training_data
from marketplace.training.recorder import Recorder
from marketplace.training.settings import TrainSettings
from marketplace.training.trainer import train


@dataclass(frozen=True)
class Epoch:
    """When an epoch was over, and how good the network was then."""

    seconds: float
    val_accuracy: float
    val_recall_at_1: float


@dataclass(frozen=True)
class Run:
    """All ways on the same photos, with one seed."""

    size: int  # pixels a side
    seed: int
    loop: list[Epoch]
    timm: list[Epoch]  # empty: it did not take part
    ours: list[Epoch]


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 160], help="pixels a side (default: 64 160)")
    parser.add_argument("--epochs", type=int, default=10, help="of the reference loop (default: 10)")
    parser.add_argument("--timm-epochs", type=int, default=0, help="of timm's way (default: 0, leave it out)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="(default: 0)")
    options = parser.parse_args()
    runs: list[Run] = []
    with workspace(options.set) as space:
        space.run("fetch", "clean", "pretrained")
        photos = write_cleaned_photos(space)
        settings = load_settings(space.path("params.yaml"))
        for size in options.sizes:
            for seed in options.seeds:
                run = Run(
                    size=size,
                    seed=seed,
                    loop=time_loop(reference_loop, space, photos, size, options.epochs, seed),
                    timm=time_loop(timm_loop, space, photos, size, options.timm_epochs, seed),
                    ours=time_ours(
                        space,
                        photos,
                        size,
                        settings.train.model_copy(update={"seed": seed}),
                        settings.train_full.epochs,
                    ),
                )
                runs.append(run)
                print(json.dumps(asdict(run)), flush=True)
    report({"set": options.set, "runs": [asdict(run) for run in runs]}, format_runs(runs), options.json)


def write_cleaned_photos(space: Workspace) -> pd.DataFrame:
    """Write the photos that train and validate as upright RGB JPEGs to photos/ and to shards/; return their table."""
    table = pd.read_parquet(space.path("data/clean/training_data.parquet"))
    table = table[table["split"] != "test"].reset_index(drop=True)
    image_ids = set(table["image_id"])
    shards = shard_paths(space.path("data/raw/images"))
    files = []
    for shard in shards:
        for name, content in read_shard(shard):
            if image_id_of(name) in image_ids:
                files.append((name, encode_cleaned_photo(content)))
    files.sort()
    space.path("photos").mkdir()
    for name, content in files:
        (space.path("photos") / name).write_bytes(content)
    write_shards(files, space.path("shards"), len(shards))
    table.to_parquet(space.path("photos.parquet"))
    return table


def encode_cleaned_photo(content: bytes) -> bytes:
    """Encode a photo as in a folder of cleaned images."""
    out = io.BytesIO()
    decode(content).save(out, format="JPEG", quality=95)
    return out.getvalue()


def time_loop(
    loop: Callable[..., Iterator[dict[str, float]]],
    space: Workspace,
    photos: pd.DataFrame,
    size: int,
    epochs: int,
    seed: int,
) -> list[Epoch]:
    """Run a loop that yields its metrics after each epoch."""
    if not epochs:
        return []
    pretrained = space.path("models/pretrained.pt")
    started = time.perf_counter()
    return [
        Epoch(
            seconds=time.perf_counter() - started,
            val_accuracy=metrics["val_accuracy"],
            val_recall_at_1=metrics["val_recall_at_1"],
        )
        for metrics in loop(space.path("photos"), photos, pretrained, size=size, epochs=epochs, seed=seed)
    ]


class Clock(Recorder):
    """A recorder that also keeps the time of each epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "metrics", folder / "logs", folder / "epochs")
        self.epochs: list[Epoch] = []

    def record_epoch(self, epoch: int, figures: dict[str, float]) -> None:
        """Record an epoch."""
        super().record_epoch(epoch, figures)
        self.epochs.append(
            Epoch(
                seconds=time.perf_counter(),
                val_accuracy=figures["val_accuracy"],
                val_recall_at_1=figures["val_recall_at_1"],
            )
        )


def time_ours(space: Workspace, photos: pd.DataFrame, size: int, settings: TrainSettings, epochs: int) -> list[Epoch]:
    """Train this project's way: resize once, run the frozen layers once, then train the tail and the head."""
    folder = space.path(f"ours-{size}-{settings.seed}")
    folder.mkdir()
    categories = json.loads(space.path("data/clean/categories.json").read_text())["decode"]
    started = time.perf_counter()
    resize_shards(space.path("shards"), photos, {folder / "images": size})
    data = read_training_data(folder / "images", space.path("photos.parquet"), categories, sentence_model=None)
    pretrained = space.path("models/pretrained.pt")
    trunk = open_trunk(pretrained, size, folder)
    with Clock(folder) as clock:
        train(checkpoints.load(pretrained), trunk, data, settings, epochs, clock)
    for stored in Path(space.environment["MARKETPLACE_CACHE"]).rglob("*.npy"):
        stored.unlink()  # the next seed computes its features, too
    return [replace(epoch, seconds=epoch.seconds - started) for epoch in clock.epochs]


def seconds_to_reach(target: float, epochs: list[Epoch]) -> float | None:
    """Return the seconds until the accuracy was first reached, or None."""
    return next((epoch.seconds for epoch in epochs if epoch.val_accuracy >= target), None)


def best_epoch(epochs: list[Epoch]) -> Epoch:
    """Return the epoch with the highest accuracy."""
    return max(epochs, key=lambda epoch: epoch.val_accuracy)


def format_runs(runs: list[Run]) -> str:
    """Format a row for each way and run; the target of a size is the median over seeds of the loop's best accuracy."""
    rows: list[list[str]] = []
    for size in dict.fromkeys(run.size for run in runs):
        runs_of_size = [run for run in runs if run.size == size]
        target = median(best_epoch(run.loop).val_accuracy for run in runs_of_size)
        for run in runs_of_size:
            loop_seconds = seconds_to_reach(target, run.loop)
            for name, epochs in {"the loop": run.loop, "timm": run.timm, "ours": run.ours}.items():
                if epochs:
                    label = f"{size} px, seed {run.seed}: {name}"
                    rows.append(format_row(label, target, loop_seconds, epochs))
    columns = ["", "target", "reached after", "times as fast", "best accuracy", "recall@1 then", "all epochs"]
    return table(columns, rows)


def format_row(label: str, target: float, loop_seconds: float | None, epochs: list[Epoch]) -> list[str]:
    """Format a row of the table; `loop_seconds` is the time until the loop reached the target, if it did."""
    seconds = seconds_to_reach(target, epochs)
    best = best_epoch(epochs)
    return [
        label,
        f"{target:.3f}",
        f"{seconds:.0f} s" if seconds else "never",
        f"{loop_seconds / seconds:.1f}" if loop_seconds and seconds else "",
        f"{best.val_accuracy:.3f}",
        f"{best.val_recall_at_1:.3f}",
        f"{epochs[-1].seconds:.0f} s",
    ]


if __name__ == "__main__":
    main()
