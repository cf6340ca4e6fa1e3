"""What the frozen trunk gives for an image never changes, so it is computed once and kept on disk.

Features are stored as float16, `(N, H, W, C)`, in a folder that all experiments of a user share, outside any
repository. A file is named by the hash of all that determines its content, written beside and renamed, so two writers
cannot disturb each other and a killed one leaves nothing that is ever read.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from marketplace.files import allocate, user_cache
from marketplace.networks import Network

log = logging.getLogger(__name__)

# Few large images at once: on a CPU, 2 of 256 px went through two to three times as fast as 32 (probably page faults).
PIXELS_AT_ONCE = 2**17
GIB = 2**30
STALE_SECONDS = 24 * 3600


class Features(Protocol):
    """The trunk's output for the images of an array."""

    def __call__(self, rows: np.ndarray) -> Tensor:
        """The features `(B, C, H, W) float32`, rounded to float16 precision, of the given rows of the array."""


class LiveFeatures:
    """Runs the trunk whenever features are asked for: no disk, all the arithmetic."""

    def __init__(self, network: Network, images: np.ndarray, mirrored: bool) -> None:
        self._network, self._images, self._mirrored = network, images, mirrored
        self.batch_size = max(2, PIXELS_AT_ONCE // images.shape[1] ** 2)

    @torch.inference_mode()
    def half(self, rows: np.ndarray) -> Tensor:
        """The features `(B, C, H, W) float16` of the given rows."""
        starts = range(0, len(rows), self.batch_size)
        return torch.cat([self._run(rows[start : start + self.batch_size]) for start in starts])

    def _run(self, rows: np.ndarray) -> Tensor:
        images = self._images[rows]
        if self._mirrored:
            images = np.ascontiguousarray(images[:, :, ::-1])
        features: Tensor = self._network.trunk(self._network.pixels(images))
        return features.half().cpu()

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features; rounded as stored features are, so that both give the same results."""
        return self.half(rows).float()


class StoredFeatures:
    """Reads features from a memory-mapped file that holds them for some rows of the array."""

    def __init__(self, path: Path, rows: np.ndarray) -> None:
        self._values = np.load(path, mmap_mode="r")
        self._rows = rows  # ascending

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See Features. The rows must be among those that were stored."""
        places = np.searchsorted(self._rows, rows)
        return torch.from_numpy(self._values[places]).permute(0, 3, 1, 2).float()


def trunk_features(
    network: Network, images: np.ndarray, rows: np.ndarray, *, mirrored: bool = False, room_gib: float = 0.0
) -> Features:
    """Features of `rows` (ascending) of `images` `(N, S, S, 3) uint8`, or of their mirror images.

    They come from the store if they are there. If not, they are computed now and stored, provided that they fit into
    `room_gib` and the disk; else they are computed whenever they are asked for. Results are the same either way.
    """
    live = LiveFeatures(network, images, mirrored)
    shape = (len(rows), *(live.half(rows[:1]).shape[i] for i in (2, 3, 1)))
    folder = user_cache("features")
    path = folder / f"{_key(network, images, rows, mirrored)}.npy"
    if path.is_file():
        with suppress(OSError):
            os.utime(path)  # least recently used goes first
    elif not _make_room(folder, int(np.prod(shape)) * 2, room_gib):
        return live
    else:
        _fill(path, live, rows, shape)
    return StoredFeatures(path, rows)


def _fill(path: Path, live: LiveFeatures, rows: np.ndarray, shape: tuple[int, ...]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        allocate(part, shape, np.float16)
        values = np.load(part, mmap_mode="r+")
        with tqdm(total=len(rows), desc="frozen layers", unit="image", mininterval=0.5) as progress:
            for start in range(0, len(rows), live.batch_size):
                batch = rows[start : start + live.batch_size]
                values[start : start + len(batch)] = live.half(batch).permute(0, 2, 3, 1).numpy()
                progress.update(len(batch))
        values.flush()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _key(network: Network, images: np.ndarray, rows: np.ndarray, mirrored: bool) -> str:
    facts = {
        "trunk": [_digest(value.numpy()) for value in network.trunk.state_dict().values()],
        "backbone": network.backbone,
        "images": _digest(images),
        "rows": _digest(rows),
        "mirrored": mirrored,
        # Other kernels or another number of threads may round otherwise.
        "arithmetic": [
            torch.__version__,
            torch.get_num_threads(),
            torch.backends.cpu.get_cpu_capability(),
            PIXELS_AT_ONCE,
        ],
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    for start in range(0, max(1, len(array)) if array.ndim else 1, 256):
        digest.update(np.ascontiguousarray(array[start : start + 256] if array.ndim else array).data)
    return digest.hexdigest()


def _make_room(folder: Path, nbytes: int, room_gib: float) -> bool:
    """Make room for `nbytes` by dropping what was least recently used; False where they cannot fit."""
    if nbytes > room_gib * GIB:
        if room_gib:
            log.warning(
                "the frozen layers' output takes %.1f GiB, more than train.feature_cache_gib = %g: computing it anew "
                "in every epoch", nbytes / GIB, room_gib,
            )  # fmt: skip
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
            "the disk of %s lacks the %.1f GiB for the frozen layers' output: computing it anew in every epoch",
            folder, nbytes / GIB,
        )  # fmt: skip
        return False
    return True


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of every stored file; what killed writers left behind is cleared away."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another experiment may be clearing too
            status = path.stat()
            if path.suffix == ".npy":
                yield status.st_mtime, status.st_size, path
            elif time.time() - status.st_mtime > STALE_SECONDS:
                path.unlink()
