"""Caches of a test's own."""

from pathlib import Path

from marketplace.common.files import user_cache


def make_empty_cache(folder: Path) -> str:
    """Make a cache that knows nothing but the exported sentence model, and return its path.

    The export is the same in every test, and takes ten seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sentence_models").symlink_to(user_cache("sentence_models"))
    return str(folder)
