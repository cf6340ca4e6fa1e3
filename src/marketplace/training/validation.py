"""Loss and accuracy on a split, and which epoch they prefer."""

import torch
from torch import Tensor
from torch.nn import functional as F

from marketplace.models.features import Features
from marketplace.models.network import Network
from marketplace.training.data import Split

BATCH = 32


@torch.inference_mode()
def outputs(network: Network, layer: torch.nn.Module, features: Features, split: Split) -> Tensor:
    """The outputs `(N, D) float32`, in main memory, of a layer on the embeddings of a split's images."""
    network.eval()
    device = next(network.parameters()).device
    starts = range(0, len(split.rows), BATCH)
    parts = [layer(network.tail(features(split.rows[start : start + BATCH]).to(device))) for start in starts]
    return torch.cat(parts).float().cpu()


def validate(network: Network, features: Features, split: Split) -> tuple[float, float]:
    """(cross-entropy, accuracy) on a split, means over its images."""
    logits = outputs(network, network.head, features, split).double()
    loss = F.cross_entropy(logits, split.labels).item()
    return loss, (logits.argmax(dim=1) == split.labels).double().mean().item()


def prefers(select: str, new: dict[str, float], old: dict[str, float]) -> bool:
    """True if `train.select` prefers the epoch with the figures `new` to an earlier one with `old`.

    `val_accuracy`: the higher accuracy, then the lower loss; `val_loss`: the lower loss. In a tie, the earlier stays.
    """
    if select == "val_accuracy" and new["val_accuracy"] != old["val_accuracy"]:
        return new["val_accuracy"] > old["val_accuracy"]
    return new["val_loss"] < old["val_loss"]
