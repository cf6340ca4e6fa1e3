"""A photo that somebody sends with a question."""

import numpy as np

from marketplace.serving.answers import InvalidQuestionError
from marketplace.serving.question import Crop, Photo

MAX_DECODING_BYTES = 650_000_000  # 160 megapixels as PNG, far more as JPEG
UNREADABLE_REASONS = {
    "empty": "the file is empty",
    "not_an_image": "it is not an image (JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP and TIFF can be read)",
    "too_large": "it has too many pixels",
    "too_many_scans": "decoding it would take too long",
    "truncated": "it ends too early",
    "damaged": "it is damaged",
}


def read_square(photo: Photo, size: int) -> np.ndarray:
    """Return a photo as the model sees it, `(size, size, 3) uint8`. Raises InvalidQuestionError if it is no photo."""
    from marketplace.photos.codec import UnreadableImageError, decode_array
    from marketplace.photos.squares import OVERSAMPLING, letterbox

    share = min(photo.crop.right - photo.crop.left, photo.crop.bottom - photo.crop.top) if photo.crop else 1
    try:
        pixels = decode_array(photo.content, round(OVERSAMPLING * size / share), MAX_DECODING_BYTES)
    except UnreadableImageError as error:
        raise InvalidQuestionError(f"the photo cannot be read: {UNREADABLE_REASONS[error.reason]}.") from None
    upright = np.rot90(pixels, -photo.turn // 90)
    cropped = _cut(upright, photo.crop) if photo.crop else upright
    return letterbox(cropped, size)


def _cut(pixels: np.ndarray, crop: Crop) -> np.ndarray:
    """Return the part of a photo `(H, W, 3)` in a crop, at least one pixel."""
    height, width = pixels.shape[:2]
    left = min(int(crop.left * width), width - 1)
    top = min(int(crop.top * height), height - 1)
    right = max(left + 1, round(crop.right * width))
    bottom = max(top + 1, round(crop.bottom * height))
    return pixels[top:bottom, left:right]
