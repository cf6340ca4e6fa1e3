"""The outputs of a network for every image of an array, before any projection."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from marketplace.common.progress import progress_bar
from marketplace.compute.packs import Packs, cut
from marketplace.compute.processor import processor
from marketplace.compute.recipe import recipe
from marketplace.compute.scratch import compute_in_blocks
from marketplace.inference import tail
from marketplace.inference.features import Features, FeatureStore
from marketplace.inference.tail import Tail

TAIL_BATCH = 32  # images
CODE = (__file__, tail.__file__)


class Outputs(NamedTuple):
    """A network's outputs for images, averaged over positions; mapped, see scratch.py."""

    embeddings: np.ndarray  # (N, D) float32, of the tail
    details: np.ndarray  # (N, C) float32, of the trunk: colours, materials and patterns rather than kinds of things


def network_outputs(store: FeatureStore, tail: Tail, *, mirrored: bool = False) -> Outputs:
    """Return the outputs of a network for every image of a store.

    `mirrored` averages with the mirror image. Outputs of the same network for the same pixels are found again, even if
    they were computed for another catalogue.
    """
    plain_view = _outputs_of_view(store, tail, mirrored=False)
    values = plain_view
    if mirrored:
        mirror_view = _outputs_of_view(store, tail, mirrored=True)
        values = compute_in_blocks(
            lambda rows: (plain_view[rows] + mirror_view[rows]) / 2, len(plain_view), plain_view, mirror_view
        )
    return Outputs(embeddings=values[:, : tail.dimensions], details=values[:, tail.dimensions :])


def _outputs_of_view(store: FeatureStore, tail: Tail, *, mirrored: bool) -> np.ndarray:
    """Return the embedding and the details of each image or mirror image side by side, `(N, D + C) float32`."""
    made_with = recipe(CODE, ("openvino",), trunk=store.trunk.recipe, tail=tail.sha256, processor=processor())
    packs = Packs(made_with | {"mirrored": mirrored})

    def compute(rows: np.ndarray) -> Iterable[np.ndarray]:
        outputs = _compute(tail, store.features(mirrored=mirrored), rows)
        return progress_bar(outputs, total=len(rows), description="embedding", unit="image")

    return packs.fill(packs.find(store.keys), compute)


def _compute(tail: Tail, features: Features, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each image's outputs `(D + C,) float32`."""
    for batch in cut(rows, TAIL_BATCH):
        whole = features(np.resize(batch, TAIL_BATCH))  # a batch of another size may round otherwise
        outputs = np.hstack([tail.embed(whole), whole.mean(axis=(1, 2), dtype=np.float32)])
        yield from outputs[: len(batch)]
