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
import torch
from torch import Tensor

from marketplace.cluster.connection import uses_cluster
from marketplace.cluster.placement import apply_to_each
from marketplace.common.progress import progress_bar
from marketplace.compute.arrays import Images, release_images
from marketplace.compute.pack_file import KEY
from marketplace.compute.packs import PACK, Lookup, Packs, cut, key_of
from marketplace.compute.recipe import recipe
from marketplace.inference import trunk
from marketplace.inference.trunk import Runner, TrunkRunner, mirror
from marketplace.models import backbones, network
from marketplace.models.network import Network

log = logging.getLogger(__name__)

PIXELS_PER_BATCH = 2**17  # few large images at once, such as 2 of 256 px: on a CPU that is faster than 8 or 32
CODE = (backbones.__file__, network.__file__, trunk.__file__)  # that turns images into features


class Features(Protocol):
    """The trunk's output for images of an array."""

    def __call__(self, rows: np.ndarray) -> Tensor:
        """The features `(B, C, H, W) float32`, rounded to float16 precision, of the given rows of the array."""


class LiveFeatures:
    """Runs the trunk at every call: no disk, all the arithmetic."""

    def __init__(self, runner: Runner, images: Images, mirrored: bool) -> None:
        self._runner = runner
        self._images = images
        self._mirrored = mirrored
        self.batch_size = max(2, PIXELS_PER_BATCH // images.shape[1] ** 2)

    def half(self, rows: np.ndarray, report: Callable[[int], object] | None = None) -> np.ndarray:
        """The features `(B, H, W, C) float16`; `report` is called with the size of each batch that is done."""
        parts = []
        for batch in cut(rows, self.batch_size):
            images = self._images[batch]
            parts.append(self._runner(mirror(images) if self._mirrored else images))
            if report:
                report(len(batch))
        release_images(self._images)
        return np.concatenate(parts)

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features; rounded as stored features are, so that both give the same results."""
        return _to_batch(torch.from_numpy(self.half(rows)))


class StoredFeatures:
    """Reads features that are stored, and runs the trunk for the others."""

    def __init__(self, lookup: Lookup, live: LiveFeatures) -> None:
        self._lookup = lookup
        self._live = live

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
        values[~missing] = self._lookup.read(rows[~missing])
        if missing.any():
            values[missing] = self._live.half(rows[missing])
        return values

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features."""
        return _to_batch(torch.from_numpy(self.half(rows)))

    def to(self, device: torch.device) -> "Features":
        """Return the same features, in a CUDA device's memory if that leaves half of it free."""
        if device.type != "cuda" or self.n_missing:
            return self
        rows = np.arange(len(self._lookup.keys))
        nbytes = len(rows) * self._lookup.packs[0][0].nbytes
        if 2 * nbytes > torch.cuda.mem_get_info(device)[0]:
            return self
        return DeviceFeatures(torch.from_numpy(self.half(rows)).to(device))


class DeviceFeatures:
    """Features in the memory of any device: a batch is gathered on the device that uses it."""

    def __init__(self, values: Tensor) -> None:
        self._values = values  # (N, H, W, C) float16

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features."""
        return _to_batch(self._values[torch.from_numpy(rows).to(self._values.device)])


def _to_batch(values: Tensor) -> Tensor:
    """`(B, H, W, C) float16`, as stored, to `(B, C, H, W) float32`."""
    return values.permute(0, 3, 1, 2).float()


class FeatureStore:
    """The features that a network's trunk gives for images `(N, S, S, 3) uint8`, computed at most once per image."""

    def __init__(self, network: Network, images: Images) -> None:
        self._network = network
        self._images = images

    @cached_property
    def cache_key(self) -> dict[str, Any]:
        """Everything that determines the features, except the view."""
        return {**trunk_recipe(self._network), "images": hashlib.sha256(self.keys.tobytes()).hexdigest()}

    @cached_property
    def keys(self) -> np.ndarray:
        """The key of every image's pixels `(N,)`."""
        return keys_of_images(self._images)

    @cached_property
    def _runner(self) -> Runner:
        return TrunkRunner(self._network, self._images.shape[1])

    def features(self, *, mirrored: bool = False) -> Features:
        """Return the features of all images, or of their mirror images.

        Those that are not stored yet are computed now and stored, if there is room for all of them; otherwise, they
        are computed at every call. Results are the same either way.
        """
        packs = Packs(trunk_recipe(self._network) | {"size": self._images.shape[1], "mirrored": mirrored})
        live = LiveFeatures(self._runner, self._images, mirrored)
        lookup = packs.find(self.keys)
        missing = np.flatnonzero(lookup.missing)
        if len(missing):
            new = np.sort(missing[np.unique(self.keys[missing], return_index=True)[1]])  # once for equal images
            if packs.make_room(len(new) * live.half(new[:1]).nbytes, self.keys):
                images = "mirror images" if mirrored else "images"
                log.info("frozen layers: %s of %s %s are new", f"{len(new):,}", f"{len(self.keys):,}", images)
                _compute_packs(_PackWriter(packs=packs, live=live, keys=self.keys), new)
                lookup = packs.find(self.keys)
        return StoredFeatures(lookup, live).to(next(self._network.parameters()).device)


@dataclass(frozen=True)
class _PackWriter:
    """Runs the trunk for some rows and stores the features as a pack."""

    packs: Packs
    live: LiveFeatures
    keys: np.ndarray  # of all rows

    def __call__(self, rows: np.ndarray, report: Callable[[int], object] | None = None) -> bool:
        """Return whether the features could be stored; `report` is called as in `LiveFeatures.half`."""
        return self.packs.write(self.keys[rows], self.live.half(rows, report))


def _compute_packs(write_pack: _PackWriter, rows: np.ndarray) -> None:
    """Run the trunk for some rows and store the features pack by pack: here, or on a cluster's workers."""
    parts = cut(rows, PACK)
    with progress_bar(total=len(rows), description="frozen layers", unit="image") as progress:
        if uses_cluster() and not torch.cuda.is_available():  # a GPU here is faster than many machines without
            for part, stored in zip(parts, apply_to_each(write_pack, parts), strict=True):
                progress.update(len(part))
                if not stored:
                    log.warning("a worker could not store features (its log says why): they are computed here instead")
        else:
            for part in parts:
                if not write_pack(part, progress.update):
                    break  # the others are computed when they are used


def trunk_recipe(network: Network) -> dict[str, Any]:
    """Return everything about a network and this machine that determines the features of an image."""
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


def keys_of_images(images: Images) -> np.ndarray:
    """Return the keys `(N,)` of images' pixels, hashed on all cores."""

    def hash_part(start: int) -> list[bytes]:
        return [key_of(image) for image in images[start : start + PACK]]

    with ThreadPoolExecutor() as threads:
        keys = [key for part in threads.map(hash_part, range(0, len(images), PACK)) for key in part]
    release_images(images)
    return np.array(keys, dtype=KEY)


def digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's type, shape and content."""
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
