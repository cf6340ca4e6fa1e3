"""The training loss, and the effect of the contrastive term on the vectors."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.training_runs import COLOURS, train_in
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from marketplace.inference.outputs import network_outputs
from marketplace.models.checkpoints import Checkpoint, network_of
from marketplace.models.network import CosineClassifier
from marketplace.settings import Settings
from marketplace.training.data import Split, TrainingData, cut_into_batches, shuffle
from marketplace.training.losses import Predictions, TrainingLoss
from marketplace.training.settings import TrainSettings


def contrastive_by_hand(embeddings: Tensor, products: list[int], temperature: float) -> float:
    """The formula, word by word; nothing where there is no other product to tell a product from."""
    if len(set(products)) < 2:
        return 0.0
    unit = [vector / vector.norm() for vector in embeddings.double()]
    terms = []
    for i, product in enumerate(products):
        others = [a for a in range(len(products)) if a != i]
        partners = [p for p in others if products[p] == product]
        if partners:
            total = sum(math.exp(float(unit[i] @ unit[a]) / temperature) for a in others)
            shares = [math.exp(float(unit[i] @ unit[p]) / temperature) / total for p in partners]
            terms.append(-sum(math.log(share) for share in shares) / len(partners))
    assume(min(terms, default=1.0) > 1e-6)  # float32 rounds it to zero, and the library leaves zeros out of the mean
    return sum(terms) / len(terms) if terms else 0.0


@given(st.lists(st.integers(0, 4), min_size=2, max_size=8), st.sampled_from([0.07, 0.5]), st.integers(0, 100))
@hypothesis_settings(deadline=None)  # the first call imports the library
def test_the_loss_is_cross_entropy_plus_the_weighted_formula(
    products: list[int], temperature: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = len(products)
    embeddings, logits = torch.randn(n, 6, generator=generator), torch.randn(n, 3, generator=generator)
    leaf_logits = torch.randn(n, 5, generator=generator)
    labels, leaves = torch.arange(n) % 3, torch.arange(n) % 5
    predicted, targets = Predictions(embeddings, logits, leaf_logits), (labels, leaves, torch.tensor(products))
    loss = TrainingLoss(0.5, temperature, 0.25)(predicted, *targets).item()
    roots = F.cross_entropy(logits, labels).item()
    expected = roots + 0.5 * contrastive_by_hand(embeddings, products, temperature)
    expected += 0.25 * F.cross_entropy(leaf_logits, leaves).item()
    assert loss == pytest.approx(expected, rel=1e-3)
    without_leaves = predicted._replace(leaf_logits=None)
    assert TrainingLoss(0, temperature, 0)(without_leaves, *targets).item() == pytest.approx(roots)


def test_a_cosine_classifier_does_not_see_how_long_an_embedding_is() -> None:
    torch.manual_seed(0)
    layer = CosineClassifier(8, 3)
    embeddings = torch.randn(5, 8)
    torch.testing.assert_close(layer(embeddings), layer(7 * embeddings))
    cosines = F.cosine_similarity(embeddings[:, None], layer.weight[None], dim=2)
    torch.testing.assert_close(layer(embeddings), 16 * cosines)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 1000), st.booleans())
def test_the_order_holds_every_photo_once_and_products_together_if_asked_for(
    numbers: list[int], seed: int, together: bool
) -> None:
    products = torch.tensor(np.unique(numbers, return_inverse=True)[1])
    split = Split(np.arange(len(numbers)), products, products, products)
    order = shuffle(split, np.random.default_rng(seed), products_together=together)
    assert sorted(order) == list(range(len(numbers)))
    if together:
        seen = products[torch.from_numpy(order)].tolist()
        assert sum(one != other for one, other in pairwise(seen)) == len(set(seen)) - 1
    assert len(np.concatenate(cut_into_batches(order, 4))) == len(numbers)


@pytest.fixture
def pairs() -> TrainingData:
    """Noisy squares in three colours; each product is a texture that its two photos share."""
    rng = np.random.default_rng(0)
    n_products = 36
    textures = rng.integers(0, 120, (n_products, 1, 32, 32, 3))
    images = (textures + rng.integers(0, 60, (n_products, 2, 32, 32, 3))).reshape(-1, 32, 32, 3)
    products = np.repeat(np.arange(n_products), 2)
    images[np.arange(2 * n_products), :, :, products % 3] += 70
    labels = torch.from_numpy(products % 3)
    rows = np.arange(2 * n_products)
    train, val = rows[:48], rows[48:]
    numbers = torch.from_numpy(products)
    train_split, val_split = (
        Split(chosen, labels[chosen], numbers[chosen] - numbers[chosen].min(), labels[chosen])
        for chosen in (train, val)
    )
    return TrainingData(images.astype(np.uint8), train_split, val_split, COLOURS, COLOURS)


@pytest.fixture
def short(settings: Settings) -> TrainSettings:
    return settings.train.model_copy(update={"batch_size": 12, "classifier": "cosine"})


def test_the_contrastive_term_pulls_photos_of_a_product_together(
    start: Checkpoint, pairs: TrainingData, short: TrainSettings, tmp_path: Path
) -> None:
    margins = []
    for weight in (0.0, 1.0):
        settings = short.model_copy(update={"contrastive_weight": weight})
        best = train_in(start, pairs, settings, tmp_path / str(weight), epochs=12)
        unit = F.normalize(network_outputs(network_of(best, 3), pairs.images).embeddings[pairs.train.rows])
        similarity = unit @ unit.T
        same = pairs.train.products[:, None] == pairs.train.products[None, :]
        colour = (pairs.train.labels[:, None] == pairs.train.labels[None, :]) & ~same
        itself = torch.eye(len(unit), dtype=torch.bool)
        margins.append((similarity[same & ~itself].mean() - similarity[colour].mean()).item())
    assert margins[1] > margins[0] + 0.05


def test_a_cosine_training_starts_another_one_and_is_read_back(
    start: Checkpoint, pairs: TrainingData, short: TrainSettings, tmp_path: Path
) -> None:
    small = train_in(start, pairs, short, tmp_path / "small", epochs=4)
    assert small["classifier"] == "cosine"
    assert not any(name.startswith("head.imagenet") for name in small["state_dict"])
    still = short.model_copy(update={"lr": 1e-9})
    warm = train_in(small, pairs, still, tmp_path / "warm", epochs=1)
    name = "head.categories.weight"
    torch.testing.assert_close(warm["state_dict"][name], small["state_dict"][name], rtol=0, atol=1e-6)
