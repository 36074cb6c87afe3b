"""Draw the learning curves of a training run."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvkit.catalog import METRICS
from cvkit.render.figure import FRAME, GRID, INK, QUIET_INK, make_figure, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAIN, VALIDATION, BEST = "#8a97a6", "#1f6fb4", "#d1495b"
MAX_MARKED_EPOCHS = 15  # up to this many epochs, each has a marker; more markers would hide the line
Line = tuple[list[float], list[float]]  # epochs, values


def curves(
    history: Sequence[Mapping[str, float]], *, title: str, best_epoch: int | None = None, held_out: str = "validation"
) -> bytes:
    """Draw the losses of a run in one panel, and each metric in a smaller one.

    Args:
        history: One row per epoch with ``epoch`` and any of ``lr``, ``train_loss``, ``val_loss``, ``train_<metric>``
            and ``val_<metric>``. Values that are missing or not finite are left out.
        title: Heading of the figure.
        best_epoch: Epoch to mark in every panel.
        held_out: Name of the validation curve in the legend.

    Returns:
        A PNG file.
    """
    names = _metric_names(history)
    rows = 2 if len(names) > 1 else 1
    columns = math.ceil(len(names) / rows)
    figure = make_figure(5.2 + 2.5 * columns, 4.6, title)
    grid = figure.add_gridspec(rows, columns + 1, width_ratios=[1.9] + [1.0] * columns)
    losses = figure.add_subplot(grid[:, 0])
    _panel(losses, "loss", _series(history, "loss"), best_epoch)
    _legend(losses, best_epoch, held_out)
    for k, name in enumerate(names):
        axes = figure.add_subplot(grid[k // columns, 1 + k % columns])
        _panel(axes, name, _series(history, name), best_epoch)
    for axes in figure.axes:
        _epoch_axis(axes, history)
    return to_png(figure)


def _metric_names(history: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the metrics that have a panel, in the order of the columns, and the learning rate last."""
    keys = dict.fromkeys(key for row in history for key in row)
    names = dict.fromkeys(key.split("_", 1)[1] for key in keys if key.startswith(("train_", "val_")))
    panels = [*(name for name in names if name != "loss"), *(["lr"] if "lr" in keys else [])]
    return [name for name in panels if _series(history, name)]


def _series(history: Sequence[Mapping[str, float]], name: str) -> dict[str, Line]:
    """Return the lines of a panel by label; a line without finite values is left out."""
    keys = {"training": f"train_{name}", "validation": f"val_{name}", "": name}
    lines = {label: _line(history, key) for label, key in keys.items()}
    return {label: line for label, line in lines.items() if line[0]}


def _line(history: Sequence[Mapping[str, float]], key: str) -> Line:
    points = [(float(row.get("epoch", k + 1)), row.get(key)) for k, row in enumerate(history)]
    finite = [(epoch, float(value)) for epoch, value in points if value is not None and math.isfinite(value)]
    return [epoch for epoch, _ in finite], [value for _, value in finite]


def _panel(axes: "Axes", name: str, lines: dict[str, Line], best_epoch: int | None) -> None:
    big = name == "loss"
    if best_epoch is not None:
        axes.axvline(best_epoch, color=BEST, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    for label, (epochs, values) in lines.items():
        colour = TRAIN if label == "training" else (VALIDATION if label else QUIET_INK)
        few = len(epochs) <= MAX_MARKED_EPOCHS
        style: dict[str, Any] = {"marker": "o", "markersize": 4.5 if big else 3.5} if few else {}
        axes.plot(epochs, values, color=colour, linewidth=1.9 if big else 1.5, label=label, zorder=2, **style)
        if best_epoch in epochs and label == "validation":
            _ring(axes, float(best_epoch), values[epochs.index(best_epoch)], 7.0 if big else 5.5)
    axes.set_title(_heading(name), fontsize=10.5 if big else 9.5, color=INK, loc="left", parse_math=False)
    _dress(axes, lines)


def _heading(name: str) -> str:
    if name not in METRICS or name == "loss":
        return {"lr": "learning rate"}.get(name, name.replace("_", " "))
    metric = METRICS[name]
    return metric.label if metric.higher_is_better else f"{metric.label} (lower is better)"


def _ring(axes: "Axes", epoch: float, value: float, size: float) -> None:
    ring: dict[str, Any] = {"markeredgecolor": BEST, "markeredgewidth": 1.8, "markersize": size}
    axes.plot([epoch], [value], "o", markerfacecolor=VALIDATION, zorder=3, **ring)


def _dress(axes: "Axes", lines: dict[str, Line]) -> None:
    from matplotlib.ticker import FuncFormatter, ScalarFormatter

    largest = max((abs(value) for _, values in lines.values() for value in values), default=1.0)
    if largest < 0.01 or largest >= 1e5:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    else:
        # matplotlib would write a common factor or offset above the axis, over the title.
        plain = ScalarFormatter(useOffset=False)
        plain.set_scientific(False)
        axes.yaxis.set_major_formatter(plain)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=QUIET_INK, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FRAME)
    axes.margins(x=0.04, y=0.1)
    if not lines:
        axes.text(0.5, 0.5, "no values yet", transform=axes.transAxes, ha="center", color=QUIET_INK, fontsize=9)
        axes.set_yticks([])


def _legend(axes: "Axes", best_epoch: int | None, held_out: str) -> None:
    from matplotlib.lines import Line2D

    handles, names = axes.get_legend_handles_labels()
    labels = [held_out if name == "validation" else name for name in names]
    if best_epoch is not None:
        handles.append(Line2D([], [], color=BEST, linestyle=(0, (4, 3)), linewidth=1.0))
        labels.append(f"best epoch ({best_epoch})")
    if handles:
        axes.legend(handles, labels, frameon=False, fontsize=8.5, labelcolor=INK)


def _epoch_axis(axes: "Axes", history: Sequence[Mapping[str, float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [float(row.get("epoch", k + 1)) for k, row in enumerate(history)] or [1.0]
    # A fixed margin around a single epoch avoids ticks like 0.96.
    pad = 0.5 if len(epochs) == 1 else 0.04 * (max(epochs) - min(epochs))
    axes.set_xlim(min(epochs) - pad, max(epochs) + pad)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", fontsize=8.5, color=QUIET_INK)
