"""Present ``cvkit gradcam``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cvkit.cli.batches import public_fields, show_batch
from cvkit.cli.command import INSPECT, Command
from cvkit.cli.console import Console
from cvkit.config import GradcamConfig
from cvkit.imports import without_collector
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.gradcam import GradcamResult


def _run(config: GradcamConfig, report: Reporter) -> "GradcamResult":
    with without_collector():
        from cvkit.commands.gradcam import gradcam

    return gradcam(config, report)


def _document(result: "GradcamResult") -> dict[str, Any]:
    predictions = {}

    def rows() -> Iterator[dict[str, Any]]:
        for row, top in result.rows_with_predictions():
            if top:
                predictions[row["image"]] = top
            yield row

    # The predictions are complete when the rows before them are encoded, so the records are read once.
    return {**public_fields(result), "rows": rows(), "predictions": predictions}


def _show(console: Console, result: "GradcamResult") -> None:
    if not console.json_output:
        for row, top in result.rows_with_predictions():
            if top:
                named = (f"{rank} {label} {probability:.1%}" for rank, label, probability in top)
                console.lines(f"{row['image']}: {', '.join(named)}")
        if result.faithfulness:
            scores = [[name, each.mean, each.low, each.high, each.n] for name, each in result.faithfulness.items()]
            console.table(["faithfulness", "mean", "95 % from", "to", "maps"], scores)
    show_batch(console, result.batch, "images explained, results")


COMMAND = Command(
    name="gradcam",
    help="Explain the decision of a classifier. Writes heat maps by Grad-CAM and related methods.",
    config=GradcamConfig,
    run=_run,
    show=_show,
    document=_document,
    panel=INSPECT,
    page="gradcam.md",
)
