import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from marketplace.catalogue.photo_check import check_shards
from marketplace.photos.codec import UnreadableImageError, decode
from marketplace.photos.squares import letterbox, resize_shards
from marketplace.raw.shards import read_shard, shard_paths, write_shards
from marketplace.sources.sample.defects import _bomb


def scene(width: int = 60, height: int = 40) -> Image.Image:
    """A smooth image whose four corners differ: red, green, blue and grey."""
    corners = np.array([[[200, 30, 30], [30, 180, 40]], [[30, 40, 210], [120, 120, 120]]], dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)


def saved(image: Image.Image, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, **options)  # type: ignore[arg-type]
    return content.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int) -> None:
    upright = scene()
    # What a camera stores so that this tag turns it upright again.
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert difference(decode(saved(stored, format="JPEG", quality=95, exif=exif)), upright) < 3


@pytest.mark.parametrize(
    ("options", "convert"),
    [
        ({"format": "JPEG", "quality": 95}, "RGB"),
        ({"format": "JPEG", "quality": 95}, "CMYK"),
        ({"format": "WEBP", "quality": 95}, "RGB"),
        ({"format": "AVIF", "quality": 95}, "RGB"),
        ({"format": "BMP"}, "RGB"),
        ({"format": "TIFF"}, "RGB"),
        ({"format": "PNG"}, "RGBA"),
        ({"format": "PNG"}, "P"),
        ({"format": "GIF"}, "P"),
    ],
)
def test_every_format_and_mode_comes_out_as_the_same_rgb_picture(options: dict[str, object], convert: str) -> None:
    image = scene()
    stored = image.quantize(256) if convert == "P" else image.convert(convert)
    result = decode(saved(stored, **options))
    assert result.mode == "RGB"
    assert difference(result, image) < 6


def test_transparency_is_laid_on_white() -> None:
    glass = scene()
    glass.putalpha(Image.new("L", glass.size, 0))
    assert np.asarray(decode(saved(glass, format="PNG"))).min() == 255
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((0, 0), 1)
    pixels = np.asarray(decode(saved(palette, format="PNG", transparency=0)))
    assert pixels[0, 0].tolist() == [200, 100, 50]
    assert pixels[3, 3].tolist() == [255, 255, 255]
    grey = Image.new("LA", (2, 2), (40, 0))
    assert np.asarray(decode(saved(grey, format="PNG"))).min() == 255


def test_sixteen_bits_keep_their_range() -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    pixels = np.asarray(decode(saved(Image.fromarray(ramp), format="PNG")))
    assert pixels[..., 0].ravel().tolist() == list(range(256))
    assert (pixels[..., 0] == pixels[..., 2]).all()


JPEG = saved(scene(300, 200), format="JPEG")
PNG = saved(scene(300, 200), format="PNG")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>503</html>", "not_an_image"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (PNG[: len(PNG) // 2], "truncated"),
        (_bomb(scene()), "too_large"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not_an_image"),
    ],
)
def test_a_broken_file_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode(content)
    assert caught.value.reason == reason


@given(
    data=st.data(), content=st.sampled_from([JPEG, PNG, saved(scene(), format="WEBP"), saved(scene(), format="TIFF")])
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_whatever_the_bytes_are_decode_gives_a_picture_or_says_no(data: st.DataObject, content: bytes) -> None:
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, min(len(broken), 400) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableImageError):
        assert decode(bytes(broken)).mode == "RGB"


@given(width=st.integers(1, 400), height=st.integers(1, 400), size=st.integers(32, 96))
@hypothesis_settings(max_examples=40, deadline=None)
def test_the_whole_picture_lies_centred_on_a_white_square(width: int, height: int, size: int) -> None:
    square = letterbox(Image.new("RGB", (width, height), (10, 20, 30)), size)
    assert square.shape == (size, size, 3)
    assert square.dtype == np.uint8
    inside = (square == (10, 20, 30)).all(axis=2)
    assert ((square == 255).all(axis=2) | inside).all()
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert max(len(rows), len(columns)) == size
    for used in (rows, columns):
        assert abs((used[0] - 0) - (size - 1 - used[-1])) <= 1
    expected = max(1, round(size * min(width, height) / max(width, height)))
    assert abs(min(len(rows), len(columns)) - expected) <= 1


def test_arrays_hold_the_listed_images_in_order_whatever_the_shards(tmp_path: Path) -> None:
    photos = {f"id{i:02}": scene(40 + i, 90 - i) for i in range(12)}
    files = sorted((f"{name}.jpg", saved(image, format="PNG")) for name, image in photos.items())
    wanted = sorted(photos)[1::2]
    arrays = []
    for n_shards in (1, 5):
        folder = tmp_path / str(n_shards)
        write_shards(files, folder / "images", n_shards)
        targets = [(32, folder / "small.npy"), (48, folder / "full.npy")]
        resize_shards(folder / "images", wanted, targets)
        arrays.append([np.load(path) for _, path in targets])
        for size, path in targets:
            expected = np.stack([letterbox(photos[image_id], size) for image_id in wanted])
            assert (np.load(path) == expected).all()
    assert all((a == b).all() for a, b in zip(*arrays, strict=True))
    with pytest.raises(ValueError, match="have 12 of the 13"):
        resize_shards(tmp_path / "1" / "images", [*sorted(photos), "stranger"], [(32, tmp_path / "x.npy")])


def test_check_opens_every_file(raw: Path) -> None:
    files = check_shards(raw / "images")
    assert files["name"].tolist() == sorted(
        name for shard in shard_paths(raw / "images") for name, _ in read_shard(shard)
    )
    assert set(files["reason"]) == {"", "empty", "not_an_image", "too_large", "truncated"}


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(orientation: int) -> None:
    rng = np.random.default_rng(0)
    texture = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((1600, 1200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(texture, format="JPEG", quality=95, exif=exif)
    whole, reduced = decode(content), decode(content, at_least=256)
    assert max(reduced.size) * 4 == max(whole.size)
    assert (reduced.width > reduced.height) == (whole.width > whole.height)
    error = np.square(letterbox(whole, 128).astype(float) - letterbox(reduced, 128)).mean()
    assert 10 * np.log10(255**2 / error) > 38  # PSNR in dB
    assert decode(content, at_least=1000).size == whole.size


def test_scaling_is_pillows_bicubic(tmp_path: Path) -> None:
    for width, height in ((300, 200), (200, 300), (40, 30)):
        image = scene(width, height)
        square = letterbox(image, 96)
        used = (96, round(96 * height / width)) if width > height else (round(96 * width / height), 96)
        left, top = (96 - used[0]) // 2, (96 - used[1]) // 2
        expected = np.asarray(image.resize(used, Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(square[top : top + used[1], left : left + used[0]] - expected).max() <= 2


@given(
    data=st.data(),
    content=st.sampled_from(
        [
            JPEG,
            saved(scene(300, 200).convert("CMYK"), format="JPEG"),
            saved(scene(300, 200), format="JPEG", progressive=True),
        ]
    ),
)
@hypothesis_settings(max_examples=80, deadline=None)
def test_the_check_at_the_fewest_pixels_finds_what_full_decoding_finds(data: st.DataObject, content: bytes) -> None:
    broken = bytearray(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    for _ in range(data.draw(st.integers(0, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))

    def verdict(at_least: int | None) -> str:
        try:
            decode(bytes(broken), at_least)
        except UnreadableImageError as error:
            return error.reason
        return "sound"

    assert verdict(1) == verdict(None)
