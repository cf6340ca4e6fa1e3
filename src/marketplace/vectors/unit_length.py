"""Vectors of length 1: the inner product of two of them is the cosine of their angle."""

import numpy as np

SHORTEST = 1e-6  # a shorter vector has no direction


def to_unit_length(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors `(..., d)` to length 1; one without a direction becomes zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    has_direction = lengths > SHORTEST
    return vectors / np.where(has_direction, lengths, 1) * has_direction
