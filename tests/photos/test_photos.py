"""Decoding: every format upright as RGB, a reason for every broken file, and bounded memory."""

import contextlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.photos import saved, scene
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from marketplace.photos.codec import MAX_BYTES, UnreadableImageError, _orientation, decode
from marketplace.photos.squares import letterbox
from marketplace.sources.sample.defects import _save_bomb


def difference(image: Image.Image, expected: Image.Image) -> float:
    """Return the mean absolute difference of two images' values."""
    assert image.size == expected.size
    return float(np.abs(np.asarray(image).astype(int) - np.asarray(expected).astype(int)).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int) -> None:
    upright = scene()
    # The inverse of turning upright: a camera stores the result with this tag.
    to_stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if to_stored is None else upright.transpose(to_stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for image_format in ("JPEG", "HEIF"):
        assert difference(decode(saved(stored, format=image_format, quality=95, exif=exif.tobytes())), upright) < 3


@pytest.mark.parametrize(
    ("options", "convert"),
    [
        ({"format": "JPEG", "quality": 95}, "RGB"),
        ({"format": "JPEG", "quality": 95}, "CMYK"),
        ({"format": "WEBP", "quality": 95}, "RGB"),
        ({"format": "AVIF", "quality": 95}, "RGB"),
        ({"format": "HEIF", "quality": 95}, "RGB"),
        ({"format": "HEIF", "quality": 95}, "RGBA"),
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


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (0, 65_535), (-5, 20), (0, 3_000_000)])
def test_a_tiff_of_32_bits_keeps_its_range(dtype: type, low: int, high: int) -> None:
    if dtype is np.int32 and high == 1:
        high = 200
    ramp: np.ndarray = np.linspace(low, high, 256).astype(dtype).reshape(16, 16)
    pixels = np.asarray(decode(saved(Image.fromarray(ramp), format="TIFF")))[..., 0].ravel()
    expected = 255 * (ramp.ravel() - ramp.min()) / (ramp.max() - ramp.min())
    if dtype is np.int32 and high == 200:
        expected = ramp.ravel()
    assert np.abs(pixels - expected).max() <= 1


def test_a_tiff_of_nan_is_refused() -> None:
    ramp = np.full((16, 16), np.nan, dtype=np.float32)
    with pytest.raises(UnreadableImageError, match="damaged"):
        decode(saved(Image.fromarray(ramp), format="TIFF"))


JPEG = saved(scene(300, 200), format="JPEG")
PNG = saved(scene(300, 200), format="PNG")
HEIC = saved(scene(300, 200), format="HEIF")


def many_scans(n: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan n times."""
    content = saved(scene(), format="JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + n * content[last:-2] + content[-2:]


def tiled_heic(n_tiles: int) -> bytes:
    """Return a HEIC file of few pixels, cut from more tiles than it needs, each of which would be decoded."""
    content = bytearray(saved(Image.new("RGB", (512 * n_tiles, 512)), format="HEIF", quality=20, tile_size=512))
    place = content.index(b"ispe" + struct.pack(">3I", 0, 512 * n_tiles, 512))
    content[place + 8 : place + 16] = struct.pack(">2I", 100, 100)
    place = content.index(struct.pack(">2H", 512 * n_tiles, 512))
    content[place : place + 4] = struct.pack(">2H", 100, 100)
    return bytes(content)


def segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + (len(data) + 2).to_bytes(2) + data


def chunk(kind: bytes, data: bytes, *, sound: bool = True) -> bytes:
    checksum = zlib.crc32(kind + data) ^ (not sound)
    return len(data).to_bytes(4) + kind + data + checksum.to_bytes(4)


ODD_EXIF = b"Exif\0\0MM\0*\0\0\0\x08" + bytes.fromhex(
    "0002"  # two tags: orientation 6, and ImageWidth as a fraction
    "0112000300000001000600000100000500000001000000000000000000000000"
)
LARGE_TEXT = b"Comment\0\0" + zlib.compress(bytes(3_000_000))


@pytest.mark.parametrize(
    "odd",
    [
        JPEG[:2] + segment(0xE1, ODD_EXIF) + JPEG[2:],
        JPEG[:2] + segment(0xE1, b"Exif\0\0garbage") + JPEG[2:],
        JPEG[:2] + segment(0xE2, b"MPF\0garbage") + JPEG[2:],
        JPEG[:2] + segment(0xED, b"Photoshop 3.0\0" + bytes(range(256))) + JPEG[2:],
        JPEG[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe<x") + JPEG[2:],
        PNG[:33] + chunk(b"zTXt", LARGE_TEXT) + PNG[33:],
        PNG[:33] + chunk(b"tEXt", b"Comment\0x", sound=False) + PNG[33:],
        PNG[:33] + chunk(b"eXIf", b"garbage") + PNG[33:],
        PNG[:33] + chunk(b"iCCP", LARGE_TEXT) + PNG[33:],
    ],
)
def test_sound_pixels_are_decoded_despite_odd_metadata(odd: bytes) -> None:
    image = decode(odd)
    if ODD_EXIF in odd:
        image = image.transpose(Image.Transpose.ROTATE_90)
    assert difference(image, scene(300, 200)) < 6


@pytest.mark.parametrize(
    ("value", "orientation"),
    [(6, 6), ("6", 6), (b"\x06", 6), ((6, 6), 6), (0, 0), (9, 9), ("x", 1), (b"\x06\x00", 1), (None, 1)],
)
def test_an_orientation_of_any_type_is_understood(value: object, orientation: int) -> None:
    class Photo:
        def getexif(self) -> dict[int, object]:
            return {0x0112: value}

    assert _orientation(Photo()) == orientation  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("megapixels", "options"),
    [
        (108, {"format": "JPEG"}),
        (200, {"format": "JPEG"}),
        (108, {"format": "JPEG", "progressive": True}),
        (108, {"format": "PNG", "compress_level": 1}),
    ],
)
def test_a_phones_photo_is_decoded_in_bounded_memory(
    megapixels: int, options: dict[str, object], tmp_path: Path
) -> None:
    """In a separate process, whose peak is compared with the peak for a small photo."""
    width = round((megapixels * 4 / 3) ** 0.5 * 1000)
    code = "import resource, sys; from pathlib import Path; from marketplace.photos.codec import decode; "
    code += "image = decode(Path(sys.argv[1]).read_bytes(), min_side=512); assert min(image.size) >= 512; "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    peaks = []
    for size in ((width, width * 3 // 4), (800, 600)):
        path = tmp_path / str(size[0])
        path.write_bytes(saved(scene(*size), **options))
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[0] - peaks[1] < MAX_BYTES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>503</html>", "not_an_image"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (PNG[: len(PNG) // 2], "truncated"),
        (HEIC[:-50], "damaged"),
        (_save_bomb(scene()), "too_large"),
        (saved(Image.new("1", (80_000, 1)), format="PNG"), "too_large"),
        (many_scans(100), "too_many_scans"),
        (tiled_heic(2).replace(b"grid", b"iovl", 1), "too_large"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not_an_image"),
    ],
)
def test_a_broken_file_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode(content)
    assert caught.value.reason == reason


@given(
    data=st.data(),
    content=st.sampled_from([JPEG, PNG, HEIC, saved(scene(), format="WEBP"), saved(scene(), format="TIFF")]),
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_any_bytes_give_a_picture_or_a_reason(data: st.DataObject, content: bytes) -> None:
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, min(len(broken), 400) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableImageError):
        assert decode(bytes(broken)).mode == "RGB"


def test_callers_can_bound_the_memory_of_decoding() -> None:
    content = saved(scene(2000, 1500), format="PNG")
    assert decode(content).size == (2000, 1500)
    with pytest.raises(UnreadableImageError, match="too_large"):
        decode(content, max_bytes=10_000_000)


def test_all_tiles_of_a_heic_count() -> None:
    content = tiled_heic(4)
    assert decode(content).size == (100, 100)
    with pytest.raises(UnreadableImageError, match="too_large"):
        decode(content, max_bytes=8 * 4 * 512 * 512)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(orientation: int) -> None:
    rng = np.random.default_rng(0)
    texture = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((1600, 1200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(texture, format="JPEG", quality=95, exif=exif)
    whole = decode(content)
    reduced = decode(content, min_side=256)
    assert max(reduced.size) * 4 == max(whole.size)
    assert (reduced.width > reduced.height) == (whole.width > whole.height)
    error = np.square(letterbox(np.array(whole), 128).astype(float) - letterbox(np.array(reduced), 128)).mean()
    assert 10 * np.log10(255**2 / error) > 38  # PSNR in dB
    assert decode(content, min_side=1000).size == whole.size


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
def test_decoding_the_fewest_pixels_finds_the_same_defects(data: st.DataObject, content: bytes) -> None:
    broken = bytearray(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    for _ in range(data.draw(st.integers(0, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))

    def verdict(min_side: int | None) -> str:
        try:
            decode(bytes(broken), min_side)
        except UnreadableImageError as error:
            return error.reason
        return "sound"

    assert verdict(1) == verdict(None)
