"""The frozen trunk's features, computed once and kept on disk: for a given image they never change.

Features are stored as float16, `(N, H, W, C)`, in a folder that all experiments of a user share, outside any
repository. A file is named by the hash of everything that determines its content, and is written beside its final name
and renamed, so that two writers cannot disturb each other and a killed one leaves nothing that is ever read.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from marketplace.common.files import allocate, is_sealed, release, replacing, seal, sha256_of, user_cache
from marketplace.models.network import Network
from marketplace.models.trunk import Runner, trunk_runner

log = logging.getLogger(__name__)

PIXELS_AT_ONCE = 2**17  # few large images at once, such as 2 of 256 px: on a CPU that is faster than 8 or 32
GIB = 2**30
# The code that turns images into features.
CODE = tuple(Path(__file__).with_name(name) for name in ("backbones.py", "network.py", "trunk.py"))
STALE_SECONDS = 24 * 3600


class Features(Protocol):
    """The trunk's output for images of an array."""

    def __call__(self, rows: np.ndarray) -> Tensor:
        """The features `(B, C, H, W) float32`, rounded to float16 precision, of the given rows of the array."""


class LiveFeatures:
    """Runs the trunk whenever features are asked for: no disk, all the arithmetic."""

    def __init__(self, runner: Runner, images: np.ndarray, mirrored: bool) -> None:
        self._runner, self._images, self._mirrored = runner, images, mirrored
        self.batch_size = max(2, PIXELS_AT_ONCE // images.shape[1] ** 2)

    def half(self, rows: np.ndarray) -> np.ndarray:
        """The features `(B, H, W, C) float16` of no more rows than `batch_size`."""
        images = self._images[rows]
        release(self._images)
        return self._runner(images[:, :, ::-1] if self._mirrored else images)

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features; rounded as stored features are, so that both give the same results."""
        starts = range(0, len(rows), self.batch_size)
        parts = [self.half(rows[start : start + self.batch_size]) for start in starts]
        return _batch(torch.from_numpy(np.concatenate(parts)))


class StoredFeatures:
    """Reads features from a memory-mapped file that holds them for some rows of the array."""

    def __init__(self, path: Path, rows: np.ndarray) -> None:
        self._values = np.load(path, mmap_mode="c")  # PyTorch warns of read-only arrays
        self._rows = rows  # ascending

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features. The rows must be among those that were stored."""
        values = self._values[np.searchsorted(self._rows, rows)]
        release(self._values)
        return _batch(torch.from_numpy(values))

    def on(self, device: torch.device) -> "Features":
        """The same, held in a CUDA device's memory if that leaves half of it free."""
        if device.type != "cuda" or 2 * self._values.nbytes > torch.cuda.mem_get_info(device)[0]:
            return self
        return HeldFeatures(torch.from_numpy(self._values).to(device), self._rows)


class HeldFeatures:
    """Features held in the memory of any device: a batch is gathered on the device that uses it."""

    def __init__(self, values: Tensor, rows: np.ndarray) -> None:
        self._values, self._rows = values, rows  # (N, H, W, C) float16; ascending

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features. The rows must be among those that are held."""
        places = torch.from_numpy(np.searchsorted(self._rows, rows)).to(self._values.device)
        return _batch(self._values[places])


def _batch(values: Tensor) -> Tensor:
    """`(B, H, W, C) float16`, as stored, to `(B, C, H, W) float32`."""
    return values.permute(0, 3, 1, 2).float()


class FeatureStore:
    """The features that a network's trunk gives for an array of images `(N, S, S, 3) uint8`, computed at most once."""

    def __init__(self, network: Network, images: np.ndarray) -> None:
        self._network, self._images = network, images

    @cached_property
    def cache_key(self) -> dict[str, Any]:
        """Everything that determines the features, except rows and view."""
        state = self._network.trunk.state_dict()
        return {
            "trunk": [digest(value.cpu().numpy()) for value in state.values()],
            "backbone": self._network.backbone,
            "images": digest(self._images),
            "trunk_code": [sha256_of(path) for path in CODE],
            # Other kernels or another number of threads may round otherwise.
            "arithmetic": [
                *(version(package) for package in ("openvino", "timm", "torch", "torchvision")),
                str(next(iter(state.values())).device),
                torch.get_num_threads(),
                torch.backends.cpu.get_cpu_capability(),
            ],
        }

    @cached_property
    def _runner(self) -> Runner:
        return trunk_runner(self._network, self._images.shape[1])

    def features(self, rows: np.ndarray, *, mirrored: bool = False, room_gib: float = 0.0) -> Features:
        """Features of `rows` (ascending) of the array, or of their mirror images.

        They are read if they are stored. If not, they are computed now and stored, provided they fit into `room_gib`
        and on the disk; otherwise they are computed each time they are asked for. Results are the same either way.
        """
        device = next(self._network.parameters()).device
        folder = user_cache("features")
        key = json.dumps(self.cache_key | {"rows": digest(rows), "mirrored": mirrored})
        path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
        if path.is_file():
            if is_sealed(path):
                with suppress(OSError):
                    os.utime(path)  # least recently used goes first
                return StoredFeatures(path, rows).on(device)
            log.warning("%s is damaged: the frozen layers run again", path)
            path.unlink(missing_ok=True)
        live = LiveFeatures(self._runner, self._images, mirrored)
        shape = (len(rows), *live.half(rows[:1]).shape[1:])
        if not _make_room(folder, int(np.prod(shape)) * 2, room_gib):
            return live
        _fill(path, live, rows, shape)
        return StoredFeatures(path, rows).on(device)


def _fill(path: Path, live: LiveFeatures, rows: np.ndarray, shape: tuple[int, ...]) -> None:
    with replacing(path, shared=True) as part:
        allocate(part, shape, np.float16)
        values = np.load(part, mmap_mode="r+")
        with tqdm(total=len(rows), desc="frozen layers", unit="image", mininterval=0.5) as progress:
            for start in range(0, len(rows), live.batch_size):
                batch = rows[start : start + live.batch_size]
                values[start : start + len(batch)] = live.half(batch)
                release(values)
                progress.update(len(batch))
        values.flush()
        del values
        seal(part)


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and content."""
    total = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    for start in range(0, max(1, len(array)) if array.ndim else 1, 256):
        total.update(np.ascontiguousarray(array[start : start + 256] if array.ndim else array).data)
        release(array)
    return total.hexdigest()


def _make_room(folder: Path, nbytes: int, room_gib: float) -> bool:
    """Make room for `nbytes` by dropping what was used least recently; False if they cannot fit."""
    if nbytes > room_gib * GIB:
        if room_gib:
            log.warning(
                "the frozen layers' output takes %.1f GiB, more than train.feature_cache_gib = %g: computing it again "
                "in every epoch",
                nbytes / GIB,
                room_gib,
            )
        return False
    files = sorted(_files(folder), key=lambda entry: entry[0])
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total + nbytes <= room_gib * GIB and shutil.disk_usage(folder).free > nbytes:
            break
        path.unlink(missing_ok=True)  # a reader that has it mapped keeps it until it is done
        total -= size
    if shutil.disk_usage(folder).free <= nbytes:
        log.warning(
            "the disk of %s lacks the %.1f GiB for the frozen layers' output: computing it again in every epoch",
            folder,
            nbytes / GIB,
        )
        return False
    return True


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of every stored file; leftovers of killed writers are removed."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another experiment may be clearing too
            status = path.stat()
            if path.suffix == ".npy":
                yield status.st_mtime, status.st_size, path
            elif time.time() - status.st_mtime > STALE_SECONDS:
                path.unlink()
