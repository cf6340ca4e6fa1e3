"""A plain fine-tuning loop: the baseline of time_to_accuracy.py for this project's training.

    python benchmarks/reference_loop.py --images DIR --table FILE --pretrained FILE [--size 64] [--epochs 10]

Every epoch opens every JPEG of DIR (<image_id>.jpg) and runs the whole network on it. Wherever there is a choice, the
loop gets the faster way: the frozen layers' BatchNorm stays in evaluation mode, so no gradients and no statistics are
computed for them, and weights are in channels_last order. With the parameters in PARAMS, the pipeline trains like this
loop.
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
# The loop's settings, as keys of the section `train` in params.yaml. With `train_full.warm_start: true`, the pipeline
# trains like the loop, on small images first.
PARAMS: dict[str, Any] = {
    "lr": 1e-3,
    "schedule": "constant",
    "batch_size": 16,
    "patience": None,
    "flip_probability": 0.3,
    "classifier": "linear",
    "leaf_weight": 0.0,
    "contrastive_weight": 0.0,
}

Loader = DataLoader[tuple[Tensor, int]]


class Photos(Dataset[tuple[Tensor, int]]):
    """The photos of one split, decoded and transformed at each access."""

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
    train_table = table[table["split"] == "train"]
    val_table = table[table["split"] == "val"]
    train_photos = Photos(folder, train_table, transforms.Compose(crop + flip + normalise))
    val_photos = Photos(folder, val_table, transforms.Compose(crop + normalise))
    train_loader = DataLoader(train_photos, PARAMS["batch_size"], shuffle=True)
    val_loader = DataLoader(val_photos, PARAMS["batch_size"], shuffle=False)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trainable, lr=PARAMS["lr"])
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        network.train()  # its trunk stays in evaluation mode
        train_loss = 0.0
        for images, labels in train_loader:
            optimiser.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()
            optimiser.step()
            train_loss += loss.item() * len(labels)
        yield {"train_loss": train_loss / len(train_table), **validate(network, val_loader, val_table)}


@torch.no_grad()
def validate(network: Network, loader: Loader, table: pd.DataFrame) -> dict[str, float]:
    """Return val_loss, val_accuracy and val_recall_at_1 of the photos of `table`, in the order of `loader`."""
    network.eval()
    embedding_batches = []
    label_batches = []
    for images, batch_labels in loader:
        embedding_batches.append(network.tail(network.trunk(images)))
        label_batches.append(batch_labels)
    embeddings = torch.cat(embedding_batches)
    labels = torch.cat(label_batches)
    logits = network.head(embeddings)
    products = torch.from_numpy(pd.factorize(table["product_id"])[0])
    return {
        "val_loss": nn.functional.cross_entropy(logits, labels).item(),
        "val_accuracy": (logits.argmax(dim=1) == labels).double().mean().item(),
        "val_recall_at_1": same_product_recall_at_1(embeddings, products) or 0.0,
    }


def main() -> None:
    """Parse the command line, train, print a line per epoch."""
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
    epochs = reference_loop(
        options.images, table, options.pretrained, size=options.size, epochs=options.epochs, seed=options.seed
    )
    for epoch, metrics in enumerate(epochs, start=1):
        print(json.dumps({"epoch": epoch, "seconds": round(time.perf_counter() - started, 2), **metrics}), flush=True)


if __name__ == "__main__":
    main()
