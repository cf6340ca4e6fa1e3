"""Ordinary JPEGs, which another decoder than Pillow's reads: the same pixels."""

import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from marketplace.photos.codec import decode


def jpeg(width: int, height: int, seed: int, **options: object) -> bytes:
    """A JPEG of smooth noise."""
    small = np.random.default_rng(seed).integers(0, 256, (1 + height // 8, 1 + width // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((width, height)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def decode_with_pillow(content: bytes, min_side: int | None) -> np.ndarray:
    image = Image.open(io.BytesIO(content))
    if min_side is not None:
        image.draft(None, (min_side, min_side))
    return np.asarray(image)


@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    seed=st.integers(0, 2**16),
    quality=st.integers(5, 98),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
    min_side=st.sampled_from([None, 16, 64, 200]),
)
@hypothesis_settings(max_examples=80, deadline=None)
def test_an_ordinary_jpeg_has_the_pixels_that_pillow_reads(
    size: tuple[int, int], seed: int, quality: int, subsampling: int, progressive: bool, min_side: int | None
) -> None:
    content = jpeg(*size, seed, quality=quality, subsampling=subsampling, progressive=progressive)
    assert (np.asarray(decode(content, min_side)) == decode_with_pillow(content, min_side)).all()


def test_ordinary_jpegs_are_not_decoded_by_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    decode_jpeg = simplejpeg.decode_jpeg

    def note_shape(*arguments: object, **options: object) -> np.ndarray:
        pixels: np.ndarray = decode_jpeg(*arguments, **options)
        shapes.append(pixels.shape)
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", note_shape)
    decode(jpeg(400, 300, 0), min_side=100)
    assert shapes == [(150, 200, 3)]
