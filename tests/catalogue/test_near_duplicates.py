"""Near-identical photos: found however the file was changed, and told from photos that only look alike."""

import io

import imagehash
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from marketplace.catalogue.groups import photo_groups
from marketplace.catalogue.near_duplicates import MAX_DISTANCE, MAX_LISTED_COPIES, near_duplicates, similar_hashes
from marketplace.catalogue.photo_check import HASH_SIDE
from marketplace.catalogue.pictures import shrink
from marketplace.sources.sample.drawing import draw_photo
from marketplace.sources.sample.listings import make_listings


def compare(images: list[Image.Image]) -> pd.DataFrame:
    hashes = pd.Series([str(imagehash.phash(image, hash_size=HASH_SIDE)) for image in images])
    return near_duplicates(hashes, pd.Series([shrink(image).tobytes() for image in images]))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)


PHOTOS = [draw_photo(product, [1, number]) for number, product in enumerate(make_listings(12, seed=7))]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: as_jpeg(image, 40),
        lambda image: image.resize((image.width // 2, image.height // 2)),
        lambda image: image.crop((2, 2, image.width - 2, image.height - 2)),
        lambda image: image.point(lambda value: round(0.9 * value)),
    ],
    ids=["re-encoded", "resized", "cropped", "darker"],
)
def test_a_changed_file_is_found_and_another_photo_is_not(change: object) -> None:
    changed = [change(image) for image in PHOTOS]  # type: ignore[operator]
    pairs = compare([*PHOTOS, *changed])
    assert set(zip(pairs["first"], pairs["second"], strict=True)) == {
        (number, number + len(PHOTOS)) for number in range(len(PHOTOS))
    }


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=6), st.lists(st.integers(0, 90), max_size=6))
def test_the_pairs_are_those_within_the_distance(seeds: list[int], flips: list[int]) -> None:
    hashes = [*seeds, *(seeds[0] ^ (2**n_bits - 1) for n_bits in flips)]
    pairs = similar_hashes(pd.Series([f"{value:064x}" for value in hashes]))
    expected = [
        (first, second, (hashes[first] ^ hashes[second]).bit_count())
        for first in range(len(hashes))
        for second in range(first + 1, len(hashes))
        if (hashes[first] ^ hashes[second]).bit_count() <= MAX_DISTANCE
    ]
    assert list(pairs.itertuples(index=False, name=None)) == expected


def test_among_very_many_photos_re_encoded_ones_are_found_and_the_loss_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "marketplace")
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (4000, 256), dtype=np.uint8)
    bits[1000:1020] = bits[:20]
    for number in range(20):  # a few bits of each copy differ, as after saving it again
        bits[1000 + number, rng.choice(256, 8, replace=False)] ^= 1
    hashes = pd.Series([np.packbits(row).tobytes().hex() for row in bits])
    exact = similar_hashes(hashes)
    monkeypatch.setattr("marketplace.catalogue.near_duplicates.MAX_EXHAUSTIVE_PHOTOS", 1000)
    monkeypatch.setattr("marketplace.catalogue.near_duplicates.LOSS_SAMPLE_SIZE", 4000)
    pd.testing.assert_frame_equal(similar_hashes(hashes), exact)
    assert set(exact["distance"]) == {8}
    assert (
        "4,000 photos: only parts of their hashes are compared, which finds 40 of 40 near-duplicates of 4000 photos"
        in caplog.text
    )


def test_the_pairs_of_a_common_photo_are_few_and_connect_all() -> None:
    n_copies = 200
    pairs = compare([*[PHOTOS[0]] * n_copies, as_jpeg(PHOTOS[0], 60), PHOTOS[1]])
    groups = photo_groups(pd.Series(range(n_copies + 2)), pd.Series(range(n_copies + 2)), pairs)
    assert len(set(groups[: n_copies + 1])) == 1
    assert groups[-1] != groups[0]
    listed = pairs[pairs["second"] < MAX_LISTED_COPIES]
    assert len(listed) == MAX_LISTED_COPIES * (MAX_LISTED_COPIES - 1) / 2
    assert len(pairs) == len(listed) + n_copies


def test_many_encodings_of_a_photo_are_not_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketplace.catalogue.near_duplicates._VERIFIED_AT_ONCE", 50)
    copies = [as_jpeg(PHOTOS[0], quality) for quality in range(30, 90)]
    pairs = compare([*copies, *PHOTOS[1:]])
    assert len(set(photo_groups(pd.Series(range(71)), pd.Series(range(71)), pairs)[:60])) == 1
    assert 59 <= len(pairs) < 200


def test_near_duplicates_join_the_photos_of_both_products() -> None:
    products = pd.Series(["a", "a", "b", "b", "c"])
    sha256 = pd.Series(list("12345"))
    pairs = pd.DataFrame({"first": [1], "second": [3], "distance": [7]})
    groups = photo_groups(products, sha256, pairs)
    assert len(set(groups[:4])) == 1
    assert groups[4] not in groups[:4]
    assert len(np.unique(photo_groups(products, sha256))) == 3
