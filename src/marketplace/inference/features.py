"""The frozen trunk's features: they never change, so they are computed once per image and found again by its pixels.

Features are float16, `(H, W, C)` for each image; packs.py says where and for how long they are kept.
"""

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from marketplace.cluster.connection import uses_cluster
from marketplace.cluster.placement import store_on_workers
from marketplace.common.progress import progress_bar
from marketplace.compute.arrays import Images, release_images
from marketplace.compute.gpu import has_gpu
from marketplace.compute.pack_file import KEY
from marketplace.compute.packs import PACK, Lookup, Packs, cut, key_of
from marketplace.inference.trunk import Trunk, mirror

log = logging.getLogger(__name__)

PIXELS_PER_BATCH = 2**17  # few large images at once, such as 2 of 256 px: on a CPU that is faster than 8 or 32


class Features(Protocol):
    """The trunk's output for images of an array."""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """The features `(B, h, w, C) float16` of the given rows `(B,)` of the array."""


class LiveFeatures:
    """Runs the trunk at every call: no disk, all the arithmetic."""

    def __init__(self, trunk: Trunk, images: Images, mirrored: bool) -> None:
        self._trunk = trunk
        self._images = images
        self._mirrored = mirrored
        self.batch_size = max(2, PIXELS_PER_BATCH // images.shape[1] ** 2)

    def __call__(self, rows: np.ndarray, report: Callable[[int], object] | None = None) -> np.ndarray:
        """See Features; `report` is called with the size of each batch that is done."""
        parts = []
        for batch in cut(rows, self.batch_size):
            images = self._images[batch]
            parts.append(self._trunk(mirror(images) if self._mirrored else images))
            if report:
                report(len(batch))
        release_images(self._images)
        return np.concatenate(parts)


class StoredFeatures:
    """Reads features that are stored, and runs the trunk for the others."""

    def __init__(self, lookup: Lookup, live: LiveFeatures) -> None:
        self._lookup = lookup
        self._live = live

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(self._lookup.keys)

    @property
    def n_missing(self) -> int:
        """How many of them have no stored features."""
        return int(self._lookup.missing.sum())

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """See Features."""
        missing = self._lookup.missing[rows]
        if missing.all():
            return self._live(rows)
        values = np.empty((len(rows), *self._lookup.packs[0].shape[1:]), np.float16)
        values[~missing] = self._lookup.read(rows[~missing])
        if missing.any():
            values[missing] = self._live(rows[missing])
        return values


class FeatureStore:
    """The features that a trunk gives for images `(N, S, S, 3) uint8`, computed at most once per image."""

    def __init__(self, trunk: Trunk, images: Images) -> None:
        self.trunk = trunk
        self._images = images

    @cached_property
    def cache_key(self) -> dict[str, Any]:
        """Everything that determines the features, except the view."""
        return {**self.trunk.recipe, "images": hashlib.sha256(self.keys.tobytes()).hexdigest()}

    @cached_property
    def keys(self) -> np.ndarray:
        """The key of every image's pixels `(N,)`."""
        return keys_of_images(self._images)

    def features(self, *, mirrored: bool = False) -> StoredFeatures:
        """Return the features of all images, or of their mirror images.

        Those that are not stored yet are computed now and stored, if there is room for all of them; otherwise, they
        are computed at every call. Results are the same either way.
        """
        packs = Packs(self.trunk.recipe | {"mirrored": mirrored})
        live = LiveFeatures(self.trunk, self._images, mirrored)
        lookup = packs.find(self.keys)
        missing = np.flatnonzero(lookup.missing)
        if len(missing):
            new = np.sort(missing[np.unique(self.keys[missing], return_index=True)[1]])  # once for equal images
            if packs.make_room(len(new) * live(new[:1]).nbytes, self.keys):
                images = "mirror images" if mirrored else "images"
                log.info("frozen layers: %s of %s %s are new", f"{len(new):,}", f"{len(self.keys):,}", images)
                _compute_packs(_PackWriter(packs=packs, live=live, keys=self.keys), new)
                lookup = packs.find(self.keys)
        return StoredFeatures(lookup, live)


@dataclass(frozen=True)
class _PackWriter:
    """Runs the trunk for some rows and stores the features as a pack."""

    packs: Packs
    live: LiveFeatures
    keys: np.ndarray  # of all rows

    def __call__(self, rows: np.ndarray, report: Callable[[int], object] | None = None) -> bool:
        """Return whether the features could be stored; `report` is called as in LiveFeatures."""
        return self.packs.write(self.keys[rows], self.live(rows, report))


def _compute_packs(write_pack: _PackWriter, rows: np.ndarray) -> None:
    """Run the trunk for some rows and store the features pack by pack: here, or on a cluster's workers."""
    parts = cut(rows, PACK)
    with progress_bar(total=len(rows), description="frozen layers", unit="image") as progress:
        if uses_cluster() and not has_gpu():  # a GPU here is faster than many machines without
            store_on_workers(write_pack, parts, progress)
        else:
            for part in parts:
                if not write_pack(part, progress.update):
                    break  # the others are computed when they are used


def keys_of_images(images: Images) -> np.ndarray:
    """Return the keys `(N,)` of images' pixels, hashed on all cores."""

    def hash_part(start: int) -> list[bytes]:
        keys = [key_of(image) for image in images[start : start + PACK]]
        release_images(images)
        return keys

    with ThreadPoolExecutor() as threads:
        keys = [key for part in threads.map(hash_part, range(0, len(images), PACK)) for key in part]
    return np.array(keys, dtype=KEY)
