"""Photos decoded upright and in three channels, whatever format a marketplace hides behind `.jpg`."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Formats that shops and browsers send. Pillow's others stay disabled: some start external programs.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
MAX_PIXELS = 80_000_000  # 240 MB once decoded; a header can promise any number
BACKGROUND = (255, 255, 255)

Image.MAX_IMAGE_PIXELS = None  # `decode` has its own bound, which rejects instead of warning


class UnreadableImageError(Exception):
    """A file that is not a sound image; `reason` is empty, not_an_image, too_large, truncated or damaged."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(content: bytes, at_least: int | None = None) -> Image.Image:
    """Decode a file's bytes to an upright RGB image.

    EXIF orientation is applied; transparency is laid on white; CMYK, greyscale and palettes are converted, 16-bit
    greyscale with its full range. Only the first frame of an animation counts. A JPEG is decoded at a half, a quarter
    or an eighth of its size if neither side falls below `at_least` pixels: that takes a fraction of the time.

    Raises UnreadableImageError and nothing else, whatever the bytes are.
    """
    if not content:
        raise UnreadableImageError("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata in one photo of thousands: nothing a user could act on
        return _decode(content, at_least)


def _decode(content: bytes, at_least: int | None) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnreadableImageError("not_an_image") from None
    except Exception:  # Pillow's parsers raise a dozen types on hostile headers
        raise UnreadableImageError("damaged") from None
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError("too_large")
    try:
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)
    except Exception as error:  # and on hostile bodies
        truncated = isinstance(error, EOFError) or "truncated" in str(error)
        raise UnreadableImageError("truncated" if truncated else "damaged") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 instead of scaling.
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def thumbnail(square: np.ndarray, size: int) -> bytes:
    """An image `(S, S, 3) uint8` as a JPEG of at most `size` pixels a side."""
    image = Image.fromarray(square)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=84)
    return buffer.getvalue()
