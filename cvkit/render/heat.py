"""Overlays of a heat map on an image, and panels of image, heat map and overlay."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvkit.render.colour import colourise, overlay
from cvkit.render.sheet import contact_sheet

PANEL_CELL_PX = 336
DIMMED = 0.4  # brightness of the part that the network did not process
Box = tuple[int, int, int, int]


def heat_overlay(
    image: NDArray[np.uint8], values: NDArray[Any], box: Box, *, colormap: str, alpha: float
) -> NDArray[np.uint8]:
    """Blend an image with a heat map, and dim it outside of a box.

    Args:
        image: (H, W, 3) uint8.
        values: (H, W) float in 0..1.
        box: (top, left, bottom, right) in pixels; edges may lie outside of the image.
        colormap: Name of a matplotlib colour map.
        alpha: Opacity of the highest values, 0 to 1.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UsageError: The colour map is unknown.
        ValueError: The sizes of image and map differ.
    """
    return dim_outside(overlay(image, values, colormap=colormap, alpha=alpha), box)


def dim_outside(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Dim an (H, W, 3) uint8 image outside of a box (top, left, bottom, right) in pixels."""
    height, width = image.shape[:2]
    top, left, bottom, right = max(0, box[0]), max(0, box[1]), min(height, box[2]), min(width, box[3])
    if (top, left, bottom, right) == (0, 0, height, width):
        return image
    levels = (np.arange(256) * np.float32(DIMMED)).astype(np.uint8)
    dimmed = image.copy()
    for part in (dimmed[:top], dimmed[bottom:], dimmed[top:bottom, :left], dimmed[top:bottom, right:]):
        part[...] = levels[part]
    return dimmed


def heat_panel(
    image: NDArray[np.uint8], values: NDArray[Any], box: Box, *, texts: tuple[str, str], style: tuple[str, float]
) -> NDArray[np.uint8]:
    """Draw image, heat map and overlay side by side, with titles and a caption.

    Args:
        image: (H, W, 3) uint8.
        values: (H, W) float in 0..1.
        box: (top, left, bottom, right) in pixels; the panel is dimmed outside.
        texts: Title of the heat map, and caption below the three pictures.
        style: Name of a matplotlib colour map, and opacity of the overlay, 0 to 1.

    Returns:
        (H', W', 3) uint8, each picture at most 336 pixels per side.
    """
    from PIL import Image

    height, width = image.shape[:2]
    ratio = min(1.0, PANEL_CELL_PX / max(height, width))
    if ratio < 1:  # resized before drawing, because blending and dimming a large image is slow
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
        values = np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
        top, left, bottom, right = (round(edge * ratio) for edge in box)
        box = (top, left, max(top + 1, bottom), max(left + 1, right))
    colormap, alpha = style
    heat = dim_outside(colourise(values, colormap), box)
    blended = heat_overlay(image, values, box, colormap=colormap, alpha=alpha)
    title, caption = texts
    return contact_sheet(
        [[image, heat, blended]], titles=["input", title, "overlay"], captions=[caption], cell_px=PANEL_CELL_PX
    )
