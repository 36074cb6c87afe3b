"""Draw contact sheets: grids of images with column titles and row captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvkit.render.colour import to_uint8
from cvkit.render.text import fit_width, sheet_font

if TYPE_CHECKING:
    from PIL import Image

PAPER = (255, 255, 255)
INK = (33, 37, 41)
QUIET_INK = (108, 117, 125)
MIN_CELL_PX = 32


@dataclass(frozen=True)
class _Measures:
    """Lengths in pixels, in proportion to the cell size."""

    cell: int
    gap: int
    margin: int
    title: int
    caption: int


def contact_sheet(
    rows: Sequence[Sequence[NDArray[Any]]],
    *,
    titles: Sequence[str] = (),
    captions: Sequence[str] | None = None,
    cell_px: int = 256,
) -> NDArray[np.uint8]:
    """Draw a grid of images on white.

    Args:
        rows: Images per row, each (H, W, 3) or (H, W), uint8 or float in 0..1, of any size. They are scaled to fit the
            cells without distortion.
        titles: Title above each column. A title that is too long ends in an ellipsis.
        captions: Caption below each row, shortened in the same way.
        cell_px: Largest side of an image on the sheet, in pixels.

    Returns:
        (H', W', 3) uint8.

    Raises:
        ValueError: A row is empty, or the number of titles or captions does not match the grid.
    """
    _check(rows, titles, captions, cell_px)
    measures = _measures(cell_px)
    cells = [[fit_picture(picture, cell_px) for picture in row] for row in rows]
    columns = max(len(row) for row in cells)
    widths = [max(row[k].width for row in cells if k < len(row)) for k in range(columns)]
    # A column of narrow images still needs space for its title.
    widths = [max(width, cell_px // 2) for width in widths]
    heights = [max(cell.height for cell in row) for row in cells]
    return _paint(cells, (widths, heights), (titles, captions), measures)


def _check(
    rows: Sequence[Sequence[NDArray[Any]]], titles: Sequence[str], captions: Sequence[str] | None, cell_px: int
) -> None:
    columns = max((len(row) for row in rows), default=0)
    if columns == 0 or any(len(row) == 0 for row in rows):
        raise ValueError("a contact sheet needs at least one picture in every row")
    if titles and len(titles) != columns:
        raise ValueError(f"a contact sheet of {columns} columns needs {columns} titles: {len(titles)}")
    if captions is not None and len(captions) != len(rows):
        raise ValueError(f"a contact sheet of {len(rows)} rows needs {len(rows)} captions: {len(captions)}")
    if cell_px < MIN_CELL_PX:
        raise ValueError(f"the cells of a contact sheet are at least {MIN_CELL_PX} px: {cell_px}")


def _measures(cell_px: int) -> _Measures:
    return _Measures(
        cell=cell_px,
        gap=max(4, round(cell_px * 0.045)),
        margin=max(8, round(cell_px * 0.09)),
        title=max(11, round(cell_px * 0.06)),
        caption=max(10, round(cell_px * 0.05)),
    )


def fit_picture(picture: NDArray[Any], cell_px: int) -> "Image.Image":
    """Return a picture, (H, W, 3) or (H, W), scaled so that its larger side is ``cell_px``."""
    from PIL import Image

    if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3) or picture.size == 0:
        raise ValueError(f"a picture on a contact sheet is (H, W) or (H, W, 3): {picture.shape}")
    pixels = picture if picture.dtype == np.uint8 else to_uint8(picture)
    image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    scale = cell_px / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)


def _paint(
    cells: Sequence[Sequence["Image.Image"]],
    grid: tuple[list[int], list[int]],
    texts: tuple[Sequence[str], Sequence[str] | None],
    measures: _Measures,
) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    (widths, heights), (titles, captions) = grid, texts
    line = round(measures.caption * 1.3) + measures.gap // 2 if captions is not None else 0
    between = measures.gap if captions is None else round(measures.gap * 1.6)
    head = round(measures.title * 1.3) + measures.gap // 2 if titles else 0
    inner = sum(widths) + measures.gap * (len(widths) - 1)
    tall = head + sum(heights) + line * len(heights) + between * (len(heights) - 1)
    sheet = Image.new("RGB", (inner + 2 * measures.margin, tall + 2 * measures.margin), PAPER)
    draw = ImageDraw.Draw(sheet)
    title_font = sheet_font(measures.title)
    caption_font = sheet_font(measures.caption)
    lefts = [measures.margin + sum(widths[:k]) + measures.gap * k for k in range(len(widths))]
    for left, width, title in zip(lefts, widths, titles, strict=False):
        shown = fit_width(draw, title, title_font, width)
        draw.text((left + width / 2, measures.margin), shown, INK, font=title_font, anchor="ma")
    top = measures.margin + head
    for k, row in enumerate(cells):
        for left, width, cell in zip(lefts, widths, row, strict=False):
            sheet.paste(cell, (left + (width - cell.width) // 2, top + (heights[k] - cell.height) // 2))
        top += heights[k]
        if captions is not None:
            shown = fit_width(draw, captions[k], caption_font, inner)
            draw.text((measures.margin, top + measures.gap // 2), shown, QUIET_INK, font=caption_font, anchor="la")
        top += line + between
    return np.asarray(sheet)
