"""The training loss: cross-entropy, plus terms for leaf categories and for the photos of one product."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.training.settings import TrainSettings


class Predictions(NamedTuple):
    """The outputs of a network for a batch."""

    embeddings: Tensor  # (B, D)
    logits: Tensor  # (B, n_categories)
    leaf_logits: Tensor | None  # (B, n_leaves); None if the network has no layer for leaf categories


class TrainingLoss(nn.Module):
    """Cross-entropy over root categories, plus `leaf_weight` times cross-entropy over leaf categories, plus
    `contrastive_weight` times the supervised contrastive loss over products.

        contrastive = mean over photos i that share their product with another photo of the batch of
                      -1/|P(i)| * sum over p in P(i) of log(exp(z_i·z_p / t) / sum over a != i of exp(z_i·z_a / t))

    where P(i) are the other photos of i's product, z the unit-length embeddings and t the temperature (Khosla et al.,
    2020, arXiv:2004.11362, equation 2). Photos without a partner in the batch serve as negatives only.
    """

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__()
        self._leaf_weight = settings.leaf_weight
        self._contrastive_weight = settings.contrastive_weight
        if settings.contrastive_weight:
            # The import takes two seconds, and is not needed at weight 0.
            from pytorch_metric_learning.losses import SupConLoss

            self._contrastive = SupConLoss(temperature=settings.temperature)

    @property
    def needs_pairs(self) -> bool:
        """True if a term compares photos of one product: they then share a batch, except at its edges."""
        return self._contrastive_weight > 0

    def forward(self, predictions: Predictions, labels: Tensor, leaves: Tensor, products: Tensor) -> Tensor:
        """The mean loss `()` of a batch, whose labels, leaves and products are `(B,) int64`."""
        loss = F.cross_entropy(predictions.logits, labels)
        if predictions.leaf_logits is not None:
            loss = loss + self._leaf_weight * F.cross_entropy(predictions.leaf_logits, leaves)
        if self._contrastive_weight:
            contrastive = self._contrastive(predictions.embeddings.float(), products)
            loss = loss + self._contrastive_weight * contrastive
        return loss
