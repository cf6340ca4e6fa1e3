"""The models and indexes that answer questions: each is read once, when a question first needs it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from marketplace.recommendation.fingerprints import IMAGE_MODEL, TEXT_MODEL, check_fingerprints

ImageModel = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
TextModel = Callable[[list[str]], np.ndarray]


class Models:
    """The models and indexes of a pipeline that has run in `root`.

    Threads wait for each other here: two must not import the same large libraries at once. Each raises
    MarketplaceError if it is missing, or is not the one that the fingerprints were taken of.
    """

    def __init__(self, root: Path, fingerprints: dict[str, str]) -> None:
        self._root, self._fingerprints = root, fingerprints
        self._lock = threading.RLock()
        self._read: dict[str, Any] = {}

    def check(self) -> None:
        """Raise MarketplaceError if a model is missing, or is not the right one."""
        check_fingerprints(self._root, self._fingerprints, [IMAGE_MODEL, TEXT_MODEL])

    @property
    def image(self) -> ImageModel:
        """From squares to the arrays of `embedding.image_model.ImageVectors`."""

        def read(path: Path) -> ImageModel:
            from marketplace.embedding.onnx import load_onnx

            return load_onnx(path, self._fingerprints[IMAGE_MODEL])

        model: ImageModel = self._once(IMAGE_MODEL, read)
        return model

    @property
    def text(self) -> TextModel:
        """From texts to vectors."""

        def read(path: Path) -> TextModel:
            from marketplace.embedding import text_model

            return text_model.TextModel(path, self._fingerprints[TEXT_MODEL])

        model: TextModel = self._once(TEXT_MODEL, read)
        return model

    def index(self, name: str) -> Any:
        """An index by its file's name."""

        def read(path: Path) -> Any:
            from marketplace.recommendation.index import read_index

            return read_index(path)

        return self._once(name, read)

    def _once(self, name: str, read: Callable[[Path], Any]) -> Any:
        with self._lock:
            if name not in self._read:
                check_fingerprints(self._root, self._fingerprints, [name])
                self._read[name] = read(self._root / name)
            return self._read[name]
