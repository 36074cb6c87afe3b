"""Draw two-dimensional embeddings: points coloured by class, and a grid of decoded images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvkit.render.figure import FRAME, GRID, INK, QUIET_INK, make_figure, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LEGEND_CLASSES = 40
NO_CLASS = "#3b6ea5"
CENTRAL_PERCENT = 98.0  # of the points that a panel shows along each axis if there are outliers
OUTLIER_RATIO = 1.6  # of the full range of values to the central one with its margins: above it there are outliers


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A panel with the points of one embedding.

    Attributes:
        name: Name of the embedding.
        about: A line about it, such as its scores.
        points: (N, 2) coordinates; NaN for a point that the panel lacks.
        axes: Labels of the horizontal and the vertical axis.
    """

    name: str
    about: str
    points: NDArray[np.floating[Any]]
    axes: tuple[str, str] = ("z0", "z1")


def class_colours(count: int) -> list[str]:
    """Return a colour (#rrggbb) per class: tab10 for up to 10 classes, tab20 for up to 20, hues for more."""
    import matplotlib
    from matplotlib.colors import hsv_to_rgb, to_hex

    if count <= 20:
        table = matplotlib.colormaps["tab10" if count <= 10 else "tab20"]
        return [to_hex(table(number)) for number in range(count)]
    return [
        to_hex(hsv_to_rgb((number / count, 0.85 if number % 2 else 0.55, 0.75 if number % 3 else 0.95)))
        for number in range(count)
    ]


def planes(
    panels: Sequence[Plane], *, title: str, labels: NDArray[np.int64] | None = None, classes: Sequence[str] = ()
) -> bytes:
    """Draw panels side by side, with points coloured by class and a legend of up to 40 classes.

    A panel leaves out a few outliers if they would squeeze all other points together, and says how many.

    Args:
        panels: The embeddings of the same N points.
        title: Heading of the figure.
        labels: (N,) indices into ``classes``.
        classes: Names of the classes.

    Returns:
        A PNG file.
    """
    names = list(classes) if labels is not None else []
    legend = 0 < len(names) <= MAX_LEGEND_CLASSES
    columns = -(-len(names) // 20) if legend else 0
    longest = max((len(name) for name in names), default=0) if legend else 0
    figure = make_figure(5.0 * len(panels) + columns * (0.5 + 0.085 * min(longest, 28)), 5.2, title)
    colours = class_colours(len(names))
    order = np.random.default_rng(0).permutation(len(panels[0].points))  # so that no class covers another
    shade: Any = NO_CLASS if not names or labels is None else np.array(colours)[labels[order]]
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        size = min(30.0, max(3.0, 30_000 / len(order)))
        style: dict[str, Any] = {"s": size, "alpha": 0.7, "linewidths": 0}
        axes.scatter(panel.points[order, 0], panel.points[order, 1], c=shade, **style)
        _dress(axes, panel)
    if legend:
        _legend(figure, names, colours, columns)
    return to_png(figure)


def _dress(axes: "Axes", panel: Plane) -> None:
    outside = _set_limits(axes, panel.points)
    about = panel.about + (f"; {outside} points beyond the edge" if outside else "")
    axes.set_title(f"{panel.name}\n", fontsize=10.5, color=INK, loc="left", parse_math=False)
    axes.text(0, 1.015, about, transform=axes.transAxes, fontsize=8.5, color=QUIET_INK, parse_math=False)
    axes.set_xlabel(panel.axes[0], fontsize=8.5, color=QUIET_INK)
    axes.set_ylabel(panel.axes[1], fontsize=8.5, color=QUIET_INK)
    axes.tick_params(labelsize=8, colors=QUIET_INK, length=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(FRAME)


def _set_limits(axes: "Axes", points: NDArray[np.floating[Any]]) -> int:
    """Set the limits of both axes, and return the number of points outside."""
    outside = np.zeros(len(points), bool)
    for values, limit in ((points[:, 0], axes.set_xlim), (points[:, 1], axes.set_ylim)):
        low, high = visible_range(values)
        limit(low, high)
        outside |= (values < low) | (values > high)
    return int(outside.sum())


def visible_range(values: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Return the range of an axis that shows (N,) values: all of them, or the central 98 % if there are outliers."""
    values = values[np.isfinite(values)]
    if not len(values):
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    tail = (100 - CENTRAL_PERCENT) / 2
    inner_low, inner_high = (float(value) for value in np.percentile(values, [tail, 100 - tail]))
    margin = 0.25 * (inner_high - inner_low)
    if high - low > OUTLIER_RATIO * (inner_high - inner_low + 2 * margin) > 0:
        low, high = max(low, inner_low - margin), min(high, inner_high + margin)
    pad = 0.03 * (high - low) or 0.5
    return low - pad, high + pad


def _legend(figure: "Figure", names: Sequence[str], colours: Sequence[str], columns: int) -> None:
    from matplotlib.lines import Line2D

    dots: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6}
    handles = [Line2D([], [], color=colour, **dots) for colour in colours]
    shown = [name.replace("$", r"\$") if len(name) <= 28 else name[:27].replace("$", r"\$") + "…" for name in names]
    figure.legend(handles, shown, loc="outside right center", frameon=False, fontsize=9, labelcolor=INK, ncols=columns)


def latent_grid(
    images: NDArray[np.floating[Any]],
    *,
    title: str,
    horizontal: tuple[float, float],
    vertical: tuple[float, float],
    axes_names: tuple[str, str] = ("z0", "z1"),
) -> bytes:
    """Draw images decoded from a grid of points of the plane, with their coordinates along the edges.

    Args:
        images: (rows, columns, H, W, C) float in 0..1, C 1 or 3. The first row is at the upper end of ``vertical``, the
            first column at the lower end of ``horizontal``.
        title: Heading of the figure.
        horizontal: Coordinates of the centres of the first and the last column.
        vertical: Coordinates of the centres of the last and the first row.
        axes_names: Labels of the horizontal and the vertical axis.

    Returns:
        A PNG file.
    """
    rows, columns, height, width, channels = images.shape
    tiled = images.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    shown = tiled[..., 0] if channels == 1 else tiled
    across = 7.6
    down = across * tiled.shape[0] / tiled.shape[1]
    # Positions in inches, because a layout engine leaves space that images of a fixed shape do not fill.
    wide, high = across + 0.85, down + 1.15
    figure = make_figure(wide, high, title)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.65 / wide, 0.55 / high, across / wide, down / high))
    (left, right), (low, top) = _edges(horizontal, columns), _edges(vertical, rows)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=(left, right, low, top), interpolation="antialiased")
    axes.set_aspect("auto")
    _label_grid(axes, axes_names, max(1, min(9, int(down / 0.35))) if rows > 1 else 0)
    return to_png(figure)


def _label_grid(axes: "Axes", names: tuple[str, str], vertical_ticks: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(names[0], fontsize=8.5, color=QUIET_INK)
    if vertical_ticks:
        axes.set_ylabel(names[1], fontsize=8.5, color=QUIET_INK)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=vertical_ticks))
    else:
        axes.set_yticks([])
    axes.tick_params(labelsize=8, colors=QUIET_INK)
    for spine in axes.spines.values():
        spine.set_color(FRAME)


def _edges(centres: tuple[float, float], count: int) -> tuple[float, float]:
    """Return the outer edges of a row of ``count`` images from the centres of the first and the last one."""
    half = (centres[1] - centres[0]) / (2 * max(1, count - 1)) or 0.5
    return centres[0] - half, centres[1] + half
