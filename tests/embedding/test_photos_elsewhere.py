"""The lines of the docs that embed a photo without this package: the pipeline's own vectors, for any photo."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.photos import saved, scene
from helpers.profiles import ADOBE_RGB, DISPLAY_P3, PROPHOTO, SRGB, cmyk_profile, grey_profile, rgb_profile
from onnx import TensorProto, helper
from PIL import Image

from marketplace.embedding.onnx import OUTPUTS
from marketplace.photos.codec import decode_array
from marketplace.photos.squares import OVERSAMPLING, letterbox

SIDE = 64


def write_pixel_model(path: Path) -> None:
    """Write a model whose vectors are the pixels that it gets, so that nothing hides how photos are prepared."""
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIDE, SIDE, 3])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", SIDE, SIDE, 3]) for name in OUTPUTS]
    casts = [helper.make_node("Cast", ["images"], [name], to=TensorProto.FLOAT) for name in OUTPUTS]
    graph = helper.make_graph(casts, "pixels", [images], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def embed_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], np.ndarray]:
    """A function from a photo's bytes to the identity vector that the docs' lines compute."""
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/PAGE.md").read_text(), re.DOTALL)
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "models").mkdir()
    write_pixel_model(folder / "models/image_model.onnx")

    def embed(photo: bytes) -> np.ndarray:
        (folder / "photo.jpg").write_bytes(photo)
        names: dict[str, np.ndarray] = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            exec(lines, names)
        return names["identity"][0]

    return embed


def cut_out(image: Image.Image) -> Image.Image:
    """An image that is transparent on the right, and black there, as programs that cut out a product leave it."""
    pixels = np.asarray(image.convert("RGBA")).copy()
    pixels[:, image.width // 3 :, 3] = 90
    pixels[:, image.width // 2 :] = 0
    return Image.fromarray(pixels)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


INKS = np.full((2, 2, 2, 2, 3), 128, np.uint8)
INKS[0, 0, 0, 0, 0] = 255
SCENE = scene(201, 126)
GREY = SCENE.convert("L")
GREY_16 = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
PHOTOS = {
    "JPEG": saved(SCENE, format="JPEG", quality=95),
    "turned": saved(SCENE, format="JPEG", quality=95, exif=turned()),
    "sRGB": saved(SCENE, format="JPEG", quality=95, icc_profile=rgb_profile(SRGB)),
    "Display P3": saved(SCENE, format="JPEG", quality=95, icc_profile=rgb_profile(DISPLAY_P3)),
    "Adobe RGB, turned": saved(SCENE, format="PNG", icc_profile=rgb_profile(ADOBE_RGB), exif=turned()),
    "cut-out": saved(cut_out(SCENE), format="PNG"),
    "cut-out, WebP": saved(cut_out(SCENE), format="WEBP", lossless=True, exact=True),
    "cut-out, ProPhoto": saved(cut_out(SCENE), format="PNG", icc_profile=rgb_profile(PROPHOTO)),
    "cut-out, palette": saved(cut_out(SCENE).quantize(64), format="PNG"),
    "cut-out, GIF": saved(cut_out(SCENE), format="GIF"),
    "cut-out, grey": saved(cut_out(SCENE).convert("LA"), format="PNG"),
    "16 bits": saved(GREY_16, format="PNG"),
    "16 bits, TIFF": saved(GREY_16, format="TIFF"),
    "16 bits, linear": saved(GREY_16, format="PNG", icc_profile=grey_profile(1.0)),
    "grey, linear": saved(GREY, format="PNG", icc_profile=grey_profile(1.0)),
    "grey, Display P3": saved(GREY, format="JPEG", quality=95, icc_profile=rgb_profile(DISPLAY_P3)),
    "CMYK": saved(SCENE.convert("CMYK"), format="JPEG", quality=95),
    "CMYK, profile": saved(SCENE.convert("CMYK"), format="JPEG", quality=95, icc_profile=cmyk_profile(INKS)),
}


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
def test_the_lines_of_the_docs_prepare_photos_as_the_pipeline_does(
    photo: bytes, embed_elsewhere: Callable[[bytes], np.ndarray]
) -> None:
    square = letterbox(decode_array(photo, OVERSAMPLING * SIDE), SIDE).astype(float)
    vector = embed_elsewhere(photo)
    assert np.abs(vector - square).mean() < 0.5
    assert np.abs(vector - square).max() <= 4
