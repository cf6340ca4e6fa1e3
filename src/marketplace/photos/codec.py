"""Photos decoded upright and in three channels, whatever format a marketplace hides behind `.jpg`."""

import io
import warnings

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from marketplace.photos.metadata import without_metadata

# Formats that shops and browsers send. Pillow's others stay disabled: some start external programs.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
MAX_SIDE = 65_535  # pixels, as in a JPEG; one row of 80 million would be padded to a square
MAX_PIXELS = 300_000_000  # at full size, however small it is decoded: each takes time
MAX_BYTES = 900_000_000  # of memory while decoding: 200 megapixels, as phones take them, in every usual format
MAX_SCANS = 64  # of a progressive JPEG, which need about ten; each costs as much time as the whole photo
HUGE = 30_000_000  # pixels; a larger image is reduced before it is converted
BACKGROUND = (255, 255, 255)

Image.MAX_IMAGE_PIXELS = None  # `decode` has its own bounds, which reject instead of warning

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TO_8_BITS = ((np.arange(65_536) + 128) // 257).astype(np.uint8)


REASONS = ("empty", "not_an_image", "too_large", "too_many_scans", "truncated", "damaged")


class UnreadableImageError(Exception):
    """A file that is not a sound image; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(content: bytes, at_least: int | None = None, most_bytes: int = MAX_BYTES) -> Image.Image:
    """Decode a file's bytes to an upright RGB image.

    EXIF orientation is applied where it can be read; other metadata, however odd, makes no difference. Transparency is
    laid on white; CMYK, greyscale and palettes are converted, greyscale of more than 8 bits with its full range. Only
    the first frame of an animation counts. A JPEG is decoded at a half, a quarter or an eighth of its size if neither
    side falls below `at_least` pixels: that takes a fraction of the time. An image that would take more than
    `most_bytes` of memory on the way is too large.

    Raises UnreadableImageError and nothing else, whatever the bytes are.
    """
    found = _decoded(content, at_least, most_bytes)
    return Image.fromarray(found) if isinstance(found, np.ndarray) else found


def decode_array(content: bytes, at_least: int | None = None, most_bytes: int = MAX_BYTES) -> np.ndarray:
    """The same as an array `(H, W, 3) uint8`, without a detour through Pillow's memory for ordinary JPEGs."""
    found = _decoded(content, at_least, most_bytes)
    return found if isinstance(found, np.ndarray) else np.array(found)


def _decoded(content: bytes, at_least: int | None, most_bytes: int) -> Image.Image | np.ndarray:
    if not content:
        raise UnreadableImageError("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata in one photo of thousands: nothing a user could act on
        return _mended(content, at_least, most_bytes)


def _mended(content: bytes, at_least: int | None, most_bytes: int) -> Image.Image | np.ndarray:
    """The pixels of a file, without its metadata if that is what cannot be read."""
    try:
        return _pixels(content, at_least, most_bytes)
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow's parsers raise a dozen types on hostile files
        first = error
    bare = without_metadata(content)
    try:
        if bare != content:
            return _pixels(bare, at_least, most_bytes)
    except UnreadableImageError:
        raise
    except Exception as error:
        first = error
    if isinstance(first, UnidentifiedImageError):
        raise UnreadableImageError("not_an_image") from None
    truncated = isinstance(first, EOFError) or "truncated" in str(first)
    raise UnreadableImageError("truncated" if truncated else "damaged") from None


def _pixels(content: bytes, at_least: int | None, most_bytes: int) -> Image.Image | np.ndarray:
    image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    whole = image.width * image.height
    if max(image.size) > MAX_SIDE or whole > MAX_PIXELS:
        raise UnreadableImageError("too_large")
    if at_least is not None:
        image.draft(None, (at_least, at_least))
    if _bytes_needed(image, whole) > most_bytes:
        raise UnreadableImageError("too_large")
    # Within the compressed data, FF is always followed by 00.
    if image.format == "JPEG" and content.count(b"\xff\xda") > MAX_SCANS:
        raise UnreadableImageError("too_many_scans")
    pixels = _of_ordinary_jpeg(image, content)
    if pixels is None:
        image.load()
    upright = _UPRIGHT.get(_orientation(image))  # which may be in the file's last bytes
    if pixels is not None:
        if upright is None:
            return pixels
        image = Image.fromarray(pixels)
    if at_least is not None and image.width * image.height > HUGE and image.mode in ("L", "RGB", "RGBA", "CMYK"):
        image = image.reduce(max(1, min(image.size) // at_least))
    image = _to_rgb(image)
    image = image.transpose(upright) if upright is not None else image
    image.info = {}  # the orientation among it no longer holds
    return image


def _of_ordinary_jpeg(image: Image.Image, content: bytes) -> np.ndarray | None:
    """The pixels `(H, W, 3) uint8` of an opened image, if it is an ordinary and sound JPEG; otherwise None.

    simplejpeg wraps the library that Pillow wraps, libjpeg-turbo, and gives the same pixels in half the time, since it
    skips the conversion to and from Pillow's four channels. It rejects files that are not quite sound: Pillow may
    still repair them.
    """
    if image.format != "JPEG" or image.mode != "RGB" or image.width * image.height > HUGE:
        return None
    width, height = image.size  # as `draft` has reduced it
    try:
        found: np.ndarray = simplejpeg.decode_jpeg(content, "RGB", min_height=height, min_width=width, strict=True)
    except ValueError:  # not quite sound: Pillow decides
        return None
    return found if found.shape == (height, width, 3) else None


def _bytes_needed(image: Image.Image, whole: int) -> int:
    """Roughly the memory that decoding takes; `whole` is the number of pixels at full size."""
    pixels = image.width * image.height
    stored = 1 if image.mode in ("1", "L", "P") else 4  # Pillow stores three channels as four
    converted = 0 if pixels > HUGE and image.mode in ("L", "RGB", "RGBA", "CMYK") else 8
    # libjpeg holds all coefficients of a progressive JPEG, 2 bytes each, half of the colours' being left out.
    coefficients = 3 * whole if image.info.get("progressive") else 0
    return pixels * (stored + converted) + coefficients


def _orientation(image: Image.Image) -> int:
    """The value of the EXIF tag, whatever type a camera wrote it as; 1 (upright) if it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
        if isinstance(value, tuple):
            value = value[0]
        if isinstance(value, bytes) and len(value) == 1:
            value = value[0]
        return int(value)
    except Exception:  # the same dozen types
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_TO_8_BITS[np.asarray(image).astype(np.uint16, copy=False)])
    elif image.mode in ("I", "F"):
        image = _scaled(np.asarray(image))  # Pillow's own conversion clips at 255
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _scaled(values: np.ndarray) -> Image.Image:
    """Greyscale of 32 bits, integers or floats, as 8: its range is the smallest usual one that holds all values."""
    if not np.isfinite(values).all():
        raise UnreadableImageError("damaged")
    low, high = float(values.min()), float(values.max())
    tops = [top for top in (1.0, 255.0, 65_535.0) if low >= 0 and high <= top]
    if tops and not (tops[0] == 1 and values.dtype.kind == "i"):
        low, high = 0.0, tops[0]
    scale = 255 / (high - low) if high > low else 0.0
    return Image.fromarray(((values - low) * scale + 0.5).astype(np.uint8))


def thumbnail(square: np.ndarray, size: int) -> bytes:
    """An image `(H, W, 3) uint8` as a JPEG of at most `size` pixels a side."""
    image = Image.fromarray(square)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=84)
    return buffer.getvalue()
