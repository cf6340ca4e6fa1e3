"""The defects of real marketplaces planted in a made-up one, with an answer sheet: what must happen to each."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from PIL import Image

from marketplace.sources.sample.drawing import draw_photo
from marketplace.sources.sample.listings import Product, make_id

KEPT = "image kept: upright, 3-channel RGB"
REJECTED = "image rejected, counted and reported; the run goes on"
DROPPED = "dropped, counted"

# Ways in which tables are dirty though nothing is lost, with the share of the rows that are.
DIRT = {
    "carriage_return": 0.3,
    "mojibake": 0.03,
    "comma": 0.02,
    "slash": 0.02,
    "emoji": 0.05,
    "free": 0.01,
    "joke": 0.003,
}


@dataclass(frozen=True)
class Photo:
    """The recipe of one file: a product painted with a seed, saved in an encoding."""

    product: Product
    seed: tuple[int, ...]
    encoding: str = "jpeg"


@dataclass
class Plan:
    """A spoilt marketplace: rows, the recipe of every file, and the answer sheet."""

    products: list[dict[str, str]]
    images: list[tuple[str, str]]
    photos: dict[str, Photo]
    _answers: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def answers(self) -> pd.DataFrame:
        """kind, image_id, product_id, expected: one row for every planted defect."""
        return pd.DataFrame(self._answers, columns=["kind", "image_id", "product_id", "expected"], dtype=str)

    def note(self, kind: str, image_id: str, product_id: str, expected: str) -> None:
        """Add a row to the answer sheet."""
        self._answers.append((kind, image_id, product_id, expected))

    def products_csv(self) -> bytes:
        """products.csv as marketplaces write it: an index without a name, bare `\\r` in unquoted fields."""
        return _csv(["", *self.products[0]], [[str(i), *row.values()] for i, row in enumerate(self.products)])

    def images_csv(self) -> bytes:
        """images.csv, likewise."""
        return _csv(["", "id", "product_id"], [[str(i), *row] for i, row in enumerate(self.images)])


def plant_defects(listings: list[Product], rate: float, seed: int) -> Plan:
    """List the products and plant every kind of defect in the share `rate` of the photos or products (one at least)."""
    rng = np.random.default_rng([seed, 1])
    plan = Plan(
        products=[_row(product, rng, dirty=rate > 0) for product in listings],
        images=[(image_id, product.id) for product in listings for image_id in product.image_ids],
        photos={
            f"{image_id}.jpg": Photo(product, (seed, 2, index, photo))
            for index, product in enumerate(listings)
            for photo, image_id in enumerate(product.image_ids)
        },
    )
    if rate > 0:
        _spoil_files(plan, rng, rate)
        _spoil_rows(plan, listings, rng, rate, seed)
    rng.shuffle(plan.images)
    return plan


def _spoil_files(plan: Plan, rng: np.random.Generator, rate: float) -> None:
    names = [str(name) for name in rng.permutation(sorted(plan.photos))]
    n = max(1, round(rate * len(names)))
    for encoding, expected in [(kind, KEPT) for kind in _READABLE] + [(kind, REJECTED) for kind in _UNREADABLE]:
        for _ in range(1 if encoding == "bomb" else n):
            if not names:
                return
            name = names.pop()
            photo = plan.photos[name] = replace(plan.photos[name], encoding=encoding)
            plan.note(encoding, name.removesuffix(".jpg"), photo.product.id, expected)
    for conflicting in (False, True):
        kind = "identical-photo-conflicting-category" if conflicting else "identical-photo"
        for _ in range(n):
            pair = _pop_pair(plan, names, conflicting)
            if pair is None:
                return
            copy, original = pair
            product_id = plan.photos[copy].product.id
            plan.photos[copy] = plan.photos[original]
            expected = f"same bytes as {original.removesuffix('.jpg')}: never on both sides of a split"
            plan.note(kind, copy.removesuffix(".jpg"), product_id, expected)


def _pop_pair(plan: Plan, names: list[str], conflicting: bool) -> tuple[str, str] | None:
    """Take two sound photos of different products from `names`, of one root category or of two."""
    while names:
        copy = names.pop()
        mine = plan.photos[copy].product
        for original in names:
            other = plan.photos[original].product
            if other.id != mine.id and (other.category != mine.category) == conflicting:
                names.remove(original)
                return copy, original
    return None


def _spoil_rows(plan: Plan, listings: list[Product], rng: np.random.Generator, rate: float, seed: int) -> None:
    n = max(1, round(rate * len(listings)))
    rows = {row["id"]: row for row in plan.products}
    for _ in range(n):
        row = rows[listings[rng.integers(len(listings))].id]
        if row not in plan.products[len(listings) :]:
            plan.products.append(dict(row))
            plan.note("repeated-product-row", "", row["id"], "kept once")
    for index in range(n):
        lonely = make_id(seed, "lonely product", index)
        plan.products.append({**plan.products[index], "id": lonely})
        plan.note("product-without-image", "", lonely, DROPPED)

        photo = plan.photos[f"{listings[index].image_ids[0]}.jpg"]
        stray = make_id(seed, "stray file", index)
        plan.photos[f"{stray}.jpg"] = replace(photo, seed=(*photo.seed, 1), encoding="jpeg")
        plan.note("file-without-row", stray, "", "ignored, counted")

        orphan = make_id(seed, "orphan image", index)
        plan.images.append((orphan, make_id(seed, "unknown product", index)))
        plan.photos[f"{orphan}.jpg"] = replace(photo, seed=(*photo.seed, 2), encoding="jpeg")
        plan.note("image-of-unknown-product", orphan, "", DROPPED)

        missing = make_id(seed, "missing file", index)
        plan.images.append((missing, listings[index].id))
        plan.note("row-without-file", missing, listings[index].id, DROPPED)


def _row(product: Product, rng: np.random.Generator, dirty: bool) -> dict[str, str]:
    """A row of products.csv; a dirty one is harder to read, but means the same."""
    pounds = f"{product.pence / 100:,.2f}"
    row = {
        "id": product.id,
        "product_name": product.name,
        "category": product.path,
        "product_description": product.description,
        "price": f"£{pounds}",
        "location": product.location,
    }
    chosen = {kind for kind, share in DIRT.items() if rng.random() < share} if dirty else set()
    if "carriage_return" in chosen:
        row["product_description"] += "\rCollection only"
    if "free" in chosen:
        row["price"] = "£0.00"
    if "joke" in chosen:
        row["price"] = "£10,000,000.00"
    if "mojibake" in chosen:
        row["price"] = row["price"].encode().decode("latin-1")
        row["product_name"] = ("Café chic " + row["product_name"]).encode().decode("latin-1")
    if "emoji" in chosen:
        row["product_name"] = "✨ " + row["product_name"]
    if "comma" in chosen:
        row["price"] += ","
        row["category"] = row["category"].replace(" / ", ", / ", 1)
    elif "slash" in chosen:
        row["category"] = row["category"].replace(" / ", "/ ", 1)
    return row


def _csv(header: list[str], rows: list[list[str]]) -> bytes:
    def quoted(value: str) -> str:
        return '"' + value.replace('"', '""') + '"' if any(mark in value for mark in ',"\n') else value

    return "".join(",".join(map(quoted, row)) + "\n" for row in [header, *rows]).encode()


def photo_bytes(photo: Photo) -> bytes:
    """Paint a photo and save it in its encoding."""
    image = draw_photo(photo.product, list(photo.seed))
    return (_READABLE | _UNREADABLE)[photo.encoding](image) if photo.encoding != "jpeg" else _jpeg(image)


def _save(image: Image.Image, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, **options)  # type: ignore[arg-type]
    return content.getvalue()


def _jpeg(image: Image.Image) -> bytes:
    return _save(image, format="JPEG", quality=88)


def _truncated(image: Image.Image) -> bytes:
    content = _jpeg(image)
    return content[: len(content) // 2]


def _exif_rotated(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me 90 degrees clockwise"
    return _save(image.transpose(Image.Transpose.ROTATE_90), format="JPEG", quality=88, exif=exif)


def _rgba(image: Image.Image) -> bytes:
    see_through = image.copy()
    ramp = Image.linear_gradient("L").resize(image.size).point(lambda value: min(255, value * 4))
    see_through.putalpha(ramp)
    return _save(see_through, format="PNG", compress_level=1)


def _png16(image: Image.Image) -> bytes:
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return _save(Image.fromarray(grey), format="PNG", compress_level=1)


def _bomb(image: Image.Image) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


_READABLE: dict[str, Callable[[Image.Image], bytes]] = {
    "webp": lambda image: _save(image, format="WEBP", quality=85),
    "exif-rotated": _exif_rotated,
    "png-rgba": _rgba,
    "png-palette": lambda image: _save(image.quantize(64), format="PNG"),
    "png-16bit": _png16,
    "greyscale": lambda image: _jpeg(image.convert("L")),
    "cmyk": lambda image: _jpeg(image.convert("CMYK")),
}
_UNREADABLE: dict[str, Callable[[Image.Image], bytes]] = {
    "truncated": _truncated,
    "zero-bytes": lambda image: b"",
    "html-error-page": lambda image: b"<!DOCTYPE html><html><body><h1>503 Service Unavailable</h1></body></html>",
    "bomb": _bomb,
}
