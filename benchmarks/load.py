"""The server under load: 20 clients at once, latency and errors of each kind of question, and its memory.

    python benchmarks/load.py [--clients 20] [--hostile 20] [--seconds 20] [--json OUT]

Asks `marketplace serve` over this repository's own outputs (`dvc repro` makes them), from the same machine. Hostile
clients (none by default) send one upload of hostile.py after the other; the visitors then send no photos, since all
photos wait for each other.
"""

import argparse
import asyncio
import random
import time
from collections import defaultdict
from pathlib import Path

import aiohttp
import numpy as np
import pandas as pd
from hostile import uploads
from workspace import ROOT, parser, report, serving, table

SHARES = {"a page of the catalogue": 3, "thumbnail": 12, "similar to a product": 4, "similar to a photo": 1}


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__, params=False)
    command.add_argument("--clients", type=int, default=20)
    command.add_argument("--hostile", type=int, default=0, help="clients beside them that send hostile uploads")
    command.add_argument("--seconds", type=float, default=20)
    options = command.parse_args()
    with serving() as (url, server):
        taken, errors, answers = asyncio.run(load(url, options))
        memory = peak_gib_of(server.pid)
    rows, results = [], {}
    for kind in taken:
        p50, p99 = np.percentile(taken[kind], [50, 99]) * 1000
        results[kind] = {"requests": len(taken[kind]), "p50_ms": p50, "p99_ms": p99, "errors": errors[kind]}
        rows.append([kind, f"{len(taken[kind]):,}", f"{p50:.0f} ms", f"{p99:.0f} ms", str(errors[kind])])
    total = sum(map(len, taken.values()))
    rows.append(["**all**", f"{total:,} ({total / options.seconds:.0f}/s)", "", "", str(sum(errors.values()))])
    notes = [f"The server's peak memory: {memory:.2f} GiB."]
    notes += [f"Hostile uploads: {', '.join(f'{n} x {status}' for status, n in answers.items())}."] if answers else []
    report(
        {"clients": options.clients, "results": results, "peak_gib": memory, "hostile": answers},
        "\n\n".join([table(["", "requests", "p50", "p99", "errors"], rows), *notes]),
        options.json,
    )


def peak_gib_of(process: int) -> float:
    """The most memory that a process has held so far."""
    (line,) = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


async def load(url: str, options: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, int], dict[str, int]]:
    """Seconds of every request and the number of errors, by kind; how often hostile uploads had each status."""
    photos = pd.read_parquet(ROOT / "data/clean/training_data.parquet")
    taken: dict[str, list[float]] = defaultdict(list)
    errors: dict[str, int] = defaultdict(int)
    answers: dict[str, int] = defaultdict(int)
    shares = {kind: share for kind, share in SHARES.items() if not options.hostile or kind != "similar to a photo"}
    bombs = list(uploads().values()) if options.hostile else []
    async with session(url, 30) as client:
        await ready(client)
        upload = await (await client.get(f"/api/photos/{photos['image_id'][0]}?size=640")).read()
        for question in ("similar to a photo", "similar to some words"):  # wait for the models
            await ask(client, question, "", "", upload)
        end = time.perf_counter() + options.seconds

        async def visitor(seed: int) -> None:
            rng = random.Random(seed)
            while time.perf_counter() < end:
                (kind,) = rng.choices(list(shares), list(shares.values()))
                row = rng.randrange(len(photos))
                started = time.perf_counter()
                try:
                    status = await ask(client, kind, photos["product_id"][row], photos["image_id"][row], upload)
                    errors[kind] += status != 200
                except (aiohttp.ClientError, TimeoutError):
                    errors[kind] += 1
                taken[kind].append(time.perf_counter() - started)

        async def attacker(seed: int) -> None:
            turn = seed
            while time.perf_counter() < end:
                try:
                    status = await ask(attackers, "similar to a photo", "", "", bombs[turn % len(bombs)])
                    answers[str(status)] += 1
                except (aiohttp.ClientError, TimeoutError) as error:
                    answers[type(error).__name__] += 1
                turn += 1

        async with session(url, options.seconds) as attackers:
            everyone = [visitor(seed) for seed in range(options.clients)]
            await asyncio.gather(*everyone, *(attacker(seed) for seed in range(options.hostile)))
    return taken, errors, answers


def session(url: str, timeout: float) -> aiohttp.ClientSession:
    """A client: aiohttp's takes less of the cores that it shares with the server than others."""
    return aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(timeout), connector=aiohttp.TCPConnector(limit=100))


async def ask(client: aiohttp.ClientSession, kind: str, product: str, image: str, photo: bytes) -> int:
    """Ask one question of a kind, read the answer, and return its status."""
    match kind:
        case "thumbnail":
            asked = client.get(f"/api/photos/{image}")
        case "similar to a product":
            asked = client.get(f"/api/products/{product}/similar?k=24")
        case "similar to a photo":
            form = aiohttp.FormData()
            form.add_field("photo", photo, filename="photo")
            asked = client.post("/api/similar?k=24", data=form)
        case "similar to some words":
            asked = client.get("/api/products?words=chair")
        case _:
            asked = client.get("/api/products?limit=48")
    async with asked as answer:
        await answer.read()
        return answer.status


async def ready(client: aiohttp.ClientSession) -> None:
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
