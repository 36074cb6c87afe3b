"""Read the ground truth of one image: its saliency map and its fixation counts."""

from dataclasses import dataclass

import numpy as np

from cvkit.data.images import read_map, resize_map
from cvkit.errors import DataError
from cvkit.tasks.saliency.data import fixations as fix
from cvkit.tasks.saliency.data.layout import Example


@dataclass(frozen=True)
class GroundTruth:
    """Where people look in one image, at one size: ``map`` (H, W) float32 0..1, ``counts`` (H, W) int16 or None."""

    map: np.ndarray
    counts: np.ndarray | None


class Mismatch(DataError):
    """A map whose size does not go with its image."""

    kind = "wrong size"


class EmptyMap(DataError):
    """A map without a single value above zero, or an image nobody looked at."""

    kind = "empty map"


def read_truth(
    example: Example, original: tuple[int, int], size: tuple[int, int], sigma_px: float | None
) -> GroundTruth:
    """Read the map and fixations of one image of ``original`` (H, W) pixels at ``size``.

    Where there is no map it is blurred from the fixations at the image's own size. Raises DataError.
    """
    points = fix.read_fixations(example.fixations) if example.fixations else None
    if points is not None:
        measured = points.size or original
        if len(points) and not len(points.inside(measured)):
            raise Mismatch(
                f"{example.fixations}: all fixations lie outside the image of {original[1]}x{original[0]} pixels."
            )
    if example.map is not None:
        values = read_map(example.map)
        if not same_shape(values.shape, original):
            raise Mismatch(
                f"{example.map}: the map is {values.shape[1]}x{values.shape[0]}, "
                f"its image {original[1]}x{original[0]} (another shape)."
            )
    else:
        assert points is not None
        counts = fix.count_map(points, points.size or original, original)
        values = fix.blur(counts, sigma_px or fix.default_sigma(original))
    if not values.max(initial=0) > 0:
        raise EmptyMap(f"{example.map or example.fixations}: the map is empty (all zero).")
    resized = resize_map(values, size)
    return GroundTruth(
        map=np.clip(resized / resized.max(), 0, 1).astype(np.float32),
        counts=None if points is None else fix.count_map(points, points.size or original, size),
    )


def same_shape(map_size: tuple[int, ...], image: tuple[int, int]) -> bool:
    """A map may be smaller than its image, but not of another shape (2 % for rounding)."""
    return abs(map_size[1] / map_size[0] / (image[1] / image[0]) - 1) < 0.02
