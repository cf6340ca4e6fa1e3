"""Animations: the first frame that shows something stands for all."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from helpers.photos import saved, scene
from PIL import Image, _imaging

from marketplace.photos.codec import MAX_BLANK_FRAMES, UnreadableImageError, decode_array

ANIMATED: list[dict[str, Any]] = [
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


@pytest.mark.parametrize("options", ANIMATED, ids=[options["format"] for options in ANIMATED])
@pytest.mark.parametrize("blanks", [[WHITE], [BLACK], [CLEAR], [BLACK, WHITE]], ids=["white", "black", "clear", "two"])
def test_blank_frames_at_the_beginning_are_skipped(blanks: list[Image.Image], options: dict[str, object]) -> None:
    other = scene().transpose(Image.Transpose.ROTATE_180)
    pixels = decode_array(animation([*blanks, scene(), other], **options))
    assert error_of(pixels, scene()) < 8


@pytest.mark.parametrize("options", ANIMATED, ids=[options["format"] for options in ANIMATED])
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


@pytest.mark.parametrize("options", [{"format": "GIF"}, {"format": "PNG"}], ids=["GIF", "PNG"])
def test_wherever_an_animation_ends_its_first_frame_counts_if_it_is_there(options: dict[str, object]) -> None:
    other = scene().transpose(Image.Transpose.ROTATE_180)
    content = animation([scene(), other], **options)
    for length in range(len(content) - 1, len(content) // 2, -97):
        image = Image.open(io.BytesIO(content[:length]))
        try:
            image.load()
        except OSError:
            continue
        assert (decode_array(content[:length]) == np.asarray(image.convert("RGB"))).all()


def test_a_frame_beyond_the_picture_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would take gigabytes for the first, and more than the bound for the second."""
    header = b"GIF89a" + struct.pack("<2H", 60, 40) + b"\x80\0\0" + b"\xff\xff\xff\0\0\0"
    control = b"!\xf9\x04\x08\0\0\0\0"  # the frame is replaced by the background
    one = header + control + b"," + struct.pack("<4H", 0, 0, 65_535, 65_535) + b"\0\x02\x02\x4c\x01\0;"
    with pytest.raises(UnreadableImageError, match="too_large"):
        decode_array(one)
    content = animation([WHITE, scene(), BLACK], format="GIF", disposal=2)
    second = content.rindex(b"," + struct.pack("<4H", 0, 0, 60, 40))
    beyond = content[: second + 5] + struct.pack("<2H", 65_535, 4500) + content[second + 9 :]
    sizes: list[tuple[int, int]] = []
    fill = _imaging.fill

    def note_size(mode: str, size: tuple[int, int], colour: object) -> object:
        sizes.append(size)
        return fill(mode, (1, 1) if size != (60, 40) else size, colour)

    monkeypatch.setattr(_imaging, "fill", note_size)
    assert error_of(decode_array(beyond), WHITE) == 0
    assert set(sizes) == {(60, 40)}


def test_a_blank_photo_is_a_photo() -> None:
    assert error_of(decode_array(saved(WHITE, format="GIF")), WHITE) == 0
