"""A photo that somebody sends with a question."""

import numpy as np

from marketplace.serving.answers import InvalidQuestionError

MAX_DECODING_BYTES = 650_000_000  # 160 megapixels as PNG, far more as JPEG
UNREADABLE_REASONS = {
    "empty": "the file is empty",
    "not_an_image": "it is not an image (JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP and TIFF can be read)",
    "too_large": "it has too many pixels",
    "too_many_scans": "decoding it would take too long",
    "truncated": "it ends too early",
    "damaged": "it is damaged",
}


def read_square(content: bytes, size: int) -> np.ndarray:
    """Return a photo as the model sees it, `(size, size, 3) uint8`. Raises InvalidQuestionError if it is no photo."""
    from marketplace.photos.codec import UnreadableImageError, decode_array
    from marketplace.photos.squares import OVERSAMPLING, letterbox_without_torch

    try:
        return letterbox_without_torch(decode_array(content, OVERSAMPLING * size, MAX_DECODING_BYTES), size)
    except UnreadableImageError as error:
        raise InvalidQuestionError(f"the photo cannot be read: {UNREADABLE_REASONS[error.reason]}.") from None
