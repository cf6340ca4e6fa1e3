"""Uploads that cost a server more than their sender: small files that take long to decode, or much memory."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def uploads() -> dict[str, bytes]:
    """The files by name; each is below the server's limit of bytes."""
    return {
        "progressive JPEG, 50 scans of 4,000 x 4,000": scans(4_000, 50),
        "progressive JPEG, 500 scans": scans(400, 500),
        "JPEG of 190 megapixels": saved(Image.new("RGB", (16_000, 12_000), "teal"), "JPEG"),
        "PNG of 80,000,000 x 1": png(80_000_000, 1, depth=8),
        "16-bit PNG of 12,000 x 12,000": png(12_000, 12_000, depth=16),
        "16-bit PNG of 7,300 x 7,300": png(7_300, 7_300, depth=16),
        "PNG of 60,000 x 5,000": png(60_000, 5_000, depth=8),
        "noise, 12 megapixels": saved(noise(4_000, 3_000), "JPEG"),
        "not an image": bytes(10 * 2**20),
    }


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    """The photo that takes longest to decode for its size."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def scans(side: int, n: int) -> bytes:
    """A progressive JPEG whose last scan comes n times: each is decoded over the whole image."""
    content = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + n * content[last:-2] + content[-2:]


def png(width: int, height: int, depth: int) -> bytes:
    """A greyscale PNG of zeros, row by row, so that a large one needs no memory here."""
    compressor, row = zlib.compressobj(9), bytes(1 + width * depth // 8)
    data = b"".join([compressor.compress(row) for _ in range(height)]) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
