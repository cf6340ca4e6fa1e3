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


def by_pillow(content: bytes, at_least: int | None) -> np.ndarray:
    image = Image.open(io.BytesIO(content))
    if at_least is not None:
        image.draft(None, (at_least, at_least))
    return np.asarray(image)


@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    seed=st.integers(0, 2**16),
    quality=st.integers(5, 98),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
    at_least=st.sampled_from([None, 16, 64, 200]),
)
@hypothesis_settings(max_examples=80, deadline=None)
def test_an_ordinary_jpeg_has_the_pixels_that_pillow_reads(
    size: tuple[int, int], seed: int, quality: int, subsampling: int, progressive: bool, at_least: int | None
) -> None:
    content = jpeg(*size, seed, quality=quality, subsampling=subsampling, progressive=progressive)
    assert (np.asarray(decode(content, at_least)) == by_pillow(content, at_least)).all()


def test_ordinary_jpegs_do_not_take_pillows_way(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, ...]] = []

    def decoded(*arguments: object, **options: object) -> np.ndarray:
        pixels: np.ndarray = original(*arguments, **options)
        read.append(pixels.shape)
        return pixels

    original = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoded)
    decode(jpeg(400, 300, 0), at_least=100)
    assert read == [(150, 200, 3)]
