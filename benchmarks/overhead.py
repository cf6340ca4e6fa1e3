"""Where the time of a training run goes once its features are stored: steps, validation, and everything else.

    python benchmarks/overhead.py [-S fetch.source=local -S fetch.local.path=../shared/market] [--json OUT]

`train_full` of a clone, in this process: the first run computes the frozen layers' features, the second is measured.
A function's seconds are without those of the measured ones that it calls.
"""

import functools
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from workspace import parser, report, table, workspace

from marketplace.inference import features
from marketplace.models import checkpoints
from marketplace.settings import load_settings
from marketplace.training import data, recorder, replicas, resume, trainer

MEASURED: dict[str, list[tuple[Any, str]]] = {
    "steps": [(replicas.Replicas, "backward"), (torch.optim.Adam, "step")],
    "validation": [(trainer, "validate")],
    "reading features": [(features.StoredFeatures, "half")],
    "batches": [(data.Views, "__call__"), (trainer, "shuffled")],
    "recording": [(recorder.Recorder, "epoch"), (recorder.Recorder, "best"), (checkpoints, "checkpoint_of")],
    "resume state": [(resume.ResumeState, "save"), (resume.ResumeState, "load"), (resume.ResumeState, "clear")],
    "finding stored features": [(trainer.Trainer, "begin")],
}


class Stopwatch:
    """Seconds by name, each without those of what was measured inside."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = [0.0]

    def measure(self, owner: Any, function: str, name: str) -> None:
        """Have a function of a class or module count for a name from now on."""
        original: Callable[..., Any] = getattr(owner, function)

        @functools.wraps(original)
        def timed(*arguments: Any, **options: Any) -> Any:
            self._inside.append(0.0)
            started = time.perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                taken = time.perf_counter() - started
                self.seconds[name] += taken - self._inside.pop()
                self._inside[-1] += taken

        setattr(owner, function, timed)


def main() -> None:
    """Parse the command line, run, print."""
    options = parser(__doc__).parse_args()
    with workspace(options.set) as space:
        for stage in ("fetch", "clean", "resize_images", "pretrained"):
            space.run(stage)
        train_once(space.folder)
        watch = Stopwatch()
        for name, functions in MEASURED.items():
            for owner, function in functions:
                watch.measure(owner, function, name)
        started = time.perf_counter()
        train_once(space.folder)
        total = time.perf_counter() - started
    seconds = dict(watch.seconds)
    seconds["everything else"] = total - sum(seconds.values())
    rows = [[name, f"{taken:.2f} s", f"{taken / total:.1%}"] for name, taken in seconds.items()]
    rows.append(["**all**", f"{total:.2f} s", "100%"])
    report({"set": options.set, "seconds": seconds}, table(["", "time", "share"], rows), options.json)


def train_once(folder: Path) -> None:
    """Train as `train_full` does, from the ImageNet weights."""
    settings = load_settings(folder / "params.yaml")
    categories = json.loads((folder / "data/clean/categories.json").read_text())["decode"]
    given = data.training_data(folder / "data/resized/full", folder / "data/clean/training_data.parquet", categories)
    start = checkpoints.load(folder / "models/pretrained.pt")
    with recorder.Recorder(folder / "scratch/metrics", folder / "scratch/logs", folder / "scratch/epochs") as records:
        trainer.train(start, given, settings.train, settings.train_full.epochs, records)


if __name__ == "__main__":
    main()
