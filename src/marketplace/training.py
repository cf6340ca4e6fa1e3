"""Fine-tune the tail and the head on frozen features, record every epoch, keep the one that is best.

One function, `train`, serves both trainings: on small images from the pretrained network, and on full-sized ones from
the small run's chosen epoch (a warm start).
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from marketplace import checkpoints
from marketplace.checkpoints import Checkpoint
from marketplace.errors import MarketplaceError
from marketplace.features import Features, trunk_features
from marketplace.networks import Network
from marketplace.recording import Recorder
from marketplace.settings import TrainSettings

log = logging.getLogger(__name__)

EVALUATION_BATCH = 32


class Split(NamedTuple):
    """Rows of the image array, ascending, and their labels."""

    rows: np.ndarray  # (N,) int
    labels: Tensor  # (N,) int64


@dataclass(frozen=True)
class TrainingData:
    """What a training reads: all images, and which of them train and validate."""

    images: np.ndarray  # (N, S, S, 3) uint8
    train: Split
    val: Split
    categories: list[str]


class Views:
    """The training images' features, plain and mirrored."""

    def __init__(self, plain: Features, mirrored: Features | None) -> None:
        self._plain, self._mirrored = plain, mirrored

    def __call__(self, rows: np.ndarray, flip: np.ndarray) -> Tensor:
        """Features `(B, C, H, W)` of `rows`, of the mirror image where `flip` is true."""
        if self._mirrored is None or not flip.any():
            return self._plain(rows)
        if flip.all():
            return self._mirrored(rows)
        plain, mirrored = self._plain(rows[~flip]), self._mirrored(rows[flip])
        order = np.empty(len(rows), dtype=np.int64)
        order[np.flatnonzero(~flip)] = np.arange(len(plain))
        order[np.flatnonzero(flip)] = np.arange(len(plain), len(rows))
        return torch.cat([plain, mirrored])[torch.from_numpy(order)]


def training_data(images: Path, table: Path, categories: list[str]) -> TrainingData:
    """Open the array of images, memory-mapped, and read the splits of training_data.parquet."""
    rows = pd.read_parquet(table, columns=["label", "split"])

    def split(name: str) -> Split:
        chosen = np.flatnonzero(rows["split"] == name)
        return Split(chosen, torch.from_numpy(rows["label"].to_numpy()[chosen]))

    return TrainingData(np.load(images, mmap_mode="r"), split("train"), split("val"), categories)


def train(start: Checkpoint, data: TrainingData, settings: TrainSettings, recorder: Recorder) -> Checkpoint:
    """Train from a checkpoint for `settings.epochs` epochs and return the checkpoint of the chosen epoch.

    The optimiser is Adam on cross-entropy, and sees the tail and the head alone. What is random (the order of the
    images, the flips, the start of a new classifier) comes from `settings.seed`, epoch by epoch.

    Raises MarketplaceError when the loss is no longer finite.
    """
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = checkpoints.network_of(start, len(data.categories)).to(device)
    views, plain = _features(network, data, settings)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trainable, lr=settings.lr)

    best: Checkpoint | None = None
    for epoch in range(1, settings.epochs + 1):
        train_loss = _train_epoch(network, views, data.train, optimiser, settings, epoch)
        val_loss, val_accuracy = evaluate(network, plain, data.val)
        figures = {"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
        recorder.epoch(epoch, figures)
        if best is None or prefers(settings.select, figures, best["figures"]):
            best = checkpoints.checkpoint_of(
                network, weights=start["weights"], size=data.images.shape[1], categories=data.categories,
                epoch=epoch, figures=figures,
            )  # fmt: skip
        if settings.keep_epochs:
            recorder.weights(epoch, network)
    assert best is not None  # settings allow no fewer than one epoch
    recorder.best(best["epoch"], best["figures"])
    return best


def prefers(select: str, new: dict[str, float], old: dict[str, float]) -> bool:
    """Whether `train.select` prefers the epoch with the figures `new` to an earlier one with `old`.

    `val_accuracy`: the higher accuracy, then the lower loss; `val_loss`: the lower loss. On a tie the earlier stays.
    """
    if select == "val_accuracy" and new["val_accuracy"] != old["val_accuracy"]:
        return new["val_accuracy"] > old["val_accuracy"]
    return new["val_loss"] < old["val_loss"]


def _features(network: Network, data: TrainingData, settings: TrainSettings) -> tuple[Views, Features]:
    every = np.arange(len(data.images))  # of all splits: `extract` and `evaluate` find them stored
    room = settings.feature_cache_gib
    plain = trunk_features(network, data.images, every, room_gib=room)
    if settings.flip_probability == 0:
        return Views(plain, None), plain
    return Views(plain, trunk_features(network, data.images, data.train.rows, mirrored=True, room_gib=room)), plain


def _train_epoch(
    network: Network, views: Views, split: Split, optimiser: torch.optim.Optimizer, settings: TrainSettings, epoch: int
) -> float:
    """Train on every image once; the mean loss over the images, each as it was when its batch was seen."""
    network.train()
    device = next(network.parameters()).device
    rng = np.random.default_rng([settings.seed, epoch])
    order = rng.permutation(len(split.rows))
    flips = rng.random(len(split.rows)) < settings.flip_probability
    total = 0.0
    with tqdm(total=len(order), desc=f"epoch {epoch}/{settings.epochs}", unit="image", mininterval=0.5) as progress:
        for batch in batches(order, settings.batch_size):
            features = views(split.rows[batch], flips[batch]).to(device)
            logits = network.head(network.tail(features))
            loss = F.cross_entropy(logits, split.labels[batch].to(device))
            if not math.isfinite(loss.item()):
                raise MarketplaceError(
                    f"the training loss became {loss.item()} in epoch {epoch}: lower train.lr (now {settings.lr:g})."
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
            progress.update(len(batch))
            progress.set_postfix(loss=f"{total / progress.n:.3f}", refresh=False)
    return total / len(order)


def batches(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut `order` into batches of `size`; a last image alone joins the batch before, as BatchNorm needs two."""
    cuts = list(range(size, len(order), size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


@torch.inference_mode()
def evaluate(network: Network, features: Features, split: Split) -> tuple[float, float]:
    """(cross-entropy, accuracy) on a split, means over its images."""
    network.eval()
    device = next(network.parameters()).device
    loss = correct = 0.0
    for start in range(0, len(split.rows), EVALUATION_BATCH):
        labels = split.labels[start : start + EVALUATION_BATCH].to(device)
        logits = network.head(network.tail(features(split.rows[start : start + EVALUATION_BATCH]).to(device)))
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(1) == labels).sum().item()
    return loss / len(split.rows), correct / len(split.rows)
