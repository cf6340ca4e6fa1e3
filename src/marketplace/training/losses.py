"""The training loss: cross-entropy, plus a term that pulls the photos of one product together."""

from torch import Tensor, nn
from torch.nn import functional as F


class TrainingLoss(nn.Module):
    """Cross-entropy over categories plus `weight` times the supervised contrastive loss over products.

        contrastive = mean over photos i that share their product with another one of the batch of
                      -1/|P(i)| * sum over p in P(i) of log(exp(z_i·z_p / t) / sum over a != i of exp(z_i·z_a / t))

    where P(i) are the other photos of i's product, z the unit-length embeddings and t the temperature (Khosla et al.,
    2020, arXiv:2004.11362, equation 2). Photos without a partner in the batch serve as negatives only.
    """

    def __init__(self, weight: float, temperature: float) -> None:
        super().__init__()
        self._weight = weight
        if weight:
            from pytorch_metric_learning.losses import (
                SupConLoss,  # takes two seconds to import, and is not needed at weight 0
            )

            self._contrastive = SupConLoss(temperature=temperature)

    def forward(self, embeddings: Tensor, logits: Tensor, labels: Tensor, products: Tensor) -> Tensor:
        """The loss of a batch: embeddings `(B, D)`, logits `(B, n_categories)`, labels and products `(B,) int64`."""
        loss = F.cross_entropy(logits, labels)
        if self._weight:
            loss = loss + self._weight * self._contrastive(embeddings.float(), products)
        return loss
