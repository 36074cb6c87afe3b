"""Convert maps to pixels: quantisation, colour maps, and overlays on an image."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvkit.errors import UsageError
from cvkit.messages import did_you_mean

LEVELS = 256
# An overlay has its full opacity from this map value on. Below, it fades out, so that the image stays visible.
FULL_HEAT = 0.6


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Quantise floats in 0..1 of any shape to 0..255; values outside are clipped, and NaN becomes 0."""
    return _quantise(values, 255).astype(np.uint8)


def to_uint16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Quantise floats in 0..1 of any shape to 0..65535; values outside are clipped, and NaN becomes 0."""
    return _quantise(values, 65535).astype(np.uint16)


def colour_map(name: str) -> NDArray[np.uint8]:
    """Return the colours of a matplotlib colour map, from low to high.

    Returns:
        (256, 3) uint8, read-only.

    Raises:
        UsageError: The colour map is unknown.
    """
    return _colour_table(name)


def colourise(values: NDArray[Any], name: str = "inferno") -> NDArray[np.uint8]:
    """Convert a map to colours.

    Args:
        values: (H, W) float in 0..1.
        name: Name of a matplotlib colour map.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UsageError: The colour map is unknown.
        ValueError: The map is not (H, W).
    """
    return np.take(colour_map(name), _levels(values), axis=0)


def overlay(
    image: NDArray[np.uint8], values: NDArray[Any], *, colormap: str = "inferno", alpha: float = 0.6
) -> NDArray[np.uint8]:
    """Blend an image with a map in colours.

    Args:
        image: (H, W, 3) uint8.
        values: (H, W) float in 0..1.
        colormap: Name of a matplotlib colour map.
        alpha: Opacity of the highest values, 0 to 1. It falls smoothly to 0 where the map is 0.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UsageError: The colour map is unknown.
        ValueError: The sizes of image and map differ, or ``alpha`` is out of range.
    """
    from PIL import Image

    levels = _levels(values)
    if image.dtype != np.uint8 or image.shape != (*levels.shape, 3):
        raise ValueError(f"an overlay needs a (H, W, 3) uint8 image as large as its map, {levels.shape}: {image.shape}")
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is an opacity between 0 and 1: {alpha}")
    # Opacity and colour both depend on the level alone, so they are table look-ups. Pillow's are four times as fast as
    # those of numpy, and its blend rounds to the nearest level.
    ramp = np.clip(np.arange(LEVELS) / (LEVELS - 1) / FULL_HEAT, 0.0, 1.0)
    opacity = np.rint(alpha * 255 * ramp * ramp * (3 - 2 * ramp)).astype(np.uint8)
    mask = Image.fromarray(levels).point(opacity.tolist())
    heat = Image.fromarray(levels)
    heat.putpalette(colour_map(colormap).tobytes())
    return np.asarray(Image.composite(heat.convert("RGB"), Image.fromarray(image), mask))


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.ndim != 2:
        raise ValueError(f"a map has the shape (H, W): {values.shape}")
    return to_uint8(values)


def _quantise(values: NDArray[Any], top: int) -> NDArray[np.floating[Any]]:
    # float32 represents 65535.5 exactly, so it can round to 16 bits; float64 stays as it is.
    floats = values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
    # Maps are in 0..1 and finite most of the time. NaN makes both comparisons false.
    if not (floats.size and floats.min() >= 0 and floats.max() <= 1):
        floats = np.nan_to_num(floats, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0)
    scaled = floats * floats.dtype.type(top)
    scaled += 0.5
    return scaled  # the cast to integers drops the fraction, which after + 0.5 rounds


@lru_cache(maxsize=16)
def _colour_table(name: str) -> NDArray[np.uint8]:
    import matplotlib

    if name not in matplotlib.colormaps:
        # Reversed maps (viridis_r) work, but would double the list of names in the message.
        names = [other for other in matplotlib.colormaps if not other.endswith("_r")]
        raise UsageError(f"There is no colour map '{name}'.{did_you_mean(name, names)}")
    table = matplotlib.colormaps[name](np.linspace(0.0, 1.0, LEVELS), bytes=True)[:, :3].copy()
    table.setflags(write=False)
    return table
