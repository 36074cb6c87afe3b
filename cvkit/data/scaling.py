"""Scale the samples of images and the values of maps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue: ITU-R 601, as in Pillow
SMALLEST_SPAN, LARGEST_SPAN = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
# Interpolation lifts the maximum of a 0..1 image a little above 1; a 0..255 image without a value above 2 is black in
# any case.
UNIT_RANGE_LIMIT = 2.0


def white_level(samples: NDArray[Any]) -> float:
    """Return the sample value that stands for white in an image.

    - 8-bit and 16-bit integers: the largest value of the type.
    - Wider integers: 255 or 65535 if no sample is larger, because files often use a wider type than they need;
      otherwise the largest value of the type.
    - Floats: 1 if no finite sample is above 2, otherwise 255.

    Args:
        samples: Samples of any shape and real type.
    """
    if samples.dtype.kind == "b":
        return 1.0
    if samples.dtype.kind == "f":
        largest = samples.max(initial=0, where=np.isfinite(samples))
        return 1.0 if largest <= UNIT_RANGE_LIMIT else 255.0
    limit = float(np.iinfo(samples.dtype).max)
    if samples.dtype.itemsize <= 2:
        return limit
    largest = float(samples.max(initial=0))
    return next(level for level in (255.0, 65535.0, limit) if largest <= level)


def min_max(values: NDArray[Any]) -> NDArray[np.float32]:
    """Scale a map to 0..1 by its minimum and maximum.

    Args:
        values: (H, W), numbers.

    Returns:
        (H, W) float32. All zeros if the map is constant, if a value is not finite, or if the values are too far apart
        for float32.
    """
    with np.errstate(over="ignore"):
        values = values.astype(np.float32, copy=False)
    low, high = float(values.min()), float(values.max())
    if not SMALLEST_SPAN < high - low <= LARGEST_SPAN:
        return np.zeros(values.shape, dtype=np.float32)
    scaled = values - np.float32(low)
    scaled /= np.float32(high - low)
    return scaled.clip(0, 1, out=scaled)
