"""The titles of training photos, which a network learns to predict from the photos alone."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from marketplace.texts.listing_text import plain_text
from marketplace.texts.sentence_model import open_sentence_model

log = logging.getLogger(__name__)

MAX_TOKENS = 64  # of a title; as many as of a text, so that both store one vector
MAX_TITLES = 8192  # that a batch is compared with, besides its own: more take longer than the network itself


@dataclass(frozen=True)
class Titles:
    """The distinct titles of the training photos."""

    vectors: Tensor  # (T, m) float32, of length 1: the meaning of each title
    of_photo: Tensor  # (N,) int64, the row of each training photo's title; -1: it has none


def embed_titles(names: Sequence[str], sentence_model: Path) -> Titles | None:
    """Embed the titles of the training photos, `(N,)`. None, with a line in the log, if fewer than two differ."""
    plain = np.array([plain_text(name) for name in names], dtype=str)
    distinct = np.unique(plain[plain != ""])
    if len(distinct) < 2:
        log.info("the training photos have %d different titles: titles are not predicted", len(distinct))
        return None
    vectors = open_sentence_model(sentence_model, max_tokens=MAX_TOKENS).embed_catalogue(distinct.tolist())
    rows = np.where(plain == "", -1, np.searchsorted(distinct, plain))
    return Titles(vectors=torch.tensor(vectors), of_photo=torch.from_numpy(rows))


class TitleLoss(nn.Module):
    """Cross-entropy of the predicted distribution over titles, p, with a soft target, q:

        loss = -sum over titles c of q_c log p_c
        p = softmax(cos(prediction, c) / temperature),   q = softmax(cos(own title, c) / target_temperature)

    Titles that mean nearly the same as a photo's own share its target, so they are no negatives, as they would be with
    InfoNCE (van den Oord et al., arXiv:1807.03748), its limit for a target temperature of 0.
    """

    vectors: Tensor  # (T, m)
    shared: Tensor  # (<= MAX_TITLES,) int64, the titles that every batch is compared with

    def __init__(self, vectors: Tensor, temperature: float, target_temperature: float) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)
        self._temperature = temperature
        self._target_temperature = target_temperature
        evenly_spread = torch.linspace(0, len(vectors) - 1, min(len(vectors), MAX_TITLES))
        self.register_buffer("shared", evenly_spread.round().long())

    def forward(self, predictions: Tensor, titles: Tensor) -> Tensor:
        """Return the mean loss `()` of predictions `(B, m)` for photos with `titles` `(B,) int64`; -1 is left out."""
        has_title = titles >= 0
        own = titles[has_title]
        if not len(own):
            return predictions.new_zeros(())
        compared = self.vectors[torch.cat([self.shared, own]).unique()]  # (C, m)
        logits = F.normalize(predictions[has_title].float()) @ compared.T / self._temperature  # (B, C)
        targets = (self.vectors[own] @ compared.T / self._target_temperature).softmax(dim=1)
        return F.cross_entropy(logits, targets)
