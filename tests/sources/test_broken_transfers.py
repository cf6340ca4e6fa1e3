"""Transfers from real servers that are cut off, killed, or run out of space: they are taken up where they were."""

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
from helpers.dumps import Configure, bring, content_of, unpack
from helpers.paths import ROOT
from helpers.servers import Proxy, S3Server, SshServer

from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import read_shard, shard_paths
from marketplace.settings import Settings
from marketplace.sources import ssh
from marketplace.sources.dump import FetchSettings
from marketplace.sources.photo_store import FILE_NAME


@pytest.mark.parametrize("hang", [False, True], ids=["reset", "stall"])
def test_a_broken_connection_is_taken_up_again_and_nothing_comes_twice(
    over_ssh: Configure,
    server: SshServer,
    raw: Path,
    tmp_path: Path,
    transferred: list[str],
    hang: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ssh, "STALL_SECONDS", 1.0)
    proxy = Proxy(server.port, after=[500_000, 150_000, 900_000], hang=hang)
    assert bring(over_ssh(port=proxy.port), tmp_path / "raw") == content_of(raw)
    assert proxy.connections == 4
    assert len(transferred) == len(set(transferred))
    assert "trying again" in caplog.text
    proxy.close()


def test_tries_are_bounded(over_ssh: Configure, server: SshServer, tmp_path: Path) -> None:
    proxy = Proxy(server.port, after=[1000] * 50)
    with pytest.raises(MarketplaceError, match="3 more tries did not help"):
        bring(over_ssh(port=proxy.port), tmp_path / "raw")
    assert proxy.connections == 4
    proxy.close()


def test_s3_is_taken_up_again(
    s3: S3Server, settings: Settings, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    folder = unpack(raw, tmp_path / "dump")
    s3.upload("cut", content_of(folder))
    proxy = Proxy(s3.port, after=[60_000, 20_000, 200_000, 100_000, 5_000])
    section = type(settings.fetch.s3)(url="s3://cut", endpoint_url=f"http://127.0.0.1:{proxy.port}")
    cut = settings.fetch.model_copy(update={"source": "s3", "s3": section})
    assert bring(cut, tmp_path / "raw") == content_of(raw)
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


def program(settings: FetchSettings, target: Path, before: str = "") -> subprocess.Popen[str]:
    """A fetch in a process of its own."""
    environment = {
        **os.environ,
        "FETCH": settings.model_dump_json(),
        "TARGET": str(target),
        "PYTHONPATH": str(ROOT / "src"),
    }
    return subprocess.Popen(
        [sys.executable, "-c", before + PROGRAM],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_killed_fetch_goes_on_where_it_was(
    over_ssh: Configure, server: SshServer, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    n_bytes = sum(path.stat().st_size for path in (raw / "images").iterdir())
    n_photos = sum(1 for shard in shard_paths(raw / "images") for _ in read_shard(shard))
    shares = [random.uniform(0.15, 0.35) for _ in range(3)]
    proxy = Proxy(server.port, after=[int(n_bytes * share) for share in shares], hang=True)
    for share in shares:
        process = program(over_ssh(port=proxy.port), tmp_path / "raw")
        seen = proxy.bytes
        while proxy.bytes < seen + int(n_bytes * share):
            time.sleep(0.02)
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "raw" / "images").exists()
    assert bring(over_ssh(port=proxy.port), tmp_path / "raw") == content_of(raw)
    # What was under way when it was killed, up to READ_AHEAD each time, comes again.
    assert 0 < len(transferred) < n_photos * (1 - sum(shares)) + 75
    proxy.close()


def test_a_full_disk_is_a_sentence_and_space_is_all_it_takes(over_ssh: Configure, raw: Path, tmp_path: Path) -> None:
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (150_000, 150_000))\n"
    process = program(over_ssh(), tmp_path / "raw", before=limit)
    output = process.communicate()[0]
    assert process.returncode == 1
    assert "ERROR: the disk is full" in output
    assert "Traceback" not in output
    assert not (tmp_path / "raw" / "images").exists()
    assert bring(over_ssh(), tmp_path / "raw") == content_of(raw)


def test_a_photo_that_is_damaged_here_is_fetched_again(
    over_ssh: Configure, raw: Path, tmp_path: Path, transferred: list[str]
) -> None:
    bring(over_ssh(), tmp_path / "raw")
    name = max(transferred)
    (store,) = (tmp_path / "cache").glob(f"dumps/*/{FILE_NAME}")
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE contents SET content = zeroblob(length(content)) WHERE name = ?", (name,))
    transferred.clear()
    with pytest.raises(MarketplaceError, match=f"had a damaged copy of '{name}': run the stage again"):
        bring(over_ssh(), tmp_path / "raw")
    assert bring(over_ssh(), tmp_path / "raw") == content_of(raw)
    assert transferred == [name]


def test_two_fetches_at_once_take_turns(over_ssh: Configure, raw: Path, tmp_path: Path) -> None:
    both = [program(over_ssh(), tmp_path / name) for name in ("one", "two")]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two") == content_of(raw)
    assert sum("transferring: " in output for output in outputs) == 1
