"""The image model: one file, that PyTorch and ONNX Runtime read alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from marketplace.embedding import image_model, onnx
from marketplace.embedding.image_model import ImageModel
from marketplace.embedding.projection import ExtractSettings, fit_projection
from marketplace.models.checkpoints import Provenance
from marketplace.models.network import Network

PROVENANCE = Provenance(weights="none", size=64, categories=["a", "b"], epoch=3, figures={"val_loss": 0.75})
Build = Callable[..., ImageModel]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def build(images: np.ndarray) -> Build:
    def make(n_networks: int = 1, *, mirrored: bool = False, dimensions: int | None = 16) -> ImageModel:
        torch.manual_seed(0)
        networks = [Network("efficientnet_lite0", 2).eval() for _ in range(n_networks)]
        settings = ExtractSettings(vectors="tuned", mirrored=mirrored, power=0.5, dimensions=dimensions, whitening=0.5)
        outputs = torch.randn(40, sum(network.dimensions for network in networks)).abs()
        return ImageModel(networks, fit_projection(outputs, settings), mirrored=mirrored).eval()

    return make


def embedded(model: ImageModel, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.stack([model(torch.from_numpy(image)[None])[0].numpy() for image in images])


def test_a_vector_is_the_projected_output_of_the_network(build: Build, images: np.ndarray) -> None:
    model = build()
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        outputs = model.tails[0](model.trunk(pixels))
        centred = outputs.sign() * outputs.abs().sqrt() - model.projection.mean
        expected = F.normalize(centred @ model.projection.matrix.T).numpy()
    np.testing.assert_allclose(embedded(model, images), expected, atol=1e-5)


def test_with_mirroring_a_photo_and_its_mirror_image_have_the_same_vector(build: Build, images: np.ndarray) -> None:
    flipped = np.ascontiguousarray(images[:, :, ::-1])
    model = build(mirrored=True)
    np.testing.assert_allclose(embedded(model, images), embedded(model, flipped), atol=1e-5)
    assert abs(embedded(build(), images) - embedded(build(), flipped)).max() > 1e-3


@pytest.mark.parametrize("n_networks", [1, 2])
def test_it_comes_back_from_its_file(tmp_path: Path, build: Build, images: np.ndarray, n_networks: int) -> None:
    model = build(n_networks, mirrored=True)
    image_model.save(tmp_path / "image_model.pt", model, PROVENANCE, vectors="tuned", checkpoint_sha256="abc")
    again, content = image_model.load(tmp_path / "image_model.pt")
    np.testing.assert_allclose(embedded(again, images), embedded(model, images), atol=1e-6)
    state = content.pop("state_dict")  # type: ignore[misc]
    assert not any("head" in name and "conv_head" not in name for name in state)
    assert content == {
        **PROVENANCE,
        "backbone": "efficientnet_lite0",
        "vectors": "tuned",
        "background": (255, 255, 255),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "mirrored": True,
        "power": 0.5,
        "dimensions": 16,
        "checkpoint_sha256": "abc",
    }


@pytest.mark.parametrize("changes", [{}, {"n_networks": 2, "mirrored": True}, {"dimensions": None}])
def test_onnx_runtime_gives_the_same_vectors_for_any_batch(
    tmp_path: Path, build: Build, images: np.ndarray, changes: dict[str, int]
) -> None:
    model, path = build(**changes), tmp_path / "image_model.onnx"
    onnx.export_onnx(path, model, size=64)
    session = onnxruntime.InferenceSession(str(path))
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [64, 64, 3])
    assert answer.name == "vectors"
    for n in (1, 3, 20):
        (vectors,) = session.run(["vectors"], {"images": images[:n]})
        assert np.abs(vectors - embedded(model, images[:n])).max() <= 1e-4
        assert np.abs(vectors - onnx.onnx_model(path)(images[:n])).max() <= 1e-4
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path, build: Build) -> None:
    for name in ("one", "two"):
        onnx.export_onnx(tmp_path / name, build(), size=64)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
