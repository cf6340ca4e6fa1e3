"""The image model: one file, that PyTorch and ONNX Runtime read alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from marketplace.embedding import image_model, onnx
from marketplace.embedding.image_model import ImageModel, Projections
from marketplace.embedding.projection import fit_projection
from marketplace.models.checkpoints import Provenance
from marketplace.models.network import Network

PROVENANCE = Provenance(
    weights="none",
    size=64,
    categories=["a", "b"],
    leaves=["a / x", "a / y", "b"],
    epoch=3,
    figures={"val_loss": 0.75},
)
Build = Callable[..., ImageModel]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def build() -> Build:
    def make(classifier: str = "cosine", *, mirrored: bool = False, weight: float = 0.3) -> ImageModel:
        torch.manual_seed(0)
        network = Network("efficientnet_lite0", 2, classifier, n_leaves=3).eval()
        fitted = [
            fit_projection(
                torch.randn(40, size).abs(), torch.arange(40) // 2, power=power, shrinkage=0.3, dimensions=dimensions
            )
            for size, power, dimensions in ((network.dimensions, 0.5, 16), (192, 1.0, 6), (network.dimensions, 0.5, 8))
        ]
        projections = Projections(fitted[0], fitted[1], fitted[2], detail_weight=0.25, category_weight=weight)
        return ImageModel(network, projections, mirrored=mirrored).eval()

    return make


def embedded(model: ImageModel, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identity vectors, kind vectors and kind maps, image by image."""
    with torch.inference_mode():
        answers = [model(torch.from_numpy(image)[None]) for image in images]
    return tuple(torch.cat(vectors).numpy() for vectors in zip(*answers, strict=True))  # type: ignore[return-value]


def test_the_vectors_are_what_their_formulas_give(build: Build, images: np.ndarray) -> None:
    model = build()
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        features = model.network.trunk(pixels)
        outputs, details = model.network.tail(features), features.mean(dim=(2, 3))
        rooted = outputs.sign() * outputs.abs().sqrt()
        fitted = model.projections
        identity, kind, detail = (
            F.normalize((values - one.mean) @ one.matrix.T).numpy()
            for values, one in ((rooted, fitted.identity), (rooted, fitted.kind), (details, fitted.detail))
        )
        roots = model.network.head(outputs).softmax(dim=1).numpy()
        assert model.network.leaves is not None
        leaves = (model.network.leaves(outputs) / 0.7).softmax(dim=1).numpy()
    identities, kinds, _ = embedded(model, images)
    np.testing.assert_allclose(identities, np.hstack([0.75**0.5 * identity, 0.25**0.5 * detail]), atol=1e-5)
    expected = np.hstack([0.7**0.5 * kind, 0.15**0.5 * np.sqrt(roots), 0.15**0.5 * np.sqrt(leaves)])
    np.testing.assert_allclose(kinds, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(kinds, axis=1), 1, atol=1e-5)


def test_with_mirroring_a_photo_and_its_mirror_image_have_the_same_vectors(build: Build, images: np.ndarray) -> None:
    flipped = np.ascontiguousarray(images[:, :, ::-1])
    ours, theirs = (embedded(build(mirrored=True), view) for view in (images, flipped))
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(ours[2], theirs[2][:, :, ::-1], atol=1e-4)
    assert abs(embedded(build(), images)[0] - embedded(build(), flipped)[0]).max() > 1e-3


@pytest.mark.parametrize("mirrored", [False, True])
def test_what_positions_add_to_a_kind_vector_sums_up_to_it(build: Build, images: np.ndarray, mirrored: bool) -> None:
    _, kinds, maps = embedded(build(mirrored=mirrored), images)
    assert maps.shape == (20, 2, 2, 8)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), kinds[:, :8], atol=1e-5)


@pytest.mark.parametrize("classifier", ["cosine", "linear"])
def test_it_comes_back_from_its_file(tmp_path: Path, build: Build, images: np.ndarray, classifier: str) -> None:
    model = build(classifier, mirrored=True)
    image_model.save(tmp_path / "image_model.pt", model, PROVENANCE, checkpoint_sha256="abc")
    again, content = image_model.load(tmp_path / "image_model.pt")
    for one, other in zip(embedded(again, images), embedded(model, images), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    del content["state_dict"]  # type: ignore[misc]
    assert content == {
        **PROVENANCE,
        "backbone": "efficientnet_lite0",
        "classifier": classifier,
        "background": (255, 255, 255),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "mirrored": True,
        "power": 0.5,
        "detail_weight": 0.25,
        "category_weight": 0.3,
        "identity_dimensions": 22,
        "kind_dimensions": 13,
        "checkpoint_sha256": "abc",
    }


@pytest.mark.parametrize("changes", [{}, {"classifier": "linear", "mirrored": True, "weight": 0.0}])
def test_onnx_runtime_gives_the_same_vectors_for_any_batch(
    tmp_path: Path, build: Build, images: np.ndarray, changes: dict[str, object]
) -> None:
    model, path = build(**changes), tmp_path / "image_model.onnx"
    onnx.export_onnx(path, model, size=64)
    session, ours = onnxruntime.InferenceSession(str(path)), onnx.onnx_model(path)
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [64, 64, 3])
    assert [answer.name for answer in session.get_outputs()] == ["identity", "kind", "kind_map"]
    for n in (1, 20):
        expected = embedded(model, images[:n])
        for answers in (session.run(None, {"images": images[:n]}), ours(images[:n])):
            for found, wanted in zip(answers, expected, strict=True):
                assert np.abs(found - wanted).max() <= 2e-4 * max(1, np.abs(wanted).max())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path, build: Build) -> None:
    for name in ("one", "two"):
        onnx.export_onnx(tmp_path / name, build(), size=64)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
