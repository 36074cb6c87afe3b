"""Draw contact sheets of classified images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvkit.render.sheet import INK, PAPER, QUIET_INK, fit_picture
from cvkit.render.text import class_name, fit_middle, fit_width, sheet_font

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

CORRECT, WRONG = (31, 111, 180), (190, 38, 58)
BACKGROUND = (241, 243, 245)  # beside an image that is not square
CELL_PX, GAP_PX, MARGIN_PX = 208, 16, 16
FONT_PX, TITLE_PX = 13, 17
LINE_PX = 18
CAPTION_LINES = 3  # predicted class, true class, name of the image
BADGE_PX = 24
MIN_COLUMNS = 3  # of the width, for the title


@dataclass(frozen=True, kw_only=True)
class ClassifiedImage:
    """An image with its predicted class and its true one.

    Attributes:
        image: (H, W, 3) or (H, W), uint8 or float in 0..1, of any size.
        predicted: Index of the most likely class.
        probability: Probability of this class.
        true_class: Index of the true class; None if unknown.
        true_probability: Probability of the true class; None is not written.
        name: Name of the image, such as its file name.
    """

    image: NDArray[Any]
    predicted: int
    probability: float
    true_class: int | None = None
    true_probability: float | None = None
    name: str = ""


def prediction_sheet(
    items: Sequence[ClassifiedImage], labels: Sequence[str], *, title: str, columns: int = 6, empty: str = "no images"
) -> NDArray[np.uint8]:
    """Draw classified images with their classes.

    A correct prediction has a thin frame and a check mark. A wrong one has a thick frame in another colour, a cross,
    and the true class in a second line.

    Args:
        items: The images, row by row.
        labels: Label of each class; empty if unknown.
        title: Heading of the sheet.
        columns: Largest number of images per row.
        empty: Text of a sheet without images.

    Returns:
        (H, W, 3) uint8.
    """
    from PIL import Image, ImageDraw

    across = max(1, min(columns, len(items)))
    down = -(-len(items) // across)
    head = MARGIN_PX + round(TITLE_PX * 1.8)
    pitch = (CELL_PX + GAP_PX, CELL_PX + LINE_PX * CAPTION_LINES + GAP_PX)
    width = 2 * MARGIN_PX + max(across, MIN_COLUMNS) * pitch[0] - GAP_PX
    height = head + (down * pitch[1] if items else 3 * LINE_PX) + MARGIN_PX - GAP_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = sheet_font(TITLE_PX)
    draw.text((MARGIN_PX, MARGIN_PX), fit_width(draw, title, font, width - 2 * MARGIN_PX), INK, font=font)
    if not items:
        draw.text((MARGIN_PX, head), empty, QUIET_INK, font=sheet_font(FONT_PX))
    for number, item in enumerate(items):
        left, top = MARGIN_PX + number % across * pitch[0], head + number // across * pitch[1]
        draw.rectangle((left, top, left + CELL_PX - 1, top + CELL_PX - 1), fill=BACKGROUND)
        picture = fit_picture(item.image, CELL_PX)
        sheet.paste(picture, (left + (CELL_PX - picture.width) // 2, top + (CELL_PX - picture.height) // 2))
        _mark(draw, item, (left, top))
        _write_caption(draw, item, labels, (left, top + CELL_PX + 4))
    return np.asarray(sheet)


def _mark(draw: "ImageDraw.ImageDraw", item: ClassifiedImage, corner: tuple[int, int]) -> None:
    """Draw the frame and the badge of an image whose true class is known."""
    if item.true_class is None:
        return
    left, top = corner
    correct = item.predicted == item.true_class
    colour, line = (CORRECT, 1) if correct else (WRONG, 4)
    draw.rectangle((left, top, left + CELL_PX - 1, top + CELL_PX - 1), outline=colour, width=line)
    draw.rectangle((left, top, left + BADGE_PX, top + BADGE_PX), fill=colour)
    middle = (left + BADGE_PX / 2, top + BADGE_PX / 2)
    draw.text(middle, "✓" if correct else "✗", PAPER, font=sheet_font(BADGE_PX - 6), anchor="mm")


def _write_caption(
    draw: "ImageDraw.ImageDraw", item: ClassifiedImage, labels: Sequence[str], corner: tuple[int, int]
) -> None:
    left, top = corner
    font = sheet_font(FONT_PX)
    wrong = item.true_class is not None and item.true_class != item.predicted
    mark = "" if item.true_class is None else ("✗ " if wrong else "✓ ")
    draw.text(corner, _class_line(font, mark, (item.predicted, item.probability), labels), INK, font=font)
    lines = []
    if wrong and item.true_class is not None:
        lines.append(_class_line(font, "true: ", (item.true_class, item.true_probability), labels))
    if item.name:
        lines.append(fit_middle(font, " ".join(item.name.split()), CELL_PX))
    for number, text in enumerate(lines, 1):
        colour = WRONG if wrong and number == 1 else QUIET_INK
        draw.text((left, top + number * LINE_PX), text, colour, font=font)


def _class_line(
    font: "ImageFont.FreeTypeFont", start: str, prediction: tuple[int, float | None], labels: Sequence[str]
) -> str:
    """Return a class with its probability, whose name is shortened to fit the width of an image."""
    index, probability = prediction
    end = "" if probability is None else f"  {_percent(probability)}"
    name = class_name(labels[index] if labels else "", index)
    return start + fit_middle(font, name, CELL_PX - int(font.getlength(start + end)) - 1) + end


def _percent(probability: float) -> str:
    if 0 < probability < 0.001:
        return "<0.1 %"
    return f"{100 * probability:.{0 if probability >= 0.1 else 1}f} %"
