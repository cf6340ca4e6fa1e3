"""Fine-tune the last stage and the classifier, and keep the best epoch.

`small` trains on small images from the ImageNet weights; `full` on full-sized images, from the ImageNet weights or, if
train_full.warm_start is on, from the chosen epoch of `small`. The stages that follow run the networks from ONNX files.
"""

import json
from pathlib import Path

from marketplace.common.console import run_stage


def main(size: str) -> None:
    """Run the stage for the images of `size`."""
    from marketplace.common.damage import reading
    from marketplace.common.params import load_section
    from marketplace.inference.trunk import Trunk
    from marketplace.models import checkpoints
    from marketplace.training.data import read_training_data
    from marketplace.training.exports import export_tail, export_trunk
    from marketplace.training.recorder import Recorder, tensorboard_folder
    from marketplace.training.settings import TrainFullSettings, TrainSettings, TrainSmallSettings
    from marketplace.training.trainer import train

    settings = load_section("train", TrainSettings)
    pretrained = Path("models/pretrained.pt")
    start_path = pretrained
    if size == "small":
        epochs = load_section("train_small", TrainSmallSettings).epochs
    else:
        full = load_section("train_full", TrainFullSettings)
        epochs = full.epochs
        if full.warm_start:
            start_path = Path("models/small.pt")

    start = checkpoints.load(start_path)
    label_encoder = Path("data/clean/categories.json")
    with reading(label_encoder):
        categories = json.loads(label_encoder.read_text(encoding="utf-8"))["decode"]
    data = read_training_data(
        images=Path(f"data/resized/{size}"),
        table=Path("data/clean/training_data.parquet"),
        categories=categories,
        sentence_model=Path("models/sentence_model") if settings.title_weight > 0 else None,
    )
    pixels = data.images.shape[1]
    trunk = Trunk(network=Path(f"models/trunk/{size}.onnx"), checkpoint=pretrained)
    export_trunk(trunk.network, start, pixels)
    recorder = Recorder(
        metrics=Path(f"metrics/train_{size}"),
        logs=tensorboard_folder(f"train_{size}"),
        epochs=Path(f"models/epochs/{size}"),
    )
    with recorder:
        best = train(start, trunk, data, settings, epochs, recorder)
        checkpoints.save(Path(f"models/{size}.pt"), best)
    if size == "full":
        export_tail(Path("models/full.onnx"), best, pixels)
        export_tail(Path("models/pretrained.onnx"), checkpoints.load(pretrained), pixels)


if __name__ == "__main__":
    run_stage(main, __doc__, size=("small", "full"))
