"""Fine-tune the last stage and the classifier, and keep the best epoch.

`small` trains on small images from the ImageNet weights; `full` on full-sized images, from the ImageNet weights or, if
train_full.warm_start is on, from the chosen epoch of `small`.
"""

import json
from pathlib import Path

from marketplace.common.console import run_stage


def main(size: str) -> None:
    """Run the stage for the images of `size`."""
    from marketplace.common.params import load_section
    from marketplace.models import checkpoints
    from marketplace.training.data import training_data
    from marketplace.training.recorder import Recorder, logs_of
    from marketplace.training.settings import TrainFullSettings, TrainSettings, TrainSmallSettings
    from marketplace.training.trainer import train

    settings = load_section("train", TrainSettings)
    if size == "small":
        epochs, warm = load_section("train_small", TrainSmallSettings).epochs, False
    else:
        own = load_section("train_full", TrainFullSettings)
        epochs, warm = own.epochs, own.warm_start
    start = checkpoints.load(Path("models/small.pt" if warm else "models/pretrained.pt"))
    categories = json.loads(Path("data/clean/categories.json").read_text(encoding="utf-8"))["decode"]
    data = training_data(Path(f"data/resized/{size}"), Path("data/clean/training_data.parquet"), categories)
    paths = Path(f"metrics/train_{size}"), logs_of(f"train_{size}"), Path(f"models/epochs/{size}")
    with Recorder(*paths) as recorder:
        best = train(start, data, settings, epochs, recorder)
        checkpoints.save(Path(f"models/{size}.pt"), best)


if __name__ == "__main__":
    run_stage(main, __doc__, size=("small", "full"))
