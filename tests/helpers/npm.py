"""Packages that npm brings to a test."""

import shutil
import subprocess
from pathlib import Path

import pytest


def installed(package: str, folder: Path) -> Path:
    """The folder of packages in which npm has installed one; the test is skipped if there is no npm."""
    if shutil.which("npm") is None:
        pytest.skip(f"npm, which brings {package}, is not installed")
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", package], cwd=folder, check=True)
    return folder / "node_modules"
