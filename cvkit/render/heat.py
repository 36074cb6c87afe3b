"""A heat map on its photograph: the overlay, and the panel of input, heat map and overlay."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvkit.render.colour import colourise, overlay
from cvkit.render.sheet import contact_sheet

PANEL_CELL_PX = 336
DIMMED = 0.4  # brightness of what a network did not see
Box = tuple[int, int, int, int]


def heat_overlay(
    image: NDArray[np.uint8], values: NDArray[Any], box: Box, *, colormap: str, alpha: float
) -> NDArray[np.uint8]:
    """Lay a map (H, W) of floats 0..1 over its photograph (H, W, 3) uint8, and dim what lies outside of ``box``.

    ``box`` is (top, left, bottom, right) in pixels. Errors are those of ``overlay``.
    """
    return dim_outside(overlay(image, values, colormap=colormap, alpha=alpha), box)


def dim_outside(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) uint8 that is dark outside of (top, left, bottom, right) in pixels."""
    height, width = image.shape[:2]
    top, left, bottom, right = max(0, box[0]), max(0, box[1]), min(height, box[2]), min(width, box[3])
    if (top, left, bottom, right) == (0, 0, height, width):
        return image
    dimmed = (image * np.float32(DIMMED)).astype(np.uint8)
    dimmed[top:bottom, left:right] = image[top:bottom, left:right]
    return dimmed


def heat_panel(
    image: NDArray[np.uint8], values: NDArray[Any], box: Box, *, words: tuple[str, str], look: tuple[str, float]
) -> NDArray[np.uint8]:
    """Return input, heat map and overlay side by side, (H, W, 3) uint8.

    ``words`` are the method, which stands above the heat map, and the caption below the pictures; ``look`` is the
    colour map and the opacity of the overlay.
    """
    from PIL import Image

    height, width = image.shape[:2]
    ratio = min(1.0, PANEL_CELL_PX / max(height, width))
    if ratio < 1:  # drawn at the size it is shown in: large photographs would take their time otherwise
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
        values = np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
        top, left, bottom, right = (round(edge * ratio) for edge in box)
        box = (top, left, max(top + 1, bottom), max(left + 1, right))
    colormap, alpha = look
    heat = dim_outside(colourise(values, colormap), box)
    laid = heat_overlay(image, values, box, colormap=colormap, alpha=alpha)
    method, caption = words
    return contact_sheet(
        [[image, heat, laid]], titles=["input", method, "overlay"], captions=[caption], cell_px=PANEL_CELL_PX
    )
