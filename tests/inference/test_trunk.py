import copy

import numpy as np
import pytest
import torch
from helpers.networks import trunk_of

from marketplace.inference.trunk import Trunk
from marketplace.models.checkpoints import checkpoint_of
from marketplace.models.network import Network, build_pretrained_network


@pytest.fixture(scope="module", params=["efficientnet_lite0", "resnet18"])
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    weights = "IMAGENET1K_V1" if request.param == "efficientnet_lite0" else "none"
    return build_pretrained_network(request.param, weights).eval()


def export(network: Network, size: int) -> Trunk:
    checkpoint = checkpoint_of(network, weights="none", size=0, categories=[], leaves=[], epoch=0, figures={})
    return trunk_of(checkpoint, size)


@pytest.mark.parametrize("size", [32, 70])
def test_it_gives_the_features_of_the_network(network: Network, size: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, size, size, 3), dtype=np.uint8)
    features = export(network, size)(images)
    assert features.dtype == np.float16
    trunk = copy.deepcopy(network.trunk).double()  # the same sums, nearly without rounding
    with torch.inference_mode():
        expected = trunk(network.pixels(images).double()).permute(0, 2, 3, 1).numpy()
    # float16 keeps 11 bits; the sums before it were float32.
    np.testing.assert_allclose(features, expected, rtol=2**-10, atol=1e-4 * np.abs(expected).max())


def test_an_images_features_do_not_depend_on_its_neighbours_or_its_layout(network: Network) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    run = export(network, 64)
    together = run(images)
    for index in range(len(images)):
        assert (run(images[[index]]) == together[index]).all()
    mirrored = images[:, :, ::-1]
    assert (run(mirrored) == run(mirrored.copy())).all()
    assert not (run(mirrored) == together).all()
