"""Stored features as tensors on the device that trains."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from marketplace.inference.features import StoredFeatures

# From rows `(B,)` of the array of images to features `(B, C, h, w) float32`, rounded to float16 precision.
FeatureTensors = Callable[[np.ndarray], Tensor]


def open_features(features: StoredFeatures, device: torch.device) -> FeatureTensors:
    """Return features as tensors; on a GPU, they stay in its memory if that leaves half of it free."""
    if device.type == "cuda" and not features.n_missing:
        rows = np.arange(features.n_images)
        if 2 * features(rows[:1]).nbytes * len(rows) <= torch.cuda.mem_get_info(device)[0]:
            return DeviceFeatures(torch.from_numpy(features(rows)).to(device))

    def read(rows: np.ndarray) -> Tensor:
        return _to_batch(torch.from_numpy(features(rows)))

    return read


class DeviceFeatures:
    """Features in the memory of any device: a batch is gathered on the device that uses it."""

    def __init__(self, values: Tensor) -> None:
        self._values = values  # (N, h, w, C) float16

    def __call__(self, rows: np.ndarray) -> Tensor:
        """See FeatureTensors."""
        return _to_batch(self._values[torch.from_numpy(rows).to(self._values.device)])


def _to_batch(values: Tensor) -> Tensor:
    """`(B, h, w, C) float16`, as stored, to `(B, C, h, w) float32`."""
    return values.permute(0, 3, 1, 2).float()
