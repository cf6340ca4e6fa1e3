"""Fetch many small photos over SSH: this project's fetch against scp -r, rsync -a and paramiko's get, file by file.

    python benchmarks/fetch.py --folder DIR [--files 3000 1000] [--delay 0 20] [--runs 3] [--json OUT]

Starts an SSH server on this machine (as the tests do). Contenders fetch the same files, in turn; the best of --runs
counts (scp, and file by file, run once: they take long), for this project with what its parts took. Each number of
--files is measured with the delay in the same place. `--delay` adds milliseconds to each round trip: a relay holds
every chunk back for half of them in either direction, so the kernel needs no netem.
"""

import asyncio
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import paramiko

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests")]

from helpers.servers import SshServer, free_port, generate_key, ssh_server
from workspace import best_seconds, make_parser, report, table

from marketplace.sources import ec2
from marketplace.sources.fetch import fetch
from marketplace.sources.mirror import Mirror
from marketplace.sources.private_keys import parse_private_key
from marketplace.sources.ssh import Ec2Settings

OURS = "marketplace fetch"


@dataclass(frozen=True)
class Contender:
    """A way to fetch: a function of the target folder, and how many times it runs."""

    name: str
    fetch: Callable[[Path], None]
    runs: int


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    parser.add_argument(
        "--folder", type=Path, required=True, metavar="DIR", help="a dump, in the layout of fetch.local"
    )
    parser.add_argument("--files", type=int, nargs="+", default=[1000], help="numbers of photos (default: 1000)")
    parser.add_argument(
        "--delay", type=float, nargs="+", default=[0.0], metavar="MS", help="added to each round trip (default: 0)"
    )
    parser.add_argument("--runs", type=int, default=3, help="the best of these counts (default: 3)")
    options = parser.parse_args()
    cases = [
        measure(options.folder, n_files, delay, options.runs)
        for n_files, delay in zip(options.files, options.delay, strict=True)
    ]
    report({"cases": cases}, format_transfers(cases), options.json)


def measure(folder: Path, n_files: int, delay: float, runs: int) -> dict[str, Any]:
    """Measure all contenders with so many photos and so many milliseconds added to each round trip."""
    with ssh_server() as server, tempfile.TemporaryDirectory() as scratch:
        n_bytes = copy_dump(folder, server, n_files)
        key = Path(scratch) / "key"
        generate_key(key)
        server.authorize(key.with_suffix(".pub"))
        port = start_relay(server.port, delay / 2000) if delay else server.port
        remote = Remote(server=server, port=port, key=key)
        contenders = [
            Contender(name=OURS, fetch=partial(fetch_with_marketplace, remote), runs=runs),
            Contender(name="rsync -a", fetch=partial(fetch_with_rsync, remote), runs=runs),
            Contender(name="scp -r", fetch=partial(fetch_with_scp, remote), runs=1),
            Contender(name="paramiko get, file by file", fetch=partial(fetch_file_by_file, remote), runs=1),
        ]
        seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        parts = []
        for number in range(runs):
            for contender in contenders:
                if number < contender.runs:
                    with timed_parts() as times:
                        seconds[contender.name].append(time_contender(contender, Path(scratch) / "target"))
                    if contender.name == OURS:
                        parts.append(times)
    best = int(np.argmin(seconds[OURS]))
    return {
        "files": n_files,
        "bytes": n_bytes,
        "delay_ms": delay,
        "seconds": {name: min(times) for name, times in seconds.items()},
        "parts": parts[best] | {"pack shards": seconds[OURS][best] - sum(parts[best].values())},
    }


@contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """Yield the seconds that the parts of a fetch take in the block."""
    methods = {"table": "connect, read tables", "_list_photos": "list, twice", "_transfer": "stream and store"}
    methods["_check"] = "compare checksums"
    times = dict.fromkeys(methods.values(), 0.0)

    def timed(method: Callable[..., Any], part: str) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                times[part] += time.perf_counter() - started

        return run

    with ExitStack() as stack:
        for name, part in methods.items():
            stack.enter_context(patch.object(Mirror, name, timed(getattr(Mirror, name), part)))
        yield times


@dataclass(frozen=True)
class Remote:
    """The server to fetch from, the port by which to reach it, and the private key."""

    server: SshServer
    port: int
    key: Path

    @property
    def ssh_options(self) -> list[str]:
        """The options of a client for a throw-away server."""
        return ["-i", str(self.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]


def copy_dump(folder: Path, server: SshServer, n_files: int) -> int:
    """Copy a part of the dump to the server's folder; return the bytes of the photos."""
    dump = server.folder / "dump"
    (dump / "images").mkdir(parents=True)
    photos = sorted((folder / "images").iterdir())[:n_files]
    for photo in photos:
        shutil.copy(photo, dump / "images")
    for name in ("products.csv", "images.csv"):
        shutil.copy(folder / name, dump)
    server.take_ownership()
    return sum(photo.stat().st_size for photo in photos)


def time_contender(contender: Contender, target: Path) -> float:
    """Return the seconds of a contender's run, into an empty folder."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    return best_seconds(partial(contender.fetch, target), runs=1)


def fetch_with_marketplace(remote: Remote, target: Path) -> None:
    """Do all that the stage does: list, stream, store, compare checksums, list again, pack into shards."""
    settings = Ec2Settings(
        host="127.0.0.1",
        port=remote.port,
        user=remote.server.user,
        path=f"{remote.server.folder}/dump",
        key="local",
        known_hosts=None,
        fingerprint=remote.server.fingerprint,
    )
    # There is no S3 in this comparison.
    vars(ec2)["read_key"] = lambda _: parse_private_key(remote.key.read_text(), None, str(remote.key))
    os.environ["MARKETPLACE_CACHE"] = str(target / "cache")
    fetch(Mirror(ec2.Ec2Dump(settings)), target / "raw", n_shards=16, limit=None)


def fetch_with_rsync(remote: Remote, target: Path) -> None:
    """Copy the folder with rsync."""
    remote_shell = f"ssh -p {remote.port} " + " ".join(remote.ssh_options)
    source = f"{remote.server.user}@127.0.0.1:{remote.server.folder}/dump/"
    subprocess.run(["rsync", "-a", "-e", remote_shell, source, target], check=True, stderr=subprocess.DEVNULL)


def fetch_with_scp(remote: Remote, target: Path) -> None:
    """Copy the folder with scp."""
    source = f"{remote.server.user}@127.0.0.1:{remote.server.folder}/dump"
    command: list[str | Path] = ["scp", "-q", "-r", "-P", str(remote.port), *remote.ssh_options, source, target]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def fetch_file_by_file(remote: Remote, target: Path) -> None:
    """Copy the photos in a loop, as most scripts do."""
    transport = paramiko.Transport(("127.0.0.1", remote.port))
    transport.connect(username=remote.server.user, pkey=paramiko.Ed25519Key.from_private_key_file(str(remote.key)))
    sftp = paramiko.SFTPClient.from_transport(transport)
    assert sftp is not None
    folder = f"{remote.server.folder}/dump/images"
    for name in sftp.listdir(folder):
        sftp.get(f"{folder}/{name}", str(target / name))
    transport.close()


def start_relay(target: int, seconds: float) -> int:
    """Start a process that passes connections on to the port `target`, every chunk `seconds` later; return its port."""
    port = free_port()
    multiprocessing.get_context("fork").Process(target=run_relay, args=(port, target, seconds), daemon=True).start()
    time.sleep(0.5)
    return port


def run_relay(port: int, target: int, seconds: float) -> None:
    """Pass connections from a port on to another."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, chunk = await chunks.get()
                await asyncio.sleep(due - time.monotonic())
                if not chunk:
                    writer.close()
                    return
                writer.write(chunk)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        while chunk := await reader.read(2**18):
            chunks.put_nowait((time.monotonic() + seconds, chunk))
        chunks.put_nowait((time.monotonic() + seconds, b""))
        await delivery

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, target_writer), pump(target_reader, writer), return_exceptions=True)

    async def serve() -> None:
        server = await asyncio.start_server(connect, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


def format_transfers(cases: list[dict[str, Any]]) -> str:
    """Format the results, a column for each case."""
    columns = [f"{case['files']:,} photos, {case['bytes'] / 1e6:.0f} MB, {case['delay_ms']:g} ms" for case in cases]
    rows = [[name, *(f"{case['seconds'][name]:.2f}" for case in cases)] for name in cases[0]["seconds"]]
    rows[1:1] = [[f"… {part}", *(f"{case['parts'][part]:.2f}" for case in cases)] for part in cases[0]["parts"]]
    return table(["seconds", *columns], rows)


if __name__ == "__main__":
    main()
