"""The worth of each training choice: validation and test accuracy and seconds, over several seeds.

    python benchmarks/ablation.py -S fetch.source=local -S fetch.local.path=../shared/listings -S resize_images.full=160
        [--seeds 3] [--json OUT]

Starts with the settings of the reference loop and changes one thing after the other, each row on top of the row above
if it says "+". Seconds are those of the epochs and the probe; the frozen layers' features are stored beforehand, and
are the same for all. The last rows compare small images followed by full-sized ones with full-sized ones alone.
"""

import json
import sys
import time
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
from reference_loop import PARAMS
from workspace import Workspace, parser, report, table, workspace

from marketplace.models import checkpoints
from marketplace.models.checkpoints import Checkpoint
from marketplace.models.features import FeatureStore
from marketplace.settings import load_settings
from marketplace.training.data import TrainingData, split_of, training_data
from marketplace.training.trainer import Trainer, TrainSettings
from marketplace.training.validation import validate

STEPS: list[tuple[str, dict[str, Any]]] = [
    ("the loop's settings", {}),
    ("the loop's settings, stopped after 3 epochs without a better one", {"patience": 3}),
    ("the loop's settings + schedule: one_cycle", {"patience": None, "schedule": "one_cycle"}),
    ("+ batch_size: 32, lr: 0.002", {"batch_size": 32, "lr": 2e-3}),
    ("+ epochs: 6", {"epochs": 6}),
    ("+ linear_probe: true", {"linear_probe": True}),
    ("+ flip_probability: 0", {"flip_probability": 0.0}),
    ("+ linear_probe: false (the defaults)", {"linear_probe": False}),
]


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    options = command.parse_args()
    rows = []
    with workspace(options.set) as space:
        for stage in ("fetch", "clean", "resize_images", "pretrained"):
            space.run(stage)
        bench = Bench(space)
        settings = bench.settings.model_copy(update=PARAMS)
        for name, changes in STEPS:
            settings = settings.model_copy(update=changes)
            rows.append(show(name, [bench.full_alone(with_seed(settings, seed)) for seed in range(options.seeds)]))
        settings = settings.model_copy(update={"flip_probability": 0.3})
        both = [bench.small_then_full(with_seed(settings, seed)) for seed in range(options.seeds)]
        rows.append(show("without it: 6 epochs small, then 6 full (warm start)", both))
        longer = settings.model_copy(update={"epochs": 8})
        alone = [bench.full_alone(with_seed(longer, seed)) for seed in range(options.seeds)]
        rows.append(show("without it: 8 epochs full alone", alone))
    report({"set": options.set, "rows": rows}, markdown(rows), options.json)


def with_seed(settings: TrainSettings, seed: int) -> TrainSettings:
    """The same settings with another seed."""
    return settings.model_copy(update={"seed": seed})


class Bench:
    """The two arrays, the pretrained network, and training runs on them."""

    def __init__(self, space: Workspace) -> None:
        self.settings = load_settings(space.path("params.yaml")).train
        self._start: Checkpoint = checkpoints.load(space.path("models/pretrained.pt"))
        self._table = space.path("data/clean/training_data.parquet")
        self._categories = json.loads(space.path("data/clean/categories.json").read_text())["decode"]
        self._small, self._full = (self._data(space, size) for size in ("small", "full"))
        self._test = split_of(pd.read_parquet(self._table), "test")

    def full_alone(self, settings: TrainSettings) -> dict[str, float]:
        """Train on full-sized images from the ImageNet weights."""
        return self._measured(self._start, settings, 0.0)

    def small_then_full(self, settings: TrainSettings) -> dict[str, float]:
        """Train on small images first, and start from there."""
        started = time.perf_counter()
        small = trained(self._start, self._small, settings)
        return self._measured(small, settings, time.perf_counter() - started)

    def _measured(self, start: Checkpoint, settings: TrainSettings, seconds: float) -> dict[str, float]:
        started = time.perf_counter()
        best = trained(start, self._full, settings)
        seconds += time.perf_counter() - started
        network = checkpoints.network_of(best, len(self._categories))
        features = FeatureStore(network, self._full.images).features(np.arange(len(self._full.images)))
        _, test_accuracy = validate(network, features, self._test)
        return {
            "seconds": seconds,
            "val_accuracy": best["figures"]["val_accuracy"],
            "test_accuracy": test_accuracy,
            "epoch": best["epoch"],
        }

    def _data(self, space: Workspace, size: str) -> TrainingData:
        data = training_data(space.path(f"data/resized/{size}.npy"), self._table, self._categories)
        # Stores the features of both views.
        Trainer(self._start, data, self.settings.model_copy(update={"flip_probability": 0.5})).begin()
        return data


def trained(start: Checkpoint, data: TrainingData, settings: TrainSettings) -> Checkpoint:
    """The chosen epoch of a training run that is not recorded."""
    training = Trainer(start, data, settings)
    training.begin()
    while not training.done:
        training.next_epoch()
    assert training.best is not None
    return training.best


def show(name: str, runs: list[dict[str, float]]) -> dict[str, Any]:
    """Print a row as soon as it is known."""
    print(name, json.dumps(runs), file=sys.stderr, flush=True)
    return {"name": name, "runs": runs}


def markdown(rows: list[dict[str, Any]]) -> str:
    """A row per choice: means and, of the accuracies, standard deviations."""
    lines = []
    for row in rows:
        val, test, seconds = (
            [run[name] for run in row["runs"]] for name in ("val_accuracy", "test_accuracy", "seconds")
        )
        lines.append([row["name"], *(spread(values) for values in (val, test)), f"{mean(seconds):.0f} s"])
    return table(["", "validation accuracy", "test accuracy", "training"], lines)


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{mean(values):.3f} ± {stdev(values) if len(values) > 1 else 0:.3f}"


if __name__ == "__main__":
    main()
