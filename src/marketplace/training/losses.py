"""The training loss: cross-entropy, plus terms for leaf categories and for the photos of one product."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.training.settings import TrainSettings
from marketplace.training.titles import TitleLoss


class Predictions(NamedTuple):
    """The outputs of a network for a batch."""

    embeddings: Tensor  # (B, D)
    logits: Tensor  # (B, n_categories)
    leaf_logits: Tensor | None  # (B, n_leaves); None if the network has no layer for leaf categories
    titles: Tensor | None  # (B, m); None if it has no layer for titles


class Targets(NamedTuple):
    """The classes of a batch, `(B,) int64` each."""

    labels: Tensor
    leaves: Tensor
    products: Tensor
    titles: Tensor | None  # rows of the titles that the loss knows; -1: none


class TrainingLoss(nn.Module):
    """Cross-entropy over root categories, plus `leaf_weight` times cross-entropy over leaf categories, plus
    `title_weight` times the loss over titles (see TitleLoss), plus `contrastive_weight` times the supervised
    contrastive loss over products.

        contrastive = mean over photos i that share their product with another photo of the batch of
                      -1/|P(i)| * sum over p in P(i) of log(exp(z_i·z_p / t) / sum over a != i of exp(z_i·z_a / t))

    where P(i) are the other photos of i's product, z the unit-length embeddings and t the temperature (Khosla et al.,
    2020, arXiv:2004.11362, equation 2). Photos without a partner in the batch serve as negatives only.
    """

    def __init__(self, settings: TrainSettings, titles: Tensor | None = None) -> None:
        """`titles` are the vectors `(T, m)` of the training titles; None: no loss over titles."""
        super().__init__()
        self._leaf_weight = settings.leaf_weight
        self._contrastive_weight = settings.contrastive_weight
        self._title_weight = settings.title_weight
        self._title_loss: TitleLoss | None = None
        if titles is not None:
            self._title_loss = TitleLoss(titles, settings.title_temperature, settings.title_target_temperature)
        if settings.contrastive_weight:
            # The import takes two seconds, and is not needed at weight 0.
            from pytorch_metric_learning.losses import SupConLoss

            self._contrastive = SupConLoss(temperature=settings.temperature)

    @property
    def needs_pairs(self) -> bool:
        """True if a term compares photos of one product: they then share a batch, except at its edges."""
        return self._contrastive_weight > 0

    def forward(self, predictions: Predictions, targets: Targets) -> Tensor:
        """The mean loss `()` of a batch."""
        loss = F.cross_entropy(predictions.logits, targets.labels)
        if predictions.leaf_logits is not None:
            loss = loss + self._leaf_weight * F.cross_entropy(predictions.leaf_logits, targets.leaves)
        if self._title_loss is not None and predictions.titles is not None and targets.titles is not None:
            loss = loss + self._title_weight * self._title_loss(predictions.titles, targets.titles)
        if self._contrastive_weight:
            contrastive = self._contrastive(predictions.embeddings.float(), targets.products)
            loss = loss + self._contrastive_weight * contrastive
        return loss
