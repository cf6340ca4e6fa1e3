"""Colour profiles: the colours that a photo's numbers stand for, as numbers of sRGB.

Phones store Display P3 and cameras Adobe RGB. Taken for sRGB, their colours would be pale.
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# For the colour space of a profile: the mode of the pixels that it describes, and the modes of images that it fits.
_MODES = {
    "RGB": ("RGB", ("1", "L", "P", "RGB", "LA", "PA", "RGBA", "RGBa")),
    "GRAY": ("L", ("1", "L", "LA")),
    "CMYK": ("CMYK", ("CMYK",)),
}
# Profiles of sRGB differ in their last digits. A photo keeps its numbers if no colour would move by more.
SAME_COLOUR = 2
MAX_PROFILE_BYTES = 4_000_000  # the largest, for printing presses, have up to 3
_ALL_GREYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
_COLOURS = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), axis=-1).reshape(-1, 3)
_PROBE = np.concatenate([_ALL_GREYS, _COLOURS])[None]


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image in sRGB: as RGB, without transparency, if find_conversion has one; otherwise the image itself."""
    conversion = find_conversion(profile, image.mode)
    if conversion is None:
        return image
    mode, transform = conversion
    if image.mode != mode:
        image = image.convert("RGBA").convert("RGB").convert(mode)  # some modes can be converted to RGBA alone
    return transform.apply(image)


@lru_cache(maxsize=16)
def find_conversion(profile: bytes | None, image_mode: str) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """Return the mode of the pixels that an ICC profile describes, and the transform of them to sRGB.

    None if there is nothing to convert: no profile, a damaged one, one for other modes than the image's, or sRGB.
    """
    if not profile or len(profile) > MAX_PROFILE_BYTES:
        return None
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        mode, image_modes = _MODES[source.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError, TypeError):
        return None
    return None if image_mode not in image_modes or _is_srgb(transform, mode) else (mode, transform)


def _is_srgb(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether a transform to sRGB moves no colour of a photo visibly."""
    if mode == "CMYK":
        return False
    probe = _PROBE if mode == "RGB" else _PROBE[:, :256]
    moved = np.asarray(transform.apply(Image.fromarray(probe).convert(mode)))
    return int(np.abs(moved.astype(int) - probe).max()) <= SAME_COLOUR
