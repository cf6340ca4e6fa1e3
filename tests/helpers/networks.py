"""Networks as the pipeline's stages get them: exported, once for each process and each network."""

import functools
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marketplace.compute.arrays import Images
from marketplace.compute.recipe import digest
from marketplace.inference.features import FeatureStore
from marketplace.inference.outputs import Outputs, network_outputs
from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk
from marketplace.models.checkpoints import Checkpoint, checkpoint_of
from marketplace.models.network import Network
from marketplace.training.exports import export_tail, export_trunk

SHARED_CACHE = "MARKETPLACE_TEST_CACHE"  # an environment variable: the folder of exports that all processes share


def trunk_of(checkpoint: Checkpoint, size: int) -> Trunk:
    """The trunk of a checkpoint, for images of a size."""
    state = checkpoint["state_dict"]
    weights = [digest(value.numpy()) for name, value in state.items() if name.startswith("trunk.")]
    name = hashlib.sha256("".join(weights).encode()).hexdigest()[:16]
    path = _folder() / f"{checkpoint['backbone']}-{size}-{name}.onnx"
    if not path.exists():
        with _shared_cache():
            export_trunk(path, checkpoint, size)
    return Trunk(network=path, checkpoint=Path("no GPU"))


def tail_of(checkpoint: Checkpoint, size: int) -> Tail:
    """The tail of a checkpoint, for images of a size."""
    path = Path(tempfile.mkdtemp(dir=_folder())) / "tail.onnx"
    with _shared_cache():
        export_tail(path, checkpoint, size)
    return Tail(path)


def outputs_of(network: Network, images: Images, *, mirrored: bool = False) -> Outputs:
    """The outputs of a network for images `(N, S, S, 3) uint8`."""
    checkpoint = checkpoint_of(network, weights="none", size=0, categories=[], leaves=[], epoch=0, figures={})
    size = images.shape[1]
    store = FeatureStore(trunk_of(checkpoint, size), images)
    return network_outputs(store, tail_of(checkpoint, size), mirrored=mirrored)


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="exports-", dir=os.environ[SHARED_CACHE]))


@contextmanager
def _shared_cache() -> Iterator[None]:
    """Keep exports for all test processes, whatever cache the test has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARKETPLACE_CACHE", os.environ[SHARED_CACHE])
        yield
