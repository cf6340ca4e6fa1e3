import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from marketplace.training import linear_probe as module
from marketplace.training.linear_probe import linear_probe


def blobs(n_categories: int, n: int = 240, dimensions: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clouds of points, stretched and moved, one for each category."""
    rng = np.random.default_rng(n_categories)
    labels = np.arange(n) % n_categories
    points = rng.normal(size=(n_categories, dimensions))[labels] + 1.5 * rng.normal(size=(n, dimensions))
    points = points * rng.uniform(0.1, 20, dimensions) + rng.uniform(-50, 50, dimensions)
    return torch.from_numpy(points).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("n_categories", [2, 5])
def test_it_is_the_logistic_regression_that_scikit_learn_finds(
    n_categories: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, labels = blobs(n_categories)
    monkeypatch.setattr(module, "PENALTIES", (0.05,))
    monkeypatch.setattr(module, "MAX_ITERATIONS", 500)
    weight, bias = linear_probe(inputs, labels, inputs, labels)
    found = F.softmax(inputs @ weight.T + bias, dim=1)

    standardised = ((inputs - inputs.mean(0)) / inputs.std(0)).double().numpy()
    # scikit-learn's C weighs the sum of the losses against half the squared weights. Two categories are one weight
    # vector there, the difference of ours, whose square is twice the sum of ours.
    strength = 1 / (0.05 * len(inputs)) * (2 if n_categories == 2 else 1)
    model = LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(standardised, labels.numpy())
    np.testing.assert_allclose(found.numpy(), model.predict_proba(standardised), atol=2e-3)


def test_the_penalty_is_the_one_that_validates_best() -> None:
    inputs, labels = blobs(4, n=60, dimensions=40)  # more dimensions than images of a category: easy to overfit
    val_inputs, val_labels = blobs(4, n=400, dimensions=40)
    losses = []
    for penalty in module.PENALTIES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "PENALTIES", (penalty,))
            weight, bias = linear_probe(inputs, labels, val_inputs, val_labels)
        losses.append(F.cross_entropy(val_inputs @ weight.T + bias, val_labels).item())
    weight, bias = linear_probe(inputs, labels, val_inputs, val_labels)
    assert F.cross_entropy(val_inputs @ weight.T + bias, val_labels).item() == pytest.approx(min(losses), rel=0.02)


def test_a_constant_input_does_no_harm() -> None:
    inputs, labels = blobs(3)
    inputs[:, 0] = 7
    weight, bias = linear_probe(inputs, labels, inputs, labels)
    assert torch.isfinite(weight).all()
    assert torch.isfinite(bias).all()
