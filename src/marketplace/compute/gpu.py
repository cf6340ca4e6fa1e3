"""Whether there is a GPU, without importing PyTorch where there is none."""

import ctypes
import functools


@functools.cache
def has_gpu() -> bool:
    """Return whether PyTorch can use a GPU. Without NVIDIA's driver, PyTorch is not imported."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()
