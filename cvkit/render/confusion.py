"""Draw confusion matrices of few or many classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvkit.render.figure import FRAME, GRID, INK, QUIET_INK, make_figure, to_png, wrap_title
from cvkit.render.text import class_name, shorten_middle, width_inches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_WRITTEN_CLASSES = 30  # up to this many classes, the cells hold their counts
MAX_LABELLED_CLASSES = 100  # up to this many classes, every row and column has its label
UNLABELLED_INCHES = 9.0  # side of a matrix of more classes
MAX_CELLS = 330  # per side of such a matrix, each at least three pixels wide; cells of more classes are pooled
MAX_LETTERS = 24  # of a label
MAX_PAIRS = 30
MIN_FIGURE_INCHES = 5.0
COLOURS, NO_IMAGES = "Blues", "#e9ecef"
COLOUR_TICKS = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)
DARK = 0.3  # fractions from which on white text is more legible than dark text
BAR_INCHES = 1.2  # width of the colour bar with its labels
PAIR_INCHES, PAIR_POINTS = 0.22, 8.5


@dataclass(frozen=True)
class _Matrix:
    """The rows and columns of a confusion matrix that are drawn.

    Attributes:
        counts: (M, M) number of images by true and predicted class.
        indices: (M,) class index of each row.
        names: Name of each row, shortened.
        dropped: Number of classes without images and predictions that are left out.
    """

    counts: NDArray[np.int64]
    indices: NDArray[np.int64]
    names: list[str]
    dropped: int

    @property
    def is_written(self) -> bool:
        return len(self.names) <= MAX_WRITTEN_CLASSES

    @property
    def is_labelled(self) -> bool:
        return len(self.names) <= MAX_LABELLED_CLASSES

    @property
    def fractions(self) -> NDArray[np.float64]:
        """The counts as fractions of their row; NaN in rows without images."""
        totals = self.counts.sum(1, keepdims=True)
        return np.divide(self.counts, totals, out=np.full(self.counts.shape, np.nan), where=totals > 0)

    def rows(self) -> list[str]:
        """Return the label of each row with its number of images."""
        return [f"{name}  {total:,}" for name, total in zip(self.names, self.counts.sum(1).tolist(), strict=True)]


@dataclass(frozen=True)
class _Layout:
    """Lengths in inches, from the left and from the bottom, and the size of the labels in points."""

    side: float
    left: float
    bottom: float
    width: float
    height: float
    points: float
    upright: bool  # whether the labels of the columns are vertical

    def place(self, figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
        """Add axes at a position in inches."""
        position = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return figure.add_axes(position)


def confusion_chart(counts: NDArray[np.int64], labels: Sequence[str], *, title: str) -> bytes:
    """Draw a confusion matrix with colours for the fraction of the images of each true class.

    Cells hold their counts for up to 30 classes. Rows and columns have labels for up to 100 classes and class indices
    for more. For more than 30 classes, the most confused pairs are listed beside the matrix, and classes without images
    and predictions are left out. For more than 330 classes, each cell of the picture is the maximum of several cells.

    Args:
        counts: (K, K) number of images by true class (row) and predicted class (column).
        labels: Label of each class; empty if unknown.
        title: Heading of the figure.

    Returns:
        A PNG file.

    Raises:
        ValueError: If the matrix is not square, or the number of labels differs from that of the classes.
    """
    size = len(counts)
    if counts.shape != (size, size) or size == 0 or len(labels) not in (0, size):
        raise ValueError(f"need counts (K, K) and K labels, not {counts.shape} and {len(labels)}")
    matrix = _select(counts, labels)
    pairs = [] if matrix.is_written else _pair_texts(matrix)
    layout = _layout(matrix, pairs, title)
    rows = int((layout.side + layout.bottom) / PAIR_INCHES)  # of the list
    figure = make_figure(layout.width, layout.height, title)
    figure.set_layout_engine("none")
    axes = layout.place(figure, layout.left, layout.bottom, layout.side, layout.side)
    _draw_cells(figure, axes, matrix, layout)
    _label_axes(axes, matrix, layout)
    for number, (count, names) in enumerate(pairs[:rows]):
        top = layout.bottom + layout.side - PAIR_INCHES * number
        left = layout.left + layout.side + BAR_INCHES + 0.1
        style: dict[str, Any] = {"fontsize": PAIR_POINTS, "va": "top", "color": INK if number else QUIET_INK}
        figure.text((left + 0.65) / layout.width, top / layout.height, count, ha="right", **style)
        figure.text((left + 0.8) / layout.width, top / layout.height, names, parse_math=False, **style)
    return to_png(figure)


def _select(counts: NDArray[np.int64], labels: Sequence[str]) -> _Matrix:
    indices = np.arange(len(counts))
    if len(counts) > MAX_WRITTEN_CLASSES:
        occurs = (counts.sum(0) + counts.sum(1)) > 0
        indices = np.flatnonzero(occurs) if occurs.any() else indices
    names = [class_name(labels[index] if labels else "", index) for index in indices.tolist()]
    shown = [shorten_middle(name, MAX_LETTERS) for name in names]
    selected = counts if len(indices) == len(counts) else counts[np.ix_(indices, indices)]
    return _Matrix(selected, indices, shown, len(counts) - len(indices))


def _layout(matrix: _Matrix, pairs: Sequence[tuple[str, str]], title: str) -> _Layout:
    size = len(matrix.names)
    if matrix.is_written:
        side = max(2.4, size * min(1.0, max(6.0 / size, 0.34)))
    else:
        side = max(5.5, size * 0.13) if matrix.is_labelled else UNLABELLED_INCHES
    points = 9.0 if matrix.is_written else 7.0
    rows, columns = (matrix.rows(), matrix.names) if matrix.is_labelled else ([f"{max(matrix.indices)}"], ["0"])
    widest = max(width_inches(name, points) for name in columns)
    upright = matrix.is_labelled and widest > 0.9 * side / size
    left = 0.5 + max(width_inches(name, points) for name in rows)
    bottom = 0.5 + (widest if upright else points / 72)
    listing = max((width_inches(names, PAIR_POINTS) + 1.15 for _, names in pairs), default=0.0)
    width = max(MIN_FIGURE_INCHES, left + side + BAR_INCHES + listing)
    head = 0.22 * len(wrap_title(title, width)) + 0.35
    height = (bottom + side + head) / 0.98  # matplotlib leaves 2 % of the height above a title
    return _Layout(side, left, bottom, width, height, points, upright)


def _draw_cells(figure: "Figure", axes: "Axes", matrix: _Matrix, layout: _Layout) -> None:
    import matplotlib
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import FuncFormatter

    size = len(matrix.names)
    # With the square root as the scale, a confusion of 1 % of a class is visible.
    norm = PowerNorm(0.5, vmin=0.0, vmax=1.0)
    colours = matplotlib.colormaps[COLOURS].with_extremes(bad=NO_IMAGES)
    step = -(-size // MAX_CELLS)
    cells = _pool(matrix.fractions, step)
    end = len(cells) * step - 0.5
    style: dict[str, Any] = {"cmap": colours, "norm": norm, "interpolation": "nearest", "aspect": "auto"}
    image = axes.imshow(cells, extent=(-0.5, end, end, -0.5), **style)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    if matrix.is_written:
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=GRID, linewidth=0.6)
        _write_counts(axes, matrix, layout.side / size)
    length = min(layout.side, 3.0)
    bar = layout.place(figure, layout.left + layout.side + 0.15, layout.bottom + layout.side - length, 0.14, length)
    figure.colorbar(image, cax=bar, ticks=COLOUR_TICKS, format=FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    bar.set_ylabel("fraction of the true class", fontsize=8, color=QUIET_INK)
    for each in (axes, bar):
        each.tick_params(which="both", length=0, labelsize=8, colors=QUIET_INK)
        for spine in each.spines.values():
            spine.set_color(FRAME)


def _pool(fractions: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Return the maximum of each square of cells, so that a large matrix keeps its rare confusions."""
    starts = np.arange(0, len(fractions), step)
    return np.fmax.reduceat(np.fmax.reduceat(fractions, starts, axis=0), starts, axis=1)


def _write_counts(axes: "Axes", matrix: _Matrix, cell_inches: float) -> None:
    fractions = matrix.fractions
    widest = width_inches(str(matrix.counts.max()), 1.0)  # for a size of one point
    points = min(10.0, 0.85 * cell_inches / widest)
    for row, column in zip(*(positions.tolist() for positions in np.nonzero(matrix.counts)), strict=True):
        colour = "white" if fractions[row, column] > DARK else INK
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": points, "color": colour}
        axes.text(column, row, str(matrix.counts[row, column]), **style)


def _label_axes(axes: "Axes", matrix: _Matrix, layout: _Layout) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    size = len(matrix.names)
    if matrix.is_labelled:
        style: dict[str, Any] = {"fontsize": layout.points, "color": INK, "parse_math": False}
        axes.set_xticks(range(size), matrix.names, rotation=90 if layout.upright else 0, **style)
        axes.set_yticks(range(size), matrix.rows(), **style)
    else:
        index = FuncFormatter(lambda value, _: str(matrix.indices[int(value)]) if 0 <= value < size else "")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=10, integer=True))
            axis.set_major_formatter(index)
    about = "number of images" if matrix.is_labelled else "index"
    axes.set_ylabel(f"true class, {about}", fontsize=9, color=QUIET_INK)
    axes.set_xlabel("predicted class" if matrix.is_labelled else "predicted class, index", fontsize=9, color=QUIET_INK)
    heading = _heading(matrix)
    axes.text(0, 1, heading, transform=axes.transAxes, fontsize=9, color=INK, va="bottom", linespacing=1.4)


def _heading(matrix: _Matrix) -> str:
    total, correct = int(matrix.counts.sum()), int(np.trace(matrix.counts))
    images = "1 image" if total == 1 else f"{total:,} images"
    heading = f"{correct:,} of {images} correct ({100 * correct / total:.1f} %)" if total else "no images"
    dropped = f"; without {matrix.dropped:,} classes that do not occur" if matrix.dropped else ""
    return heading + dropped


def _pair_texts(matrix: _Matrix) -> list[tuple[str, str]]:
    """Return a heading and the most confused pairs, each as its count and its names."""
    wrong = matrix.counts.copy()
    np.fill_diagonal(wrong, 0)
    rows, columns = np.nonzero(wrong)
    totals = matrix.counts.sum(1)
    order = np.lexsort((columns, rows, totals[rows], -wrong[rows, columns]))[:MAX_PAIRS]
    texts = [
        (f"{wrong[row, column]} of {totals[row]}", f"{matrix.names[row]} → {matrix.names[column]}")
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]
    return [("images", "true class → predicted class"), *(texts or [("0", "no class is confused with another")])]
