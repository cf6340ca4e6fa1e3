"""`marketplace serve` over catalogues of three sizes: its memory, and the time of each kind of question through HTTP.

    python benchmarks/serve_scale.py [--sizes 10000 100000 1000000] [--folder DIR] [--json OUT]

The catalogues are made from this repository's own pipeline (`dvc repro`), see large_catalogue.py; a million products
take 10 GB in --folder, which keeps them for another run. Clients are on the same machine and share its cores. First one
client asks one question after another, then 20 clients have a second between their questions. The exponent is p in
cost = fixed + factor * products^p; times have none, since the largest catalogue has another index. Resident memory
includes the mapped files.
"""

import asyncio
import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pyarrow.parquet as pq
from growth import fit_exponent
from large_catalogue import make_catalogue, product_id
from load import open_session
from search import n_lists
from workspace import ROOT, make_parser, report, start_server, table

from marketplace.compute.arrays import ShardedArray
from marketplace.photos.codec import thumbnail
from marketplace.recommendation.fingerprints import SQUARES, TRAINING_DATA

FLAT_UP_TO = 100_000  # products; above, an inverted file of 8-bit values, as docs/CHOICES.md says
N_QUESTIONS = {"a product": 400, "words": 400, "words in the catalogue": 400, "a photo": 100}  # of one client
SHARES = {"a product": 10, "words": 5, "words in the catalogue": 4, "a photo": 1}  # of many clients' questions
CLIENTS = 20
PAUSE = 1.0  # seconds
SECONDS = 60
WARM_UP = 20  # questions of each kind
DIGITS = {"s": 1, "GiB": 2, "ms": 0}  # of a value in each unit


@dataclass
class Measured:
    """A server over one catalogue."""

    products: int
    photos: int
    index: str
    start_seconds: float
    resident_gib: float  # after all questions
    anonymous_gib: float  # of it, what is not in a mapped file
    peak_gib: float
    alone: dict[str, dict[str, float]]  # p50 and p99, in ms, by the kind of question
    together: dict[str, dict[str, float]]


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    parser.add_argument("--sizes", type=int, nargs=3, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where the catalogues are, or are made and stay")
    options = parser.parse_args()
    results = []
    for size in options.sizes:
        folder = options.folder or Path(tempfile.mkdtemp())
        try:
            results.append(measure(folder / f"{size}", size))
        finally:
            if options.folder is None:
                shutil.rmtree(folder)
        print(results[-1], flush=True)
    figures = {"sizes": [asdict(result) for result in results], "costs": list_costs(results)}
    report(figures, format_serve_scale(figures), options.json)


def describe_index(n_products: int) -> tuple[str, str | None]:
    """Return `recommend.index` and `recommend.index_search` for a catalogue."""
    if n_products <= FLAT_UP_TO:
        return "Flat", None
    return f"IVF{n_lists(n_products)},SQ8", "nprobe=16"


def measure(folder: Path, n_products: int) -> Measured:
    """Serve a catalogue, which is made if the folder does not exist, and ask it."""
    factory, search = describe_index(n_products)
    if not folder.exists():
        started = time.perf_counter()
        make_catalogue(folder, n_products, factory, search)
        print(f"{n_products:,} products made in {time.perf_counter() - started:.0f} s", flush=True)
    started = time.perf_counter()
    with start_server(folder) as (url, server):
        alone, together, ready_seconds = asyncio.run(ask_everything(url, folder, n_products, started))
        memory = memory_of(server.pid)
    return Measured(
        products=n_products,
        photos=pq.read_metadata(folder / TRAINING_DATA).num_rows,
        index=f"{factory}, {search}" if search else factory,
        start_seconds=ready_seconds,
        resident_gib=memory["VmRSS"],
        anonymous_gib=memory["RssAnon"],
        peak_gib=memory["VmHWM"],
        alone=alone,
        together=together,
    )


def memory_of(process: int) -> dict[str, float]:
    """Return the memory of a process in GiB, by the names in /proc."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = [line.split() for line in lines if line.endswith(" kB")]
    return {name.rstrip(":"): int(kib) / 2**20 for name, kib, _ in fields}


async def ask_everything(
    url: str, folder: Path, n_products: int, started: float
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]], float]:
    """Return the times of one client's questions and of many clients', and the seconds until the server was ready."""
    rng = np.random.default_rng(0)
    titles = pq.read_table(folder / TRAINING_DATA, columns=["product_name"])["product_name"]
    photos = make_photos()

    async def ask(client: aiohttp.ClientSession, kind: str) -> float:
        """Ask a question of a kind; return its seconds."""
        words = " ".join(rng.permutation(titles[int(rng.integers(len(titles)))].as_py().split())[:3])
        product = product_id(int(rng.integers(n_products)))
        form = aiohttp.FormData()
        form.add_field("photo", photos[int(rng.integers(len(photos)))], filename="photo")
        began = time.perf_counter()
        match kind:
            case "a product":
                request = client.get(f"/api/products/{product}/similar?k=24")
            case "words":
                request = client.get("/api/similar", params={"words": words, "k": 24})
            case "words in the catalogue":
                request = client.get("/api/products", params={"words": words, "limit": 24})
            case _:
                request = client.post("/api/similar?k=24", data=form)
        async with request as response:
            answer = await response.read()
            if response.status != 200:
                raise SystemExit(f"{kind}: {response.status} {answer.decode()[:500]}")
        return time.perf_counter() - began

    async with open_session(url, timeout=600) as client:
        await wait_until_ready(client)
        ready_seconds = time.perf_counter() - started
        for kind in N_QUESTIONS:
            for _ in range(WARM_UP):
                await ask(client, kind)
        alone = {kind: [await ask(client, kind) for _ in range(count)] for kind, count in N_QUESTIONS.items()}
        together: dict[str, list[float]] = defaultdict(list)
        end = time.perf_counter() + SECONDS

        async def visit(place: int) -> None:
            await asyncio.sleep(place * PAUSE / CLIENTS)
            while time.perf_counter() < end:
                kind = str(rng.choice(list(SHARES), p=np.array(list(SHARES.values())) / sum(SHARES.values())))
                together[kind].append(await ask(client, kind))
                await asyncio.sleep(PAUSE)

        await asyncio.gather(*(visit(place) for place in range(CLIENTS)))
    return summarise(alone), summarise({kind: together[kind] for kind in SHARES}), ready_seconds


def make_photos() -> list[bytes]:
    """Return photos of the real catalogue as uploads."""
    squares = ShardedArray(ROOT / SQUARES)
    return [thumbnail(squares[row], 288) for row in np.linspace(0, len(squares) - 1, 40).astype(int).tolist()]


async def wait_until_ready(client: aiohttp.ClientSession) -> None:
    """Wait until questions of every kind are answered."""
    for _ in range(3_000):
        try:
            async with client.get("/ready") as answer:
                if answer.status == 200:
                    return
        except (aiohttp.ClientConnectionError, TimeoutError):
            pass  # it still reads its files
        await asyncio.sleep(0.2)
    raise SystemExit("the server was not ready within ten minutes: run `marketplace serve` to see why")


def summarise(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return the median and the 99th percentile in ms, by the kind of question."""
    summary = {}
    for kind, values in seconds.items():
        p50, p99 = 1_000 * np.percentile(values, [50, 99])
        summary[kind] = {"questions": len(values), "p50_ms": float(p50), "p99_ms": float(p99)}
    return summary


def list_costs(results: list[Measured]) -> list[dict[str, Any]]:
    """Return the rows of the table: name, unit, exponent, and the value of each size, with its 99th percentile."""
    costs: list[dict[str, Any]] = []
    for name, unit, field in (
        ("start, until every question is answered", "s", "start_seconds"),
        ("resident memory", "GiB", "resident_gib"),
        ("of it, not in mapped files", "GiB", "anonymous_gib"),
    ):
        values = [getattr(result, field) for result in results]
        costs.append({"name": name, "unit": unit, "values": values, "exponent": fit_exponent(values)})
    for clients, field in (("one client", "alone"), (f"{CLIENTS} clients", "together")):
        for kind in N_QUESTIONS:
            times = [getattr(result, field)[kind] for result in results]
            values = [time["p50_ms"] for time in times]
            costs.append(
                {
                    "name": f"{clients}: {kind}",
                    "unit": "ms",
                    "values": values,
                    "p99": [time["p99_ms"] for time in times],
                }
            )
    return costs


def format_serve_scale(results: dict[str, Any]) -> str:
    """Format the costs of a server as a table: times are the median and the 99th percentile."""
    columns = [f"{size['products']:,} products" for size in results["sizes"]]
    rows = [
        ["photos", *(f"{size['photos']:,}" for size in results["sizes"]), ""],
        ["index", *(f"`{size['index']}`" for size in results["sizes"]), ""],
    ]
    for cost in results["costs"]:
        cells = [f"{value:,.{DIGITS[cost['unit']]}f}" for value in cost["values"]]
        if "p99" in cost:
            cells = [f"{cell} / {p99:,.0f}" for cell, p99 in zip(cells, cost["p99"], strict=True)]
        rows.append([cost["name"], *(f"{cell} {cost['unit']}" for cell in cells), cost.get("exponent", "")])
    return table(["", *columns, "exponent"], rows)


if __name__ == "__main__":
    main()
