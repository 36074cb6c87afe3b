"""Read the ground truth of one image: its saliency map and its fixation counts."""

from dataclasses import dataclass

import numpy as np

from cvkit.data.images import read_map, resize_map
from cvkit.errors import DataError
from cvkit.tasks.saliency.data.fixations import blur_counts, count_map, default_sigma, read_fixations
from cvkit.tasks.saliency.data.layout import Example


@dataclass(frozen=True)
class GroundTruth:
    """Saliency map and fixation counts of one image.

    Attributes:
        map: (H, W) float32 from 0 to 1.
        counts: (H, W) int16, the number of fixations of each pixel; None if fixations are not known.
    """

    map: np.ndarray
    counts: np.ndarray | None


class Mismatch(DataError):
    """Error for a map or fixations that do not match the size of their image."""

    kind = "wrong size"


class EmptyMap(DataError):
    """Error for a map that is zero everywhere, or for an image without fixations."""

    kind = "empty map"


def read_truth(
    example: Example, original: tuple[int, int], size: tuple[int, int], sigma_px: float | None
) -> GroundTruth:
    """Read the map and the fixations of one image.

    Args:
        example: Files of the image; without a map, the fixations are blurred at the original size.
        original: (height, width) of the image in pixels.
        size: (height, width) of the result.
        sigma_px: Standard deviation of the blur in pixels of the original image; None for ``default_sigma``.

    Raises:
        DataError: If a file cannot be read, does not match the image, or is empty.
    """
    points = read_fixations(example.fixations) if example.fixations else None
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
                f"its image {original[1]}x{original[0]} (another aspect ratio)."
            )
    else:
        assert points is not None
        counts = count_map(points, points.size or original, original)
        values = blur_counts(counts, sigma_px or default_sigma(original))
    if not values.max(initial=0) > 0:
        raise EmptyMap(f"{example.map or example.fixations}: the map is empty (all zero).")
    resized = resize_map(values, size)
    return GroundTruth(
        map=np.clip(resized / resized.max(), 0, 1).astype(np.float32),
        counts=None if points is None else count_map(points, points.size or original, size),
    )


def same_shape(map_size: tuple[int, ...], image: tuple[int, int]) -> bool:
    """Return whether a map has the aspect ratio of its image, with 2 % tolerance for rounding; sizes may differ."""
    return abs(map_size[1] / map_size[0] / (image[1] / image[0]) - 1) < 0.02
