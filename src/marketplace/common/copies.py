"""Experiments that run in a copy of the repository (`dvc exp run --temp` and `--queue`).

When one ends, DVC fetches its commit out of the copy. Where that fails, hours of training are lost, in a shallow clone
even without a word.
"""

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote

from marketplace.common.errors import MarketplaceError

ROOT_VARIABLE = "DVC_ROOT"  # DVC sets it for stages: the repository, not the copy
COPIES = ".dvc/tmp/exps"


def check_this_copy() -> None:
    """Check, in a stage, that its results will not be lost. Raises MarketplaceError; see `check_copies`."""
    root = Path(os.environ.get(ROOT_VARIABLE, "")).resolve()
    if Path.cwd().is_relative_to(root / COPIES):
        check_copies(root)


def check_copies(root: Path) -> None:
    """Check that DVC can fetch results out of copies of a repository.

    Raises MarketplaceError if the repository is a shallow clone, or if DVC misreads its path, which it takes for a URL.
    """
    if _is_shallow(root):
        raise MarketplaceError(
            f"{root} is a shallow clone, and DVC loses the results of experiments in copies of one (--temp, --queue): "
            "`git fetch --unshallow` gets the whole history."
        )
    path = str(root)
    if not path.isascii() or "#" in path or "?" in path or unquote(path) != path:
        raise MarketplaceError(
            f"DVC cannot run experiments in copies of {root} (--temp, --queue), because of a letter outside of ASCII, "
            "#, ? or % in this path: move the repository, or run them without that option."
        )


def _is_shallow(root: Path) -> bool:
    command = ["git", "rev-parse", "--is-shallow-repository"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.strip() == "true"
