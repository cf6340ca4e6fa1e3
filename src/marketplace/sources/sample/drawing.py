"""Paint a photo of a made-up product: its icon in its colours, with a random pose, light and background."""

import json
from functools import cache, lru_cache
from pathlib import Path

import fontawesomefree
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from marketplace.sources.sample.listings import Listing

PHOTO_SIZES = ((288, 288), (288, 216), (216, 288))


def draw_photo(listing: Listing, seed: list[int]) -> Image.Image:
    """Paint an RGB photo of the product, at most 288 px a side; the same `seed` gives the same photo."""
    rng = np.random.default_rng(seed)
    width, height = PHOTO_SIZES[rng.integers(len(PHOTO_SIZES))]
    scene = _paint_background(rng, width, height)

    side = round(min(width, height) * rng.uniform(0.5, 0.85))
    mask, paint = _paint_object(rng, listing, side)
    x = round((width - mask.width) * rng.uniform(0.3, 0.7))
    y = round((height - mask.height) * rng.uniform(0.3, 0.7))

    shadow = Image.new("L", scene.size)
    shadow.paste(mask.point(lambda value: value // 2), (x + side // 25, y + side // 18))
    scene.paste((25, 22, 20), (0, 0), shadow.filter(ImageFilter.GaussianBlur(side / 25)))
    scene.paste(paint, (x, y), mask)
    return _develop(rng, scene)


def _paint_object(rng: np.random.Generator, listing: Listing, side: int) -> tuple[Image.Image, Image.Image]:
    """Return the product as a mask and the paint under it, both in the same pose."""
    mask = _draw_icon(listing.icon, side)
    paint = _paint_pattern(listing, side)
    across = np.linspace(rng.uniform(0.7, 1.1), rng.uniform(0.7, 1.2), side)
    down = np.linspace(rng.uniform(1.0, 1.25), rng.uniform(0.6, 0.95), side)
    lit = np.asarray(paint) * (across[None, :, None] * down[:, None, None])
    paint = Image.fromarray(lit.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        mask, paint = (layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for layer in (mask, paint))
    shear = rng.normal(0, 0.12)
    angle = rng.normal(0, 18)
    slant = (1, shear, -shear * side / 2, 0, 1, 0)
    mask, paint = (
        layer.transform(layer.size, Image.Transform.AFFINE, slant, Image.Resampling.BILINEAR).rotate(
            angle, Image.Resampling.BILINEAR, expand=True
        )
        for layer in (mask, paint)
    )
    return mask, paint


def _paint_pattern(listing: Listing, side: int) -> Image.Image:
    first, second = listing.colours
    paint = Image.new("RGB", (side, side), first)
    draw = ImageDraw.Draw(paint)
    step = max(4, side // 8)
    match listing.pattern:
        case "stripes":
            for top in range(0, side, 2 * step):
                draw.rectangle((0, top, side, top + step), fill=second)
        case "checks":
            for row in range(0, side, step):
                for column in range(row // step % 2 * step, side, 2 * step):
                    draw.rectangle((column, row, column + step, row + step), fill=second)
        case "dots":
            for row in range(step // 2, side, 2 * step):
                for column in range(step // 2, side, 2 * step):
                    draw.ellipse((column, row, column + step, row + step), fill=second)
        case "two-tone":
            draw.rectangle((0, side // 2, side, side), fill=second)
    return paint


def _draw_icon(name: str, side: int) -> Image.Image:
    """Return the icon as a `side` x `side` mask, scaled to fill it."""
    glyph = _draw_glyph(name)
    scale = side / max(glyph.size)
    fitted = glyph.resize((round(glyph.width * scale), round(glyph.height * scale)), Image.Resampling.LANCZOS)
    mask = Image.new("L", (side, side))
    mask.paste(fitted, ((side - fitted.width) // 2, (side - fitted.height) // 2))
    return mask


@lru_cache(maxsize=128)
def _draw_glyph(name: str) -> Image.Image:
    codepoint = chr(int(_read_icons()[name]["unicode"], 16))
    font = ImageFont.truetype(str(_font_awesome() / "webfonts" / "fa-solid-900.ttf"), 240)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(codepoint))
    glyph = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(glyph).text((-left, -top), codepoint, fill=255, font=font)
    return glyph


@cache
def _read_icons() -> dict[str, dict[str, str]]:
    return json.loads((_font_awesome() / "metadata" / "icons.json").read_bytes())


def _font_awesome() -> Path:
    return Path(fontawesomefree.__file__).parent / "static" / "fontawesomefree"


def _paint_background(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Paint a wall or a table top in a muted colour, with soft blotches and light from above or below."""
    colour = rng.uniform(70, 225) + rng.normal(0, 18, 3)
    blotches = rng.normal(0, rng.uniform(4, 22), (6, 6)).astype(np.float32)
    blotches = np.asarray(Image.fromarray(blotches).resize((width, height), Image.Resampling.BICUBIC))
    light = np.linspace(-1, 1, height) * rng.normal(0, 20)
    scene = colour + blotches[:, :, None] + light[:, None, None]
    if rng.random() < 0.5:  # the edge of the table
        edge = rng.integers(height // 2, height)
        scene[edge:] = scene[edge:] * rng.uniform(0.55, 0.9) + rng.normal(0, 14, 3)
    return Image.fromarray(scene.clip(0, 255).astype(np.uint8))


def _develop(rng: np.random.Generator, scene: Image.Image) -> Image.Image:
    """Imitate a camera: exposure, white balance, focus and grain."""
    if rng.random() < 0.3:
        scene = scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.4)))
    gain = rng.uniform(0.65, 1.2) * (1 + rng.normal(0, 0.05, 3))
    grain = rng.normal(0, rng.uniform(1, 6), (scene.height, scene.width, 1))
    return Image.fromarray((np.asarray(scene) * gain + grain).clip(0, 255).astype(np.uint8))
