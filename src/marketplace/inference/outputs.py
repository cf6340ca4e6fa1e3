"""The outputs of a network for every image of an array, before any projection."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from marketplace.common.progress import progress_bar
from marketplace.compute.arrays import Images
from marketplace.compute.packs import Packs, cut
from marketplace.compute.processor import processor
from marketplace.compute.recipe import recipe
from marketplace.inference import tail
from marketplace.inference.features import Features, FeatureStore
from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk

TAIL_BATCH = 32  # images
CODE = (__file__, tail.__file__)


class Outputs(NamedTuple):
    """A network's outputs for images, averaged over positions."""

    embeddings: np.ndarray  # (N, D) float32, of the tail
    details: np.ndarray  # (N, C) float32, of the trunk: colours, materials and patterns rather than kinds of things


def network_outputs(trunk: Trunk, tail: Tail, images: Images, *, mirrored: bool = False) -> Outputs:
    """Return the outputs of a network for every image `(N, S, S, 3) uint8`.

    `mirrored` averages with the mirror image. Outputs of the same network for the same pixels are found again, even if
    they were computed for another catalogue.
    """
    store = FeatureStore(trunk, images)
    made_with = recipe(CODE, ("openvino",), trunk=trunk.recipe, tail=tail.sha256, processor=processor())
    packs = Packs(made_with | {"mirrored": mirrored})

    def compute(rows: np.ndarray) -> Iterable[np.ndarray]:
        views = [store.features(mirrored=flip) for flip in ((False, True) if mirrored else (False,))]
        return progress_bar(_compute(tail, views, rows), total=len(rows), description="embedding", unit="image")

    values = packs.fill(packs.find(store.keys), compute)
    return Outputs(embeddings=values[:, : tail.dimensions], details=values[:, tail.dimensions :])


def _compute(tail: Tail, views: Sequence[Features], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each image's embedding and details side by side, `(D + C,) float32`."""
    for batch in cut(rows, TAIL_BATCH):
        whole = np.resize(batch, TAIL_BATCH)  # a batch of another size may round otherwise
        outputs = np.mean([_outputs_of(tail, view(whole)) for view in views], axis=0)  # (B, D + C)
        yield from outputs[: len(batch)]


def _outputs_of(tail: Tail, features: np.ndarray) -> np.ndarray:
    """Return the outputs `(B, D + C) float32` for the trunk's features `(B, h, w, C)`."""
    return np.hstack([tail.embed(features), features.mean(axis=(1, 2), dtype=np.float32)])
