"""What a stored result was made with, and so when it can be used again."""

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from marketplace.common.files import sha256_of


def recipe(code: Iterable[str], packages: Iterable[str], **inputs: Any) -> dict[str, Any]:
    """Return everything that determines a result, except the photo or text that it is computed from.

    `code` are the paths of the files that compute it (`module.__file__`), `packages` the libraries whose version
    matters. `inputs` are all else, as JSON: sizes, weights, and the arithmetic of this machine where it rounds.
    """
    return {
        "code": [sha256_of(Path(path)) for path in code],
        "packages": {package: version(package) for package in packages},
        **inputs,
    }


def recipe_id(recipe: dict[str, Any]) -> str:
    """Return a name for what is made by a recipe: 128 bits of its hash, in hex."""
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]
