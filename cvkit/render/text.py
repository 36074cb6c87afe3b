"""Fit texts into pictures: the font of sheets, shortening, and names of classes that the font can draw."""

import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cvkit.messages import printable

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont


def font_file() -> str:
    """Return the path of DejaVu Sans, the font of all pictures.

    It comes with matplotlib, so pictures are the same on all machines. The font of Pillow lacks dashes, arrows, Greek
    and Cyrillic.
    """
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@cache
def sheet_font(size_px: int) -> "ImageFont.FreeTypeFont":
    """Return the font of all pictures for Pillow, at a size in pixels."""
    from PIL import ImageFont

    return ImageFont.truetype(font_file(), size_px)


def fit_width(draw: "ImageDraw.ImageDraw", text: str, font: "ImageFont.FreeTypeFont", width_px: int) -> str:
    """Return the text on one line, shortened with an ellipsis to fit a width."""
    text = " ".join(text.split())
    if draw.textlength(text, font=font) <= width_px:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = draw.textlength(text[:middle].rstrip() + "…", font=font) <= width_px
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip() + "…"


def fit_middle(font: "ImageFont.FreeTypeFont", text: str, width_px: int) -> str:
    """Return the text, shortened in its middle to fit a width."""
    letters = len(text)
    while letters > 3 and font.getlength(shorten_middle(text, letters)) > width_px:
        letters -= 1
    return shorten_middle(text, letters)


def width_inches(text: str, points: float) -> float:
    """Return the width of a text in a matplotlib figure."""
    return sheet_font(100).getlength(text) / 100 * points / 72


def shorten_middle(text: str, most: int) -> str:
    """Return the text with at most ``most`` characters (at least 3), with an ellipsis in place of its middle.

    Names of classes often share their beginning, so both ends are kept.
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 3
    return f"{text[: most - 1 - end].rstrip()}…{text[len(text) - end :].lstrip()}"


def class_name(label: str, index: int) -> str:
    """Return a label on one line if pictures can draw it, else "class 3" by its index.

    The font has Latin, Greek, Cyrillic, Armenian and Georgian letters, among others. It lacks Chinese, Japanese,
    Korean and the scripts of India, and the pictures do not lay out scripts that run from right to left. Symbols that
    the font lacks, such as emoji, are left out.

    Args:
        label: Label of the class; empty if unknown.
        index: Index of the class.
    """
    text = unicodedata.normalize("NFC", printable(" ".join(label.split())))
    known = _charmap()
    kept = "".join(letter for letter in text if ord(letter) in known or unicodedata.category(letter)[0] in "LN")
    name = " ".join(kept.split())
    drawable = all(ord(letter) in known and unicodedata.bidirectional(letter) not in ("R", "AL") for letter in name)
    return name if name and drawable else f"class {index}"


@cache
def _charmap() -> frozenset[int]:
    """Return the code points that the font has."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(font_file()).get_charmap())
