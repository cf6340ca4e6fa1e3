"""Loss, accuracy and same-product recall on a split, and the choice between two epochs."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from marketplace.models.network import Network
from marketplace.training.data import Split
from marketplace.training.feature_tensors import FeatureTensors

BATCH = 32
MAX_QUERIES = 3_000  # for recall: the standard error of a share of 3,000 is at most 0.009
QUERIES_AT_ONCE = 512  # bounds memory to 512 x N similarities


class Validation(NamedTuple):
    """The metrics of a network on a split, as means over its images."""

    loss: float  # cross-entropy of the root categories
    accuracy: float
    recall_at_1: float | None  # None if no product has two photos in the split


@torch.inference_mode()
def validate(network: Network, features: FeatureTensors, split: Split) -> Validation:
    """Measure a network on a split; recall searches the rest of the split."""
    embeddings = embed(network, features, split)  # (N, D)
    device = next(network.parameters()).device
    logits = network.head(embeddings.to(device)).double().cpu()  # (N, n_categories)
    return Validation(
        loss=F.cross_entropy(logits, split.labels).item(),
        accuracy=(logits.argmax(dim=1) == split.labels).double().mean().item(),
        recall_at_1=same_product_recall_at_1(embeddings, split.products),
    )


@torch.inference_mode()
def embed(network: Network, features: FeatureTensors, split: Split) -> Tensor:
    """Return the embeddings `(N, D) float32` of a split's images, in main memory."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(split.rows), BATCH):
        batch = features(split.rows[start : start + BATCH])  # (B, C, H, W)
        parts.append(network.tail(batch.to(device)))
    return torch.cat(parts).float().cpu()


def same_product_recall_at_1(embeddings: Tensor, products: Tensor) -> float | None:
    """Return the share of images `(N, D)` whose nearest other image, by cosine, shows the same product `(N,)`.

    Only images whose product has another image count, and at most MAX_QUERIES of them, evenly spread. None if there
    are none.
    """
    has_partner = torch.bincount(products)[products] > 1
    queries = torch.nonzero(has_partner).flatten()
    if not len(queries):
        return None
    n_queries = min(len(queries), MAX_QUERIES)
    queries = queries[torch.arange(n_queries) * len(queries) // n_queries]
    unit = F.normalize(embeddings)
    hits = []
    for rows in queries.split(QUERIES_AT_ONCE):
        similarity = unit[rows] @ unit.T  # (Q, N)
        similarity[torch.arange(len(rows)), rows] = -2  # below any cosine: an image does not find itself
        hits.append(products[similarity.argmax(dim=1)] == products[rows])
    return torch.cat(hits).double().mean().item()


def prefers(select: str, new: dict[str, float], old: dict[str, float]) -> bool:
    """Return whether `train.select` prefers an epoch with the figures `new` to an earlier one with `old`.

    `val_loss` prefers the lower loss; `val_accuracy` and `val_recall_at_1` the higher value, then the lower loss. In a
    tie, the earlier epoch stays.
    """
    if select != "val_loss" and new[select] != old[select]:
        return new[select] > old[select]
    return new["val_loss"] < old["val_loss"]
