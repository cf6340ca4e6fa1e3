"""The mean over positions: PyTorch's values and gradients, in a layout that keeps training fast."""

import pytest
import torch
from torch import nn

from marketplace.models.backbones import BACKBONES
from marketplace.models.network import GlobalAveragePool, Network


def test_values_and_gradients_are_those_of_pytorchs_mean() -> None:
    features = torch.randn(2, 8, 3, 5).to(memory_format=torch.channels_last)
    ours = features.clone().requires_grad_()
    theirs = features.clone().requires_grad_()
    weights = torch.randn(2, 8)

    pooled = GlobalAveragePool()(ours)
    expected = nn.AdaptiveAvgPool2d(1)(theirs).flatten(1)
    (pooled * weights).sum().backward()
    (expected * weights).sum().backward()

    assert torch.equal(pooled, expected)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=0)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_every_gradient_of_a_tail_has_its_channels_last(backbone: str) -> None:
    network = Network(backbone, n_categories=3).train()
    gradients: list[torch.Tensor] = []
    for layer in network.tail.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, output: output.register_hook(gradients.append) and None)
    pixels = torch.randn(4, 3, 128, 128).to(memory_format=torch.channels_last)

    network(pixels).sum().backward()

    assert gradients
    assert all(gradient.is_contiguous(memory_format=torch.channels_last) for gradient in gradients)


def test_activations_copy_nothing_while_they_train_and_stay_in_place_for_the_export() -> None:
    network = Network("efficientnet_lite0", n_categories=3)
    activations = [layer for layer in network.tail.modules() if isinstance(layer, nn.Hardtanh)]

    assert activations
    network.train()
    assert not any(activation.inplace for activation in activations)
    network.eval()
    assert all(activation.inplace for activation in activations)
