"""Transfers from real servers that are cut off, killed or out of disk space: they resume where they were."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from helpers.dumps import MakeSettings, fetch_files, files_in, photos_in, unpack
from helpers.paths import ROOT
from helpers.proxy import Proxy
from helpers.servers import S3Server, SshServer

from marketplace.common.errors import MarketplaceError
from marketplace.sources import mirror, ssh
from marketplace.sources.dump import FetchSettings
from marketplace.sources.photo_store import FILE_NAME


@pytest.mark.parametrize("hang", [False, True], ids=["reset", "stall"])
def test_a_broken_connection_is_resumed_and_nothing_comes_twice(
    over_ssh: MakeSettings,
    server: SshServer,
    raw: Path,
    tmp_path: Path,
    transferred: list[str],
    hang: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ssh, "STALL_SECONDS", 1.0)
    proxy = Proxy(server.port, limits=[500_000, 150_000, 900_000], hang=hang)
    assert fetch_files(over_ssh(port=proxy.port), tmp_path / "raw") == files_in(raw)
    assert proxy.n_connections == 4
    assert len(transferred) == len(set(transferred))
    assert "trying again" in caplog.text
    proxy.close()


def test_tries_are_bounded(over_ssh: MakeSettings, server: SshServer, tmp_path: Path) -> None:
    proxy = Proxy(server.port, limits=[1000] * 50)
    with pytest.raises(MarketplaceError, match="3 retries did not help"):
        fetch_files(over_ssh(port=proxy.port), tmp_path / "raw")
    assert proxy.n_connections == 4
    proxy.close()


def test_a_broken_transfer_from_s3_is_resumed(
    from_s3: MakeSettings, s3: S3Server, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    s3.upload("cut", files_in(unpack(raw, tmp_path / "dump")))
    proxy = Proxy(s3.port, limits=[60_000, 20_000, 200_000, 100_000, 5_000])
    settings = from_s3("s3://cut", endpoint_url=f"http://127.0.0.1:{proxy.port}")
    assert fetch_files(settings, tmp_path / "raw") == files_in(raw)
    assert len(transferred) == len(set(transferred))
    proxy.close()


PROGRAM = """
import json, os, sys
from pathlib import Path
from marketplace.sources.fetch import fetch
from marketplace.sources.dump import FetchSettings, open_dump
from marketplace.common.console import run_stage
settings = FetchSettings.model_validate_json(os.environ["FETCH"])
run_stage(lambda: fetch(open_dump(settings), Path(os.environ["TARGET"]), 4, None), "fetch")
"""


def start_fetch(settings: FetchSettings, target: Path, first_lines: str = "") -> subprocess.Popen[str]:
    """Start a fetch in another process."""
    environment = {
        **os.environ,
        "FETCH": settings.model_dump_json(),
        "TARGET": str(target),
        "PYTHONPATH": str(ROOT / "src"),
    }
    return subprocess.Popen(
        [sys.executable, "-c", first_lines + PROGRAM],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_killed_fetch_resumes_where_it_was(
    over_ssh: MakeSettings, server: SshServer, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    n_bytes = sum(path.stat().st_size for path in (raw / "images").iterdir())
    n_photos = len(photos_in(raw))
    shares = [random.uniform(0.15, 0.35) for _ in range(3)]
    proxy = Proxy(server.port, limits=[int(n_bytes * share) for share in shares], hang=True)
    for share in shares:
        process = start_fetch(over_ssh(port=proxy.port), tmp_path / "raw")
        limit = proxy.n_bytes + int(n_bytes * share)
        while proxy.n_bytes < limit:
            time.sleep(0.02)
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "raw" / "images").exists()
    assert fetch_files(over_ssh(port=proxy.port), tmp_path / "raw") == files_in(raw)
    # Photos under way when it was killed, up to READ_AHEAD bytes each time, come again.
    assert 0 < len(transferred) < n_photos * (1 - sum(shares)) + 75
    proxy.close()


def test_a_full_disk_is_one_sentence_and_more_space_is_all_it_takes(
    over_ssh: MakeSettings, raw: Path, tmp_path: Path
) -> None:
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (150_000, 150_000))\n"
    process = start_fetch(over_ssh(), tmp_path / "raw", first_lines=limit)
    output = process.communicate()[0]
    assert process.returncode == 1
    assert "ERROR: the disk is full" in output
    assert "Traceback" not in output
    assert not (tmp_path / "raw" / "images").exists()
    assert fetch_files(over_ssh(), tmp_path / "raw") == files_in(raw)


@pytest.mark.parametrize("pages", [3, 60], ids=["at once", "on the way"])  # of 4 kB
def test_a_full_cache_is_a_warning_and_photos_pass_through_memory(
    over_ssh: MakeSettings,
    raw: Path,
    tmp_path: Path,
    pages: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(mirror, "MEMORY_BYTES", 400_000)
    connect = sqlite3.connect

    def connect_to_small_disk(path: str | Path) -> sqlite3.Connection:
        connection = connect(path)
        if path != ":memory:":
            connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own error of a full disk
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_to_small_disk)
    assert fetch_files(over_ssh(), tmp_path / "raw") == files_in(raw)
    (warning,) = [message for message in caplog.messages if "is full" in message]
    assert str(tmp_path / "cache" / "dumps") in warning
    assert "$MARKETPLACE_CACHE_GIB" in warning


def test_a_photo_that_is_damaged_here_is_fetched_again(
    over_ssh: MakeSettings, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    fetch_files(over_ssh(), tmp_path / "raw")
    name = max(transferred)
    (store,) = (tmp_path / "cache").glob(f"dumps/*/{FILE_NAME}")
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE contents SET content = zeroblob(length(content)) WHERE name = ?", (name,))
    transferred.clear()
    with pytest.raises(MarketplaceError, match=f"had a damaged copy of '{name}': run the stage again"):
        fetch_files(over_ssh(), tmp_path / "raw")
    assert fetch_files(over_ssh(), tmp_path / "raw") == files_in(raw)
    assert transferred == [name]


def test_two_fetches_at_once_take_turns(over_ssh: MakeSettings, raw: Path, tmp_path: Path) -> None:
    processes = [start_fetch(over_ssh(), tmp_path / name) for name in ("first", "second")]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert files_in(tmp_path / "first") == files_in(tmp_path / "second") == files_in(raw)
    assert sum("transferring: " in output for output in outputs) == 1
