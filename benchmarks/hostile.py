"""Uploads that cost a server more than their sender: small files that take long to decode, or much memory."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def make_uploads() -> dict[str, bytes]:
    """Make the files, by name; each is below the server's limit of bytes."""
    return {
        "progressive JPEG, 50 scans of 4,000 x 4,000": repeat_scans(4_000, 50),
        "progressive JPEG, 500 scans": repeat_scans(400, 500),
        "JPEG of 190 megapixels": encode(Image.new("RGB", (16_000, 12_000), "teal")),
        "PNG of 80,000,000 x 1": make_png(80_000_000, 1, depth=8),
        "16-bit PNG of 12,000 x 12,000": make_png(12_000, 12_000, depth=16),
        "16-bit PNG of 7,300 x 7,300": make_png(7_300, 7_300, depth=16),
        "PNG of 60,000 x 5,000": make_png(60_000, 5_000, depth=8),
        "noise, 12 megapixels": encode(make_noise(4_000, 3_000)),
        "not an image": bytes(10 * 2**20),
    }


def encode(image: Image.Image, **options: object) -> bytes:
    """Encode an image as a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def make_noise(width: int, height: int) -> Image.Image:
    """Make the photo that takes longest to decode for its size."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def repeat_scans(side: int, n: int) -> bytes:
    """Make a progressive JPEG that repeats its last scan n times: each is decoded over the whole image."""
    content = encode(Image.new("L", (side, side), 128), progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + n * content[last:-2] + content[-2:]


def make_png(width: int, height: int, depth: int) -> bytes:
    """Make a greyscale PNG of zeros, row by row, so that a large one needs no memory here."""
    compressor = zlib.compressobj(9)
    row = bytes(1 + width * depth // 8)
    data = b"".join([compressor.compress(row) for _ in range(height)]) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + make_chunk(b"IHDR", header) + make_chunk(b"IDAT", data) + make_chunk(b"IEND", b"")


def make_chunk(kind: bytes, body: bytes) -> bytes:
    """Make a chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
