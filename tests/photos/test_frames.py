"""Animations: the first frame that shows something stands for all."""

import numpy as np
import pytest
from helpers.photos import saved, scene
from PIL import Image

from marketplace.photos.codec import MAX_BLANK_FRAMES, decode_array

ANIMATED = [
    {"format": "GIF"},
    {"format": "PNG"},
    {"format": "WEBP", "lossless": True},
    {"format": "AVIF", "quality": 95},
]
WHITE = Image.new("RGB", (60, 40), "white")
BLACK = Image.new("RGB", (60, 40), "black")
CLEAR = Image.new("RGBA", (60, 40), (90, 90, 90, 0))


def animation(frames: list[Image.Image], **options: object) -> bytes:
    # Distinct durations: otherwise Pillow joins frames that are equal. One mode: an AVIF cannot have several.
    durations = [100 + 10 * number for number in range(len(frames))]
    if CLEAR in frames:
        frames = [frame.convert("RGBA") for frame in frames]
    return saved(frames[0], save_all=True, append_images=frames[1:], duration=durations, **options)


def error_of(pixels: np.ndarray, expected: Image.Image) -> float:
    return float(np.abs(pixels.astype(int) - np.asarray(expected)).mean())


@pytest.mark.parametrize("options", ANIMATED, ids=[str(options["format"]) for options in ANIMATED])
@pytest.mark.parametrize("blanks", [[WHITE], [BLACK], [CLEAR], [BLACK, WHITE]], ids=["white", "black", "clear", "two"])
def test_blank_frames_at_the_beginning_are_skipped(blanks: list[Image.Image], options: dict[str, object]) -> None:
    other = scene().transpose(Image.Transpose.ROTATE_180)
    pixels = decode_array(animation([*blanks, scene(), other], **options))
    assert error_of(pixels, scene()) < 8


@pytest.mark.parametrize("options", ANIMATED, ids=[str(options["format"]) for options in ANIMATED])
def test_otherwise_the_first_frame_counts(options: dict[str, object]) -> None:
    other = scene().transpose(Image.Transpose.ROTATE_180)
    assert error_of(decode_array(animation([scene(), other], **options)), scene()) < 8
    assert error_of(decode_array(animation([WHITE, BLACK], **options)), WHITE) < 2
    assert error_of(decode_array(animation([*[BLACK, WHITE] * MAX_BLANK_FRAMES, scene()], **options)), BLACK) < 2


def test_a_damaged_or_too_large_frame_leaves_the_first() -> None:
    content = animation([WHITE, scene()], format="GIF")
    assert error_of(decode_array(content[: -len(content) // 3]), WHITE) == 0
    assert error_of(decode_array(content, max_bytes=24 * 60 * 40 - 1), WHITE) == 0
    assert error_of(decode_array(content, max_bytes=24 * 60 * 40), scene()) < 8


def test_a_blank_photo_is_a_photo() -> None:
    assert error_of(decode_array(saved(WHITE, format="GIF")), WHITE) == 0
