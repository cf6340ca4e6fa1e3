"""A revision of the repository (a commit, an experiment or the working tree) and its files in Git."""

import difflib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml

from marketplace.common.errors import MarketplaceError

WORKSPACE = "workspace"
# Git sets these for its hooks: in another folder, commands would still change the hook's repository.
OF_ONE_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")


@dataclass(frozen=True)
class Revision:
    """A revision by the name that the user gave, and its commit; None for the working tree."""

    root: Path
    name: str
    commit: str | None

    @classmethod
    def of(cls, root: Path, name: str) -> Self:
        """Return the revision of a commit, branch, tag or experiment, or the working tree for "workspace".

        Raises MarketplaceError if there is none.
        """
        if name == WORKSPACE:
            return cls(root=root, name=name, commit=None)
        commit = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if commit is None:
            commit = _experiment_commits(root).get(name)
        if commit is None:
            close = difflib.get_close_matches(name, _revision_names(root), n=3)
            suggestion = f" Did you mean {' or '.join(close)}?" if close else ""
            raise MarketplaceError(
                f"{name!r} is not a commit, branch, tag or experiment here.{suggestion} `git fetch` gets the remote's "
                "commits (a CI checkout needs the whole history: fetch-depth: 0), `dvc exp pull` gets experiments."
            )
        return cls(root=root, name=name, commit=commit.strip())

    @property
    def label(self) -> str:
        """The name with the first digits of the commit."""
        if self.commit is None or self.commit.startswith(self.name):
            return self.name[:10]
        return f"{self.name} ({self.commit[:7]})"

    def text(self, path: str) -> str | None:
        """Return a file's content, None if it does not exist."""
        if self.commit is None:
            file = self.root / path
            return file.read_text(encoding="utf-8") if file.is_file() else None
        return git(self.root, "show", f"{self.commit}:./{path}")  # ./: this folder may lie in a larger repository

    def json(self, path: str) -> Any:
        """Return the value in a JSON file, None if it does not exist. Raises MarketplaceError if it is not JSON."""
        return self._parse(path, json.loads, "JSON")

    def yaml(self, path: str) -> Any:
        """Return the value in a YAML file, None if it does not exist. Raises MarketplaceError if it is not YAML."""
        return self._parse(path, yaml.safe_load, "YAML")

    @cached_property
    def stages(self) -> dict[str, Any]:
        """The stages of dvc.lock by name; empty if there is no such file."""
        return (self.yaml("dvc.lock") or {}).get("stages", {})

    @cached_property
    def plot_titles(self) -> dict[str, str]:
        """The titles of the stages' plots in dvc.yaml, by path."""
        stages = (self.yaml("dvc.yaml") or {}).get("stages", {})
        plots = [plot for stage in stages.values() for plot in stage.get("plots", []) if isinstance(plot, dict)]
        return {path: options["title"] for plot in plots for path, options in plot.items() if "title" in options}

    def _parse(self, path: str, parse: Callable[[str], Any], language: str) -> Any:
        text = self.text(path)
        try:
            return None if text is None else parse(text)
        except (json.JSONDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise MarketplaceError(f"{path} of {self.name} is not {language}: {reason}.") from error


def _experiment_commits(root: Path) -> dict[str, str]:
    """Return the commits of experiments by name: DVC keeps them as refs/exps/<baseline>/<name>."""
    listing = git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps") or ""
    refs = (line.split(" ", 1) for line in listing.splitlines())
    return {ref.rpartition("/")[2]: commit for commit, ref in refs}


def _revision_names(root: Path) -> list[str]:
    """Return the names of branches, tags and experiments."""
    refs = git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes", "refs/tags") or ""
    return [*refs.split(), *_experiment_commits(root)]


def git(root: Path, *arguments: str) -> str | None:
    """Return the output of a Git command, None if it fails; bytes that are not UTF-8 become question marks."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_ONE_REPOSITORY}
    process = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    return process.stdout if process.returncode == 0 else None
