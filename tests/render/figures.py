"""Capture the figures that pictures are made from, to check their texts."""

from types import ModuleType
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from cvkit.render.figure import to_png


def capture(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[Figure]:
    """Return a list to which ``module`` appends every figure that it encodes."""
    figures: list[Figure] = []

    def encode(figure: Figure) -> bytes:
        figures.append(figure)
        return to_png(figure)

    monkeypatch.setattr(module, "to_png", encode)
    return figures


def texts_of(figure: Figure) -> list[Text]:
    """Return the visible texts of a figure that are not empty."""
    texts: list[Any] = figure.findobj(Text)
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts_of(figure)]


def cut_texts(figure: Figure) -> list[str]:
    """Return the texts that reach beyond the edge of a figure."""
    edge = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)]
    return [
        words for words, box in boxes if box.x0 < edge.x0 or box.y0 < edge.y0 or box.x1 > edge.x1 or box.y1 > edge.y1
    ]
