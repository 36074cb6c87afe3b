"""Test reliability diagrams."""

import math
import sys

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cvkit.render import ReliabilityBin, reliability_diagram
from tests.render.figures import capture, cut_texts, words_of


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return capture(monkeypatch, sys.modules["cvkit.render.reliability"])


def bins(filled: dict[int, tuple[int, float, float]], number: int = 15) -> list[ReliabilityBin]:
    """Return bins by position: (count, confidence, accuracy)."""
    rows = [filled.get(k, (0, math.nan, math.nan)) for k in range(number)]
    return [
        ReliabilityBin(
            low=k / number,
            high=(k + 1) / number,
            count=count,
            confidence=confidence,
            accuracy=accuracy,
            accuracy_low=accuracy * 0.9,
            accuracy_high=min(1.0, accuracy * 1.1),
        )
        for k, (count, confidence, accuracy) in enumerate(rows)
    ]


def bars(figure: Figure, panel: int) -> list[tuple[float, float, float]]:
    """Return (left, bottom, height) of each bar with a height."""
    patches = [patch for patch in figure.axes[panel].patches if isinstance(patch, Rectangle)]
    boxes = [(patch.get_x(), patch.get_y(), patch.get_height()) for patch in patches]
    return [(round(x, 6), round(y, 6), round(height, 6)) for x, y, height in boxes if height > 0]


def test_bars_show_accuracy_and_its_distance_to_the_confidence(figures: list[Figure]) -> None:
    reliability_diagram(bins({9: (30, 0.62, 0.5), 14: (10, 0.95, 1.0)}), ece=0.1025, title="model")
    assert bars(figures[0], 0) == [(0.6, 0, 0.5), (0.6, 0.5, 0.12), (0.933333, 0, 0.95), (0.933333, 0.95, 0.05)]
    assert bars(figures[0], 1) == [(0.6, 0, 75), (0.933333, 0, 25)]
    heading = "expected calibration error (ECE) 10.2 %, 40 images\nmean confidence 70.2 %, accuracy 62.5 %"
    assert heading in words_of(figures[0])
    assert cut_texts(figures[0]) == []


@pytest.mark.parametrize(
    "filled",
    [{}, {0: (1, 0.0, 0.0)}, {14: (7, 1.0, 1.0)}, {k: (10**6, (k + 0.5) / 15, 0.0) for k in range(15)}],
    ids=["no images", "one wrong image", "perfect", "all wrong"],
)
def test_extreme_cases_are_drawn_without_nan(filled: dict, figures: list[Figure]) -> None:
    reliability_diagram(bins(filled), ece=0.0 if filled else math.nan, title="a very long title " * 20)
    words = words_of(figures[0])
    assert ("no images" in words) == (not filled)
    assert not [word for word in words if "nan" in word]
    assert cut_texts(figures[0]) == []
