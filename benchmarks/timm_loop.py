"""Fine-tuning the usual way, with timm's own parts: a second contender for time_to_accuracy.py.

timm's augmentation (random crops, mirroring, colour jitter), label smoothing, AdamW and cosine schedule with a warm-up,
and worker processes that decode while the network runs. The frozen layers and the weights are the same as in the other
ways.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from reference_loop import Loader, Photos, validate
from timm.data import create_transform  # type: ignore[attr-defined]
from timm.loss import LabelSmoothingCrossEntropy  # type: ignore[attr-defined]
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from timm.scheduler import create_scheduler_v2  # type: ignore[attr-defined]
from torch.utils.data import DataLoader

from marketplace.models import checkpoints
from marketplace.models.backbones import BACKBONES, Backbone

BATCH_SIZE = 32
WORKERS = 2


def timm_loop(
    folder: Path, table: pd.DataFrame, pretrained: Path, *, size: int, epochs: int, seed: int
) -> Iterator[dict[str, float]]:
    """Train, and yield val_loss, val_accuracy and val_recall_at_1 after each epoch; see reference_loop."""
    torch.manual_seed(seed)
    network = checkpoints.network_of(checkpoints.load(pretrained), int(table["label"].max()) + 1)
    backbone = BACKBONES[network.backbone]
    val_table = table[table["split"] == "val"]
    train_loader = make_loader(folder, table[table["split"] == "train"], backbone, size, is_training=True)
    val_loader = make_loader(folder, val_table, backbone, size, is_training=False)
    optimiser = create_optimizer_v2(network, opt="adamw", lr=1e-3, weight_decay=0.05)
    schedule, _ = create_scheduler_v2(
        optimiser,
        sched="cosine",
        num_epochs=epochs,
        warmup_epochs=1,
        warmup_lr=1e-5,
        updates_per_epoch=len(train_loader),
        step_on_epochs=False,
    )
    criterion = LabelSmoothingCrossEntropy(0.1)  # type: ignore[no-untyped-call]
    step = 0
    for _ in range(epochs):
        network.train()  # its trunk stays in evaluation mode
        for images, labels in train_loader:
            optimiser.zero_grad()
            criterion(network(images), labels).backward()
            optimiser.step()
            step += 1
            schedule.step_update(step)
        yield validate(network, val_loader, val_table)


def make_loader(folder: Path, table: pd.DataFrame, backbone: Backbone, size: int, *, is_training: bool) -> Loader:
    """Make a loader of a split's photos, with timm's transforms."""
    transform = create_transform(size, is_training=is_training, mean=backbone.mean, std=backbone.std, scale=(0.35, 1.0))
    return DataLoader(
        Photos(folder, table, transform),
        BATCH_SIZE,
        shuffle=is_training,
        drop_last=is_training,
        num_workers=WORKERS,
        persistent_workers=True,
    )
