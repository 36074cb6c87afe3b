"""Tile small images into one image."""

import math

import numpy as np
from numpy.typing import NDArray


def sprite(images: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Tile images row by row into one image; unused cells of the last row are white.

    Args:
        images: (N, H, W, C) uint8.
        columns: Images per row. Without it, there are as many rows as columns: the ceiling of the square root of N, as
            TensorBoard's projector expects.

    Returns:
        (rows * H, columns * W, C) uint8.
    """
    count, height, width, channels = images.shape
    side = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / side) if columns else side
    whole = np.full((rows * side, height, width, channels), 255, np.uint8)
    whole[:count] = images
    tiled = whole.reshape(rows, side, height, width, channels).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(tiled.reshape(rows * height, side * width, channels))
