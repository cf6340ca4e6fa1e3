"""What this project declares to need, and what its locks install."""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers.paths import ROOT


def lock_entries(lock: str) -> dict[str, str]:
    """The text of every package in a lock: its version, its marker and the hashes of its files."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    without_comments = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE)
    blocks = re.split(r"\n(?=[a-z0-9])", without_comments.strip())
    return {block.partition("==")[0]: block for block in blocks}


def lock_versions(lock: str) -> dict[str, str]:
    """The version specifier of every package in a lock."""
    requirements = [Requirement(block.partition(" \\")[0]) for block in lock_entries(lock).values()]
    return {requirement.name: str(requirement.specifier) for requirement in requirements}


def pins(lines: Iterable[str]) -> dict[str, str]:
    """The version specifier of every requirement; empty for one without a version."""
    requirements = map(Requirement, lines)
    return {canonicalize_name(requirement.name): str(requirement.specifier) for requirement in requirements}


def requirements_pins() -> dict[str, str]:
    """The pins of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    bare = [line.partition("#")[0].strip() for line in lines]
    return pins(line for line in bare if line and not line.startswith("-e"))


def pyproject_requirements() -> dict[str, dict[str, str]]:
    """The requirements in pyproject.toml: `dependencies`, then each extra and each group by its name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = {"dependencies": settings["project"]["dependencies"]}
    parts |= settings["project"]["optional-dependencies"]
    parts |= settings["dependency-groups"]
    return {name: pins(lines) for name, lines in parts.items()}


def hide_packages_beyond(lock: str) -> str:
    """Python code after which nothing can be imported that is installed here, but not from this lock."""
    visible = {*lock_entries(lock), "marketplace", "coverage"}  # the last measures from within
    hidden = [
        module
        for module, distributions in packages_distributions().items()
        if not visible & {canonicalize_name(name) for name in distributions}
    ]
    return f"""
import sys

class Hidden:
    modules = {set(hidden)!r}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.modules:
            raise ModuleNotFoundError(f"{{name}} is not installed from {lock}", name=name)

sys.meta_path.insert(0, Hidden())
"""
