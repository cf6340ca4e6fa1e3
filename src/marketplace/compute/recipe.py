"""Recipes: everything that a stored result was made with, and so whether it can be used again."""

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from marketplace.common.files import sha256_of


def recipe(code: Iterable[str], packages: Iterable[str], **inputs: Any) -> dict[str, Any]:
    """Return everything that determines a result, except the photo or text that it is computed from.

    `code` are the paths of the files that compute it (`module.__file__`), `packages` the libraries whose version
    matters. `inputs` are the rest, as JSON: sizes, weights, and the arithmetic of this machine if results are rounded.
    """
    return {
        "code": [sha256_of(Path(path)) for path in code],
        "packages": {package: version(package) for package in packages},
        **inputs,
    }


def recipe_id(recipe: dict[str, Any]) -> str:
    """Return a name for the results of a recipe: 128 bits of its hash, in hex."""
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]


def digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's type, shape and content."""
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
