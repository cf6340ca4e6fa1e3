"""Plant the defects of real marketplaces in a made-up one, with an answer sheet that has the right outcome of each."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from marketplace.sources.sample.drawing import draw_photo
from marketplace.sources.sample.listings import Listing, make_id

KEPT = "image kept: upright, 3-channel RGB"
REJECTED = "image rejected, counted and reported; the run goes on"
DROPPED = "dropped, counted"

# Shares of rows that are hard to read, though nothing in them is lost.
DIRT_SHARES = {
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
    """The recipe of a file: a product painted with a seed and saved in an encoding."""

    listing: Listing
    seed: tuple[int, ...]
    encoding: str = "jpeg"


class Answer(NamedTuple):
    """A row of the answer sheet: a planted defect and its right outcome."""

    kind: str
    image_id: str  # empty for a defect of a product, as product_id is for a defect of a file
    product_id: str
    expected: str


class ImageRow(NamedTuple):
    """A row of images.csv."""

    id: str
    product_id: str


@dataclass
class Plan:
    """A spoilt marketplace: the rows of its tables, the recipe of every file, and the answer sheet."""

    products: list[dict[str, str]]
    images: list[ImageRow]
    photos: dict[str, Photo]  # by file name
    answers: list[Answer] = field(default_factory=list)

    def note(self, kind: str, image_id: str, product_id: str, expected: str) -> None:
        """Add a row to the answer sheet."""
        self.answers.append(Answer(kind=kind, image_id=image_id, product_id=product_id, expected=expected))

    def products_csv(self) -> bytes:
        """Return products.csv as marketplaces write it: a nameless index, bare `\\r` in unquoted fields."""
        return _to_csv(["", *self.products[0]], [[str(i), *row.values()] for i, row in enumerate(self.products)])

    def images_csv(self) -> bytes:
        """Return images.csv, likewise."""
        return _to_csv(["", *ImageRow._fields], [[str(i), *row] for i, row in enumerate(self.images)])


def plant_defects(listings: list[Listing], rate: float, seed: int) -> Plan:
    """List the products and plant every kind of defect in the share `rate` of the photos or products (one at least)."""
    rng = np.random.default_rng([seed, 1])
    plan = Plan(
        products=[_make_row(listing, rng, dirty=rate > 0) for listing in listings],
        images=[ImageRow(id=image_id, product_id=listing.id) for listing in listings for image_id in listing.image_ids],
        photos={
            f"{image_id}.jpg": Photo(listing=listing, seed=(seed, 2, index, photo))
            for index, listing in enumerate(listings)
            for photo, image_id in enumerate(listing.image_ids)
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
    for encoding in (*_READABLE, *_UNREADABLE):
        for _ in range(1 if encoding == "bomb" else n):
            if not names:
                return
            name = names.pop()
            photo = replace(plan.photos[name], encoding=encoding)
            plan.photos[name] = photo
            expected = KEPT if encoding in _READABLE else REJECTED
            plan.note(encoding, name.removesuffix(".jpg"), photo.listing.id, expected)
    for conflicting in (False, True):
        kind = "identical-photo-conflicting-category" if conflicting else "identical-photo"
        for _ in range(n):
            pair = _pop_pair(plan, names, conflicting)
            if pair is None:
                return
            copy, original = pair
            product_id = plan.photos[copy].listing.id
            plan.photos[copy] = plan.photos[original]
            expected = f"same bytes as {original.removesuffix('.jpg')}: never on both sides of a split"
            plan.note(kind, copy.removesuffix(".jpg"), product_id, expected)


def _pop_pair(plan: Plan, names: list[str], conflicting: bool) -> tuple[str, str] | None:
    """Take two sound photos of different products from `names`; with `conflicting`, of different root categories."""
    while names:
        copy = names.pop()
        listing = plan.photos[copy].listing
        for original in names:
            original_listing = plan.photos[original].listing
            conflicts = original_listing.category != listing.category
            if original_listing.id != listing.id and conflicts == conflicting:
                names.remove(original)
                return copy, original
    return None


def _spoil_rows(plan: Plan, listings: list[Listing], rng: np.random.Generator, rate: float, seed: int) -> None:
    n = max(1, round(rate * len(listings)))
    rows = {row["id"]: row for row in plan.products}
    for _ in range(n):
        row = rows[listings[rng.integers(len(listings))].id]
        if row not in plan.products[len(listings) :]:
            plan.products.append(dict(row))
            plan.note("repeated-product-row", "", row["id"], "kept once")
    for index in range(n):
        lonely_id = make_id(seed, "lonely product", index)
        plan.products.append({**plan.products[index], "id": lonely_id})
        plan.note("product-without-image", "", lonely_id, DROPPED)

        photo = plan.photos[f"{listings[index].image_ids[0]}.jpg"]
        stray_id = make_id(seed, "stray file", index)
        plan.photos[f"{stray_id}.jpg"] = replace(photo, seed=(*photo.seed, 1), encoding="jpeg")
        plan.note("file-without-row", stray_id, "", "ignored, counted")

        orphan_id = make_id(seed, "orphan image", index)
        plan.images.append(ImageRow(id=orphan_id, product_id=make_id(seed, "unknown product", index)))
        plan.photos[f"{orphan_id}.jpg"] = replace(photo, seed=(*photo.seed, 2), encoding="jpeg")
        plan.note("image-of-unknown-product", orphan_id, "", DROPPED)

        missing_id = make_id(seed, "missing file", index)
        plan.images.append(ImageRow(id=missing_id, product_id=listings[index].id))
        plan.note("row-without-file", missing_id, listings[index].id, DROPPED)


def _make_row(listing: Listing, rng: np.random.Generator, dirty: bool) -> dict[str, str]:
    """Make a row of products.csv; a dirty one is harder to read, but means the same."""
    row = {
        "id": listing.id,
        "product_name": listing.name,
        "category": listing.path,
        "product_description": listing.description,
        "price": f"£{listing.pence / 100:,.2f}",
        "location": listing.location,
    }
    dirt = {kind for kind, share in DIRT_SHARES.items() if rng.random() < share} if dirty else set()
    if "carriage_return" in dirt:
        row["product_description"] += "\rCollection only"
    if "free" in dirt:
        row["price"] = "£0.00"
    if "joke" in dirt:
        row["price"] = "£10,000,000.00"
    if "mojibake" in dirt:
        row["price"] = row["price"].encode().decode("latin-1")
        row["product_name"] = ("Café chic " + row["product_name"]).encode().decode("latin-1")
    if "emoji" in dirt:
        row["product_name"] = "✨ " + row["product_name"]
    if "comma" in dirt:
        row["price"] += ","
        row["category"] = row["category"].replace(" / ", ", / ", 1)
    elif "slash" in dirt:
        row["category"] = row["category"].replace(" / ", "/ ", 1)
    return row


def _to_csv(header: list[str], rows: list[list[str]]) -> bytes:
    return "".join(",".join(map(_quote, row)) + "\n" for row in [header, *rows]).encode()


def _quote(value: str) -> str:
    if any(mark in value for mark in ',"\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def render_photo(photo: Photo) -> bytes:
    """Paint a photo and save it in its encoding."""
    image = draw_photo(photo.listing, list(photo.seed))
    return _ENCODERS[photo.encoding](image)


def _save(image: Image.Image, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, **options)  # type: ignore[arg-type]
    return content.getvalue()


def _save_jpeg(image: Image.Image) -> bytes:
    return _save(image, format="JPEG", quality=88)


def _save_truncated(image: Image.Image) -> bytes:
    content = _save_jpeg(image)
    return content[: len(content) // 2]


def _save_rotated(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me 90 degrees clockwise"
    return _save(image.transpose(Image.Transpose.ROTATE_90), format="JPEG", quality=88, exif=exif)


def _save_rgba(image: Image.Image) -> bytes:
    transparent = image.copy()
    ramp = Image.linear_gradient("L").resize(image.size).point(lambda value: min(255, value * 4))
    transparent.putalpha(ramp)
    return _save(transparent, format="PNG", compress_level=1)


def _save_png16(image: Image.Image) -> bytes:
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return _save(Image.fromarray(grey), format="PNG", compress_level=1)


def _save_bomb(image: Image.Image) -> bytes:
    """Return a small PNG that claims to have 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    chunks = _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", rows) + _png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


_READABLE: dict[str, Callable[[Image.Image], bytes]] = {
    "webp": lambda image: _save(image, format="WEBP", quality=85),
    "exif-rotated": _save_rotated,
    "png-rgba": _save_rgba,
    "png-palette": lambda image: _save(image.quantize(64), format="PNG"),
    "png-16bit": _save_png16,
    "greyscale": lambda image: _save_jpeg(image.convert("L")),
    "cmyk": lambda image: _save_jpeg(image.convert("CMYK")),
}
_UNREADABLE: dict[str, Callable[[Image.Image], bytes]] = {
    "truncated": _save_truncated,
    "zero-bytes": lambda image: b"",
    "html-error-page": lambda image: b"<!DOCTYPE html><html><body><h1>503 Service Unavailable</h1></body></html>",
    "bomb": _save_bomb,
}
_ENCODERS = {"jpeg": _save_jpeg, **_READABLE, **_UNREADABLE}
