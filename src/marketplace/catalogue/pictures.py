"""Whether two photos with similar hashes are one picture: a hash of greys tells neither colours nor small details."""

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter

PICTURE_SIDE = 32  # pixels: enough to tell two words on a shirt, if a photo is looked at from afar
# Measured with 240 photos of two marketplaces: of those saved again (even at quality 15) 100 % differ by less, of those
# resized 99 %, cropped by 1 % off every side 95 %, by 2 % 92 %. Shirts in twelve colours differ by 19 or more, other
# words in a ninth of a photo's height by 8, and shades of a colour by 4.6 if they are 15 of 255 apart.
MAX_DIFFERENCE = 4.0
_NOISE = 3.0  # of 255: by as much, saving a photo again moves values where the picture is smooth
_MAX_GAIN = 0.15  # the share by which a whole photo may be brighter; a paler shirt on the same white is another shirt
_MAX_SHIFT = 0.03 * PICTURE_SIDE  # pixels by which it may be moved,
_MAX_SCALE = 0.06 * PICTURE_SIDE  # and by which it may be larger
_MAX_EDGE_ERROR = 0.15  # of the slope: by as much, photos cropped by 2 % differ; other colours differ by more
_BLOCKS = 8  # a side
_PAIRS_AT_ONCE = 512


def shrink(image: Image.Image) -> np.ndarray:
    """Scale an image, whatever its shape, to a square that two photos are compared by: `(side, side, 3) uint8`."""
    return np.asarray(image.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BOX))


def are_one_picture(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which pairs show the same, except for cropping, brightness and quality: `(N,) bool`.

    `first` and `second` hold the pictures of each pair, `(N, side, side, 3) uint8`.
    """
    parts = [slice(start, start + _PAIRS_AT_ONCE) for start in range(0, len(first), _PAIRS_AT_ONCE)]
    differences = [_measure_difference(_split_channels(first[part]), _split_channels(second[part])) for part in parts]
    return np.concatenate([np.empty(0), *differences]) <= MAX_DIFFERENCE


def _split_channels(pictures: np.ndarray) -> np.ndarray:
    """Return pictures as `(N, 3, side, side) float32`."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32)


def _measure_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how much each pair differs where it differs most, as a multiple of the difference expected there: `(N,)`.

    Expected is noise, and at edges the error of most edges of the pair: a photo that was cropped differs at all of
    them, a shirt with another print at its print's edges alone.
    """
    unexplained, slopes = _explain(first, second)
    all_slopes = slopes.reshape(len(slopes), -1)
    n_edges = all_slopes.shape[1] // 4
    edges = np.argpartition(-all_slopes, n_edges, axis=1)[:, :n_edges]
    errors = np.take_along_axis(unexplained.reshape(len(slopes), -1), edges, axis=1)
    error_of_edges = np.median(errors / np.maximum(np.take_along_axis(all_slopes, edges, axis=1), 1), axis=1)
    error_of_edges = np.minimum(error_of_edges, _MAX_EDGE_ERROR)
    expected = np.hypot(_NOISE, 2 * error_of_edges[:, None, None] * slopes)
    size = PICTURE_SIDE // _BLOCKS
    blocks = np.square(unexplained / expected).reshape(-1, _BLOCKS, size, _BLOCKS, size)
    return np.sqrt(blocks.mean(axis=(2, 4)).max(axis=(1, 2)))


def _explain(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the difference of each pair that no change of brightness, shift or scale explains, and its slopes.

    Both are the largest of the three channels, `(N, side, side)`. A small shift or scale changes a picture in
    proportion to its slopes, so the change that explains most solves a few linear equations.
    """
    mean = (first + second) / 2
    slopes_down, slopes_right = np.gradient(mean, axis=(2, 3))
    place = np.linspace(-0.5, 0.5, PICTURE_SIDE, dtype=np.float32)
    changes = np.stack(
        [mean, slopes_right, slopes_right * place, slopes_down, slopes_down * place[:, None]], axis=1
    ).reshape(len(mean), 5, -1)
    difference = (second - first).reshape(len(mean), -1, 1)
    equations = changes @ changes.transpose(0, 2, 1) + np.eye(5, dtype=np.float32)  # solvable for black pictures too
    amounts = np.linalg.solve(equations, changes @ difference)
    limits = np.array([_MAX_GAIN, _MAX_SHIFT, _MAX_SCALE, _MAX_SHIFT, _MAX_SCALE], np.float32)[:, None]
    explained = changes.transpose(0, 2, 1) @ np.clip(amounts, -limits, limits)
    unexplained = np.abs(difference - explained).reshape(mean.shape).max(axis=1)
    slopes = np.hypot(slopes_down, slopes_right).max(axis=1)
    return unexplained, maximum_filter(slopes, size=(1, 3, 3))  # an edge that moves changes both sides of it
