"""How a training run spends its time once its features are stored: on steps, on validation, and on the rest.

    python benchmarks/overhead.py [-S fetch.source=local -S fetch.local.path=../shared/market] [--json OUT]

`train_full` runs twice in this process, in a clone: the first run computes the frozen layers' features, the second is
measured. The seconds of a function exclude the measured functions that it calls.
"""

import functools
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from networks import open_trunk
from workspace import make_parser, report, table, workspace

from marketplace.inference import features
from marketplace.models import checkpoints
from marketplace.settings import load_settings
from marketplace.training import data, recorder, resume, trainer

MEASURED_FUNCTIONS: dict[str, list[tuple[Any, str]]] = {
    "steps": [(trainer.Trainer, "_compute_loss"), (torch.Tensor, "backward"), (torch.optim.Adam, "step")],
    "validation": [(trainer, "validate")],
    "reading features": [(features.StoredFeatures, "__call__")],
    "batches": [(data.Views, "__call__"), (trainer, "shuffle")],
    "recording": [
        (recorder.Recorder, "record_epoch"),
        (recorder.Recorder, "record_best_epoch"),
        (checkpoints, "checkpoint_of"),
    ],
    "resume state": [(resume.ResumeState, "save"), (resume.ResumeState, "load"), (resume.ResumeState, "clear")],
    "finding stored features": [(features.FeatureStore, "features")],
}


class Stopwatch:
    """Seconds by name, without the seconds of measured functions that were called inside."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = [0.0]  # for each function that is running: the seconds of measured functions in it

    def measure(self, owner: Any, function: str, name: str) -> None:
        """Measure a function of a class or module from now on, and add its seconds to `name`."""
        original: Callable[..., Any] = getattr(owner, function)

        @functools.wraps(original)
        def measure_call(*arguments: Any, **options: Any) -> Any:
            self._inside.append(0.0)
            started = time.perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                elapsed = time.perf_counter() - started
                self.seconds[name] += elapsed - self._inside.pop()
                self._inside[-1] += elapsed

        setattr(owner, function, measure_call)


def main() -> None:
    """Parse the command line, measure, print the results."""
    options = make_parser(__doc__).parse_args()
    with workspace(options.set) as space:
        space.run("fetch", "clean", "resize_images", "pretrained")
        train_once(space.folder)
        watch = Stopwatch()
        for name, functions in MEASURED_FUNCTIONS.items():
            for owner, function in functions:
                watch.measure(owner, function, name)
        started = time.perf_counter()
        train_once(space.folder)
        total = time.perf_counter() - started
    seconds = dict(watch.seconds)
    seconds["everything else"] = total - sum(seconds.values())
    rows = [[name, f"{value:.2f} s", f"{value / total:.1%}"] for name, value in seconds.items()]
    rows.append(["**all**", f"{total:.2f} s", "100%"])
    report({"set": options.set, "seconds": seconds}, table(["", "time", "share"], rows), options.json)


def train_once(folder: Path) -> None:
    """Train as `train_full` does, from the ImageNet weights."""
    settings = load_settings(folder / "params.yaml")
    categories = json.loads((folder / "data/clean/categories.json").read_text())["decode"]
    table_path = folder / "data/clean/training_data.parquet"
    full_sized = data.read_training_data(folder / "data/resized/full", table_path, categories, sentence_model=None)
    pretrained = folder / "models/pretrained.pt"
    start = checkpoints.load(pretrained)
    trunk = open_trunk(pretrained, full_sized.images.shape[1], folder / "scratch")
    with recorder.Recorder(folder / "scratch/metrics", folder / "scratch/logs", folder / "scratch/epochs") as records:
        trainer.train(start, trunk, full_sized, settings.train, settings.train_full.epochs, records)


if __name__ == "__main__":
    main()
