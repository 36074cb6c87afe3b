"""Draw the reliability diagram of a classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvkit.render.figure import FRAME, GRID, INK, QUIET_INK, make_figure, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAR = "#1f6fb4"
# The part of a bar between accuracy and mean confidence: fill, colour of the hatching, hatching.
ABOVE, BELOW = ("#cfe2f3", BAR, r"\\\\"), ("#f8dde1", "#d1495b", "////")
DIAGONAL: dict[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": (0, (4, 3))}


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The predictions whose confidence lies in an interval.

    Attributes:
        low: Lower end of the interval.
        high: Upper end of the interval.
        count: Number of predictions.
        confidence: Mean confidence, NaN if there are no predictions.
        accuracy: Fraction of correct predictions, NaN if there are no predictions.
        accuracy_low: Lower end of the confidence interval of the accuracy.
        accuracy_high: Upper end of the confidence interval of the accuracy.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def reliability_diagram(bins: Sequence[ReliabilityBin], *, ece: float, title: str) -> bytes:
    """Draw the accuracy of each bin against its confidence, and a histogram of the confidence below.

    The line in a bar is the 95 % interval of its accuracy. The hatched part is the distance between accuracy and mean
    confidence. Its weighted mean is the expected calibration error.

    Args:
        bins: The bins in the order of confidence.
        ece: Expected calibration error, 0..1, or NaN if there are no predictions.
        title: Heading of the figure.

    Returns:
        A PNG file.
    """
    filled = [each for each in bins if each.count]
    figure = make_figure(5.6, 6.9, title)
    grid = figure.add_gridspec(2, 1, height_ratios=[3.4, 1.0])
    diagram, histogram = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    _draw_bars(diagram, filled)
    _draw_histogram(histogram, filled)
    for axes in (diagram, histogram):
        _dress(axes)
    diagram.set_title(_heading(filled, ece), fontsize=9.5, color=INK, loc="left", linespacing=1.4)
    diagram.set_ylim(0, 1)
    diagram.set_ylabel("accuracy", fontsize=9, color=QUIET_INK)
    histogram.set_xlabel("confidence (probability of the predicted class)", fontsize=9, color=QUIET_INK)
    histogram.set_ylabel("% of images", fontsize=9, color=QUIET_INK)
    _draw_legend(figure)
    return to_png(figure)


def _heading(filled: Sequence[ReliabilityBin], ece: float) -> str:
    total = sum(each.count for each in filled)
    if not total:
        return "no images"
    accuracy = sum(each.count * each.accuracy for each in filled) / total
    confidence = sum(each.count * each.confidence for each in filled) / total
    images = "1 image" if total == 1 else f"{total:,} images"
    return (
        f"expected calibration error (ECE) {100 * ece:.1f} %, {images}\n"
        f"mean confidence {100 * confidence:.1f} %, accuracy {100 * accuracy:.1f} %"
    )


def _draw_bars(axes: "Axes", filled: Sequence[ReliabilityBin]) -> None:
    for each in filled:
        width = each.high - each.low
        bottom, top = sorted((each.accuracy, each.confidence))
        style: dict[str, Any] = {"align": "edge", "zorder": 2}
        axes.bar(each.low, bottom, width, color=BAR, edgecolor="white", linewidth=0.8, **style)
        kind = _gap_style(ABOVE if each.accuracy > each.confidence else BELOW)
        axes.bar(each.low, top - bottom, width, bottom, **kind, **style)
        middle = (each.low + each.high) / 2
        ends = [each.accuracy_low, each.accuracy_high]
        axes.plot([middle] * 2, ends, color=INK, linewidth=1.1, zorder=5, clip_on=False)
        axes.plot([middle], [each.accuracy], "o", color=INK, markersize=3.5, zorder=5, clip_on=False)
    axes.plot([0, 1], [0, 1], zorder=4, **DIAGONAL)


def _gap_style(gap: tuple[str, str, str]) -> dict[str, Any]:
    fill, edge, hatch = gap
    return {"facecolor": fill, "edgecolor": edge, "hatch": hatch, "linewidth": 0.0}


def _draw_legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = {
        "95 % interval of the accuracy": Line2D([], [], color=INK, linewidth=1.1, marker="o", markersize=3.5),
        "accuracy = confidence": Line2D([], [], **DIAGONAL),
        "accuracy above the mean confidence": Patch(**_gap_style(ABOVE)),
        "accuracy below the mean confidence": Patch(**_gap_style(BELOW)),
    }
    style: dict[str, Any] = {"fontsize": 8, "labelcolor": INK, "frameon": False, "ncols": 2}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", **style)


def _draw_histogram(axes: "Axes", filled: Sequence[ReliabilityBin]) -> None:
    total = sum(each.count for each in filled)
    for each in filled:
        height = 100 * each.count / total
        axes.bar(each.low, height, each.high - each.low, align="edge", color=BAR, edgecolor="white", linewidth=0.8)
    axes.set_ylim(0, 1.05 * max((100 * each.count / total for each in filled), default=95.0))


def _dress(axes: "Axes") -> None:
    axes.set_xlim(0, 1)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=QUIET_INK, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FRAME)
