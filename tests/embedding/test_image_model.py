"""The image model: the same vectors from PyTorch, ONNX Runtime and OpenVINO."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from marketplace.embedding import image_model, onnx
from marketplace.embedding.image_model import ImageModel, ImageVectors, Projections
from marketplace.embedding.projection import Projection, fit_projection
from marketplace.models.backbones import BACKBONES
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
TITLE_DIMENSIONS = 7
Build = Callable[..., ImageModel]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def build() -> Build:
    def make(
        classifier: str = "cosine",
        *,
        backbone: str = "efficientnet_lite0",
        mirrored: bool = False,
        detail_power: float = 1.0,
        category_weight: float = 0.3,
        titles: bool = True,
        leaf_temperature: float = 0.7,
    ) -> ImageModel:
        torch.manual_seed(0)
        network = Network(backbone, 2, classifier, n_leaves=3, title_dimensions=titles * TITLE_DIMENSIONS).eval()
        n_details = network.trunk(torch.zeros(1, 3, 64, 64)).shape[1]
        projections = Projections(
            identity=fit(network.dimensions, power=0.5, dimensions=16),
            detail=fit(n_details, power=detail_power, dimensions=6),
            kind=fit(network.dimensions, power=0.5, dimensions=8),
            detail_weight=0.25,
            category_weight=category_weight,
        )
        return ImageModel(
            network,
            projections,
            torch.randn(3, 5),
            TITLE_DIMENSIONS,
            mirrored=mirrored,
            leaf_temperature=leaf_temperature,
        ).eval()

    return make


def fit(size: int, *, power: float, dimensions: int) -> Projection:
    """A projection of random vectors."""
    vectors = torch.randn(40, size).abs()
    return fit_projection(vectors, torch.arange(40) // 2, power=power, shrinkage=0.3, dimensions=dimensions)


def embed(model: ImageModel, images: np.ndarray) -> ImageVectors:
    """The vectors of images that the model gets one by one."""
    with torch.inference_mode():
        results = [model(torch.from_numpy(image)[None]) for image in images]
    return ImageVectors(*(torch.cat(vectors) for vectors in zip(*results, strict=True)))


def test_the_vectors_follow_their_formulas(build: Build, images: np.ndarray) -> None:
    model = build()
    network = model.network
    assert network.leaves is not None
    assert network.title is not None
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        features = network.trunk(pixels)
        embeddings = network.tail(features)
        roots = network.head(embeddings).softmax(dim=1)
        leaves = (network.leaves(embeddings) / 0.7).softmax(dim=1)
        titles = network.title(embeddings)

    def project(values: torch.Tensor, projection: Projection) -> torch.Tensor:
        return F.normalize((values - projection.mean) @ projection.matrix.T)

    signed_roots = embeddings.sign() * embeddings.abs().sqrt()
    identity = project(signed_roots, model.projections.identity)
    detail = project(features.mean(dim=(2, 3)), model.projections.detail)
    kind = project(signed_roots, model.projections.kind)
    expected_identity = np.hstack([0.75**0.5 * identity, 0.25**0.5 * detail])
    expected_kind = np.hstack([0.7**0.5 * kind, 0.15**0.5 * roots.sqrt(), 0.15**0.5 * leaves.sqrt()])

    vectors = embed(model, images)
    np.testing.assert_allclose(vectors.identity, expected_identity, atol=1e-5)
    np.testing.assert_allclose(vectors.kind, expected_kind, atol=1e-5)
    np.testing.assert_allclose(vectors.kind.norm(dim=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors.title, titles / titles.norm(dim=1, keepdim=True), atol=1e-5)
    np.testing.assert_allclose(vectors.path, leaves @ model.paths, atol=1e-5)


def test_with_mirroring_a_photo_and_its_mirror_image_have_the_same_vectors(build: Build, images: np.ndarray) -> None:
    flipped = np.ascontiguousarray(images[:, :, ::-1])
    mirroring = build(mirrored=True)
    vectors = embed(mirroring, images)
    of_flipped = embed(mirroring, flipped)
    np.testing.assert_allclose(of_flipped.identity, vectors.identity, atol=1e-5)
    np.testing.assert_allclose(of_flipped.kind, vectors.kind, atol=1e-5)
    np.testing.assert_allclose(of_flipped.kind_map.flip(2), vectors.kind_map, atol=1e-4)
    without = build()
    assert (embed(without, images).identity - embed(without, flipped).identity).abs().max() > 1e-3


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_kind_map_sums_up_to_its_part_of_the_kind_vector(
    build: Build, images: np.ndarray, backbone: str, mirrored: bool
) -> None:
    vectors = embed(build(backbone=backbone, mirrored=mirrored), images[:4])
    assert vectors.kind_map.shape == (4, 2, 2, 8)
    np.testing.assert_allclose(vectors.kind_map.mean(dim=(1, 2)), vectors.kind[:, :8], atol=1e-5)


@pytest.mark.parametrize("classifier", ["cosine", "linear"])
def test_it_comes_back_from_its_file(tmp_path: Path, build: Build, images: np.ndarray, classifier: str) -> None:
    model = build(classifier, mirrored=True, detail_power=0.5, leaf_temperature=2.0)
    image_model.save(tmp_path / "image_model.pt", model, PROVENANCE, checkpoint_sha256="abc")
    again, content = image_model.load(tmp_path / "image_model.pt")
    for read, expected in zip(embed(again, images), embed(model, images), strict=True):
        np.testing.assert_allclose(read, expected, atol=1e-6)
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
        "detail_power": 0.5,
        "detail_weight": 0.25,
        "category_weight": 0.3,
        "leaf_temperature": 2.0,
        "identity_dimensions": 22,
        "kind_dimensions": 13,
        "title_dimensions": TITLE_DIMENSIONS,
        "checkpoint_sha256": "abc",
    }


@pytest.mark.parametrize(
    "changes",
    [{"backbone": "resnet18", "titles": False}, {"classifier": "linear", "mirrored": True, "category_weight": 0.0}],
)
def test_the_exported_model_gives_the_same_vectors_for_any_batch(
    tmp_path: Path, build: Build, images: np.ndarray, changes: dict[str, object]
) -> None:
    model = build(**changes)
    path = tmp_path / "image_model.onnx"
    onnx.export_onnx(path, model, size=64)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

    session = onnxruntime.InferenceSession(str(path))
    (argument,) = session.get_inputs()
    assert argument.name == "images"
    assert argument.type == "tensor(uint8)"
    assert argument.shape == ["N", 64, 64, 3]
    assert [output.name for output in session.get_outputs()] == [
        "identity",
        "kind",
        "title",
        "path",
        "category",
        "kind_map",
    ]
    openvino_model = onnx.load_onnx(path)
    for n in (1, 20):
        expected = [values.numpy() for values in embed(model, images[:n])]
        assert_close(session.run(None, {"images": images[:n]}), expected)
        assert_close(openvino_model(images[:n]), expected)


def assert_close(results: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    for values, expected_values in zip(results, expected, strict=True):
        tolerance = 2e-4 * max(1, np.abs(expected_values).max())
        assert np.abs(values - expected_values).max() <= tolerance


def test_exporting_twice_gives_the_same_bytes_without_local_paths(tmp_path: Path, build: Build) -> None:
    for name in ("first", "second"):
        onnx.export_onnx(tmp_path / name, build(backbone="resnet18", mirrored=True), size=64)
    content = (tmp_path / "first").read_bytes()
    assert (tmp_path / "second").read_bytes() == content
    assert b"marketplace/" not in content
    assert b"site-packages" not in content
