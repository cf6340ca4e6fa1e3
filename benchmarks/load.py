"""The server under load: latency and errors of each kind of question from 20 clients at once, and its memory.

    python benchmarks/load.py [--clients 20] [--hostile 20] [--seconds 20] [--json OUT]

Queries `marketplace serve` over this repository's own outputs (`dvc repro` makes them), from the same machine. Hostile
clients (none by default) send one upload of hostile.py after another. The visitors then send no photos, because the
server looks at one photo at a time.
"""

import argparse
import asyncio
import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
import pandas as pd
from hostile import make_uploads
from workspace import ROOT, make_parser, report, start_server, table

SHARES = {"a page of the catalogue": 3, "thumbnail": 12, "similar to a product": 4, "similar to a photo": 1}


@dataclass
class Measurements:
    """What visitors and attackers saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # of each request, by kind
    errors: Counter[str] = field(default_factory=Counter)  # by kind
    hostile: Counter[str] = field(default_factory=Counter)  # hostile uploads, by status or error


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--hostile", type=int, default=0, help="additional clients that send hostile uploads")
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    with start_server() as (url, server):
        measured = asyncio.run(load(url, options))
        memory = peak_gib_of(server.pid)
    rows = []
    results = {}
    for kind, seconds in measured.seconds.items():
        p50, p99 = np.percentile(seconds, [50, 99]) * 1000
        errors = measured.errors[kind]
        results[kind] = {"requests": len(seconds), "p50_ms": p50, "p99_ms": p99, "errors": errors}
        rows.append([kind, f"{len(seconds):,}", f"{p50:.0f} ms", f"{p99:.0f} ms", str(errors)])
    total = sum(len(seconds) for seconds in measured.seconds.values())
    rows.append(["**all**", f"{total:,} ({total / options.seconds:.0f}/s)", "", "", str(measured.errors.total())])
    notes = [f"The server's peak memory: {memory:.2f} GiB."]
    if measured.hostile:
        notes.append(f"Hostile uploads: {', '.join(f'{n} x {status}' for status, n in measured.hostile.items())}.")
    report(
        {"clients": options.clients, "results": results, "peak_gib": memory, "hostile": measured.hostile},
        "\n\n".join([table(["", "requests", "p50", "p99", "errors"], rows), *notes]),
        options.json,
    )


def peak_gib_of(process: int) -> float:
    """Return the most memory that a process has held so far."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 2**20
    raise SystemExit(f"process {process} has ended")


async def load(url: str, options: argparse.Namespace) -> Measurements:
    """Send questions from all clients until the time is over."""
    measured = Measurements()
    photos = pd.read_parquet(ROOT / "data/clean/training_data.parquet")
    shares = {kind: share for kind, share in SHARES.items() if not options.hostile or kind != "similar to a photo"}
    hostile_uploads = list(make_uploads().values()) if options.hostile else []
    async with open_session(url, timeout=30) as client, open_session(url, timeout=options.seconds) as hostile_client:
        await wait_for_server(client)
        upload = await (await client.get(f"/api/photos/{photos['image_id'][0]}?size=640")).read()
        for kind in ("similar to a photo", "similar to some words"):  # wait for the models
            await ask(client, kind, "", "", upload)
        end = time.perf_counter() + options.seconds

        async def visit(seed: int) -> None:
            rng = random.Random(seed)
            while time.perf_counter() < end:
                (kind,) = rng.choices(list(shares), list(shares.values()))
                row = rng.randrange(len(photos))
                started = time.perf_counter()
                try:
                    status = await ask(client, kind, photos["product_id"][row], photos["image_id"][row], upload)
                    measured.errors[kind] += status != 200
                except (aiohttp.ClientError, TimeoutError):
                    measured.errors[kind] += 1
                measured.seconds[kind].append(time.perf_counter() - started)

        async def attack(seed: int) -> None:
            turn = seed
            while time.perf_counter() < end:
                content = hostile_uploads[turn % len(hostile_uploads)]
                try:
                    status = await ask(hostile_client, "similar to a photo", "", "", content)
                    measured.hostile[str(status)] += 1
                except (aiohttp.ClientError, TimeoutError) as error:
                    measured.hostile[type(error).__name__] += 1
                turn += 1

        visitors = [visit(seed) for seed in range(options.clients)]
        attackers = [attack(seed) for seed in range(options.hostile)]
        await asyncio.gather(*visitors, *attackers)
    return measured


def open_session(url: str, timeout: float) -> aiohttp.ClientSession:
    """Open a client. aiohttp leaves more of the cores to the server, which shares them, than other libraries."""
    return aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(timeout), connector=aiohttp.TCPConnector(limit=100))


async def ask(client: aiohttp.ClientSession, kind: str, product_id: str, image_id: str, photo: bytes) -> int:
    """Ask one question of a kind, read the answer, and return its status."""
    match kind:
        case "thumbnail":
            request = client.get(f"/api/photos/{image_id}")
        case "similar to a product":
            request = client.get(f"/api/products/{product_id}/similar?k=24")
        case "similar to a photo":
            form = aiohttp.FormData()
            form.add_field("photo", photo, filename="photo")
            request = client.post("/api/similar?k=24", data=form)
        case "similar to some words":
            request = client.get("/api/products?words=chair")
        case _:
            request = client.get("/api/products?limit=48")
    async with request as answer:
        await answer.read()
        return answer.status


async def wait_for_server(client: aiohttp.ClientSession) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        try:
            await client.get("/")
            return
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
    raise SystemExit("the server did not start within a minute")


if __name__ == "__main__":
    main()
