"""Networks exported for benchmarks, as the training stages export them."""

import tempfile
from pathlib import Path

from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk
from marketplace.models import checkpoints
from marketplace.models.checkpoints import Checkpoint
from marketplace.training.exports import export_tail, export_trunk


def open_trunk(checkpoint: Path, size: int, folder: Path) -> Trunk:
    """Export the trunk of a checkpoint's file to a folder."""
    trunk = Trunk(network=folder / f"trunk-{size}.onnx", checkpoint=checkpoint)
    export_trunk(trunk.network, checkpoints.load(checkpoint), size)
    return trunk


def open_tail(checkpoint: Checkpoint, size: int, folder: Path) -> Tail:
    """Export the tail of a checkpoint to a folder."""
    path = Path(tempfile.mkdtemp(dir=folder)) / "tail.onnx"
    export_tail(path, checkpoint, size)
    return Tail(path)
