"""The wheel of this project."""

import shutil
import subprocess
import sys
from pathlib import Path

from helpers.paths import ROOT


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the project in a folder."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "wheels").mkdir()
    build = "from setuptools import build_meta; build_meta.build_wheel('wheels')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    (wheel,) = (folder / "wheels").iterdir()
    return wheel
