"""Colour profiles: photos of phones and cameras have the colours that their makers meant."""

from typing import Any

import numpy as np
import pytest
from helpers.photos import saved, scene
from helpers.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    PROPHOTO,
    SRGB,
    Space,
    cmyk_profile,
    expected_srgb,
    grey_profile,
    rgb_profile,
)
from PIL import Image, ImageCms

from marketplace.photos.codec import decode, decode_array
from marketplace.photos.profiles import find_conversion

LOSSLESS: list[dict[str, Any]] = [
    {"format": "PNG"},
    {"format": "TIFF"},
    {"format": "WEBP", "lossless": True, "exact": True},
    {"format": "JPEG", "quality": 100, "subsampling": 0},
    {"format": "AVIF", "quality": 100, "subsampling": "4:4:4"},
    {"format": "HEIF", "quality": 100, "chroma": 444},
]


@pytest.mark.parametrize("space", [ADOBE_RGB, DISPLAY_P3, PROPHOTO], ids=["Adobe RGB", "Display P3", "ProPhoto"])
@pytest.mark.parametrize("options", LOSSLESS, ids=[options["format"] for options in LOSSLESS])
def test_colours_are_converted_to_srgb(space: Space, options: dict[str, object]) -> None:
    pixels = np.asarray(scene())
    expected = expected_srgb(pixels, space)
    assert np.abs(expected - pixels).max() > 40
    converted = decode_array(saved(scene(), icc_profile=rgb_profile(space), **options))
    assert np.abs(converted - expected).mean() < 2


def test_transparency_palettes_and_orientation_are_kept() -> None:
    profile = rgb_profile(ADOBE_RGB)
    expected = expected_srgb(np.asarray(scene()), ADOBE_RGB)
    glass = scene()
    glass.putalpha(Image.new("L", glass.size, 102))
    on_white = decode_array(saved(glass, format="PNG", icc_profile=profile))
    assert np.abs(on_white - (0.4 * expected + 0.6 * 255)).max() < 2
    palette = scene().quantize(256)
    pixels = decode_array(saved(palette, format="PNG", icc_profile=profile))
    assert np.abs(pixels - expected_srgb(np.asarray(palette.convert("RGB")), ADOBE_RGB)).max() < 2
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = decode_array(saved(scene(), format="PNG", icc_profile=profile, exif=exif))
    assert np.abs(turned[::-1, ::-1] - expected).max() < 2


def test_greyscale_and_cmyk_are_converted_as_well() -> None:
    grey = scene().convert("L")
    expected = expected_srgb(np.asarray(grey.convert("RGB")), (SRGB[0], 1.0))
    for mode in ("L", "LA"):
        pixels = decode_array(saved(grey.convert(mode), format="PNG", icc_profile=grey_profile(1.0)))
        assert np.abs(pixels - expected).max() < 2
    inks = np.full((2, 2, 2, 2, 3), 128, np.uint8)  # every ink is the same grey, the darkest of this press,
    inks[0, 0, 0, 0, 0] = 255  # on white paper
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    for image_format in ("TIFF", "JPEG"):
        pixels = decode_array(saved(cyan, format=image_format, icc_profile=cmyk_profile(inks)))
        assert np.ptp(pixels) == 0
        assert pixels[0, 0, 0] < 16
        assert decode_array(saved(cyan, format=image_format))[0, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize(
    "profile",
    [
        rgb_profile(SRGB),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        rgb_profile(ADOBE_RGB)[:300],
        grey_profile(1.0),
        b"garbage",
        rgb_profile(ADOBE_RGB) + bytes(5_000_000),
    ],
    ids=["sRGB", "Pillow's sRGB", "Lab", "cut", "grey", "garbage", "huge"],
)
def test_the_bytes_of_other_photos_stay_the_same(profile: bytes) -> None:
    assert find_conversion(profile, "RGB") is None
    for options in ({"format": "JPEG"}, {"format": "PNG"}):
        plain = decode(saved(scene(), **options))
        assert decode(saved(scene(), icc_profile=profile, **options)).tobytes() == plain.tobytes()
