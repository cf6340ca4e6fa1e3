"""A plain fine-tuning loop: what time_to_accuracy.py measures this project's training against.

    python benchmarks/reference_loop.py --images DIR --table FILE --pretrained FILE [--size 64] [--epochs 10]

Every epoch opens every JPEG of DIR (<image_id>.jpg) and runs the whole network on it. Wherever there is a choice, the
loop gets the faster one: the frozen layers' BatchNorm stays in evaluation mode, so no gradients and no statistics are
computed for them, and weights are in channels_last order. PARAMS are the parameters with which the pipeline trains as
this loop does.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from marketplace.models import checkpoints
from marketplace.models.backbones import BACKBONES
from marketplace.models.network import Network
from marketplace.training.validation import same_product_recall_at_1

EPOCHS = 10
# This loop's values as keys of the section `train` in params.yaml. With `train_full.warm_start: true`, the pipeline
# trains as the loop does, on small images first.
PARAMS: dict[str, Any] = {
    "lr": 1e-3,
    "schedule": "constant",
    "batch_size": 16,
    "patience": None,
    "linear_probe": False,
    "flip_probability": 0.3,
    "classifier": "linear",
    "leaf_weight": 0.0,
    "contrastive_weight": 0.0,
}

Loader = DataLoader[tuple[Tensor, int]]


class Photos(Dataset[tuple[Tensor, int]]):
    """The photos of one split, decoded and transformed whenever one is asked for."""

    def __init__(self, folder: Path, table: pd.DataFrame, transform: transforms.Compose) -> None:
        self._paths = [folder / f"{image_id}.jpg" for image_id in table["image_id"]]
        self._labels = table["label"].tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self._paths[index]) as image:
            return self._transform(image.convert("RGB")), self._labels[index]


def reference_loop(
    folder: Path, table: pd.DataFrame, pretrained: Path, *, size: int, epochs: int, seed: int
) -> Iterator[dict[str, float]]:
    """Train, and yield train_loss, val_loss, val_accuracy and val_recall_at_1 after each epoch.

    `folder` holds `<image_id>.jpg` of every row of `table` (training_data.parquet) that trains or validates.
    """
    torch.manual_seed(seed)
    network = checkpoints.network_of(checkpoints.load(pretrained), int(table["label"].max()) + 1)
    backbone = BACKBONES[network.backbone]
    crop = [transforms.Resize(size), transforms.CenterCrop(size)]
    normalise = [transforms.ToTensor(), transforms.Normalize(backbone.mean, backbone.std)]
    flip = [transforms.RandomHorizontalFlip(PARAMS["flip_probability"])]
    train, val = (
        DataLoader(
            Photos(folder, table[table["split"] == split], transforms.Compose(steps)),
            PARAMS["batch_size"],
            split == "train",
        )
        for split, steps in (("train", crop + flip + normalise), ("val", crop + normalise))
    )
    optimiser = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), lr=PARAMS["lr"])
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        network.train()  # its trunk stays in evaluation mode
        train_loss = 0.0
        for images, labels in train:
            optimiser.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()
            optimiser.step()
            train_loss += loss.item() * len(labels)
        n_train = (table["split"] == "train").sum()
        yield {"train_loss": train_loss / n_train, **validated(network, val, table[table["split"] == "val"])}


@torch.no_grad()
def validated(network: Network, loader: Loader, table: pd.DataFrame) -> dict[str, float]:
    """val_loss, val_accuracy and val_recall_at_1 of the photos of `table`, which `loader` gives in its order."""
    network.eval()
    parts = [(network.tail(network.trunk(images)), labels) for images, labels in loader]
    embeddings, labels = torch.cat([part for part, _ in parts]), torch.cat([of_part for _, of_part in parts])
    logits = network.head(embeddings)
    products = torch.from_numpy(pd.factorize(table["product_id"])[0])
    return {
        "val_loss": nn.functional.cross_entropy(logits, labels).item(),
        "val_accuracy": (logits.argmax(dim=1) == labels).double().mean().item(),
        "val_recall_at_1": same_product_recall_at_1(embeddings, products) or 0.0,
    }


def main() -> None:
    """Parse the command line, run, print a line per epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="holds <image_id>.jpg")
    parser.add_argument("--table", type=Path, required=True, metavar="FILE", help="training_data.parquet")
    parser.add_argument("--pretrained", type=Path, required=True, metavar="FILE", help="models/pretrained.pt")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    options = parser.parse_args()
    table = pd.read_parquet(options.table)
    started = time.perf_counter()
    figures = reference_loop(
        options.images, table, options.pretrained, size=options.size, epochs=options.epochs, seed=options.seed
    )
    for epoch, of_epoch in enumerate(figures, start=1):
        print(json.dumps({"epoch": epoch, "seconds": round(time.perf_counter() - started, 2), **of_epoch}), flush=True)


if __name__ == "__main__":
    main()
