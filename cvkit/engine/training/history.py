"""Find the best epoch in the history of a training run, and describe an epoch in one line."""

from collections.abc import Mapping, Sequence
from typing import Any

from cvkit.catalog import METRICS
from cvkit.config import LAST

Row = Mapping[str, Any]


def best_epoch(history: Sequence[Row], metric: str) -> int:
    """Return the number of the epoch with the best validation score.

    Of several equal epochs it is the first one. Epochs without the score (it was undefined for every image) are left
    out. If no epoch has it, the validation loss decides.

    Args:
        history: One row per epoch with ``epoch`` and ``val_<metric>``, not empty.
        metric: A name in ``catalog.METRICS``, or ``last`` for the last epoch.
    """
    if metric == LAST:
        return int(history[-1]["epoch"])
    rows = [row for row in history if f"val_{metric}" in row]
    name = metric if rows else "loss"
    sign = 1 if METRICS[name].higher_is_better else -1
    return int(max(rows or history, key=lambda row: sign * row[f"val_{name}"])["epoch"])


def describe_epoch(row: Row, *, best: bool, remaining: str = "") -> str:
    """Describe one epoch in one line.

    Args:
        row: The row of the epoch in the history.
        best: Whether to mark it as the best epoch so far.
        remaining: The remaining time of the run, such as "0:41 left"; empty after the last epoch.
    """
    scores = {name: value for name, value in row.items() if name.startswith(("train_", "val_"))}
    figures = "  ".join(f"{name.removeprefix('val_')} {value:.4f}" for name, value in scores.items())
    mark = "  (best)" if best else ""
    speed = f"  {row['images_per_second']:.1f} images/s, model busy {row['busy']:.0%}"
    run = f"  run {remaining}" if remaining else ""
    return f"epoch {row['epoch']}: {figures}{speed}{run}{mark}"
