"""Notice a changed source by the sizes and versions of its files, without transferring any."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from marketplace.common.errors import MarketplaceError
from marketplace.common.files import write_json
from marketplace.sources.bounds import format_size
from marketplace.sources.dump import FetchSettings, open_dump
from marketplace.sources.photo_store import Stamp

log = logging.getLogger(__name__)


def watch_source(settings: FetchSettings, summary_file: Path) -> None:
    """Write a summary of the source's files, on which the stage `fetch` depends.

    The summary stays as it is if nothing has changed, and if the source cannot be listed now, with a warning.
    """
    before = _read_summary(summary_file)
    try:
        now = summarize(settings.source, open_dump(settings).list_files())
    except (MarketplaceError, OSError) as error:  # the latter: a folder that may not be read
        log.warning("cannot list the source, so the dump fetched earlier is used: %s", error)
        if before is None:
            write_json(summary_file, {})  # DVC needs the file
        return
    if now == before:
        log.info("the source has not changed (%s)", _describe(now))
        return
    write_json(summary_file, now)
    log.info("the source has changed (%s)", _describe(now))


def summarize(source: str, stamps: dict[str, Stamp]) -> dict[str, Any]:
    """Return the number of files, their bytes, and a SHA-256 of their paths, sizes and versions in any order."""
    digest = hashlib.sha256()
    for path, stamp in sorted(stamps.items()):
        digest.update(json.dumps([path, stamp.size, stamp.version]).encode())
    return {
        "source": source,
        "files": len(stamps),
        "bytes": sum(stamp.size for stamp in stamps.values()),
        "sha256": digest.hexdigest(),
    }


def _read_summary(file: Path) -> Any:
    """Return the summary of an earlier run; None if there is none, or no valid one, as after a conflict in Git."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _describe(summary: dict[str, Any]) -> str:
    return f"{summary['files']:,} files, {format_size(summary['bytes'])}"
