"""Print the scores of classifiers."""

from collections.abc import Mapping
from typing import Any

from cvkit.cli.console import Console

COLUMNS = ("images", "accuracy", "95 % from", "to", "top-5", "ECE", "macro F1", "log loss")


def show_metrics(console: Console, metrics: Mapping[str, Mapping[str, Any]], heading: str = "split") -> None:
    """Print the scores of a classifier, one row per split.

    Args:
        console: The console.
        metrics: Content of ``metrics.json``: scores by split.
        heading: Heading of the column with the names of the splits.
    """
    rows = []
    for split, scores in metrics.items():
        others = [scores[name] for name in ("top5_accuracy", "ece", "macro_f1", "log_loss")]
        rows.append([split, scores["images"], scores["accuracy"], *(scores["ci95"] or (None, None)), *others])
    console.table([heading, *COLUMNS], rows)
