"""Fine-tune the last stage and the classifier, and keep the best epoch.

`small` starts from the ImageNet weights and sees small images; `full` sees full-sized ones and starts from the small
training's chosen epoch, unless train_full.warm_start is false.
"""

import json
from pathlib import Path

from marketplace.stage import run_stage


def main(size: str) -> None:
    """Run the stage for the images of `size`."""
    from marketplace import checkpoints
    from marketplace.dataset import training_data
    from marketplace.recording import Recorder
    from marketplace.settings import load_settings
    from marketplace.training import train

    settings = load_settings()
    warm = size == "full" and settings.train_full.warm_start
    start = checkpoints.load(Path("models/small.pt" if warm else "models/pretrained.pt"))
    categories = json.loads(Path("data/clean/categories.json").read_text(encoding="utf-8"))["decode"]
    data = training_data(Path(f"data/resized/{size}.npy"), Path("data/clean/training_data.parquet"), categories)
    with Recorder(Path(f"metrics/train_{size}"), Path(f"logs/train_{size}"), Path(f"models/epochs/{size}")) as recorder:
        best = train(start, data, settings.train, recorder)
    checkpoints.save(Path(f"models/{size}.pt"), best)


if __name__ == "__main__":
    run_stage(main, __doc__, size=("small", "full"))
