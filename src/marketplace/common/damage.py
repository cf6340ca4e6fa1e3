"""Damaged outputs, and which files to delete so that they are made again."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketplace.common.errors import MarketplaceError, first_line

if TYPE_CHECKING:
    import pandas as pd


def damage_error(path: Path, reason: object) -> MarketplaceError:
    """Return the error of an output that is damaged, which may be a file in a folder."""
    return MarketplaceError(f"{path} is damaged ({reason}): {how_to_heal(path)}.")


def missing_error(path: Path) -> MarketplaceError:
    """Return the error of an output that is not there."""
    return MarketplaceError(f"{path} is missing: run `dvc repro`, or `dvc pull` to get it.")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise `damage_error` if the block finds that the output, which it reads, is damaged."""
    try:
        yield
    except (ValueError, KeyError, EOFError, OSError) as error:  # the libraries for tables, arrays and JSON
        if isinstance(error, FileNotFoundError) or getattr(error, "errno", None):  # the system's, not a library's
            raise
        raise damage_error(path, first_line(error)) from None


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Raise `missing_error` or `damage_error` if the block fails: some libraries raise all kinds for a damaged file."""
    try:
        yield
    except FileNotFoundError:
        raise missing_error(path) from None
    except Exception as error:
        raise damage_error(path, first_line(error)) from None


def read_parquet(path: Path, columns: list[str] | None = None) -> "pd.DataFrame":
    """Read a table, or some columns of it. Raises MarketplaceError if it is damaged."""
    import pandas as pd

    with reading(path):
        return pd.read_parquet(path, columns=columns)


def how_to_heal(*paths: Path) -> str:
    """Say how to get outputs again, such as "delete models/full.pt, then run `dvc repro`".

    As long as an output looks as old as it was, `dvc repro` runs nothing. If it is gone, DVC takes it from its cache,
    which is not checked. So a copy there has to be deleted as well if it is damaged too.
    """
    files = [*paths, *(copy for path in paths for copy in _damaged_copies(path))]
    return f"delete {' and '.join(map(str, files))}, then run `dvc repro`, or `dvc pull`"


def _damaged_copies(path: Path) -> list[Path]:
    """Return the files in DVC's cache that an output would be restored from, if their bytes have changed."""
    try:
        from dvc.repo import Repo

        with Repo(str(path.parent)) as repo:
            (output,) = [output for output in repo.index.outs if path.resolve().is_relative_to(output.fs_path)]
            return list(_find_damaged(output, path.resolve().relative_to(output.fs_path).parts))
    except Exception:  # there may be no DVC, or a damaged repository, and it is another error that is reported
        return []


def _find_damaged(output: Any, inside: tuple[str, ...]) -> Iterator[Path]:
    """Yield the damaged cache files of DVC's `output`; `inside` is the place of a file or folder in that folder."""
    main = _cache_file(output, output.hash_info)
    if _is_damaged(main):
        yield main
    elif output.hash_info.isdir:
        for parts, (_, hash_info) in output.get_obj().iteritems():
            copy = _cache_file(output, hash_info)
            if parts[: len(inside)] == inside and _is_damaged(copy):
                yield copy


def _cache_file(output: Any, hash_info: Any) -> Path:
    return Path(output.cache.oid_to_path(hash_info.value))


def _is_damaged(copy: Path) -> bool:
    """Return whether a file of DVC's cache is there and has other bytes than its name, an MD5, says."""
    if not copy.is_file():
        return False
    with copy.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() != f"{copy.parent.name}{copy.stem}"
