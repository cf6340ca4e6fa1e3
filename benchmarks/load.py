"""The server under load: 20 clients at once, latency and errors of each kind of question.

    python benchmarks/load.py [--clients 20] [--seconds 20] [--json OUT]

Asks `marketplace serve` over this repository's own outputs (`dvc repro` makes them), from the same machine.
"""

import argparse
import asyncio
import random
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import httpx2
import numpy as np
import pandas as pd
from workspace import ROOT, parser, report, table

SHARES = {"a page of the catalogue": 3, "thumbnail": 12, "similar to a product": 4, "similar to a photo": 1}


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__, params=False)
    command.add_argument("--clients", type=int, default=20)
    command.add_argument("--seconds", type=float, default=20)
    options = command.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("marketplace")
    server = subprocess.Popen([program, "serve", "--port", str(port)], cwd=ROOT)
    try:
        taken, errors = asyncio.run(load(f"http://127.0.0.1:{port}", options))
    finally:
        server.terminate()
        server.wait()
    rows, results = [], {}
    for kind in SHARES:
        p50, p99 = np.percentile(taken[kind], [50, 99]) * 1000
        results[kind] = {"requests": len(taken[kind]), "p50_ms": p50, "p99_ms": p99, "errors": errors[kind]}
        rows.append([kind, f"{len(taken[kind]):,}", f"{p50:.0f} ms", f"{p99:.0f} ms", str(errors[kind])])
    total = sum(map(len, taken.values()))
    rows.append(["**all**", f"{total:,} ({total / options.seconds:.0f}/s)", "", "", str(sum(errors.values()))])
    report(
        {"clients": options.clients, "results": results},
        table(["", "requests", "p50", "p99", "errors"], rows),
        options.json,
    )


async def load(url: str, options: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of every request and the number of errors, by kind."""
    photos = pd.read_parquet(ROOT / "data/clean/training_data.parquet")
    taken: dict[str, list[float]] = defaultdict(list)
    errors: dict[str, int] = defaultdict(int)
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        await ready(client)
        upload = (await client.get(f"/api/photos/{photos['image_id'][0]}?large=true")).content
        await client.post("/api/similar", files={"photo": upload})  # loads the model
        end = time.perf_counter() + options.seconds

        async def visitor(seed: int) -> None:
            rng = random.Random(seed)
            while time.perf_counter() < end:
                (kind,) = rng.choices(list(SHARES), list(SHARES.values()))
                row = rng.randrange(len(photos))
                started = time.perf_counter()
                try:
                    answer = await ask(client, kind, photos["product_id"][row], photos["image_id"][row], upload)
                    errors[kind] += answer.status_code != 200
                except httpx2.TransportError:
                    errors[kind] += 1
                taken[kind].append(time.perf_counter() - started)

        await asyncio.gather(*(visitor(seed) for seed in range(options.clients)))
    return taken, errors


async def ask(client: httpx2.AsyncClient, kind: str, product: str, image: str, upload: bytes) -> httpx2.Response:
    """One question of a kind."""
    match kind:
        case "thumbnail":
            return await client.get(f"/api/photos/{image}")
        case "similar to a product":
            return await client.get(f"/api/products/{product}/similar?k=24")
        case "similar to a photo":
            return await client.post("/api/similar?k=24", files={"photo": upload})
        case _:
            return await client.get("/api/products?limit=48")


async def ready(client: httpx2.AsyncClient) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        try:
            await client.get("/")
            return
        except httpx2.TransportError:
            await asyncio.sleep(0.1)
    raise SystemExit("the server did not start within a minute")


if __name__ == "__main__":
    main()
