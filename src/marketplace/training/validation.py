"""Loss, accuracy and same-product recall on a split, and which epoch they prefer."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from marketplace.inference.features import Features
from marketplace.models.network import Network
from marketplace.training.data import Split

BATCH = 32
MOST_QUERIES = 3_000  # of recall: a share of so many has a standard error of at most 0.009
QUERIES_AT_ONCE = 512  # bounds memory to 512 x N similarities


class Validation(NamedTuple):
    """The metrics of a network on a split, means over its images."""

    loss: float  # cross-entropy
    accuracy: float
    recall_at_1: float | None  # None if no product has two photos in the split


@torch.inference_mode()
def embed(network: Network, features: Features, split: Split) -> Tensor:
    """The embeddings `(N, D) float32`, in main memory, of a split's images."""
    network.eval()
    device = next(network.parameters()).device
    starts = range(0, len(split.rows), BATCH)
    parts = [network.tail(features(split.rows[start : start + BATCH]).to(device)) for start in starts]
    return torch.cat(parts).float().cpu()


@torch.inference_mode()
def validate(network: Network, features: Features, split: Split) -> Validation:
    """Measure a network on a split; the gallery of a query is the rest of the split."""
    embeddings = embed(network, features, split)
    device = next(network.parameters()).device
    logits = network.head(embeddings.to(device)).double().cpu()
    accuracy = (logits.argmax(dim=1) == split.labels).double().mean().item()
    recall = same_product_recall_at_1(embeddings, split.products)
    return Validation(F.cross_entropy(logits, split.labels).item(), accuracy, recall)


def same_product_recall_at_1(embeddings: Tensor, products: Tensor) -> float | None:
    """Share of images `(N, D)` whose nearest other one, by cosine, shows their product `(N,)`.

    Only images whose product has another one count, and of very many MOST_QUERIES, evenly spread; None if there are
    none.
    """
    queries = torch.nonzero(torch.bincount(products)[products] > 1).flatten()
    if not len(queries):
        return None
    asked = min(len(queries), MOST_QUERIES)
    queries = queries[torch.arange(asked) * len(queries) // asked]
    unit = F.normalize(embeddings)
    right = []
    for rows in queries.split(QUERIES_AT_ONCE):
        similarity = unit[rows] @ unit.T
        similarity[torch.arange(len(rows)), rows] = -2
        right.append(products[similarity.argmax(dim=1)] == products[rows])
    return torch.cat(right).double().mean().item()


def prefers(select: str, new: dict[str, float], old: dict[str, float]) -> bool:
    """True if `train.select` prefers the epoch with the figures `new` to an earlier one with `old`.

    `val_loss`: the lower loss; `val_accuracy` and `val_recall_at_1`: the higher value, then the lower loss. In a tie,
    the earlier stays.
    """
    if select != "val_loss" and new[select] != old[select]:
        return new[select] > old[select]
    return new["val_loss"] < old["val_loss"]
