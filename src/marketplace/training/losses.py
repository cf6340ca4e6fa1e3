"""The training loss: cross-entropy, plus terms for leaf categories and for the photos of one product."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class Predictions(NamedTuple):
    """What a network says about a batch."""

    embeddings: Tensor  # (B, D)
    logits: Tensor  # (B, n_categories)
    leaf_logits: Tensor | None  # (B, n_leaves); None if the network has no layer for them


class TrainingLoss(nn.Module):
    """Cross-entropy over categories, plus `leaf_weight` times that over leaf categories, plus `weight` times the
    supervised contrastive loss over products.

        contrastive = mean over photos i that share their product with another one of the batch of
                      -1/|P(i)| * sum over p in P(i) of log(exp(z_i·z_p / t) / sum over a != i of exp(z_i·z_a / t))

    where P(i) are the other photos of i's product, z the unit-length embeddings and t the temperature (Khosla et al.,
    2020, arXiv:2004.11362, equation 2). Photos without a partner in the batch serve as negatives only.
    """

    def __init__(self, weight: float, temperature: float, leaf_weight: float) -> None:
        super().__init__()
        self._weight, self._leaf_weight = weight, leaf_weight
        if weight:
            from pytorch_metric_learning.losses import (
                SupConLoss,  # takes two seconds to import, and is not needed at weight 0
            )

            self._contrastive = SupConLoss(temperature=temperature)

    def forward(self, predicted: "Predictions", labels: Tensor, leaves: Tensor, products: Tensor) -> Tensor:
        """The loss of a batch, whose labels, leaves and products are `(B,) int64`."""
        embeddings, logits, leaf_logits = predicted
        loss = F.cross_entropy(logits, labels)
        if leaf_logits is not None:
            loss = loss + self._leaf_weight * F.cross_entropy(leaf_logits, leaves)
        if self._weight:
            loss = loss + self._weight * self._contrastive(embeddings.float(), products)
        return loss
