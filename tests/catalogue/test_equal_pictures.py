"""Photos that only look alike in grey: variants of a product are kept, and told from one picture in many files."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.dumps import fetch_and_clean, noise_photo, small_dump
from helpers.photos import saved
from PIL import Image, ImageDraw, ImageFont

from marketplace.catalogue.clean import CleanDump
from marketplace.catalogue.pictures import are_one_picture, shrink

COLOURS = (
    "firebrick",
    "darkorange",
    "gold",
    "yellowgreen",
    "seagreen",
    "teal",
    "deepskyblue",
    "royalblue",
    "midnightblue",
    "rebeccapurple",
    "hotpink",
    "grey",
)
WORDS = ("ROCK", "CATS", "2024", "PIZZA", "SURF", "YOGA", "DAD", "NERD", "BEER", "LOVE", "MOON", "WOLF")


def draw_shirt(cloth: str, print_colour: str | None = None, words: str = "") -> Image.Image:
    image = Image.new("RGB", (240, 300), "white")
    draw = ImageDraw.Draw(image)
    outline = [
        (70, 30),
        (170, 30),
        (230, 90),
        (200, 115),
        (175, 95),
        (175, 260),
        (65, 260),
        (65, 95),
        (40, 115),
        (10, 90),
    ]
    draw.polygon(outline, fill=cloth, outline="dimgrey")
    if print_colour:
        draw.rectangle((95, 150, 145, 200), fill=print_colour)
    if words:
        draw.text((120, 125), words, fill="white", font=ImageFont.load_default(36), anchor="mm")
    return image


def draw_swatch(colour: str, label: str = "") -> Image.Image:
    image = Image.new("RGB", (200, 200), colour)
    if label:
        ImageDraw.Draw(image).text((100, 180), label, fill="white", font=ImageFont.load_default(20), anchor="mm")
    return image


def clean_photos(photos: Sequence[Image.Image], titles: Sequence[str], tmp_path: Path) -> CleanDump:
    """Clean a dump of 48 products, of which the first have these photos and titles."""
    dump = small_dump()
    for number, (photo, title) in enumerate(zip(photos, titles, strict=True)):
        dump.photos[f"image{number:03}.jpg"] = saved(photo, format="JPEG", quality=90)
        dump.products.loc[number, "product_name"] = title
    return fetch_and_clean(dump.write(tmp_path / "dump"), tmp_path)


@pytest.mark.parametrize(
    "photos",
    [
        [draw_shirt(colour) for colour in COLOURS],
        [draw_shirt("black", print_colour=colour) for colour in COLOURS],
        [draw_shirt("black", words=words) for words in WORDS],
        [draw_swatch(colour) for colour in COLOURS],
        [draw_swatch(colour, label="RAL") for colour in COLOURS],
    ],
    ids=["colours", "prints", "words", "swatches", "labelled swatches"],
)
@pytest.mark.parametrize("title", ["{}", "T-shirt {}"], ids=["titles of one word", "titles with a common word"])
def test_variants_are_different_pictures(photos: list[Image.Image], title: str, tmp_path: Path) -> None:
    result = clean_photos(photos, [title.format(colour) for colour in COLOURS], tmp_path)
    assert len(result.training_data) == 48
    assert result.near_duplicates.empty
    assert result.training_data["group"].nunique() == 48


def test_one_photo_of_many_variants_is_kept_and_shared(tmp_path: Path) -> None:
    titles = [f"Plain white cotton tee, size {number}" for number in range(12)]
    result = clean_photos([draw_shirt("white")] * 12, titles, tmp_path)
    assert len(result.training_data) == 48
    assert result.training_data["group"].nunique() == 48 - 11


@pytest.mark.parametrize("photo", [draw_swatch("white"), draw_swatch("lightgrey", label="no photo")])
def test_one_photo_of_products_without_anything_in_common_is_a_placeholder(photo: Image.Image, tmp_path: Path) -> None:
    titles = ["Lamp", "Oak table", "Guitar", "Road bike", "Kettle", "Tent", "Novels", "Camera", "Sofa", "Drill"]
    result = clean_photos([photo] * len(titles), titles, tmp_path)
    rejects = result.rejects[result.rejects["table"] == "images"]
    assert rejects["id"].tolist() == [f"image{number:03}" for number in range(len(titles))]
    assert set(rejects["reason"]) == {"placeholder"}


def test_a_photo_that_was_changed_is_one_picture_and_one_with_a_small_addition_is_not() -> None:
    photo = Image.open(io.BytesIO(noise_photo(1))).resize((240, 240), Image.Resampling.BICUBIC)
    again = Image.open(io.BytesIO(saved(photo.crop((3, 3, 238, 238)).resize((180, 180)), format="JPEG", quality=50)))
    darker = again.point(lambda value: round(0.9 * value))
    larger = photo.copy()
    larger.paste("white", (100, 100, 130, 130))
    pictures = np.stack([shrink(image) for image in (again, darker, larger)])
    assert are_one_picture(np.stack([shrink(photo)] * 3), pictures).tolist() == [True, True, False]
