"""The time to reach the reference loop's accuracy and recall, by the loop and by this project.

    python benchmarks/time_to_accuracy.py -S fetch.source=local -S fetch.local.path=../shared/listings
        [--sizes 288] [--epochs 10] [--timm-epochs 0] [--seeds 0] [--json OUT]

All ways start from the same cleaned photos on disk (JPEGs, one file each for the loops, in shards for us), with the
same split, weights and threads, in one process, one after another. The seconds of our first run include decoding,
resizing, the frozen layers and everything that training records; no earlier results are reused. Our further experiment
then trains from the stored features, with another learning rate. The loop is reference_loop.py, which does everything
each time; timm_loop.py takes part if it is given epochs. The target is the loop's best validation accuracy, and its
same-product recall@1 then: of several seeds, the medians.
"""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

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

LR_FACTOR = 0.9  # of the learning rate, in another experiment


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
    first_run: list[Epoch]  # ours
    experiment: list[Epoch]  # ours, after the first run

    @property
    def ways(self) -> dict[str, list[Epoch]]:
        """The epochs of each way that took part, by its name."""
        ways = {
            "the loop": self.loop,
            "timm": self.timm,
            "ours, first run": self.first_run,
            "ours, another experiment": self.experiment,
        }
        return {name: epochs for name, epochs in ways.items() if epochs}


class Target(NamedTuple):
    """What a way is timed to reach, both in one epoch."""

    accuracy: float
    recall_at_1: float


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[288], help="pixels a side (default: 288)")
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
                loop = time_loop(reference_loop, space, photos, size, options.epochs, seed)
                timm = time_loop(timm_loop, space, photos, size, options.timm_epochs, seed)
                train_settings = settings.train.model_copy(update={"seed": seed})
                first_run, experiment = time_ours(space, photos, size, train_settings, settings.train_full.epochs)
                run = Run(size=size, seed=seed, loop=loop, timm=timm, first_run=first_run, experiment=experiment)
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


def time_ours(
    space: Workspace, photos: pd.DataFrame, size: int, settings: TrainSettings, epochs: int
) -> tuple[list[Epoch], list[Epoch]]:
    """Train this project's way: resize once, run the frozen layers once, then train the tail and the head.

    Returns the epochs of a first run, and of another experiment after it.
    """
    folder = space.path(f"ours-{size}-{settings.seed}")
    folder.mkdir()
    started = time.perf_counter()
    resize_shards(space.path("shards"), photos, {folder / "images": size})
    first_run = time_training(space, folder, size, settings, epochs, started)
    changed = settings.model_copy(update={"lr": LR_FACTOR * settings.lr})
    experiment = time_training(space, folder, size, changed, epochs, time.perf_counter())
    for stored in Path(space.environment["MARKETPLACE_CACHE"]).rglob("*.npy"):
        stored.unlink()  # the next seed computes its features, too
    return first_run, experiment


def time_training(
    space: Workspace, folder: Path, size: int, settings: TrainSettings, epochs: int, started: float
) -> list[Epoch]:
    """Train from the squares in a folder; the seconds of an epoch count from `started`."""
    categories = json.loads(space.path("data/clean/categories.json").read_text())["decode"]
    data = read_training_data(folder / "images", space.path("photos.parquet"), categories, sentence_model=None)
    pretrained = space.path("models/pretrained.pt")
    trunk = open_trunk(pretrained, size, folder)
    with Clock(folder / f"{settings.lr}") as clock:
        train(checkpoints.load(pretrained), trunk, data, settings, epochs, clock)
    return [replace(epoch, seconds=epoch.seconds - started) for epoch in clock.epochs]


def choose_target(runs: list[Run]) -> Target:
    """Return the medians of the loop's best accuracy and of its recall then, over runs of several seeds."""
    best = [best_epoch(run.loop) for run in runs]
    return Target(
        accuracy=median(epoch.val_accuracy for epoch in best),
        recall_at_1=median(epoch.val_recall_at_1 for epoch in best),
    )


def seconds_to_reach(target: Target, epochs: list[Epoch]) -> float | None:
    """Return the seconds until an epoch first reached the target, or None."""
    for epoch in epochs:
        if epoch.val_accuracy >= target.accuracy and epoch.val_recall_at_1 >= target.recall_at_1:
            return epoch.seconds
    return None


def best_epoch(epochs: list[Epoch]) -> Epoch:
    """Return the epoch with the highest accuracy."""
    return max(epochs, key=lambda epoch: epoch.val_accuracy)


def format_runs(runs: list[Run]) -> str:
    """Format a table: for each size how many times as fast we are, then a row for each way and run."""
    rows: list[list[str]] = []
    for size in dict.fromkeys(run.size for run in runs):
        runs_of_size = [run for run in runs if run.size == size]
        target = choose_target(runs_of_size)
        rows.append(format_ratios(size, target, runs_of_size))
        for run in runs_of_size:
            for name, epochs in run.ways.items():
                rows.append(format_row(f"{size} px, seed {run.seed}: {name}", target, epochs))
    columns = ["", "reached after", "best accuracy", "recall@1 then", "an epoch"]
    return table(columns, rows)


def format_ratios(size: int, target: Target, runs: list[Run]) -> list[str]:
    """Format the row of a size: how many times as fast as the loop our first run and another experiment are."""
    ratios: dict[str, list[float]] = {"first run": [], "another experiment": []}
    for run in runs:
        loop_seconds = seconds_to_reach(target, run.loop)
        for name, epochs in zip(ratios, (run.first_run, run.experiment), strict=True):
            seconds = seconds_to_reach(target, epochs)
            if loop_seconds and seconds:
                ratios[name].append(loop_seconds / seconds)
    words = [f"{name} {median(values):.1f}" if values else f"{name}: never" for name, values in ratios.items()]
    label = f"**{size} px, accuracy {target.accuracy:.3f} and recall@1 {target.recall_at_1:.3f}: times as fast**"
    return [label, f"**{', '.join(words)}**", "", "", ""]


def format_row(label: str, target: Target, epochs: list[Epoch]) -> list[str]:
    """Format the row of a way: when it reached the target, its best epoch, and the mean of its later ones."""
    seconds = seconds_to_reach(target, epochs)
    best = best_epoch(epochs)
    n_later = len(epochs) - 1
    later = (epochs[-1].seconds - epochs[0].seconds) / n_later if n_later else epochs[0].seconds
    return [
        label,
        f"{seconds:.0f} s" if seconds else "never",
        f"{best.val_accuracy:.3f}",
        f"{best.val_recall_at_1:.3f}",
        f"{later:.0f} s",
    ]


if __name__ == "__main__":
    main()
