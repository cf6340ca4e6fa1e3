"""Many small photos fetched over SSH: this project's fetch against scp -r, rsync -a and paramiko's get, file by file.

    python benchmarks/fetch.py --folder DIR [--files 1000] [--delay 20] [--runs 3] [--json OUT]

Starts an sshd of its own on this machine (as the tests do) and lets each contender fetch the same files, in turn, best
of --runs (file by file runs once, since it takes so long). A relay adds `--delay` milliseconds to each round trip: it
holds every chunk back for half of them in either direction; if the kernel has netem, tc can do the same.
"""

import argparse
import asyncio
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import paramiko

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests")]

from helpers.servers import SshServer, free_port, generate_key, ssh_server
from workspace import parser, report, table

from marketplace.sources import ec2
from marketplace.sources.fetch import fetch
from marketplace.sources.mirror import Mirror
from marketplace.sources.ssh import Ec2Settings, parse_private_key


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__, params=False)
    command.add_argument(
        "--folder", type=Path, required=True, metavar="DIR", help="a dump, in the layout of fetch.local"
    )
    command.add_argument("--files", type=int, default=1000, help="how many photos (default: 1000)")
    command.add_argument("--delay", type=float, default=0.0, metavar="MS", help="added to each round trip (default: 0)")
    command.add_argument("--runs", type=int, default=3, help="best of so many (default: 3)")
    options = command.parse_args()
    with ssh_server() as server, tempfile.TemporaryDirectory() as scratch:
        n_bytes = lay_out(options.folder, server, options.files)
        key = Path(scratch) / "key"
        generate_key(key)
        server.authorize(key.with_suffix(".pub"))
        port = relay(server.port, options.delay / 2000) if options.delay else server.port
        seconds = {
            name: best(bring, runs, Path(scratch) / "target", server, port, key)
            for name, bring, runs in (
                ("marketplace fetch", ours, options.runs),
                ("rsync -a", rsync, options.runs),
                ("scp -r", scp, options.runs),
                ("paramiko get, file by file", file_by_file, 1),
            )
        }
    results = {"files": options.files, "bytes": n_bytes, "delay_ms": options.delay, "seconds": seconds}
    report(results, markdown(seconds, options, n_bytes), options.json)


def lay_out(folder: Path, server: SshServer, n_files: int) -> int:
    """Copy a part of the dump to where the server finds it; the bytes of the photos."""
    dump = server.folder / "dump"
    (dump / "images").mkdir(parents=True)
    photos = sorted((folder / "images").iterdir())[:n_files]
    for photo in photos:
        shutil.copy(photo, dump / "images")
    for name in ("products.csv", "images.csv"):
        shutil.copy(folder / name, dump)
    server.own()
    return sum(photo.stat().st_size for photo in photos)


def best(bring: Callable[..., None], runs: int, target: Path, server: SshServer, port: int, key: Path) -> float:
    """The least seconds of several runs, each to an empty folder."""
    taken = []
    for _ in range(runs):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        started = time.perf_counter()
        bring(target, server, port, key)
        taken.append(time.perf_counter() - started)
    return min(taken)


def ours(target: Path, server: SshServer, port: int, key: Path) -> None:
    """All that the stage does: list, stream, store, compare checksums, list again, pack into shards."""
    settings = Ec2Settings(
        host="127.0.0.1",
        port=port,
        user=server.user,
        path=f"{server.folder}/dump",
        key="local",
        known_hosts=None,
        fingerprint=server.fingerprint,
    )
    # There is no S3 in this comparison.
    vars(ec2)["read_key"] = lambda _: parse_private_key(key.read_text(), None, str(key))
    os.environ["MARKETPLACE_CACHE"] = str(target / "cache")
    fetch(Mirror(ec2.Ec2Dump(settings)), target / "raw", n_shards=16, limit=None)


def rsync(target: Path, server: SshServer, port: int, key: Path) -> None:
    """As one would."""
    remote_shell = f"ssh -p {port} " + " ".join(ssh_options(key))
    source = f"{server.user}@127.0.0.1:{server.folder}/dump/"
    subprocess.run(["rsync", "-a", "-e", remote_shell, source, target], check=True, stderr=subprocess.DEVNULL)


def scp(target: Path, server: SshServer, port: int, key: Path) -> None:
    """As one would."""
    source = f"{server.user}@127.0.0.1:{server.folder}/dump"
    command: list[str | Path] = ["scp", "-q", "-r", "-P", str(port), *ssh_options(key), source, target]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def ssh_options(key: Path) -> list[str]:
    """For a throw-away server."""
    return ["-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]


def file_by_file(target: Path, server: SshServer, port: int, key: Path) -> None:
    """The loop that most scripts have."""
    transport = paramiko.Transport(("127.0.0.1", port))
    transport.connect(username=server.user, pkey=paramiko.Ed25519Key.from_private_key_file(str(key)))
    sftp = paramiko.SFTPClient.from_transport(transport)
    assert sftp is not None
    for name in sftp.listdir(f"{server.folder}/dump/images"):
        sftp.get(f"{server.folder}/dump/images/{name}", str(target / name))
    transport.close()


def relay(target: int, seconds: float) -> int:
    """Start a process that passes connections on to `target`, every chunk `seconds` later; its port."""
    port = free_port()
    multiprocessing.get_context("fork").Process(target=_relay, args=(port, target, seconds), daemon=True).start()
    time.sleep(0.5)
    return port


def _relay(port: int, target: int, seconds: float) -> None:
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


def markdown(seconds: dict[str, float], options: argparse.Namespace, n_bytes: int) -> str:
    """What was fetched, and a row per contender."""
    what = f"{options.files} photos, {n_bytes / 1e6:.0f} MB, {options.delay:g} ms added per round trip"
    rows = [
        [name, f"{taken:.2f}", f"{options.files / taken:.0f}", f"{taken / seconds['marketplace fetch']:.2f}"]
        for name, taken in seconds.items()
    ]
    return f"{what}\n\n" + table(["", "seconds", "photos/s", "times ours"], rows)


if __name__ == "__main__":
    main()
