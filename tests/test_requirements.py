"""The lock that is installed from agrees with requirements.txt, and hashes every file."""

import re

from helpers.paths import ROOT
from packaging.requirements import Requirement


def pins() -> dict[str, tuple[str, int]]:
    """Version and number of hashes of every package in requirements.lock."""
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements.lock").read_text())[1:]
    found = {}
    for block in blocks:
        requirement = Requirement(block.split(" \\")[0])
        found[requirement.name] = (str(requirement.specifier), len(re.findall(r"--hash=sha256:[0-9a-f]{64}", block)))
    return found


def test_the_lock_pins_what_requirements_name() -> None:
    locked = pins()
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    named = [Requirement(line) for line in lines if line and not line.startswith("-e")]
    assert len(named) > 50
    for requirement in named:
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()  # PEP 503
        assert locked.get(name, ("missing", 0))[0] == str(requirement.specifier), f"{name}: run `make lock`"


def test_every_file_of_the_lock_is_hashed_and_none_names_a_host() -> None:
    assert all(version.startswith("==") and hashes for version, hashes in pins().values())
    assert "://" not in (ROOT / "requirements.lock").read_text()
