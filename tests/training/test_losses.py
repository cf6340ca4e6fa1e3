"""The training loss, and the effect of the contrastive term on the vectors."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.networks import outputs_of
from helpers.training_runs import COLOURS, train_in
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from marketplace.models.checkpoints import Checkpoint, network_of
from marketplace.models.network import CosineClassifier
from marketplace.settings import Settings
from marketplace.training.data import Split, TrainingData
from marketplace.training.losses import Predictions, Targets, TrainingLoss
from marketplace.training.settings import TrainSettings


@pytest.fixture
def train_settings(settings: Settings) -> TrainSettings:
    return settings.train.model_copy(update={"batch_size": 12, "classifier": "cosine"})


def contrastive_by_hand(embeddings: Tensor, products: list[int], temperature: float) -> float:
    """The formula, term by term; 0 if there is only one product, so nothing to tell apart."""
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


def title_loss_by_hand(predictions: Tensor, vectors: Tensor, titles: list[int]) -> float:
    """The formula, term by term, with the temperatures 0.2 and 0.1."""
    losses = []
    for prediction, title in zip(predictions.double(), titles, strict=True):
        if title >= 0:
            unit = prediction / prediction.norm()
            exponentials = [math.exp(float(unit @ vector.double()) / 0.2) for vector in vectors]
            similarities = [math.exp(float(vectors[title].double() @ vector.double()) / 0.1) for vector in vectors]
            losses.append(
                -sum(
                    similarity / sum(similarities) * math.log(exponential / sum(exponentials))
                    for similarity, exponential in zip(similarities, exponentials, strict=True)
                )
            )
    return sum(losses) / len(losses) if losses else 0.0


@given(st.lists(st.integers(0, 4), min_size=2, max_size=8), st.sampled_from([0.07, 0.5]), st.integers(0, 100))
@hypothesis_settings(deadline=None)  # the first call imports the library
def test_the_loss_is_cross_entropy_plus_the_weighted_terms(
    settings: Settings, products: list[int], temperature: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = len(products)
    embeddings = torch.randn(n, 6, generator=generator)
    logits = torch.randn(n, 3, generator=generator)
    leaf_logits = torch.randn(n, 5, generator=generator)
    title_vectors = F.normalize(torch.randn(7, 4, generator=generator))
    predicted_titles = torch.randn(n, 4, generator=generator)
    predictions = Predictions(embeddings=embeddings, logits=logits, leaf_logits=leaf_logits, titles=predicted_titles)
    labels = torch.arange(n) % 3
    leaves = torch.arange(n) % 5
    titles = torch.arange(n) % 8 - 1  # the first photo has none
    targets = Targets(labels=labels, leaves=leaves, products=torch.tensor(products), titles=titles)

    weights = {"contrastive_weight": 0.5, "temperature": temperature, "leaf_weight": 0.25, "title_weight": 2.0}
    temperatures = {"title_temperature": 0.2, "title_target_temperature": 0.1}
    all_terms = TrainingLoss(settings.train.model_copy(update=weights | temperatures), title_vectors)
    loss = all_terms(predictions, targets).item()
    root_loss = F.cross_entropy(logits, labels).item()
    leaf_loss = F.cross_entropy(leaf_logits, leaves).item()
    contrastive = contrastive_by_hand(embeddings, products, temperature)
    title_loss = title_loss_by_hand(predicted_titles, title_vectors, titles.tolist())
    expected = root_loss + 0.25 * leaf_loss + 0.5 * contrastive + 2 * title_loss
    assert loss == pytest.approx(expected, rel=1e-3)
    assert all_terms.needs_pairs

    roots_alone = TrainingLoss(settings.train.model_copy(update={"contrastive_weight": 0.0, "leaf_weight": 0.0}))
    without_leaves = predictions._replace(leaf_logits=None)
    assert roots_alone(without_leaves, targets).item() == pytest.approx(root_loss)
    assert not roots_alone.needs_pairs


def test_a_cosine_classifier_ignores_the_length_of_an_embedding() -> None:
    torch.manual_seed(0)
    layer = CosineClassifier(8, 3)
    embeddings = torch.randn(5, 8)
    torch.testing.assert_close(layer(embeddings), layer(7 * embeddings))
    cosines = F.cosine_similarity(embeddings[:, None], layer.weight[None], dim=2)
    torch.testing.assert_close(layer(embeddings), 16 * cosines)


@pytest.fixture
def pairs() -> TrainingData:
    """Noisy squares in three colours; each product is a texture that its two photos share."""
    rng = np.random.default_rng(0)
    n_products = 36
    products = np.repeat(np.arange(n_products), 2)
    colours = products % 3
    textures = rng.integers(0, 120, (n_products, 1, 32, 32, 3))
    noise = rng.integers(0, 60, (n_products, 2, 32, 32, 3))
    images = (textures + noise).reshape(-1, 32, 32, 3)
    images[np.arange(2 * n_products), :, :, colours] += 70

    def split(rows: np.ndarray) -> Split:
        labels = torch.from_numpy(colours[rows])
        numbers = torch.from_numpy(products[rows] - products[rows].min())
        return Split(rows=rows, labels=labels, products=numbers, leaves=labels)

    return TrainingData(
        images=images.astype(np.uint8),
        train=split(np.arange(48)),
        val=split(np.arange(48, 2 * n_products)),
        categories=COLOURS,
        leaves=COLOURS,
    )


def test_the_contrastive_term_pulls_photos_of_a_product_together(
    start: Checkpoint, pairs: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    def margin(contrastive_weight: float) -> float:
        """Mean cosine of a product's two photos, minus that of different products of its colour, after training."""
        weighted = train_settings.model_copy(update={"contrastive_weight": contrastive_weight})
        best = train_in(start, pairs, weighted, tmp_path / str(contrastive_weight), epochs=12)
        embeddings = torch.tensor(outputs_of(network_of(best, n_categories=3), pairs.images).embeddings)
        unit = F.normalize(embeddings[pairs.train.rows])
        cosines = unit @ unit.T
        products = pairs.train.products
        labels = pairs.train.labels
        same_product = products[:, None] == products[None, :]
        same_photo = torch.eye(len(unit), dtype=torch.bool)
        same_colour = labels[:, None] == labels[None, :]
        return (cosines[same_product & ~same_photo].mean() - cosines[same_colour & ~same_product].mean()).item()

    assert margin(1.0) > margin(0.0) + 0.05


def test_a_cosine_training_starts_another_one_and_is_read_back(
    start: Checkpoint, pairs: TrainingData, train_settings: TrainSettings, tmp_path: Path
) -> None:
    small = train_in(start, pairs, train_settings, tmp_path / "small", epochs=4)
    assert small["classifier"] == "cosine"
    assert not any(name.startswith("head.imagenet") for name in small["state_dict"])
    frozen = train_settings.model_copy(update={"lr": 1e-9})  # too slow to move a weight
    warm = train_in(small, pairs, frozen, tmp_path / "warm", epochs=1)
    name = "head.categories.weight"
    torch.testing.assert_close(warm["state_dict"][name], small["state_dict"][name], rtol=0, atol=1e-6)
