"""A finished pipeline of any size, made from this repository's own: what `marketplace serve` reads, and no more.

To multiply vectors, a part of the difference of two is added to a third, as in search.py. A listing has the category,
the place and the price of a real one; its title and description are that one's, with words added that follow Zipf's law
over 200,000 words, as words of a language do. The squares are those of the real photos only: no question reads others.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from words import N_WORDS, make_words
from workspace import ROOT

from marketplace.catalogue_map.places import MAP, MAX_PLACES
from marketplace.recommendation.catalogue import Catalogue, read_catalogue
from marketplace.recommendation.fingerprints import (
    EMBEDDINGS,
    IDENTITY_INDEX,
    IMAGE_MODEL,
    KINDS,
    RECOMMENDATIONS,
    SIMILAR_INDEX,
    SQUARES,
    TABLES,
    TEXT_EMBEDDINGS,
    TEXT_MODEL,
    TRAINING_DATA,
    fingerprints,
)
from marketplace.recommendation.index import build_index
from marketplace.recommendation.origin import origin_of
from marketplace.recommendation.table import write_recommendations

NOISE = 0.5  # times the difference of two real vectors
BLOCK = 20_000  # rows that are in memory at the same time
TITLE_WORDS = 3  # that are added
DESCRIPTION_WORDS = 20


@dataclass(frozen=True)
class Draw:
    """Which real rows each new row is made of, `(n,) int` each: `base` + NOISE * (`plus` - `minus`)."""

    base: np.ndarray
    plus: np.ndarray
    minus: np.ndarray


class Multiplied:
    """Vectors `(n, d)` made of `real` ones `(N, d)` when they are asked for; see index.Rows.

    `lengths` has the numbers of values of each part, whose length is kept; the other values are the base's own.
    """

    def __init__(self, real: np.ndarray, draw: Draw, lengths: list[int]) -> None:
        self._real = real
        self._draw = draw
        ends = np.cumsum([0, *lengths]).tolist()
        self._parts = [slice(start, end) for start, end in itertools.pairwise(ends)]
        self.shape = (len(draw.base), real.shape[1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The vectors `(m, d) float32` of some rows."""
        draw = self._draw
        base = self._real[draw.base[rows]]
        vectors = base.copy()
        for part in self._parts:
            added = self._real[draw.plus[rows], part] - self._real[draw.minus[rows], part]
            moved = base[:, part] + np.float32(NOISE) * added
            length = np.linalg.norm(base[:, part], axis=1, keepdims=True)
            vectors[:, part] = moved * (length / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9))
        return vectors


def multiply_vectors(real: np.ndarray, n: int, seed: int, lengths: list[int]) -> np.ndarray:
    """Return `n` vectors made of `real` ones, in memory; see Multiplied."""
    base, plus, minus = np.random.default_rng(seed).integers(0, len(real), (3, n))
    multiplied = Multiplied(real, Draw(base=base, plus=plus, minus=minus), lengths)
    vectors = np.empty(multiplied.shape, np.float32)
    for rows in _blocks(n):
        vectors[rows] = multiplied[rows]
    return vectors


@dataclass(frozen=True)
class Listings:
    """The products of a large catalogue, and their photos, product by product."""

    products: Draw  # of the real products
    photos: Draw  # of the rows of the real training data
    owners: np.ndarray  # (N,) int, the product of each photo


def draw_listings(catalogue: Catalogue, n_products: int) -> Listings:
    """Draw the products: each has the photos of a real one, changed."""
    rng = np.random.default_rng(0)
    real = catalogue.products
    base, plus, minus = rng.integers(0, len(real.table), (3, n_products))
    counts = (real.ends - real.starts)[base]
    owners = np.repeat(np.arange(n_products), counts)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    photos = real.photos[real.starts[base][owners] + within]
    other, another = rng.integers(0, len(real.photos), (2, len(owners)))
    return Listings(
        products=Draw(base=base, plus=plus, minus=minus),
        photos=Draw(base=photos, plus=other, minus=another),
        owners=owners,
    )


def make_catalogue(folder: Path, n_products: int, factory: str, search: str | None) -> int:
    """Write what `serve` reads of a catalogue with an index of a kind; return its number of photos."""
    catalogue = read_catalogue(ROOT)
    listings = draw_listings(catalogue, n_products)
    for name in ("data/clean", "data/resized", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    for name in (IMAGE_MODEL, TEXT_MODEL, SQUARES):
        (folder / name).symlink_to(ROOT / name)
    for name in (EMBEDDINGS, TEXT_EMBEDDINGS):  # which only say which run a map belongs to
        (folder / name).write_bytes(b"")
    _write_training_data(folder / TRAINING_DATA, catalogue, listings)

    parts = catalogue.parts
    identity = catalogue.vectors.identity.shape[1]
    real_identity = catalogue.identity[np.arange(len(catalogue.photos))]
    similar = Multiplied(parts.join(), listings.products, list(parts.dimensions.values()))
    kinds = Multiplied(catalogue.vectors.kind, listings.photos, [catalogue.vectors.kind.shape[1]])
    faiss.omp_set_num_threads(faiss.omp_get_max_threads())
    for name, vectors in (
        (SIMILAR_INDEX, similar),
        (IDENTITY_INDEX, Multiplied(real_identity, listings.photos, [identity])),
    ):
        faiss.write_index(build_index(vectors, factory, search), str(folder / name))
    stored = np.lib.format.open_memmap(folder / KINDS, mode="w+", dtype=np.float32, shape=kinds.shape)
    for rows in _blocks(len(listings.owners)):
        stored[rows] = kinds[rows]
    stored.flush()
    _write_origin(folder, factory, search)
    _write_map(folder, n_products)
    return len(listings.owners)


def product_id(number: int) -> str:
    """Return the id of a product, as long as those of real dumps; ids are in the order of numbers."""
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def _blocks(n: int) -> Iterator[np.ndarray]:
    for start in range(0, n, BLOCK):
        yield np.arange(start, min(n, start + BLOCK))


def _write_training_data(path: Path, catalogue: Catalogue, listings: Listings) -> None:
    schema = pq.read_schema(ROOT / TRAINING_DATA).remove_metadata()
    real = catalogue.products.table
    rng = np.random.default_rng(1)
    words = make_words(rng)
    with pq.ParquetWriter(path, schema) as writer:
        for numbers in _blocks(len(listings.products.base)):
            base = listings.products.base[numbers]
            products = real.iloc[base].reset_index(drop=True)
            products["product_id"] = [product_id(number) for number in numbers.tolist()]
            products["product_name"] = _add_words(products["product_name"], words, rng, TITLE_WORDS)
            products["product_description"] = _add_words(products["product_description"], words, rng, DESCRIPTION_WORDS)
            products["group"] = numbers
            first, last = np.searchsorted(listings.owners, [numbers[0], numbers[-1] + 1])
            photos = products.iloc[listings.owners[first:last] - numbers[0]].reset_index(drop=True)
            rows = np.arange(first, last)
            photos["image_id"] = [f"{row:08x}-1111-4000-8000-{row:012x}" for row in rows.tolist()]
            photos["file"] = photos["image_id"] + ".jpg"
            photos["shard"] = (rows % 16).astype(np.int32)
            photos["label"] = 0
            photos["sha256"] = [sha256(image_id.encode()).hexdigest() for image_id in photos["image_id"]]
            writer.write_table(pa.Table.from_pandas(photos, schema, preserve_index=False))


def _add_words(texts: pd.Series, words: np.ndarray, rng: np.random.Generator, count: int) -> list[str]:
    numbers = np.minimum(rng.zipf(1.2, (len(texts), count)), N_WORDS) - 1
    return [f"{text} {' '.join(added)}" for text, added in zip(texts, words[numbers].tolist(), strict=True)]


def _write_origin(folder: Path, factory: str, search: str | None) -> None:
    """Write a table of no recommendations: the server reads only its metadata."""
    origin = origin_of(ROOT / RECOMMENDATIONS)
    settings = origin.settings.model_copy(update={"index": factory, "index_search": search})
    write_recommendations(
        folder / RECOMMENDATIONS, iter([]), replace(origin, made_with=fingerprints(folder), settings=settings)
    )


def _write_map(folder: Path, n_products: int) -> None:
    numbers = np.unique(np.linspace(0, n_products - 1, min(n_products, MAX_PLACES)).round().astype(int))
    places = np.random.default_rng(0).uniform(-1, 1, (2, len(numbers))).astype(np.float32)
    table = pa.table(
        {"product_id": [product_id(number) for number in numbers.tolist()], "x": places[0], "y": places[1]}
    )
    made_with = origin_of(folder / RECOMMENDATIONS).made_with
    metadata = {"made_with": json.dumps({name: made_with[name] for name in TABLES})}
    pq.write_table(table.replace_schema_metadata(metadata), folder / MAP)
