"""Decoding photos, upright and in three channels, from any format that a marketplace hides behind `.jpg`."""

import io
import warnings

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from marketplace.photos import gif, heic, metadata, profiles
from marketplace.photos.gif import frames_fit
from marketplace.photos.heic import count_tile_pixels, has_overlay
from marketplace.photos.metadata import without_metadata
from marketplace.photos.profiles import find_conversion, to_srgb

CODE = (__file__, gif.__file__, heic.__file__, metadata.__file__, profiles.__file__)  # that decodes a photo
PACKAGES = ("pillow", "pillow-heif", "simplejpeg")

# Formats that phones, shops and browsers send. Pillow's others stay disabled: some start external programs.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "TIFF")
ANIMATED_FORMATS = ("PNG", "WEBP", "AVIF", "GIF")
MAX_SIDE = 65_535  # pixels, as in a JPEG; one row of 80 million would be padded to a square
MAX_PIXELS = 300_000_000  # at full size, even if it is decoded at a smaller one: each takes time
MAX_BYTES = 900_000_000  # of memory while decoding: 200 megapixels, as phones take them, as JPEG or PNG; 75 as HEIC
MAX_SCANS = 64  # of a progressive JPEG, which needs about ten; each costs as much time as the whole photo
HUGE_PIXELS = 30_000_000  # a larger image is reduced before it is converted
BACKGROUND = (255, 255, 255)
MAX_BLANK_FRAMES = 8  # at the beginning of an animation; each takes time
FLAT_RANGE = 8  # from the darkest to the brightest value: compression moves a single colour by less
BYTES_PER_FRAME_PIXEL = 24  # of memory: Pillow holds the frames before and after, in four channels

# Pillow refuses more than twice as many, before it makes room for a frame that is larger than the picture.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2

_ORIENTATION = 0x0112  # the EXIF tag
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_16_TO_8_BITS = ((np.arange(65_536) + 128) // 257).astype(np.uint8)


REASONS = ("empty", "not_an_image", "too_large", "too_many_scans", "truncated", "damaged")


class UnreadableImageError(Exception):
    """A file that is not a sound image; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(content: bytes, min_side: int | None = None, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Decode a file's bytes to an upright RGB image.

    EXIF orientation is applied if it can be read; other metadata, however odd, makes no difference. Transparency is
    laid on white; CMYK, greyscale and palettes are converted, greyscale of more than 8 bits with its full range. An ICC
    profile is applied if it can be read: colours are sRGB's. Of an animation, the first frame counts that is not
    blank. A JPEG is decoded at a half, a quarter or an eighth of its size if neither side falls below `min_side`
    pixels: that takes a fraction of the time. An image that needs more than `max_bytes` of memory while it is decoded
    is too large.

    Raises UnreadableImageError and nothing else, for any bytes.
    """
    decoded = _decode(content, min_side, max_bytes)
    return Image.fromarray(decoded) if isinstance(decoded, np.ndarray) else decoded


def decode_array(content: bytes, min_side: int | None = None, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Decode to an array `(H, W, 3) uint8`, as `decode` does, but ordinary JPEGs without a copy in Pillow's memory."""
    decoded = _decode(content, min_side, max_bytes)
    return decoded if isinstance(decoded, np.ndarray) else np.array(decoded)


def _decode(content: bytes, min_side: int | None, max_bytes: int) -> Image.Image | np.ndarray:
    if not content:
        raise UnreadableImageError("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata in one photo of thousands: users could do nothing about it
        try:
            return _read_pixels(content, min_side, max_bytes)
        except UnreadableImageError:
            raise
        except Image.DecompressionBombError:  # on the way to the size that is checked here
            raise UnreadableImageError("too_large") from None
        except Exception as error:  # Pillow's parsers raise a dozen types on hostile files
            return _decode_without_metadata(content, min_side, max_bytes, error)


def _decode_without_metadata(
    content: bytes, min_side: int | None, max_bytes: int, error: Exception
) -> Image.Image | np.ndarray:
    """Decode a file whose metadata may be all that is damaged; `error` was raised for the whole file."""
    bare = without_metadata(content)
    try:
        if bare != content:
            return _read_pixels(bare, min_side, max_bytes)
    except UnreadableImageError:
        raise
    except Exception as error_without_metadata:
        error = error_without_metadata
    if isinstance(error, UnidentifiedImageError):
        raise UnreadableImageError("not_an_image") from None
    truncated = isinstance(error, EOFError) or "truncated" in str(error)
    raise UnreadableImageError("truncated" if truncated else "damaged") from None


def _read_pixels(content: bytes, min_side: int | None, max_bytes: int) -> Image.Image | np.ndarray:
    image = _open(content, min_side, max_bytes)
    profile = image.info.get("icc_profile")
    pixels = _read_ordinary_jpeg(image, content)
    if pixels is None:
        is_animated = _is_animated(image)
        image.load()
        if is_animated and _is_blank(image):
            image = _skip_blank_frames(image, content, max_bytes)
    to_upright = _TO_UPRIGHT.get(_orientation(image))  # known only now: it may be in the file's last bytes
    if pixels is not None:
        if to_upright is None and find_conversion(profile, "RGB") is None:
            return pixels
        image = Image.fromarray(pixels)
    if min_side is not None and _is_reducible(image):
        image = image.reduce(max(1, min(image.size) // min_side))
    image = _to_rgb(image, profile)
    if to_upright is not None:
        image = image.transpose(to_upright)
    image.info = {}  # it may have an orientation, which no longer holds
    return image


def _open(content: bytes, min_side: int | None, max_bytes: int) -> Image.Image:
    """Open a file, without decoding it, if that would take no more than it may."""
    if has_overlay(content):
        raise UnreadableImageError("too_large")
    image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    n_pixels = max(image.width * image.height, count_tile_pixels(image))
    if max(image.size) > MAX_SIDE or n_pixels > MAX_PIXELS:
        raise UnreadableImageError("too_large")
    if min_side is not None:
        image.draft(None, (min_side, min_side))
    if _bytes_needed(image, n_pixels) > max_bytes:
        raise UnreadableImageError("too_large")
    # Within the compressed data, FF is always followed by 00.
    if image.format == "JPEG" and content.count(b"\xff\xda") > MAX_SCANS:
        raise UnreadableImageError("too_many_scans")
    return image


def _is_animated(image: Image.Image) -> bool:
    try:
        return image.format in ANIMATED_FORMATS and getattr(image, "is_animated", False)
    except Exception:  # a second frame is damaged; the first may be sound
        return False


def _skip_blank_frames(image: Image.Image, content: bytes, max_bytes: int) -> Image.Image:
    """Return the first frame of an animation that shows something; the first of all if the next ones show nothing.

    Frames after a damaged one do not count, nor do those that take too much memory: one frame is a picture.
    """
    first = image.copy()
    if BYTES_PER_FRAME_PIXEL * image.width * image.height > max_bytes:
        return first
    if image.format == "GIF" and not frames_fit(content, image.size):
        return first
    for frame in range(1, MAX_BLANK_FRAMES + 1):
        try:
            image.seek(frame)
            image.load()
        except Exception:  # also Pillow's dozen types
            break
        if not _is_blank(image):
            return image
    return first


def _is_blank(image: Image.Image) -> bool:
    return is_flat(np.asarray(_to_rgb(image, profile=None)))


def is_flat(pixels: np.ndarray) -> bool:
    """Return whether pixels `(H, W, 3) uint8` are of a single colour."""
    return int(np.ptp(pixels, axis=(0, 1)).max()) <= FLAT_RANGE


def _read_ordinary_jpeg(image: Image.Image, content: bytes) -> np.ndarray | None:
    """Return the pixels `(H, W, 3) uint8` of an opened image if it is an ordinary, sound JPEG; otherwise None.

    simplejpeg wraps the library that Pillow wraps, libjpeg-turbo, and gives the same pixels in half the time, since it
    skips the conversion to and from Pillow's four channels. It rejects files with small defects, which Pillow may still
    repair.
    """
    if image.format != "JPEG" or image.mode != "RGB" or image.width * image.height > HUGE_PIXELS:
        return None
    width, height = image.size  # as `draft` has reduced it
    try:
        pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=height, min_width=width, strict=True)
    except ValueError:  # a small defect: Pillow decides
        return None
    return pixels if pixels.shape == (height, width, 3) else None


def _is_reducible(image: Image.Image) -> bool:
    """Return whether an image is huge and in a mode whose pixels can be averaged."""
    return image.width * image.height > HUGE_PIXELS and image.mode in ("L", "RGB", "RGBA", "CMYK")


def _bytes_needed(image: Image.Image, n_pixels: int) -> int:
    """Estimate the memory that decoding takes; `n_pixels` is the size before `draft` reduced it."""
    stored = 1 if image.mode in ("1", "L", "P") else 4  # Pillow stores three channels as four
    converted = 0 if _is_reducible(image) else 8
    decoder = 0
    if image.info.get("progressive"):
        decoder = 3 * n_pixels  # libjpeg holds all coefficients, 2 bytes each; half of the colours' are left out
    elif image.format == "HEIF":
        decoder = 8 * n_pixels  # libheif's own pixels, of more than 8 bits in some photos, and the bytes for Pillow
    return image.width * image.height * (stored + converted) + decoder


def _orientation(image: Image.Image) -> int:
    """Return the EXIF tag's value, of any type that a camera wrote; 1 (upright) if it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
        if isinstance(value, tuple):
            value = value[0]
        if isinstance(value, bytes) and len(value) == 1:
            value = value[0]
        return int(value)
    except Exception:  # the dozen types again
        return 1


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_16_TO_8_BITS[np.asarray(image).astype(np.uint16, copy=False)])
    elif image.mode in ("I", "F"):
        image = _scale_to_8_bits(np.asarray(image))  # Pillow's own conversion clips at 255
    if image.has_transparency_data:
        return _lay_on_white(image, profile)
    image = to_srgb(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")


def _lay_on_white(image: Image.Image, profile: bytes | None) -> Image.Image:
    glass = image.convert("RGBA")
    colours = to_srgb(image, profile)
    if colours is not image:
        colours.putalpha(glass.getchannel("A"))
        glass = colours
    white = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    return Image.alpha_composite(white, glass).convert("RGB")


def _scale_to_8_bits(values: np.ndarray) -> Image.Image:
    """Scale greyscale of 32 bits, integers or floats, from the smallest usual range that holds all values."""
    if not np.isfinite(values).all():
        raise UnreadableImageError("damaged")
    low = float(values.min())
    high = float(values.max())
    tops = [top for top in (1.0, 255.0, 65_535.0) if low >= 0 and high <= top]
    if tops and not (tops[0] == 1 and values.dtype.kind == "i"):
        low = 0.0
        high = tops[0]
    scale = 255 / (high - low) if high > low else 0.0
    return Image.fromarray(((values - low) * scale + 0.5).astype(np.uint8))


def thumbnail(square: np.ndarray, size: int) -> bytes:
    """Return an image `(H, W, 3) uint8` as a JPEG of at most `size` pixels a side."""
    image = Image.fromarray(square)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=84)
    return buffer.getvalue()
