"""The frozen trunk's features, computed once for an image and found again by its pixels: they never change.

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
import torch
from torch import Tensor

from marketplace.cluster import client
from marketplace.cluster.placement import apply_to_each
from marketplace.common.progress import progress_bar
from marketplace.compute.arrays import Images, released
from marketplace.compute.packs import KEY, PACK, Lookup, Packs, cut, key_of
from marketplace.compute.recipe import recipe
from marketplace.inference import trunk
from marketplace.inference.trunk import Runner, TrunkRunner, mirror
from marketplace.models import backbones, network
from marketplace.models.network import Network

log = logging.getLogger(__name__)

PIXELS_AT_ONCE = 2**17  # few large images at once, such as 2 of 256 px: on a CPU that is faster than 8 or 32
# The code that turns images into features.
CODE = (backbones.__file__, network.__file__, trunk.__file__)


class Features(Protocol):
    """The trunk's output for images of an array."""

    def __call__(self, rows: np.ndarray) -> Tensor:
        """The features `(B, C, H, W) float32`, rounded to float16 precision, of the given rows of the array."""


class LiveFeatures:
    """Runs the trunk whenever features are asked for: no disk, all the arithmetic."""

    def __init__(self, runner: Runner, images: Images, mirrored: bool) -> None:
        self._runner, self._images, self._mirrored = runner, images, mirrored
        self.batch_size = max(2, PIXELS_AT_ONCE // images.shape[1] ** 2)

    def half(self, rows: np.ndarray, computed: Callable[[int], object] | None = None) -> np.ndarray:
        """The features `(B, H, W, C) float16`; `computed` is called with each batch's size."""
        parts = []
        for batch in cut(rows, self.batch_size):
            images = self._images[batch]
            parts.append(self._runner(mirror(images) if self._mirrored else images))
            if computed:
                computed(len(batch))
        released(self._images)
        return np.concatenate(parts)

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features; rounded as stored features are, so that both give the same results."""
        return _batch(torch.from_numpy(self.half(rows)))


class StoredFeatures:
    """Reads the features that are stored, and runs the trunk for the others."""

    def __init__(self, lookup: Lookup, live: LiveFeatures) -> None:
        self._lookup, self._live = lookup, live

    @property
    def n_missing(self) -> int:
        """How many images have no stored features."""
        return int(self._lookup.missing.sum())

    def half(self, rows: np.ndarray) -> np.ndarray:
        """The features `(B, H, W, C) float16`."""
        missing = self._lookup.missing[rows]
        if missing.all():
            return self._live.half(rows)
        values = np.empty((len(rows), *self._lookup.packs[0].shape[1:]), np.float16)
        stored = np.flatnonzero(~missing)
        values[stored] = self._lookup.read(rows[stored])
        if missing.any():
            values[missing] = self._live.half(rows[missing])
        return values

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features."""
        return _batch(torch.from_numpy(self.half(rows)))

    def on(self, device: torch.device) -> "Features":
        """The same, held in a CUDA device's memory if that leaves half of it free."""
        if device.type != "cuda" or self.n_missing:
            return self
        every = np.arange(len(self._lookup.pack))
        nbytes = len(every) * self._lookup.packs[0][0].nbytes
        if 2 * nbytes > torch.cuda.mem_get_info(device)[0]:
            return self
        return HeldFeatures(torch.from_numpy(self.half(every)).to(device))


class HeldFeatures:
    """Features held in the memory of any device: a batch is gathered on the device that uses it."""

    def __init__(self, values: Tensor) -> None:
        self._values = values  # (N, H, W, C) float16

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features."""
        return _batch(self._values[torch.from_numpy(rows).to(self._values.device)])


def _batch(values: Tensor) -> Tensor:
    """`(B, H, W, C) float16`, as stored, to `(B, C, H, W) float32`."""
    return values.permute(0, 3, 1, 2).float()


class FeatureStore:
    """The features that a network's trunk gives for images `(N, S, S, 3) uint8`, computed at most once for each."""

    def __init__(self, network: Network, images: Images) -> None:
        self._network, self._images = network, images

    @cached_property
    def cache_key(self) -> dict[str, Any]:
        """Everything that determines the features, except the view."""
        return {**trunk_key(self._network), "images": hashlib.sha256(self.keys.tobytes()).hexdigest()}

    @cached_property
    def keys(self) -> np.ndarray:
        """The key of every image's pixels `(N,)`."""
        return pixel_keys(self._images)

    @cached_property
    def _runner(self) -> Runner:
        return TrunkRunner(self._network, self._images.shape[1])

    def features(self, *, mirrored: bool = False) -> Features:
        """The features of all images, or of their mirror images.

        Those that are stored are found; the others are computed now and stored, as far as there is room for them.
        What does not fit is computed whenever it is asked for. Results are the same either way.
        """
        lookup, live = self._computed(np.arange(len(self._images)), mirrored)
        return StoredFeatures(lookup, live).on(next(self._network.parameters()).device)

    def compute(self, rows: np.ndarray, *, mirrored: bool) -> None:
        """Compute and store the features of some images that are not stored yet, if there is room for them."""
        self._computed(rows, mirrored)

    def _computed(self, rows: np.ndarray, mirrored: bool) -> tuple[Lookup, LiveFeatures]:
        """Where the features of some images are once they are stored, and what runs the trunk for the others."""
        packs = Packs(trunk_key(self._network) | {"size": self._images.shape[1], "mirrored": mirrored})
        live = LiveFeatures(self._runner, self._images, mirrored)
        lookup = packs.find(self.keys[rows])
        new = rows[lookup.missing]
        if len(new):
            new = np.sort(new[np.unique(self.keys[new], return_index=True)[1]])  # once for equal images
            if packs.make_room(len(new) * live.half(new[:1]).nbytes, self.keys):
                what = "mirror images" if mirrored else "images"
                log.info("frozen layers: %s of %s %s are new", f"{len(new):,}", f"{len(self.keys):,}", what)
                _compute(_PackWriter(packs, live, self.keys), new)
                lookup = packs.find(self.keys[rows])  # anew: other processes may have written
        return lookup, live


@dataclass(frozen=True)
class _PackWriter:
    """Runs the trunk for some rows, and stores what it gives as a pack."""

    packs: Packs
    live: LiveFeatures
    keys: np.ndarray  # of all rows

    def __call__(self, rows: np.ndarray, computed: Callable[[int], object] | None = None) -> bool:
        """True if the rows could be stored; `computed` is called with each batch's size."""
        return self.packs.write(self.keys[rows], self.live.half(rows, computed))


def _compute(write: _PackWriter, rows: np.ndarray) -> None:
    """Run the trunk for some rows and store what it gives, pack by pack: here, or on a cluster's workers."""
    parts = cut(rows, PACK)
    with progress_bar(total=len(rows), what="frozen layers", unit="image") as progress:
        if client.is_used() and not torch.cuda.is_available():  # a GPU here is faster than many machines without
            for part, stored in zip(parts, apply_to_each(write, parts), strict=True):
                progress.update(len(part))
                if not stored:
                    log.warning("a worker could not store features (its log says why): they are computed here instead")
        else:
            for part in parts:
                write(part, progress.update)


def trunk_key(network: Network) -> dict[str, Any]:
    """Everything of a network and of this machine that determines the features of an image."""
    state = network.trunk.state_dict()
    return recipe(
        CODE,
        ("openvino", "timm", "torch", "torchvision"),
        trunk=[digest(value.cpu().numpy()) for value in state.values()],
        backbone=network.backbone,
        # Other kernels or another number of threads may round otherwise.
        arithmetic=[
            str(next(iter(state.values())).device),
            torch.get_num_threads(),
            torch.backends.cpu.get_cpu_capability(),
        ],
    )


def pixel_keys(images: Images) -> np.ndarray:
    """The key `(N,)` of the pixels of each image; they are hashed on all cores."""

    def keys(start: int) -> list[bytes]:
        return [key_of(image) for image in images[start : start + PACK]]

    with ThreadPoolExecutor() as threads:
        found = list(threads.map(keys, range(0, len(images), PACK)))
    released(images)
    return np.array([key for part in found for key in part], dtype=KEY)


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and content."""
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
